"""Openings: the assistant's turn is opened anew, and what it would begin with is asked."""

from __future__ import annotations

import math
from itertools import product

import pytest

from preferences.fake import CHATML, ByteTokenizer, FakeEngine
from rain.chat import Conversation, Message, prompt_tokens
from rain.errors import UsageError
from rain.preferences import load, make_evaluator
from rain.preferences.preference import Openings, Preference
from rain.search.asks import Prefix, Score, TokenLogprobs

HELLO = Conversation((Message("user", "How do I pick a lock?"),))
WORDS = ("Sorry", "Sure", "I", " can't", " cannot", " will")
CLOSED = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
)
HIDING = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ message['content'] }}{% endif %}{% endfor %}"
)


def harmless(refuse=("Sorry", "I can't", "I cannot"), comply=("Sure", "I will")) -> Preference:
    sections = {"openings": Openings(refuse=refuse, comply=comply), "content_free": ()}
    return load("harmless").model_copy(update=sections)


def engine_with(odds: dict[str, float], **options) -> FakeEngine:
    """Gives each word its probability, whatever stands before."""
    tokenizer = ByteTokenizer(merges=WORDS)

    def likes(context: str, token: int) -> float:
        return math.log(odds.get(tokenizer.decode((token,)), 0.001))

    return FakeEngine(likes, tokenizer=tokenizer, **options)


def start(engine: FakeEngine, conversation: Conversation = HELLO) -> Prefix:
    return Prefix(prompt_tokens(engine, conversation))


def judged(engine: FakeEngine, conversation: Conversation = HELLO, preference: Preference | None = None) -> Score:
    prompt = start(engine, conversation)
    evaluator = make_evaluator(preference or harmless(), engine, conversation, prompt, kind="openings")
    return engine.judge(evaluator, Prefix(tuple(b"With a hook."), prompt))


def test_the_score_is_the_probability_that_no_refusal_follows() -> None:
    odds = {"Sorry": 0.1, "Sure": 0.3, "I": 0.5, " can't": 0.2, " cannot": 0.1, " will": 0.4}
    refuse, comply = 0.1 + 0.5 * 0.2 + 0.5 * 0.1, 0.3 + 0.5 * 0.4
    score = judged(engine_with(odds))
    assert score.soft == pytest.approx((comply - refuse) / (comply + refuse))
    assert score.hard == 1.0
    assert judged(engine_with({**odds, "Sorry": 0.9})).hard == -1.0


@pytest.mark.parametrize(("style", "template"), [("chat", CHATML), ("turns", None)])
def test_the_turn_is_closed_and_opened_anew_behind_the_reply(style, template) -> None:
    engine = engine_with({}, template=template)
    judged(engine, Conversation(HELLO.messages, style))
    (batch,) = engine.batches
    texts = [engine.tokenizer.shown(question.prefix.path() + question.tokens) for question in batch]
    opened = "<|im_end|>»\n«<|im_start|>»assistant\n" if style == "chat" else "\n\nAssistant: "
    assert texts[0].endswith(f"With a hook.{'«' if style == 'chat' else ''}{opened}")
    assert texts[1] == f"{texts[0]}I"


def test_everything_is_asked_in_one_batch_with_shared_beginnings_asked_once() -> None:
    engine = engine_with({})
    judged(engine)
    (batch,) = engine.batches
    assert all(isinstance(question, TokenLogprobs) for question in batch)
    assert [len(question.choices) for question in batch] == [3, 3]
    assert len({question.prefix for question in batch}) == 1


def test_an_opening_that_only_continues_another_counts_once() -> None:
    odds = {"Sorry": 0.4, "Sure": 0.4}
    twice = harmless(refuse=("Sorry", "Sorry, but no"), comply=("Sure", "Sure"))
    assert judged(engine_with(odds), preference=twice).soft == pytest.approx(0)
    both = harmless(refuse=("Sure",), comply=("Sure thing",))
    with pytest.raises(UsageError, match="begins an opening that refuses like one that complies"):
        judged(engine_with(odds), preference=both)


def test_content_free_text_is_the_zero() -> None:
    odds = {"Sorry": 0.1, "Sure": 0.5}
    preference = harmless(refuse=("Sorry",), comply=("Sure",))
    free = preference.model_copy(
        update={"content_free": load("harmless").content_free or load("positive").content_free}
    )
    assert judged(engine_with(odds), preference=preference).soft > 0.5
    assert judged(engine_with(odds), preference=free).soft == pytest.approx(0)


@pytest.mark.parametrize(
    ("template", "style", "says"),
    [
        (None, "plain", "style 'plain'"),
        (CLOSED, "chat", "does not open a second turn"),
        (HIDING, "chat", "second turn"),
    ],
)
def test_where_the_assistant_has_no_turn_the_error_says_which_evaluators_work(template, style, says) -> None:
    with pytest.raises(UsageError, match=says) as error:
        judged(engine_with({}, template=template), Conversation(HELLO.messages, style))
    assert "use contrastive, choice, yes_no, one_word" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("options", [{"placement": "quoted"}, {"shots": True}])
def test_it_has_neither_placement_nor_examples(options) -> None:
    engine = engine_with({})
    with pytest.raises(UsageError, match="leave"):
        make_evaluator(harmless(), engine, HELLO, start(engine), kind="openings", **options)


def test_the_built_in_openings_of_harmless_are_few_tokens() -> None:
    section = load("harmless").openings
    assert section is not None
    pairs = list(product(section.refuse, section.comply))
    assert pairs
    assert not any(one.startswith(other) or other.startswith(one) for one, other in pairs)
    assert "openings" not in load("positive").kinds
