"""What is said about a judge before anything is written with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from preferences.fake import FakeEngine
from preferences.known import MODEL, known
from rain.errors import UsageError
from rain.preferences import from_sentence, load
from rain.preferences.calibration import PACKAGED, Calibration, keep
from rain.preferences.preference import Preference
from rain.preferences.trust import Trust, trust
from rain.preferences.weighted import Part, Weighted

HARMLESS = load("harmless")


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rain.preferences.calibration.folder", lambda: tmp_path / "calibrations")


def ask(preference: Preference = HARMLESS, evaluator: str = "contrastive", **more: Any) -> Trust:
    return trust(FakeEngine(), preference, evaluator, more.pop("placement", "quoted"), "chat", **more)


def test_a_judge_that_nobody_checked_is_told_with_the_command_that_checks_it() -> None:
    found = ask()
    assert (found.checked, found.verdict, found.auc, found.warn) == (False, None, None, False)
    assert found.line is not None
    assert found.line.startswith("nobody has checked")
    assert found.line.endswith("rain check --model fake --preference harmless --evaluators contrastive")


def test_a_check_of_another_model_evaluator_or_wording_is_no_check() -> None:
    keep(known(model="ffffffffffffffff"))
    keep(known(evaluator="choice"))
    keep(known(HARMLESS.worded(HARMLESS.wordings[1])))
    keep(known(digest="of words that were changed"))
    assert not ask().checked


def test_a_check_in_another_style_is_told_but_is_no_check() -> None:
    keep(known(style="plain"))
    found = ask()
    assert (found.checked, found.auc) == (False, None)
    assert found.line is not None
    assert "in the style 'chat' ('plain': can judge)" in found.line
    assert found.line.endswith("--evaluators contrastive --style chat")


def test_a_judge_that_can_judge_needs_no_words() -> None:
    keep(known())
    found = ask()
    assert (found.checked, found.verdict, found.line, found.warn) == (True, "can judge", None, False)
    found.require()


def test_a_judge_that_was_checked_on_our_own_samples_only_is_told_how_to_check_it_on_others() -> None:
    keep(known(data="samples"))
    found = ask()
    assert (found.verdict, found.warn) == ("can judge", False)
    assert found.line == (
        "fake can judge 'harmless' by contrastive (quoted) on our own samples; on texts like yours: "
        "rain check --model fake --preference harmless --data FILE.jsonl --label FIELD --evaluators contrastive"
    )
    found.require()


def test_a_judge_that_rain_comes_with_needs_no_words(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Calibration.model_validate_json(file.read_bytes()) for file in PACKAGED.glob("*/*.json")]
    assert {row.data for row in rows} == {"samples"}
    for row in rows:
        keep(row)
        engine = FakeEngine(fingerprint=row.model)
        assert trust(engine, load(row.preference), row.evaluator, row.placement, row.style).verdict == "can judge"
        assert trust(engine, load(row.preference), row.evaluator, row.placement, row.style).line is None


def test_a_weak_judge_is_told_with_the_reason_of_its_verdict() -> None:
    reason = "0.66 [0.59, 0.73] of pairs ranked right (N = 242, 49 prompts), but the area over all texts is only 0.63"
    keep(known(verdict="judges weakly", auc=0.63, auc_low=0.55, auc_high=0.74, reason=reason))
    found = ask()
    assert found.line == f"fake judges 'harmless' weakly by contrastive (quoted) on mine.jsonl: {reason}; expect little"
    assert not found.warn
    found.require()


@pytest.mark.parametrize(
    ("verdict", "says"),
    [("cannot judge this", "cannot judge 'harmless'"), ("only recognises refusals", "only recognises refusals")],
)
def test_a_judge_that_is_not_trusted_is_a_warning_with_the_figures_that_the_verdict_is_about(
    verdict: str, says: str
) -> None:
    reason = "0.41 [0.30, 0.53] of pairs without refusals ranked right (N = 40, 20 prompts): not above chance"
    # Of all texts, those included that refuse, the area is good.
    keep(known(verdict=verdict, auc=0.91, auc_low=0.86, auc_high=0.95, pair_accuracy=0.88, reason=reason))
    found = ask()
    assert found.warn
    assert found.line is not None
    assert f"fake {says}" in found.line
    assert f"by contrastive (quoted) on mine.jsonl: {reason}; " in found.line
    keep(known(verdict=verdict, reason=reason, data="samples"))
    assert f"by contrastive (quoted): {reason}; " in str(ask().line)
    assert "0.91" not in found.line
    assert ("no better than what judges nothing" in found.line) is (verdict == "cannot judge this")
    assert found.line.endswith("rain check --model fake --preference harmless")


@pytest.mark.parametrize(
    ("refusing_is_good", "says"),
    [(True, "rewarded for refusing"), (False, "rewarded for whatever does not refuse"), (None, "about refusing alone")],
)
def test_what_a_judge_that_only_recognises_refusals_rewards_is_told_the_right_way_round(
    refusing_is_good: bool | None, says: str
) -> None:
    keep(known(verdict="only recognises refusals", refusing_is_good=refusing_is_good))
    assert f"; it{'s reward' if refusing_is_good is None else ''} will be {says}" in str(ask().line)


def test_a_better_judge_on_the_same_model_is_named() -> None:
    keep(known(verdict="cannot judge this"))
    # The best by pairs is right in 0.85 [0.75, 0.95] of them: of those above 0.75 the cheapest is told.
    keep(known(evaluator="choice", placement="in_place", pair_accuracy=0.85, pair_low=0.75, forward_tokens=94))
    keep(known(evaluator="yes_no", placement="in_place", pair_accuracy=0.8, forward_tokens=54))
    keep(known(evaluator="yes_no", placement="quoted", auc_low=0.89, pair_accuracy=0.78, forward_tokens=100))
    keep(known(evaluator="one_word", placement="quoted", pair_accuracy=0.7, forward_tokens=14))
    keep(known(evaluator="one_word", placement="in_place", auc_low=0.9, verdict="judges weakly", forward_tokens=14))
    for line in (ask().line, ask(evaluator="one_word", placement="in_place").line):
        assert line is not None
        assert line.endswith("Better here: --evaluator yes_no --placement in_place")


def test_a_judge_without_pairs_is_compared_by_its_area() -> None:
    keep(known(verdict="cannot judge this"))
    keep(known(evaluator="choice", auc=0.9, auc_low=0.8, pair_accuracy=None, pair_low=None, forward_tokens=94))
    keep(known(evaluator="yes_no", auc=0.7, auc_low=0.6, pair_accuracy=0.99, pair_low=0.9, forward_tokens=54))
    assert str(ask().line).endswith("Better here: --evaluator choice --placement quoted")


def test_what_the_paper_asks_was_not_measured() -> None:
    keep(known())
    found = ask(as_checked=False)
    assert not found.checked
    assert found.line is not None
    assert found.line.endswith(
        "once as the paper does: no check measures that; add --preference harmless --evaluator contrastive to ask both "
        "ways, and check: rain check --model fake --preference harmless --evaluators contrastive"
    )


def test_a_preference_without_samples_needs_labelled_texts() -> None:
    line = ask(from_sentence("Answer like a patient teacher")).line
    assert line is not None
    assert "rain check --model fake --prefer 'Answer like a patient teacher' --data FILE.jsonl --label FIELD" in line
    mine = HARMLESS.model_copy(update={"name": "mine"})
    assert "--preference FILE.toml --data" in str(ask(mine).line)
    of_the_same_name = HARMLESS.model_copy(update={"description": "a file of somebody's own"})
    assert "--data" in str(ask(of_the_same_name).line)


def test_another_wording_is_named_in_the_command() -> None:
    name = HARMLESS.wordings[1]
    assert f"--preference harmless --evaluators contrastive --wordings {name}" in str(ask(HARMLESS.worded(name)).line)


def test_a_model_with_spaces_in_its_name_can_be_pasted() -> None:
    engine = FakeEngine(name="my models/x.gguf")
    assert "--model 'my models/x.gguf'" in str(trust(engine, HARMLESS, "contrastive", "quoted", "chat").line)


def test_of_several_preferences_the_worst_known_is_told() -> None:
    helpful = load("helpful")
    both = Weighted((Part(HARMLESS), Part(helpful)))
    keep(known())
    found = trust(FakeEngine(), both, "weighted", None, "chat")
    assert (found.checked, found.verdict) == (False, None)
    assert "judges 'helpful' by contrastive" in str(found.line)
    keep(known(helpful, verdict="cannot judge this"))
    found = trust(FakeEngine(), both, "weighted", None, "chat")
    assert (found.checked, found.verdict, found.auc, found.warn) == (True, "cannot judge this", None, True)
    keep(known(helpful))
    assert trust(FakeEngine(), both, "weighted", None, "chat") == Trust(checked=True, verdict="can judge")


def test_a_classifier_is_not_the_model() -> None:
    keep(known(evaluator="classifier"))
    found = ask(evaluator="classifier")
    assert not found.checked
    assert "not by the model itself" in str(found.line)


@pytest.mark.parametrize("verdict", [None, "cannot judge this", "only recognises refusals"])
def test_require_check_refuses_judges_that_are_not_known_to_judge(verdict: str | None) -> None:
    if verdict:
        keep(known(verdict=verdict))
    with pytest.raises(UsageError, match="--require-check") as error:
        ask().require()
    assert "rain check" in str(error.value)
    assert "\n" not in str(error.value)


def test_replies_carry_what_is_known() -> None:
    assert ask().as_dict() == {
        "checked": False,
        "verdict": None,
        "auc": None,
        "auc_low": None,
        "auc_high": None,
        "pair_accuracy": None,
        "false_alarms": None,
        "caught": None,
        "data": None,
    }
    keep(known(caught=0.24, held_out_false_alarms=0.06))
    assert ask().as_dict() == {
        "checked": True,
        "verdict": "can judge",
        "auc": 0.9,
        "auc_low": 0.82,
        "auc_high": 0.95,
        "pair_accuracy": 0.75,
        "false_alarms": 0.06,
        "caught": 0.24,
        "data": "mine.jsonl 0123456789ab",
    }
    assert FakeEngine().fingerprint == MODEL
