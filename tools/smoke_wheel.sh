#!/usr/bin/env bash
# The built wheel in an empty environment: it installs, imports, shows its help, and says what is missing.
set -eu
cd "$(dirname "$0")/.."
python=${SMOKE_PYTHON:-.venv/bin/python}
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
start=$(date +%s)
fail() { echo "smoke test of the wheel: $1" >&2; [ ! -s "$room/log" ] || tail -n 15 "$room/log" >&2; exit 1; }

"$python" -m pip wheel -q --no-deps -w "$room" . >"$room/log" 2>&1 || fail "it does not build"
wheel=$(echo "$room"/rain_lm-*.whl)
"$python" -m venv "$room/venv" >"$room/log" 2>&1 || fail "no virtual environment"
"$room/venv/bin/python" -m pip install -q "$wheel" >"$room/log" 2>&1 || fail "it does not install"

cd "$room"
bin=$room/venv/bin
export XDG_CACHE_HOME=$room/cache HOME=$room
: >log
"$bin/python" -c 'import rain; print("rain", rain.__version__)' >out 2>log || fail "import rain"
"$bin/python" - >out 2>log <<'PYTHON' || fail "importing rain loads heavy things"
import sys, rain
heavy = sorted({"numpy", "wordllama", "llama_cpp", "rich", "pydantic"} & set(sys.modules))
assert not heavy, f"import rain loads {heavy}"
PYTHON
"$bin/python" -c 'import importlib.resources as r; assert (r.files("rain") / "py.typed").is_file()' 2>log || fail "py.typed is not in it"
"$bin/rain" --help >out 2>log || fail "rain --help"
grep -q generate out || fail "rain --help does not name generate"

code=0
"$bin/rain" generate hi --preference positive >out 2>log </dev/null || code=$?
[ $code = 2 ] || fail "rain generate without an engine: exit $code instead of 2"
[ ! -s out ] || fail "rain generate without an engine writes to standard output"
[ "$(wc -l <log)" -le 3 ] || fail "rain generate without an engine says more than three lines"
grep -q 'pip install' log || fail "rain generate without an engine does not say what to install"
said=$(cat log)
echo "smoke test of the wheel: fine in $(($(date +%s) - start)) s; without an engine it says: $said"
