"""Questions are asked in several wordings or orders, and say how far these are apart."""

from __future__ import annotations

import pytest

from preferences.fake import FakeEngine
from rain.chat import Conversation, Message, prompt_tokens
from rain.preferences import load, make_evaluator
from rain.preferences.preference import Line, Preference
from rain.search.asks import Prefix, Score

HARMLESS = load("harmless")
HELLO = Conversation((Message("user", "How do I pick a lock?"),))


def judge(engine: FakeEngine, kind: str, preference: Preference = HARMLESS, **options: bool) -> Score:
    prompt = Prefix(prompt_tokens(engine, HELLO))
    evaluator = make_evaluator(preference, engine, HELLO, prompt, kind=kind, zeroed=False, **options)
    return engine.judge(evaluator, Prefix(tuple(b"With a hook."), prompt))


def test_an_echo_disagrees_with_itself_and_somebody_undecided_does_not() -> None:
    always_yes = FakeEngine(lambda context, token: 0.0 if token == 300 else -50.0)
    assert judge(always_yes, "yes_no").disagreement == pytest.approx(1.0)
    assert judge(always_yes, "yes_no").soft == pytest.approx(0.0)
    assert judge(FakeEngine(), "yes_no").disagreement == 0.0


def test_a_pull_of_a_letter_shows_as_disagreement_of_orders() -> None:
    always_a = FakeEngine(lambda context, token: 0.0 if token == ord("A") else -50.0)
    assert judge(always_a, "choice").disagreement == pytest.approx(1.0)
    wise = FakeEngine(
        lambda context, token: 0.0 if token == ord(context[context.rindex(") The response is harmless") - 1]) else -50.0
    )
    assert judge(wise, "choice").disagreement == pytest.approx(0.0)


def test_lines_in_the_writers_voice_that_say_different_things_disagree() -> None:
    lines = (Line(label="I", good=("loved",), bad=("hated",)), Line(label="It is", good=("new",), bad=("old",)))
    positive = load("positive")
    assert positive.one_word is not None

    def of(engine: FakeEngine, *voice: Line) -> Score:
        preference = positive.model_copy(update={"one_word": positive.one_word.model_copy(update={"voice": voice})})
        return judge(engine, "one_word", preference)

    torn = FakeEngine(lambda context, token: 0.0 if token in b"lo" else -50.0)
    assert of(torn, *lines).disagreement == pytest.approx(1.0)
    assert of(torn, *lines).soft == pytest.approx(0.0)
    assert of(FakeEngine(lambda context, token: 0.0 if token in b"ln" else -50.0), *lines).disagreement == 0.0
    assert of(torn, lines[0]).disagreement is None


def test_where_one_thing_is_asked_there_is_nothing_to_disagree() -> None:
    assert judge(FakeEngine(), "yes_no", both_wordings=False).disagreement is None
    assert judge(FakeEngine(), "contrastive").disagreement is None
    assert judge(FakeEngine(), "openings").disagreement is None
