# `make` lists the commands. PYTHON=/path/to/python3.11 picks the Python that .venv is made with.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= build/positive.jsonl
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test check format bench proof docs wheel clean python

help:  ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

python:
	@command -v $(PYTHON) >/dev/null || { echo "rain setup: no $(PYTHON) here. On Debian or Ubuntu: sudo apt install python3 python3-venv" >&2; exit 1; }

setup: python  ## make .venv ready: the engine, the package, the embedded model (once; 5 minutes where it must compile)
	@$(PYTHON) tools/setup.py

setup-dev: python
	@$(PYTHON) tools/setup.py --dev

demo: setup  ## three review openings on a real model: vanilla beside RAIN
	@$(BIN)/python examples/demo.py

test: check  ## everything: static checks, tests, the built wheel in an empty environment
	$(BIN)/python -m pytest
	tools/smoke_wheel.sh

check: setup-dev  ## static checks only: imports, lint, format, types
	$(BIN)/lint-imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup-dev  ## put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## what RAIN costs over vanilla, in tokens, calls and seconds
	$(BIN)/rain bench

proof: setup  ## what RAIN gains: 30 review openings against vanilla, by VADER (OUT=file; goes on where it stopped)
	$(BIN)/python benchmarks/positive.py --out $(OUT)

docs: setup-dev  ## check that what README and docs name exists
	$(BIN)/python -m pytest tests/test_housekeeping.py

wheel: setup-dev  ## try the built wheel in an empty environment
	tools/smoke_wheel.sh

clean:  ## remove what was built, .venv included (kept wheels stay in ~/.cache/rain)
	rm -rf .venv build dist .nox .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .grimp_cache .hypothesis
