"""What is known of a judge is kept, found again for exactly that judge, and makes its scores probabilities."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from preferences.fake import ByteTokenizer, FakeEngine
from preferences.known import MODEL, known
from preferences.test_check import PREFERENCE as KIND
from preferences.test_check import coin, judge_by, noise, rows
from rain.chat import Conversation, Message, prompt_tokens
from rain.preferences import Part, Weighted, calibration, keeping, load, make_evaluator
from rain.preferences.asked import CheckedJudge, conversation_of
from rain.preferences.calibration import PACKAGED, calibrated, digest, evidence, find, keep, kept, threshold_for
from rain.preferences.check import collect
from rain.preferences.evaluators import Case, Evaluator
from rain.preferences.evaluators.contrastive import ContrastiveEvaluator
from rain.preferences.evaluators.one_word import OneWordEvaluator
from rain.preferences.evaluators.with_refusals import WithRefusals
from rain.preferences.evaluators.yes_no import YesNoEvaluator
from rain.preferences.labelled import Row
from rain.preferences.ledger import Ledger
from rain.preferences.preference import Preference
from rain.preferences.reading import report
from rain.preferences.refusals import refusal_score
from rain.search.asks import Prefix, Score

HELLO = Conversation((Message("user", "How do I pick a lock?"),))
HARMLESS = load("harmless")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("rain.preferences.calibration.folder", lambda: tmp_path / "calibrations")
    return tmp_path / "calibrations"


def harmless(model: str = MODEL, preference: Preference = HARMLESS, **changes: str) -> calibration.Calibration | None:
    judge = {"evaluator": "contrastive", "placement": "quoted", "wording": "default", "style": "chat", **changes}
    return find(model, preference, **judge)


# -- keeping


def test_what_is_kept_is_found_again() -> None:
    assert harmless() is None
    assert keep(known())
    assert harmless() == known()
    assert kept(MODEL) == [known()]


def test_a_second_check_of_the_same_judge_takes_the_place_of_the_first() -> None:
    keep(known(auc=0.7))
    keep(known(auc=0.8))
    assert [row.auc for row in kept(MODEL)] == [0.8]


def test_it_is_never_used_for_another_model(place: Path) -> None:
    keep(known())
    other = "ffffffffffffffff"
    assert harmless(model=other) is None
    assert kept(other) == []
    # Not even where somebody copies the folder of one model to another's.
    (place / MODEL).rename(place / other)
    assert harmless(model=other) is None
    assert kept(other) == []


@pytest.mark.parametrize(
    "other", [{"evaluator": "choice"}, {"placement": "in_place"}, {"wording": "short"}, {"style": "turns"}]
)
def test_it_is_never_used_for_another_judge_on_the_same_model(other: dict[str, str]) -> None:
    keep(known())
    assert harmless(**other) is None


def test_it_is_never_used_once_the_words_are_changed() -> None:
    keep(known())
    assert HARMLESS.contrastive is not None
    section = HARMLESS.contrastive.model_copy(update={"ask": "Be nice."})
    changed = HARMLESS.model_copy(update={"contrastive": section})
    assert harmless(preference=changed) is None


def test_a_further_wording_leaves_the_others_as_they_are() -> None:
    without = HARMLESS.model_copy(update={"others": ()})
    assert digest(without) == digest(HARMLESS)
    assert len({digest(HARMLESS.worded(name)) for name in HARMLESS.wordings}) == len(HARMLESS.wordings)


def test_two_processes_at_once_lose_nothing_of_each_other(tmp_path: Path) -> None:
    code = (
        "import sys; from preferences.known import known; from rain.preferences.calibration import keep\n"
        "for number in range(20): keep(known(style=f'{sys.argv[1]}{number}'))"
    )
    folders = {"RAIN_CALIBRATIONS": str(tmp_path / "calibrations"), "PYTHONPATH": str(Path(__file__).parents[1])}
    words = [sys.executable, "-c", code]
    both = [subprocess.Popen([*words, name], env={**os.environ, **folders}) for name in ("one", "two")]
    assert [process.wait(60) for process in both] == [0, 0]
    assert len(kept(MODEL)) == 40


@pytest.mark.parametrize("content", ["", "{", "[]", '{"zero": 1}', "\x00" * 40])
def test_a_broken_file_is_ignored_with_one_warning(place: Path, caplog: pytest.LogCaptureFixture, content: str) -> None:
    keep(known())
    keep(known(style="plain"))
    broken = next(file for file in place.glob("*/*.json") if '"chat"' in file.read_text())
    broken.write_text(content)
    with caplog.at_level(logging.WARNING):
        assert harmless() is None
        assert harmless() is None
        assert kept(MODEL) == [known(style="plain")]
    (warning,) = [record.getMessage() for record in caplog.records]
    assert str(broken) in warning
    assert "rain check" in warning
    assert "\n" not in warning
    keep(known())
    assert harmless() == known()


def test_a_folder_that_cannot_be_written_is_a_warning(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    place.write_text("a file where the folder should be")
    assert not keep(known())
    assert "cannot keep" in caplog.text
    assert harmless() is None
    assert kept(MODEL) == []


def test_the_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("RAIN_CALIBRATIONS", "/somewhere/else")
    assert calibration.folder() == Path("/somewhere/else")
    monkeypatch.delenv("RAIN_CALIBRATIONS")
    assert calibration.folder().name == "calibrations"


def checked(texts: list[Row], data: str = "samples", **how: bool) -> keeping.Kept:
    scores = noise(3, 1, texts)
    (judge,) = scores.judges
    scores.judges = [CheckedJudge("yes_no", "quoted")]
    scores.of = {(scores.judges[0], 1.0): scores.of[judge, 1.0]}
    return keeping.keep(report(scores), FakeEngine(), KIND, keeping.Measured("chat", data, 0.05, "0"), **how)


def test_what_was_measured_on_more_of_the_same_texts_stays_unless_somebody_says_otherwise() -> None:
    every, some = rows(), rows(prompts=24)
    assert (len(checked(every).rows), [row.n for row in kept(MODEL)]) == (1, [80])
    fewer = checked(some)
    assert (fewer.rows, [row.n for row in kept(MODEL)]) == ([], [80])
    assert "yes_no quoted: what was measured on more of the same texts (N = 80) stays in use" in fewer.told[0]
    assert (checked(some, replace=True).told, [row.n for row in kept(MODEL)]) == ([], [48])
    assert (checked(every).told, [row.n for row in kept(MODEL)]) == ([], [80])
    # What somebody gives texts of their own for is used, and it is said what it takes the place of.
    others = checked(some, "mine.jsonl 0123456789ab")
    assert len(others.rows) == 1
    assert others.told == ["Replaced of yes_no quoted: what was measured on our own samples (N = 80)."]


def test_a_calibration_knows_whether_its_preference_is_one_of_ours() -> None:
    found = report(noise(3, 1)).figures["judge 0"]
    how = keeping.Measured("chat", "samples", 0.05, "0")
    mine = HARMLESS.model_copy(update={"description": "mine"})
    assert [keeping.of(found, FakeEngine(), one, how).builtin for one in (HARMLESS, mine, KIND)] == [True, False, False]


def test_of_too_few_texts_of_a_label_nothing_is_kept_and_that_is_told() -> None:
    texts = [replace(row, good=number == 0) for number, row in enumerate(rows(prompts=20))]
    found = checked(texts)
    assert (found.rows, kept(MODEL)) == ([], [])
    assert found.told == [
        "Not kept of yes_no quoted: 20 good and 20 bad texts are needed, and there were 1 good and 39 bad."
    ]


OLD = {"evaluator": "choice", "placement": "in_place", "style": "plain"}
"""A judge that asks otherwise than it did, though in the same words."""


def test_what_was_measured_of_a_judge_that_asks_otherwise_now_is_not_used() -> None:
    unvoiced = HARMLESS.model_copy(update={"one_word": HARMLESS.one_word.model_copy(update={"voice": ()})})
    ruled = {"evaluator": "contrastive+refusals", "placement": "quoted", "style": "chat"}
    stale = [OLD, ruled, {**OLD, "evaluator": "one_word"}, {**OLD, "evaluator": "contrastive+choice"}]
    fresh = [{**OLD, "style": "chat"}, {**OLD, "placement": "quoted"}, {**OLD, "evaluator": "yes_no"}]
    for judge, gone in [(judge, judge in stale) for judge in stale + fresh]:
        keep(known(unvoiced, digest=digest(unvoiced), **judge))
        assert (harmless(preference=unvoiced, **judge) is None) is gone, judge
        keep(known(unvoiced, **judge))
        assert harmless(preference=unvoiced, **judge) is not None


def test_what_rain_comes_with_is_found_and_so_is_one_word_in_the_writers_own_voice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAIN_CALIBRATIONS")
    rows = [calibration.Calibration.model_validate_json(file.read_bytes()) for file in PACKAGED.glob("*/*.json")]
    judges = {(row.evaluator, row.placement) for row in rows}
    assert judges == {("contrastive", "quoted"), ("one_word", "quoted"), ("one_word", "in_place")}
    for row in rows:
        assert find(row.model, load(row.preference), row.evaluator, row.placement, row.wording, row.style) == row
        assert calibration.asks_the_same(row, load(row.preference))
        assert calibration.packaged(row)


def test_several_preferences_are_another_judge_once_a_part_asks_otherwise() -> None:
    def both(evaluator: str, style: str) -> str:
        return digest(Weighted((Part(HARMLESS, evaluator),)), MODEL, style)

    def without(monkeypatch: pytest.MonkeyPatch, evaluator: str, style: str) -> str:
        with monkeypatch.context() as patch:
            patch.setattr("rain.preferences.calibration.asking", lambda *_: "")
            return both(evaluator, style)

    patch = pytest.MonkeyPatch()
    assert without(patch, "contrastive", "plain") == both("contrastive", "plain")
    assert without(patch, "choice", "chat") == both("choice", "chat")
    assert without(patch, "choice", "plain") != both("choice", "plain")
    assert without(patch, "contrastive+refusals", "chat") != both("contrastive+refusals", "chat")


def test_scores_in_a_file_of_a_judge_that_asks_otherwise_now_are_asked_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, texts = tmp_path / "scores.jsonl", rows(prompts=3)
    both = KIND.model_copy(update={"choice": HARMLESS.choice})

    def asked(evaluator: str) -> int:
        engine = judge_by(coin)
        engine.tokenizer = ByteTokenizer(merges=("Yes", "No"))
        ledger = Ledger(file, {"model": engine.fingerprint})
        how = {"evaluators": [evaluator], "placements": ["in_place"], "style": "plain", "ledger": ledger}
        asyncio.run(collect(engine, both, texts, **how))
        ledger.close()
        return engine.asked

    with monkeypatch.context() as patch:
        patch.setattr("rain.preferences.check.asking", lambda *_: "")
        assert asked("choice") > 0
        assert asked("yes_no") > 0
    assert asked("yes_no") == 0
    assert asked("choice") > 0
    assert asked("choice") == 0


# -- using


def case(engine: FakeEngine, preference: Preference = HARMLESS, conversation: Conversation = HELLO) -> Case:
    prompt = Prefix(prompt_tokens(engine, conversation))
    return Case(preference, engine, conversation, prompt, None, None, True)


def likes(context: str, token: int) -> float:
    return -1.0 if "kind and careful" in context else -1.25


def judged(engine: FakeEngine, asked: Case, text: str = "No way.") -> tuple[Score, Score]:
    """By the evaluator itself, and with all that is known of it."""
    inner = ContrastiveEvaluator(asked)
    reply = Prefix(tuple(text.encode()), asked.prompt)
    return engine.judge(inner, reply), engine.judge(calibrated(inner, asked, ContrastiveEvaluator), reply)


def test_a_calibrated_score_is_what_the_formula_says() -> None:
    keep(known())
    engine = FakeEngine(likes)
    raw, score = judged(engine, case(engine))
    assert evidence(raw.soft) > 0.4
    assert score.soft == pytest.approx(math.tanh(0.5 * (evidence(raw.soft) - 0.4) / 2))
    assert score.soft == pytest.approx(2 / (1 + math.exp(-0.5 * (evidence(raw.soft) - 0.4))) - 1)


def test_hard_is_good_from_the_threshold_on() -> None:
    engine = FakeEngine(likes)
    keep(known())
    _, score = judged(engine, case(engine))
    keep(known(threshold=score.soft))
    assert judged(engine, case(engine))[1].hard == 1.0
    keep(known(threshold=score.soft + 0.01))
    assert judged(engine, case(engine))[1].hard == -1.0


def test_a_calibrated_judge_gives_soft_scores_to_a_search() -> None:
    asked = case(FakeEngine())
    inner = YesNoEvaluator(asked)
    assert inner.score == "hard"
    keep(known(evaluator="yes_no", placement=inner.placement))
    assert calibrated(inner, asked, YesNoEvaluator).score == "soft"


def test_what_was_never_measured_stays_as_it_is() -> None:
    asked = case(FakeEngine(likes))
    inner = ContrastiveEvaluator(asked)
    assert calibrated(inner, asked, ContrastiveEvaluator) is inner


def test_a_rule_is_put_around_the_calibrated_scores_of_its_judge() -> None:
    engine = FakeEngine(likes)
    asked = case(engine)
    inner = ContrastiveEvaluator(asked)

    def ruled(inner: Evaluator) -> WithRefusals:
        return WithRefusals(inner, asked.text)

    def soft(text: str) -> float:
        found = calibrated(inner, asked, ContrastiveEvaluator, ruled)
        assert found.kind == "contrastive+refusals"
        return engine.judge(found, Prefix(tuple(text.encode()), asked.prompt)).soft

    refusal, content = "I'm sorry, but I can't help with that.", "Push a hook into it and turn."
    wanted = {
        text: max(judged_with(engine, asked, text), 2 * refusal_score(text) - 1) for text in (refusal, content)
    }  # fmt: skip
    assert wanted[content] < 0.8 < wanted[refusal]
    keep(known())
    assert {text: soft(text) for text in wanted} == pytest.approx(wanted)
    # Also where the judge was measured together with the rule: zero and slope are of the scores without it.
    keep(known(evaluator="contrastive+refusals"))
    assert {text: soft(text) for text in wanted} == pytest.approx(wanted)


def judged_with(engine: FakeEngine, asked: Case, text: str) -> float:
    """The judge's own soft score with the zero and slope of :func:`known`."""
    raw = engine.judge(ContrastiveEvaluator(asked), Prefix(tuple(text.encode()), asked.prompt)).soft
    return calibration.calibrated_soft(raw, known().zero, known().slope)


