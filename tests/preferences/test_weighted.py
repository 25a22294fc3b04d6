"""Several preferences as one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from statistics import fmean

import pytest

from preferences.fake import FakeEngine
from preferences.known import known
from preferences.test_check import PREFERENCE as KIND
from preferences.test_check import coin, judge_by, rows
from rain.chat import Conversation, Message, prompt_tokens
from rain.errors import UsageError
from rain.preferences import Part, Weighted, calibration, keeping, load, load_wanted, make_evaluator
from rain.preferences.asked import conversation_of
from rain.preferences.check import collect
from rain.preferences.evaluators import Evaluator
from rain.preferences.labelled import Row
from rain.preferences.preference import YesNo
from rain.preferences.reading import report
from rain.preferences.trust import trust
from rain.preferences.verdict import Figures
from rain.search.asks import Prefix, Score, Stopped

HELLO = Conversation((Message("user", "How do I pick a lock?"),))


def judge(wanted: Weighted, engine: FakeEngine | None = None) -> Score:
    engine = engine or FakeEngine()
    prompt = Prefix(prompt_tokens(engine, HELLO))
    evaluator = make_evaluator(wanted, engine, HELLO, prompt)
    return engine.judge(evaluator, Prefix(tuple(b"With a hook."), prompt))


def parts(*softs: float, weights=(1.0, 1.0)) -> tuple[Part, ...]:
    """One part that always gives each of the soft scores."""

    def always(soft: float):
        return lambda text: (soft + 1) / 2

    return tuple(Part(load("harmless"), always(soft), weight) for soft, weight in zip(softs, weights, strict=True))


def test_the_mean_weighs_the_parts() -> None:
    assert judge(Weighted(parts(1.0, -0.5, weights=(1.0, 3.0)))) == Score(pytest.approx(-0.125), pytest.approx(-0.5))


def test_the_minimum_lets_one_veto() -> None:
    assert judge(Weighted(parts(0.9, -0.5), combine="min")) == Score(pytest.approx(-0.5), -1.0)
    assert judge(Weighted(parts(0.9, 0.5), combine="min")) == Score(pytest.approx(0.5), 1.0)


def test_the_questions_of_all_parts_go_out_together() -> None:
    engine = FakeEngine(lambda context, token: -1.0 - len(context) % 3)
    harmless, helpful = load("harmless"), load("helpful")
    for preference in (harmless, helpful):
        judge(Weighted((Part(preference, "yes_no"),)), engine)
    one, other = (list(batch) for batch in engine.batches[-2:])
    both = judge(Weighted((Part(harmless, "yes_no"), Part(helpful, "yes_no"))), engine)
    assert len(engine.batches[-1]) == len(one) + len(other)
    assert both.disagreement is not None


def test_a_part_may_take_more_turns_than_another() -> None:
    engine = FakeEngine()
    prompt = Prefix(prompt_tokens(engine, HELLO))
    free = load("harmless").model_copy(update={"content_free": load("positive").content_free})
    wanted = Weighted((Part(free, "one_word"), Part(load("helpful"), "contrastive"), *parts(1.0, weights=(1.0,))))
    evaluator = make_evaluator(wanted, engine, HELLO, prompt)
    score = engine.judge(evaluator, Prefix(tuple(b"With a hook."), prompt))
    assert len(engine.batches) > 1
    assert -1 <= score.soft <= 1
    assert not evaluator.self_evaluation


def test_a_stopped_answer_is_handed_on() -> None:
    engine = FakeEngine()
    prompt = Prefix(prompt_tokens(engine, HELLO))
    wanted = Weighted((Part(load("harmless"), "yes_no"), Part(load("helpful"), "contrastive")))
    steps = make_evaluator(wanted, engine, HELLO, prompt).judge(Prefix(tuple(b"No."), prompt), True)
    questions = next(steps)
    with pytest.raises(StopIteration) as done:
        steps.send([(-1.0, -1.0, -1.0)] * (len(questions) - 1) + [Stopped("budget")])
    assert done.value.value == Stopped("budget")


def test_a_file_holds_parts_by_name_or_beside_it(tmp_path: Path) -> None:
    (tmp_path / "calm.toml").write_text(
        'name="calm"\ndescription=""\ndefault="contrastive"\npaper="contrastive"\n'
        '[contrastive]\nask="Be calm."\nopposite="Panic."\n'
    )
    file = tmp_path / "both.toml"
    file.write_text(
        '[[parts]]\npreference = "harmless"\nevaluator = "yes_no+refusals"\n'
        '[[parts]]\npreference = "calm.toml"\nweight = 0.5\n'
    )
    wanted = load_wanted(file)
    assert isinstance(wanted, Weighted)
    assert (wanted.name, wanted.combine) == ("harmless+calm", "mean")
    assert [(part.preference.name, part.evaluator, part.weight) for part in wanted.parts] == [
        ("harmless", "yes_no+refusals", 1.0),
        ("calm", None, 0.5),
    ]
    assert load_wanted(tmp_path / "calm.toml") == load(tmp_path / "calm.toml")
    assert load_wanted("harmless") == load("harmless")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("parts = []", "parts"),
        ('combine = "max"\n[[parts]]\npreference = "harmless"', "combine"),
        ('[[parts]]\npreference = "harmless"\nweight = 0', "above zero"),
        ('[[parts]]\npreference = "harmless"\nweight = "much"', "weight"),
        ('combine = "min"\n[[parts]]\npreference = "harmless"\nweight = 2', "takes no weights"),
        ('[[parts]]\npreference = "nope"', "built in are"),
        ('[[parts]]\npreference = "harmless"\nkind = "choice"', "kind"),
    ],
)
def test_a_broken_file_is_an_error_of_one_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "both.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=says) as error:
        load_wanted(file)
    assert "\n" not in str(error.value)


# --- checked as one judge


@pytest.fixture
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rain.preferences.calibration.folder", lambda: tmp_path / "calibrations")


LAX = KIND.model_copy(update={"name": "lax", "yes_no": YesNo(task="Judge.", positive="Is it kind, maybe?")})
BOTH = Weighted((Part(KIND), Part(LAX, weight=3.0)))


def measured(engine: FakeEngine, texts: list[Row], wanted: Weighted = BOTH) -> Figures:
    """What a check finds of the judge ``weighted``, which is kept."""
    found = report(asyncio.run(collect(engine, wanted, texts, style="chat")))
    assert list(found.figures) == ["weighted"]
    assert keeping.keep(found, engine, wanted, keeping.Measured("chat", "mine.jsonl", 0.05, "0")).rows
    return found.figures["weighted"]


def in_use(engine: FakeEngine, row: Row, wanted: Weighted = BOTH) -> tuple[Evaluator, Score]:
    conversation = conversation_of(row, "chat")
    prompt = Prefix(prompt_tokens(engine, conversation))
    evaluator = make_evaluator(wanted, engine, conversation, prompt)
    return evaluator, engine.judge(evaluator, Prefix(tuple(row.reply.encode()), prompt))


@pytest.mark.usefixtures("_place")
def test_several_are_checked_as_one_judge_whose_threshold_is_used() -> None:
    engine, texts = judge_by(lambda text: (1.0 if "lovely" in text else -0.5) + coin(text) / 4), rows()
    _, before = in_use(engine, texts[0])
    found = measured(engine, texts)
    assert found.verdict == "can judge"
    used = [in_use(engine, row) for row in texts]
    assert used[0][1].soft != before.soft
    known = calibration.calibration_of(used[0][0])
    assert known is not None
    assert (known.evaluator, known.verdict, known.threshold) == ("weighted", "can judge", found.threshold)
    goods = [score for (_, score), row in zip(used, texts, strict=True) if row.good]
    assert fmean(score.soft for score in goods) == pytest.approx(found.mean_good)
    assert [score.hard == 1.0 for score in goods] == [score.soft >= found.threshold for score in goods]
    told = trust(engine, BOTH, "weighted", None, "chat")
    assert (told.checked, told.verdict, told.auc, told.line) == (True, "can judge", found.ranks.area.value, None)


@pytest.mark.usefixtures("_place")
def test_what_is_known_of_several_is_of_these_parts_weights_and_calibrations() -> None:
    engine, texts = judge_by(lambda text: 1.0 if "lovely" in text else -1.0), rows()
    measured(engine, texts)
    for other in (
        Weighted((Part(KIND), Part(LAX, weight=2.0))),
        Weighted((Part(KIND), Part(KIND, weight=3.0)), name=BOTH.name),
        Weighted((Part(KIND), Part(LAX)), combine="min", name=BOTH.name),
    ):
        assert calibration.calibration_of(in_use(engine, texts[0], other)[0]) is None
    assert calibration.calibration_of(in_use(engine, texts[0])[0]) is not None
    # Once a part is checked by itself it is scored in another way, and what both are worth together is not known.
    part = known(LAX, model=engine.fingerprint, evaluator="yes_no", placement="in_place", zero=0.3, slope=2.0)
    calibration.keep(part)
    assert calibration.calibration_of(in_use(engine, texts[0])[0]) is None
    assert "'kind' by yes_no" in str(trust(engine, BOTH, "weighted", None, "chat").line)
    measured(engine, texts)
    assert calibration.calibration_of(in_use(engine, texts[0])[0]) is not None


@pytest.mark.usefixtures("_place")
def test_several_that_are_checked_and_judge_weakly_are_told_with_the_reason() -> None:
    engine = FakeEngine()
    digest = calibration.digest(BOTH, engine.fingerprint, "chat")
    row = known(evaluator="weighted", digest=digest, placement="in_place", reason="0.41 of pairs")
    calibration.keep(row.model_copy(update={"preference": BOTH.name, "verdict": "cannot judge this"}))
    told = trust(engine, BOTH, "weighted", None, "chat")
    assert told.warn
    assert "fake cannot judge 'kind+lax' by weighted (in_place) on mine.jsonl: 0.41 of pairs; " in str(told.line)
    assert str(told.line).endswith("rain check --model fake --preference FILE.toml --data FILE.jsonl --label FIELD")


def test_several_of_which_a_classifier_judges_one_are_not_checked() -> None:
    with pytest.raises(UsageError, match="only judging by a model is checked"):
        asyncio.run(collect(judge_by(coin), Weighted((Part(KIND), *parts(1.0, weights=(1.0,)))), rows(prompts=2)))


def test_an_evaluator_is_named_for_a_part_and_not_for_all() -> None:
    engine = FakeEngine()
    prompt = Prefix(prompt_tokens(engine, HELLO))
    with pytest.raises(UsageError, match="of its parts"):
        make_evaluator(Weighted(parts(0, 0)), engine, HELLO, prompt, kind="choice")
    with pytest.raises(UsageError, match="'positive' cannot be judged by 'openings'"):
        make_evaluator(Weighted((Part(load("positive"), "openings"),)), engine, HELLO, prompt)
    with pytest.raises(UsageError, match="no parts"):
        Weighted(())
