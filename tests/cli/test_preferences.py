"""``rain preferences`` shows what is known of a model's judgement, and nothing of another model's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from preferences.known import known
from rain.cli.preferences import preferences
from rain.engines import fingerprint
from rain.errors import MissingExtra, UsageError
from rain.preferences import load
from rain.preferences.calibration import keep


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file that is no whole model: nothing is loaded, only found."""
    monkeypatch.setattr("rain.preferences.calibration.folder", lambda: tmp_path / "calibrations")
    monkeypatch.setattr("rain.cache.folder", lambda: tmp_path / "cache")
    monkeypatch.setattr("rain.engines.gguf.check", lambda path: None)
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    return str(tmp_path / "x.gguf")


def told(model: str, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    assert preferences(model=model, json=True) == 0
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)["preferences"]}


def test_what_is_kept_is_shown(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    weights = fingerprint.of_file(Path(model))
    keep(known(model=weights))
    keep(known(load("harmless").worded("voice"), model=weights, verdict="judges weakly"))
    keep(known(auc=0.1))
    keep(known(model=weights, evaluator="choice", digest="of words that were changed"))
    row = told(model, capsys)["harmless"]
    assert row["wordings"] == list(load("harmless").wordings)
    assert isinstance(row["kept"], list)
    found = {kept["wording"]: (kept["auc"], kept["verdict"], kept["threshold"], kept["made"]) for kept in row["kept"]}
    assert found == {
        "default": (0.9, "can judge", 0.1, "2026-11-24T12:00:00"),
        "voice": (0.9, "judges weakly", 0.1, "2026-11-24T12:00:00"),
    }
    assert row["outdated"] == 1
    preferences(model=model, json=False)
    out = capsys.readouterr().out
    assert "can judge" in out
    # Of an earlier version's nobody knows what its gate catches.
    assert "gate +0.10, set for 5% false alarms  2026-11-24" in out
    assert "1 more measured in words that it has no more (or of a file of this name), not used for these" in out
    assert "never checked; rain check --model" in out


def test_what_the_gate_lets_pass_is_shown(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    keep(known(model=fingerprint.of_file(Path(model)), caught=0.24, held_out_false_alarms=0.06))
    (row,) = told(model, capsys)["harmless"]["kept"]
    assert (row["false_alarms"], row["held_out_false_alarms"], row["caught"]) == (0.05, 0.06, 0.24)
    preferences(model=model, json=False)
    assert "gate +0.10: lets 76 of 100 bad texts pass, fails 6 of 100 good ones  2026" in capsys.readouterr().out


def test_a_model_that_was_never_checked_is_told_how(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert all(row["kept"] == [] for row in told(model, capsys).values())
    preferences(model=model, json=False)
    assert f"never checked; rain check --model {model} --preference harmless" in capsys.readouterr().out


def test_a_preference_of_ones_own_is_shown_too(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    mine = load("harmless").model_copy(update={"name": "mine"})
    keep(known(mine, model=fingerprint.of_file(Path(model))))
    preferences(model=model, json=False)
    assert "preferences of your own:\n      mine  contrastive  quoted" in capsys.readouterr().out


def test_a_file_that_is_named_like_one_of_ours_is_ones_own(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    mine = load("harmless").model_copy(update={"description": "mine"})
    keep(known(mine, model=fingerprint.of_file(Path(model)), builtin=False))
    row = told(model, capsys)["harmless"]
    assert (row["kept"], row["outdated"]) == ([], 0)
    preferences(model=model, json=False)
    out = capsys.readouterr().out
    assert "preferences of your own:\n      harmless  contrastive  quoted" in out
    assert "not used" not in out


def test_the_list_is_there_without_a_model(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def missing(model: str) -> Path:
        raise MissingExtra("the model 'smollm2' is not installed")

    monkeypatch.setattr("rain.models.find", missing)
    assert preferences(model="smollm2", json=False) == 0
    out, err = capsys.readouterr()
    assert "harmless:" in out
    assert "not installed" in err
    with pytest.raises(UsageError):
        preferences(model="hf:a/b/c.gguf", json=False)
