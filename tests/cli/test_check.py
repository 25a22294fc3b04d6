"""``rain check`` as a stranger meets it: wrong use in one line, and one short check of the embedded model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from preferences.test_check import coin, judge_by, rows
from rain.cli.check import check
from rain.errors import UsageError

RAIN = [sys.executable, "-c", "from rain.cli import main; main()"]


def rain(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RAIN, *words], capture_output=True, text=True, timeout=600, env={**os.environ, **env})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = {
        "good": [{"text": "a", "good": True}, {"text": "b", "good": False}],
        "one-sided": [{"text": "a", "good": True}, {"text": "b", "good": True}],
        "unlabelled": [{"text": "a"}, {"text": "b"}],
        "three": [{"text": kind, "good": kind} for kind in "abc"],
    }
    rows["unpaired"] = [{"prompt": row["text"], "reply": "c", "good": row["good"]} for row in rows["good"]]
    for name, lines in rows.items():
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    parts = ("[[parts]]", 'preference = "harmless"', "[[parts]]", 'preference = "helpful"', 'evaluator = "yes_no"')
    (tmp_path / "both.toml").write_text("\n".join(parts), encoding="utf-8")
    (tmp_path / "broken.jsonl").write_text("not json", encoding="utf-8")
    (tmp_path / "folder.png").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say what shall be judged"),
        (["-p", "positive", "--prefer", "kind"], "one of them"),
        (["-p", "nope"], "built in are"),
        (["-p", "DATA/both.toml", "--model", "x.gguf"], "has no samples of its own: give labelled texts with --data"),
        (
            ["-p", "DATA/both.toml", "--data", "DATA/good.jsonl", "--evaluators", "yes_no"],
            "names the evaluators of its parts",
        ),
        (["-p", "DATA/both.toml", "--data", "DATA/good.jsonl", "--wordings", "short"], "whose wordings stay"),
        (["--prefer", "kind"], "no samples of its own"),
        (["-p", "positive", "--evaluators", "nope"], "it supports"),
        (["-p", "positive", "--evaluators", ","], "name at least one"),
        (["-p", "positive", "--placements", "nowhere"], "in_place, quoted"),
        (["-p", "positive", "--wordings", "nope"], "no wording 'nope'"),
        (["-p", "positive", "--false-alarms", "1.5"], "between 0 and 1"),
        (["-p", "positive", "--style", "nope"], "none of chat"),
        (["-p", "positive", "--plot", "x.doc"], ".png"),
        (["-p", "positive", "--plot", "DATA/nowhere/x.png"], "there is no folder"),
        (["-p", "positive", "--plot", "DATA/folder.png"], "cannot be written there"),
        (["-p", "positive", "--limit", "1"], "two texts"),
        (["-p", "positive", "--max-tokens", "0"], "above zero"),
        (["-p", "positive", "--label", "x"], "--data"),
        (["-p", "positive", "--data", "none.jsonl"], "cannot be read"),
        (["-p", "positive", "--data", "DATA/broken.jsonl"], "line 1"),
        (["-p", "positive", "--data", "DATA/one-sided.jsonl"], "all 2 are good"),
        (["-p", "positive", "--data", "DATA/unlabelled.jsonl"], "no field 'good'"),
        (["-p", "positive", "--data", "DATA/three.jsonl"], "3 values"),
        (["-p", "positive", "--data", "DATA/good.jsonl", "--label", "good=maybe"], "no text has the label"),
        (["-p", "positive", "--data", "DATA/good.jsonl", "--require-pairs"], "for the same prompt"),
        (["-p", "positive", "--data", "DATA/unpaired.jsonl"], "--no-require-pairs"),
        (["-p", "positive", "--judge-model", "none.gguf"], "--judge-model: none.gguf"),
        (["-p", "positive", "--judge-model", "nope"], "--judge-model: there is no model 'nope'"),
        # What is wrong next is told: neither texts that stand alone nor those who want areas only need pairs.
        (["-p", "positive", "--data", "DATA/good.jsonl", "--model", "nope"], "no model 'nope'"),
        (["-p", "positive", "--data", "DATA/unpaired.jsonl", "--no-require-pairs", "--model", "nope"], "no model"),
        (["-p", "positive", "--context", "0"], "above zero"),
    ],
)
def test_wrong_use_is_told_in_a_line(data: Path, words: list[str], message: str) -> None:
    result = rain("check", *(word.replace("DATA", str(data)) for word in words))
    assert result.returncode == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert message in result.stderr


KIND = """name = "kind"
description = "Kind words."
default = "yes_no"
paper = "yes_no"
[yes_no]
task = "Judge."
positive = "Is it kind?"
negative = "Is it unkind?"
"""


@pytest.fixture
def kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a check of a model without a file takes."""
    monkeypatch.setattr("rain.preferences.calibration.folder", lambda: tmp_path / "calibrations")
    monkeypatch.setattr("rain.models.open_engine", lambda *_, **__: judge_by(coin))
    texts = [{"prompt": row.prompt, "reply": row.reply, "good": row.good} for row in rows(prompts=6)]
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps(text) for text in texts), encoding="utf-8")
    (tmp_path / "kind.toml").write_text(KIND, encoding="utf-8")
    return {"preference": str(tmp_path / "kind.toml"), "data": tmp_path / "texts.jsonl", "model": "fake"}


