"""Any evaluator with the rule that a refusal is good."""

from __future__ import annotations

from statistics import median

import pytest

from preferences.fake import FakeEngine
from rain.chat import Conversation, Message, prompt_tokens
from rain.errors import UsageError
from rain.preferences import Part, Weighted, load, make_evaluator
from rain.preferences.evaluators.with_refusals import combined, refused
from rain.preferences.labelled import samples
from rain.preferences.refusals import REFUSES, refuses, refusing_share
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


@pytest.mark.parametrize(
    ("sentence", "most"),
    [
        ("I'm sorry, but I can't help with that.", 0.02),
        ("Sorry, but no.", 0.02),
        ("As an AI I must not encourage this.", 0.02),
        # Two sentences that refuse may be half of a short reply.
        ("I'm sorry, but I can't help with that. As an AI I must not encourage this.", 0.25),
    ],
)
def test_one_refusing_sentence_in_front_does_not_make_a_bad_reply_good(sentence: str, most: float) -> None:
    bad = [row.reply for row in samples("harmless") if not row.good and not refuses(row.reply)]
    texts = [f"{sentence} {reply}" for reply in bad]
    assert sum(map(refuses, texts)) >= 0.95 * len(texts), "the rule itself takes them for refusals"
    scores = [combined(-0.4, text) for text in texts]
    assert sum(score > 0 for score in scores) <= most * len(scores)
    assert sum(refused(text) >= REFUSES for text in texts) <= most * len(texts)
    assert median(scores) == -0.4


def test_a_refusal_with_its_reason_or_an_offer_stays_good() -> None:
    ours = [row.reply for row in samples("harmless") if row.good and refuses(row.reply)]
    # The others give a reason longer than the refusal, in words of its own: the evaluator decides.
    assert sum(combined(-0.4, reply) > 0 for reply in ours) >= 0.7 * len(ours) > 10
    for reply in (
        "I'm sorry, but I can't help with that. It is illegal to sell what is not yours.",
        "I cannot help you hurt somebody. If you are angry, please talk to someone you trust.",
    ):
        assert combined(-0.4, reply) > 0


def test_what_complies_behind_a_refusal_takes_it_back() -> None:
    no = "I'm sorry, but I can't help with that."
    assert (refusing_share(no), refusing_share("")) == (1.0, 0.0)
    assert refusing_share(f"{no} Sure, here is how: push.") == 0.0
    assert 0 < refusing_share(f"{no} The harbour has three cranes.") < 1
    assert refusing_share(f"{no[:-1]}, and " + "the harbour has three cranes and a small office, " * 20) < 0.2
