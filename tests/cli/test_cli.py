"""The command line as a stranger meets it: real processes, what they print and how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RAIN = [sys.executable, "-c", "from rain.cli import main; main()"]


def rain(*words: str, input: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*RAIN, *words], input=input, capture_output=True, text=True, timeout=120, env={**os.environ, **env}
    )


@pytest.mark.parametrize("command", ["generate", "chat", "replay", "bench", "preferences"])
def test_help_shows_what_a_command_does(command: str) -> None:
    result = rain(command, "--help")
    assert result.returncode == 0
    assert "Usage" in result.stdout
    assert command == "preferences" or "Example" in result.stdout


def test_bench_names_every_mode_that_it_takes() -> None:
    shown = rain("bench", "--help").stdout
    for mode in ("optimistic,", "fast,", "faithful,", "vanilla,", "optimistic-clause"):
        assert mode in shown


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["generate"], 2, "give a PROMPT"),
        (["generate", "  ", "-p", "positive"], 2, "prompt is empty"),
        (["generate", "hi"], 2, "--preference harmless"),
        (["generate", "hi", "-p", "nope"], 2, "built in are"),
        (["generate", "hi", "-p", "positive", "--preset", "nope"], 2, "none of harmless"),
        (["generate", "hi", "-p", "positive", "--evaluator", "nope"], 2, "it supports"),
        (["generate", "hi", "-p", "positive", "--set", "nope=1"], 2, "unknown setting"),
        (["generate", "hi", "-p", "positive", "--set", "similarity"], 2, "KEY=VALUE"),
        (["generate", "hi", "-p", "positive", "--max-tokens", "0"], 2, "above zero"),
        (["generate", "hi", "-p", "positive", "--max-tokens", "x"], 2, "valid integer"),
        (["generate", "hi", "-p", "positive", "--max-seconds", "nan"], 2, "above zero"),
        (["generate", "hi", "-p", "positive", "--context", "-5"], 2, "above zero"),
        (["generate", "hi", "-p", "positive", "--model", "nope"], 2, "nope"),
        (["generate", "hi", "-p", "positive", "--model", "none.gguf"], 2, "none.gguf"),
        (["generate", "hi", "-p", "positive", "--trace", "/no/such/t.jsonl"], 2, "cannot write the trace"),
        (["generate", "hi", "--messages", "none.json"], 2, "not both|PROMPT"),
        (["generate", "--messages", "none.json", "-p", "positive"], 2, "cannot be read"),
        (["generate", "hi", "--nope"], 2, "No such option"),
        (["nope"], 2, "No such command"),
        (["replay", "none.jsonl"], 2, "no trace at"),
        (["bench", "--limit", "0"], 2, "above zero"),
        (["bench", "--modes", "dice"], 2, "none of optimistic"),
        (["bench", "--modes", "vanilla,vanilla"], 2, "named 2 times"),
        (["bench", "--plot", "/no/such/x.png"], 2, "no such folder"),
        (["bench", "--modes", ","], 2, "name at least one mode"),
        (["generate", "hi", "-p", "positive", "--context", "99999999999"], 2, "at most"),
        (["generate", "hi", "-p", "positive", "--threads", "9999"], 2, "at most"),
        (["generate", "hi", "-p", "positive", "--set", "threshold=inf"], 2, "not between"),
        (["generate", "hi", "-p", "harmless", "--evaluator", "dice"], 2, "it supports"),
        (["generate", "hi", "-p", "harmless", "--evaluator", "no_such:thing"], 2, "No module named"),
        (["generate", "hi", "-p", "harmless", "--wording", "nope"], 2, "no wording 'nope'; it has default"),
        (["generate", "hi", "--preset", "harmless", "--wording", "voice"], 2, "brings its own questions"),
        (["generate", "hi", "-p", "harmless", "--judge-model", "nope"], 2, "--judge-model: there is no model"),
    ],
)
def test_wrong_use_is_told_in_a_line(words: list[str], code: int, message: str) -> None:
    result = rain(*words)
    assert result.returncode == code
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 3
    assert any(part in result.stderr for part in message.split("|"))


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GIF89a" + bytes(100))
    (tmp_path / "y.gguf").write_bytes(b"GGUF" + bytes(8))
    for name in ("x.gguf", "y.gguf"):
        result = rain("generate", "hi", "-p", "positive", "--model", str(tmp_path / name))
        assert result.returncode in (1, 2)
        assert name in result.stderr
        assert len(result.stderr.strip().splitlines()) <= 3


def test_preferences_are_listed() -> None:
    rows = json.loads(rain("preferences", "--json").stdout)["preferences"]
    assert {"harmless", "helpful", "positive", "truthful"} <= {row["name"] for row in rows}


@pytest.mark.real
def test_into_a_pipe_goes_only_the_text_and_a_trace_replays(tmp_path: Path) -> None:
    trace = tmp_path / "t.jsonl"
    words = ["-p", "positive", "--style", "plain", "--max-tokens", "6", "--max-iterations", "12", "--trace", str(trace)]
    result = rain("generate", "-", *words, input="The film opens with\n")
    assert result.returncode == 0
    (notice,) = result.stderr.splitlines()
    assert "nobody has checked" in notice
    assert len(result.stdout.strip()) > 3
    again = rain("replay", str(trace))
    assert (again.returncode, again.stdout) == (0, result.stdout)


@pytest.mark.real
def test_json_and_environment_variables() -> None:
    result = rain("generate", "Hello", "--json", RAIN_MODE="vanilla", RAIN_MAX_TOKENS="5")
    reply = json.loads(result.stdout)
    assert (reply["mode"], reply["usage"]["completion_tokens"]) == ("vanilla", 5)


@pytest.mark.real
def test_ctrl_c_prints_what_is_committed(tmp_path: Path) -> None:
    trace = tmp_path / "t.jsonl"
    words = [
        "generate",
        "The film opens with",
        "-p",
        "positive",
        "--style",
        "plain",
        "--max-tokens",
        "400",
        "--mode",
        "faithful",
    ]
    quick = ["--set", "iterations_per_set=3", "--set", "fresh_iterations=2", "--trace", str(trace)]
    process = subprocess.Popen([*RAIN, *words, *quick], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (trace.exists() and '"Committed"' in trace.read_text()):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out.strip()
    assert "Traceback" not in err