def test_a_file_of_several_preferences_is_checked_as_one_judge(
    kind: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "several.toml"
    file.write_text('[[parts]]\npreference = "kind.toml"\n[[parts]]\npreference = "kind.toml"\nweight = 2\n')
    check(**{**kind, "preference": str(file)}, out=tmp_path / "scores.jsonl", json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["preference"], list(told["evaluators"])) == ("kind+kind", ["weighted"])
    assert told["verdict"] == "cannot judge this"
    assert told["kept"] == 0  # of twelve texts nothing is kept
    assert told["keeping"][0].endswith("20 good and 20 bad texts are needed, and there were 6 good and 6 bad.")
    check(**{**kind, "preference": str(file)}, out=tmp_path / "scores.jsonl")
    assert "weighted" in capsys.readouterr().out


def test_what_to_use_is_told_with_the_style_and_the_model_that_were_measured(
    kind: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = judge_by(lambda text: 2.0 if "lovely" in text.rsplit("What a", 1)[-1] else -2.0)
    monkeypatch.setattr("rain.models.open_engine", lambda *_, **__: engine)
    check(**kind, placements="in_place", judge_model="another model", style="turns", json=True, forget=True)
    told = json.loads(capsys.readouterr().out)
    use = "Use: --evaluator yes_no --placement in_place --style turns --judge-model 'another model' ("
    assert use in told["sentence"]


def test_texts_that_were_cut_are_told(kind: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    few = {**kind, "placements": "in_place", "max_tokens": 8}
    check(**few, json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["cut"], told["max_tokens"]) == (12, 8)
    check(**few)
    out = capsys.readouterr().out
    assert "12 of 12 texts are longer than 8 tokens and were judged up to there, as unfinished" in out


def test_a_classifier_is_shown_and_compared_but_is_no_judgement_of_the_model(
    kind: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = sys.modules.setdefault("words_of_kindness", ModuleType("words_of_kindness"))
    monkeypatch.setattr(words, "lovely", lambda text: float("lovely" in text), raising=False)
    name = "words_of_kindness:lovely"
    both = {**kind, "evaluators": f"yes_no,{name}", "placements": "in_place", "forget": True}
    check(**both, json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["evaluators"][name]["auc"] == 1.0
    assert told["evaluators"][name]["self_evaluation"] is False
    assert (told["verdict"], told["recommended"]) == ("cannot judge this", None)
    assert told["sentence"].startswith("fake cannot judge 'kind'; the best was yes_no in_place")
    assert told["classifiers"][name].startswith("1.00 [")
    assert "beside yes_no in_place (0." in told["classifiers"][name]
    check(**both)
    assert f"{name} is a classifier and no judgement of the model's own" in capsys.readouterr().out
    check(**{**both, "evaluators": name}, json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["verdict"], told["recommended"]) == (None, None)
    assert told["sentence"] == (
        "There is no verdict on how fake judges 'kind': only classifiers were asked, which judge without the model."
    )


@pytest.mark.parametrize("as_json", [False, True])
def test_what_was_found_is_printed_though_it_cannot_be_drawn(
    kind: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    as_json: bool,
) -> None:  # fmt: skip
    def full(path: Path) -> Callable[[dict[str, Any]], None]:
        def draw(told: dict[str, Any]) -> None:
            raise UsageError(f"--plot {path}: cannot be written: the disk is full")

        return draw

    monkeypatch.setattr("rain.cli.check_plot.drawing", full)
    with pytest.raises(UsageError, match="the disk is full"):
        check(**kind, plot=tmp_path / "x.png", json=as_json)
    assert "fake cannot judge 'kind'" in capsys.readouterr().out


def test_help_shows_an_example() -> None:
    result = rain("check", "--help")
    assert result.returncode == 0
    assert "Example" in result.stdout


@pytest.mark.real
def test_an_evaluator_that_a_style_cannot_ask_is_told_with_those_that_it_can() -> None:
    result = rain("check", "-p", "harmless", "--evaluators", "openings", "--style", "plain", "--limit", "4")
    assert result.returncode == 2
    assert "openings" in result.stderr
    assert "contrastive" in result.stderr


def test_an_option_of_one_command_has_a_variable_named_after_both() -> None:
    result = rain("check", "-p", "positive", RAIN_CHECK_EVALUATORS="nonsense")
    assert result.returncode == 2
    assert "cannot be judged by 'nonsense'" in result.stderr
