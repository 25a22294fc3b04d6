"""Several preferences as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from preferences.fake import FakeEngine
from rain.chat import Conversation, Message, prompt_tokens
from rain.errors import UsageError
from rain.preferences import Part, Weighted, load, load_wanted, make_evaluator
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


def test_an_evaluator_is_named_for_a_part_and_not_for_all() -> None:
    engine = FakeEngine()
    prompt = Prefix(prompt_tokens(engine, HELLO))
    with pytest.raises(UsageError, match="of its parts"):
        make_evaluator(Weighted(parts(0, 0)), engine, HELLO, prompt, kind="choice")
    with pytest.raises(UsageError, match="'positive' cannot be judged by 'openings'"):
        make_evaluator(Weighted((Part(load("positive"), "openings"),)), engine, HELLO, prompt)
    with pytest.raises(UsageError, match="no parts"):
        Weighted(())
