"""Another model judges: it reads the text in its own tokens, and its cache still works."""

from __future__ import annotations

import gc

import pytest

from preferences.fake import END, ByteTokenizer, FakeEngine
from rain.chat import Conversation, Message, prompt_tokens
from rain.engines.engine import Capabilities
from rain.errors import UsageError
from rain.preferences import load, make_evaluator
from rain.search.asks import Prefix

HELLO = Conversation((Message("user", "How do I pick a lock?"),))
MERGING = ByteTokenizer(merges=("Yes", "No", "hook", "with a", " lock"))


def start(engine: FakeEngine, conversation: Conversation = HELLO) -> Prefix:
    return Prefix(prompt_tokens(engine, conversation))


def behind(prompt: Prefix, *texts: str | bytes) -> Prefix:
    for text in texts:
        prompt = Prefix(tuple(text.encode() if isinstance(text, str) else text), prompt)
    return prompt


def asked(judge: FakeEngine) -> str:
    question = judge.batches[-1][0]
    return judge.tokenizer.shown(question.prefix.path())


def test_the_judge_reads_the_words_in_its_own_tokens_behind_its_own_prompt() -> None:
    writer, judge = FakeEngine(template=None), FakeEngine(tokenizer=MERGING)
    turns = Conversation(HELLO.messages, "turns")
    prompt = start(writer, turns)
    evaluator = make_evaluator(
        load("harmless"), writer, turns, prompt, kind="yes_no", placement="in_place", judge=judge
    )
    judge.judge(evaluator, behind(prompt, " Push", " wi", "th a ho", "ok."))
    assert asked(judge).startswith("«<|im_start|>»user\nHow do I pick a lock?«<|im_end|>»")
    assert asked(judge).endswith("assistant\nPush with a hook.")
    assert {302, 303} < set(judge.batches[-1][0].prefix.path())
    assert (evaluator.kind, evaluator.placement, evaluator.self_evaluation) == ("yes_no", "in_place", True)
    assert not writer.batches


def test_a_longer_reply_keeps_the_judges_prefixes_of_the_shorter() -> None:
    writer, judge = FakeEngine(), FakeEngine(tokenizer=MERGING)
    prompt = start(writer)
    evaluator = make_evaluator(
        load("harmless"), writer, HELLO, prompt, kind="yes_no", placement="in_place", judge=judge
    )
    leaf = behind(prompt, "Push it in", " and then")
    judge.judge(evaluator, leaf)
    before = judge.batches[-1][0].prefix
    judge.judge(evaluator, leaf)
    assert judge.batches[-1][0].prefix is before
    judge.judge(evaluator, behind(leaf, " turn."))
    after = judge.batches[-1][0].prefix
    assert after.parent is before
    assert judge.tokenizer.decode(after.tokens) == " turn."


def test_where_words_meet_in_one_token_only_the_last_tokens_are_read_again() -> None:
    writer, judge = FakeEngine(), FakeEngine(tokenizer=MERGING)
    prompt = start(writer)
    evaluator = make_evaluator(
        load("harmless"), writer, HELLO, prompt, kind="yes_no", placement="in_place", judge=judge
    )
    first = behind(prompt, "Push")
    leaf = behind(first, " a ho")
    judge.judge(evaluator, first)
    push = judge.batches[-1][0].prefix
    judge.judge(evaluator, leaf)
    judge.judge(evaluator, behind(leaf, "ok in"))
    chain = judge.batches[-1][0].prefix.chain(push)
    assert [judge.tokenizer.decode(link.tokens) for link in chain] == [" a ", "hook in"]


def test_a_character_in_two_halves_is_read_once_it_is_whole() -> None:
    writer, judge = FakeEngine(), FakeEngine()
    prompt = start(writer)
    evaluator = make_evaluator(
        load("harmless"), writer, HELLO, prompt, kind="yes_no", placement="in_place", judge=judge
    )
    half = behind(prompt, "Caf", "é".encode()[:1])
    judge.judge(evaluator, half)
    assert asked(judge).endswith("Caf")
    judge.judge(evaluator, behind(half, "é".encode()[1:] + b"!"))
    assert judge.tokenizer.decode(judge.batches[-1][0].prefix.path()).endswith("Café!")


@pytest.mark.parametrize("kind", ["contrastive", "choice", "yes_no", "one_word", "openings"])
def test_every_evaluator_asks_another_model_what_it_would_ask_itself(kind: str) -> None:
    writer, judge = FakeEngine(), FakeEngine()
    prompt, reply = start(writer), (*b"With a hook.", END)
    own = make_evaluator(load("harmless"), writer, HELLO, prompt, kind=kind, zeroed=False)
    foreign = make_evaluator(load("harmless"), writer, HELLO, prompt, kind=kind, zeroed=False, judge=judge)
    assert writer.judge(own, Prefix(reply, prompt)) == judge.judge(foreign, Prefix(reply, prompt))
    read = [[question.prefix.path() for question in engine.batches[-1]] for engine in (writer, judge)]
    assert read[0] == read[1]


def test_an_empty_reply_is_the_judges_prompt() -> None:
    writer, judge = FakeEngine(), FakeEngine()
    prompt = start(writer)
    evaluator = make_evaluator(
        load("harmless"), writer, HELLO, prompt, kind="yes_no", placement="in_place", judge=judge
    )
    judge.judge(evaluator, prompt)
    judge.judge(evaluator, Prefix((END,), prompt))
    assert judge.batches[0][0].prefix is judge.batches[1][0].prefix


def test_the_judges_prefixes_are_freed_with_the_branch() -> None:
    writer, judge = FakeEngine(), FakeEngine()
    prompt = start(writer)
    evaluator = make_evaluator(load("harmless"), writer, HELLO, prompt, kind="contrastive", judge=judge)
    reply = behind(prompt, "No", " way.")
    judge.judge(evaluator, reply)
    links = evaluator._reader._links
    assert len(links) == 2
    del reply
    judge.batches.clear()
    gc.collect()
    assert len(links) == 0


def test_a_conversation_too_long_for_the_judge_is_told() -> None:
    writer, judge = FakeEngine(), FakeEngine(name="small", can=Capabilities(context=30, sequences=2))
    with pytest.raises(UsageError, match="long for the judge small, which holds 30"):
        make_evaluator(load("harmless"), writer, HELLO, start(writer), judge=judge)