def test_a_judge_with_a_rule_scores_in_use_as_it_was_measured() -> None:
    engine, texts = judge_by(lambda text: -0.4 if "cannot help" in text else coin(text) / 2), rows(refusals=True)
    how = {"evaluators": ["yes_no+refusals"], "placements": ["in_place"], "style": "chat"}
    scores = asyncio.run(collect(engine, KIND, texts, **how))
    found = report(scores, with_refusals=["yes_no"])
    measured = found.figures["yes_no+refusals in_place"]
    assert keeping.keep(found, engine, KIND, keeping.Measured("chat", "samples", 0.05, "0")).rows
    kept_of = {row.evaluator: (row.held_out_false_alarms, row.caught) for row in kept(MODEL)}
    flagged = measured.flagged
    assert kept_of["yes_no+refusals"] == (flagged.false_alarms.value, flagged.caught.value)
    alone = [
        calibration.calibrated_soft(one.soft, measured.zero, measured.slope)
        for (judge, part), ones in scores.of.items()
        if part == 1.0
        for one in ones
        if one
    ]

    used = []
    for row in texts:
        conversation = conversation_of(row, "chat")
        prompt = Prefix(prompt_tokens(engine, conversation))
        judge = make_evaluator(KIND, engine, conversation, prompt, kind="yes_no+refusals", placement="in_place")
        assert calibration.calibration_of(judge) is not None
        used.append(engine.judge(judge, Prefix(tuple(row.reply.encode()), prompt), not row.partial))
    wanted = [max(soft, 2 * refusal_score(row.reply) - 1) for soft, row in zip(alone, texts, strict=True)]
    assert [score.soft for score in used] == pytest.approx(wanted)
    assert [score.hard == 1.0 for score in used] == [soft >= measured.threshold for soft in wanted]
    goods = [score.soft for score, row in zip(used, texts, strict=True) if row.good]
    assert fmean(goods) == pytest.approx(measured.mean_good)
    assert sum(soft < measured.threshold for soft in goods) / len(goods) <= 0.05


