"""What is kept of a judge is used when replies are searched for, and told before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rain
from preferences.known import known
from rain.api import Model
from rain.cli.options import tell
from rain.engines.scripted import ScriptedEngine
from rain.preferences import Part, Weighted, calibration, load
from rain.preferences.calibration import Calibration, keep
from rain.trace import Trace

MODEL = Model(ScriptedEngine())
QUICK: dict[str, Any] = {
    "preference": "positive",
    "evaluator": "contrastive",
    "style": "plain",
    "settings": {"iterations_per_set": 6, "fresh_iterations": 3},
    "budget": rain.Budget(8),
}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rain.preferences.calibration.folder", lambda: tmp_path / "calibrations")


def measured(**changes: Any) -> Calibration:
    return known(load("positive"), **{"model": MODEL.engine.fingerprint, "style": "plain", **changes})


def scores(**options: Any) -> float | None:
    return MODEL.generate(" the movie was", **{**QUICK, **options}).score


def test_a_calibration_that_is_kept_changes_the_scores() -> None:
    before = scores(settings={**QUICK["settings"], "threshold": -1})
    keep(measured(zero=100.0, slope=1.0))
    after = scores(settings={**QUICK["settings"], "threshold": -1})
    assert before is not None
    assert after is not None
    assert after < -0.99 < before
    keep(measured(zero=100.0, slope=1.0, style="chat"))
    assert scores(settings={**QUICK["settings"], "threshold": -1}) == after


def test_v_asks_no_more_of_a_judge_than_it_gives_to_good_texts(tmp_path: Path) -> None:
    def threshold(**options: Any) -> float:
        MODEL.generate(" the movie was", **{**QUICK, "mode": "fast", **options}, trace=tmp_path / "t.jsonl")
        return Trace(tmp_path / "t.jsonl").header.settings.threshold

    assert threshold() == 0.8
    keep(measured(mean_good=0.3, mean_bad=-0.2))
    assert threshold() == pytest.approx(0.25)
    assert threshold(settings={**QUICK["settings"], "threshold": 0.7}) == 0.7
    assert threshold(settings={**QUICK["settings"], "score": "hard"}) == 0.8


def test_what_mends_a_draft_passes_as_a_draft_does(tmp_path: Path) -> None:
    def both(**settings: Any) -> tuple[float, float]:
        trace = tmp_path / "t.jsonl"
        MODEL.generate(" the movie was", **{**QUICK, "settings": {**QUICK["settings"], **settings}}, trace=trace)
        found = Trace(trace).header.settings
        return found.gate, found.threshold

    keep(measured(threshold=0.1, mean_good=0.3, mean_bad=-0.2))
    assert both() == (0.1, 0.1)
    assert both(gate=-0.4) == (-0.4, -0.4)
    assert both(gate=-0.4, threshold=0.6) == (-0.4, 0.6)
    assert both(score="hard")[1] == 0.8


@pytest.mark.parametrize("evaluator", ["contrastive+refusals", "contrastive"])
@pytest.mark.parametrize("judged_by", ["itself", "another"])
def test_gate_and_v_are_the_judges_own_also_within_another(tmp_path: Path, evaluator: str, judged_by: str) -> None:
    keep(measured(threshold=0.1, mean_good=0.3, mean_bad=-0.2))
    model = MODEL if judged_by == "itself" else Model(ScriptedEngine(seed=3), judge=MODEL.engine)
    model.generate(" the movie was", **{**QUICK, "evaluator": evaluator, "mode": "fast"}, trace=tmp_path / "t.jsonl")
    found = Trace(tmp_path / "t.jsonl").header.settings
    assert (found.gate, found.threshold) == (0.1, pytest.approx(0.25))


def test_gate_and_v_of_several_preferences_are_those_of_the_judge_of_them_all(tmp_path: Path) -> None:
    both = Weighted((Part(load("positive"), "contrastive"), Part(load("positive"), "contrastive", weight=2.0)))
    digest = calibration.digest(both, MODEL.engine.fingerprint, "plain")
    row = measured(evaluator="weighted", digest=digest, threshold=0.1, mean_good=0.3, mean_bad=-0.2)
    keep(row.model_copy(update={"preference": both.name}))
    asked = {**QUICK, "preference": both, "evaluator": None, "mode": "fast"}
    reply = MODEL.generate(" the movie was", **asked, trace=tmp_path / "t.jsonl")
    found = Trace(tmp_path / "t.jsonl").header.settings
    assert (found.gate, found.threshold) == (0.1, pytest.approx(0.25))
    assert reply.judge is not None
    assert (reply.judge["verdict"], reply.judge["auc"]) == ("can judge", 0.9)


def test_the_papers_presets_are_never_calibrated(tmp_path: Path) -> None:
    paper = {**QUICK, "preference": None, "evaluator": None, "preset": "positive"}
    before = MODEL.generate(" the movie was", **paper)
    keep(measured(evaluator="choice", zero=100.0))
    after = MODEL.generate(" the movie was", **paper, trace=tmp_path / "t.jsonl")
    assert (after.text, after.score) == (before.text, before.score)
    assert after.judge is not None
    assert (after.judge["checked"], after.judge["auc"]) == (True, 0.9)
    written = Trace(tmp_path / "t.jsonl").header.judge
    assert written is not None
    assert written.items() <= after.judge.items()


def test_the_papers_single_question_was_not_checked() -> None:
    model = Model(ScriptedEngine(pieces=[b" the", b" movie", b"Yes", b"No", b" was"]))
    paper: Any = {**QUICK, "preference": None, "evaluator": None, "preset": "truthful"}
    preference = load("truthful")
    for placement in ("quoted", "in_place"):
        row = known(preference, model=model.engine.fingerprint, evaluator="yes_no", placement=placement, style="plain")
        keep(row)
    trust = model.trust(" the movie was", **paper)
    assert trust is not None
    assert not trust.checked


def test_a_reply_carries_what_is_known_of_its_judge() -> None:
    keep(measured(verdict="judges weakly", caught=0.24, held_out_false_alarms=0.06))
    reply = MODEL.generate(" the movie was", **QUICK)
    assert reply.judge is not None
    assert (reply.judge["caught"], reply.judge["false_alarms"]) == (0.24, 0.06)
    assert (reply.judge["checked"], reply.judge["verdict"], reply.judge["auc_low"]) == (True, "judges weakly", 0.82)


def test_nothing_is_said_where_nothing_is_judged() -> None:
    assert MODEL.trust(" the movie was", mode="vanilla", style="plain", require_check=True) is None


def test_a_required_check_stops_before_anything_is_written() -> None:
    with pytest.raises(rain.UsageError, match="--require-check: nobody has checked"):
        MODEL.generate(" the movie was", **QUICK, require_check=True)
    keep(measured(verdict="cannot judge this"))
    with pytest.raises(rain.UsageError, match="--require-check: scripted cannot judge 'positive'"):
        MODEL.generate(" the movie was", **QUICK, require_check=True)
    keep(measured(verdict="judges weakly"))
    assert MODEL.generate(" the movie was", **QUICK, require_check=True).text


def test_the_notice_is_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    tell(MODEL.trust(" the movie was", **QUICK))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("rain: nobody has checked how well scripted judges 'positive'")
    assert err.count("\n") == 1
    tell(MODEL.trust(" the movie was", **QUICK), quiet=True)
    keep(measured())
    tell(MODEL.trust(" the movie was", **QUICK))
    assert capsys.readouterr().err == ""
    keep(measured(verdict="cannot judge this"))
    tell(MODEL.trust(" the movie was", **QUICK), quiet=True)
    assert capsys.readouterr().err.startswith("rain: warning: scripted cannot judge 'positive'")
