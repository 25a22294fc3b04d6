"""A short check of the embedded model, from the command line to what is kept."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Importing it here would load it before its threads are told to sleep.
if importlib.util.find_spec("llama_cpp") is None:
    pytest.skip("llama-cpp-python is not installed", allow_module_level=True)

pytestmark = pytest.mark.real
RAIN = [sys.executable, "-c", "from rain.cli import main; main()"]


def check(*words: str, kept: Path) -> subprocess.CompletedProcess[str]:
    command = [*RAIN, "check", "--preference", "positive", *words]
    env = {**os.environ, "RAIN_CALIBRATIONS": str(kept)}
    return subprocess.run(command, capture_output=True, text=True, timeout=900, env=env)


def test_a_check_of_twelve_texts_and_the_same_again_for_nothing(tmp_path: Path) -> None:
    words = ["--limit", "12", "--evaluators", "one_word,contrastive", "--placements", "in_place"]
    words += ["--out", str(tmp_path / "scores.jsonl")]
    first = check(*words, "--json", kept=tmp_path)
    assert first.returncode == 0, first.stderr
    found = json.loads(first.stdout)
    assert set(found["evaluators"]) == {"one_word in_place", "contrastive"}
    one_word = found["evaluators"]["one_word in_place"]
    assert one_word["n"] == found["n"] == 12
    assert one_word["auc"] > 0.7
    assert one_word["auc_low"] < one_word["auc"] <= one_word["auc_high"]
    assert 5 < one_word["forward_tokens"] < 40
    assert {"pair_accuracy", "accuracy", "false_alarms", "caught", "at", "verdict"} <= set(one_word)
    assert set(found["baselines"]) == {"refusal rule", "fluency"}
    assert found["kept"] == 0, "twelve texts are too few to keep"
    again = check(*words, kept=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "\n0 forward tokens" in again.stdout
    assert again.stdout.strip().splitlines()[-1].startswith("smollm2 ")