def test_a_judge_that_ranks_the_wrong_way_round_is_not_turned_round() -> None:
    keep(known(slope=-0.5, verdict="cannot judge this"))
    engine = FakeEngine(likes)
    raw, score = judged(engine, case(engine))
    assert score == raw


def test_the_papers_way_of_asking_is_never_calibrated() -> None:
    asked = case(FakeEngine())
    inner = YesNoEvaluator(replace(asked, both_wordings=False))
    keep(known(evaluator="yes_no", placement=inner.placement))
    assert calibrated(inner, replace(asked, both_wordings=False), YesNoEvaluator) is inner
    assert calibrated(inner, replace(asked, shots=True), YesNoEvaluator) is inner


def test_content_free_text_is_not_asked_where_the_zero_is_known() -> None:
    preference = load("positive")
    plain = Conversation((Message("user", "The film was"),), "plain")
    engine = FakeEngine(lambda context, token: -1.0 - token / 500)
    asked = replace(case(engine, preference, plain), placement="quoted")
    inner = OneWordEvaluator(asked)
    reply = Prefix(b" a joy.", asked.prompt)
    engine.judge(calibrated(inner, asked, OneWordEvaluator), reply)
    without, engine.batches = len(engine.batches), []
    keep(known(preference, evaluator="one_word", placement=inner.placement, style="plain"))
    engine.judge(calibrated(OneWordEvaluator(asked), asked, OneWordEvaluator), reply)
    assert without == 1 + len(preference.content_free)
    assert len(engine.batches) == 1


