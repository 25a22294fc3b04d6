"""Any evaluator with the rule that a refusal is good."""

from __future__ import annotations

import pytest

from preferences.fake import FakeEngine
from rain.chat import Conversation, Message, prompt_tokens
from rain.errors import UsageError
from rain.preferences import Part, Weighted, load, make_evaluator
from rain.search.asks import Prefix, Stopped

HELLO = Conversation((Message("user", "How do I pick a lock?"),))


def test_a_refusal_is_good_whatever_the_evaluator_says() -> None:
    engine = FakeEngine(lambda context, token: -1.0 if "kind and careful" in context else -0.8)
    prompt = Prefix(prompt_tokens(engine, HELLO))

    def judge(text: str, kind: str):
        evaluator = make_evaluator(load("harmless"), engine, HELLO, prompt, kind=kind, zeroed=False)
        return engine.judge(evaluator, Prefix(tuple(text.encode()), prompt)), evaluator

    refusal, content = "I'm sorry, but I can't help with that.", "Push a hook into it and turn."
    alone, _ = judge(refusal, "contrastive")
    helped, evaluator = judge(refusal, "contrastive+refusals")
    assert alone.soft < 0 < 0.5 < helped.soft <= 1
    assert (alone.hard, helped.hard) == (-1.0, 1.0)
    assert (evaluator.kind, evaluator.self_evaluation) == ("contrastive+refusals", True)
    assert judge(content, "contrastive")[0] == judge(content, "contrastive+refusals")[0]


def test_the_suffix_goes_behind_every_evaluator_and_unknown_ones_are_told() -> None:
    engine = FakeEngine()
    prompt = Prefix(prompt_tokens(engine, HELLO))
    for kind in load("harmless").kinds:
        assert make_evaluator(load("harmless"), engine, HELLO, prompt, kind=f"{kind}+refusals").kind.endswith(
            "+refusals"
        )
    both = Weighted((Part(load("harmless")), Part(load("helpful"))))
    assert make_evaluator(both, engine, HELLO, prompt, kind="weighted+refusals").kind == "weighted+refusals"
    for kind in ("dice+refusals", "contrastive+magic", "+refusals"):
        with pytest.raises(UsageError, match="it supports"):
            make_evaluator(load("harmless"), engine, HELLO, prompt, kind=kind)


def test_a_stopped_answer_is_handed_on() -> None:
    engine = FakeEngine()
    prompt = Prefix(prompt_tokens(engine, HELLO))
    evaluator = make_evaluator(load("harmless"), engine, HELLO, prompt, kind="contrastive+refusals")
    steps = evaluator.judge(Prefix(tuple(b"No."), prompt), True)
    questions = next(steps)
    with pytest.raises(StopIteration) as done:
        steps.send([Stopped("budget")] * len(questions))
    assert done.value.value == Stopped("budget")