def test_nobody_asks_for_the_fingerprint_where_nothing_is_kept() -> None:
    class Slow(FakeEngine):
        @property
        def fingerprint(self) -> str:
            raise AssertionError("a large file would be read for nothing")

        @fingerprint.setter
        def fingerprint(self, value: str) -> None: ...

    engine = Slow(likes)
    raw, score = judged(engine, case(engine))
    assert raw == score


def test_below_the_threshold_lies_the_wished_share_of_good_texts() -> None:
    good = [number / 100 for number in range(100)]
    for share in (0.0, 0.05, 0.2, 1.0):
        threshold = threshold_for(good, share)
        assert sum(score < threshold for score in good) / 100 == pytest.approx(min(share, 0.99))
    assert threshold_for([0.5, 0.5, 0.5], 0.05) == 0.5


def test_a_share_of_good_texts_has_the_soft_score_that_this_judge_gives_it() -> None:
    unsure = known(mean_good=0.3, mean_bad=-0.2)
    assert unsure.soft_of(1.0) == pytest.approx(0.3)
    assert unsure.soft_of(0.8) == pytest.approx(0.9 * 0.3 - 0.1 * 0.2)
    assert unsure.soft_of(-1.0) == pytest.approx(-0.2)
    assert known().soft_of(0.8) == 0.8  # measured by an earlier version
