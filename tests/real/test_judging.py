"""Judging with the embedded model: what it can tell apart, and what a judgement costs."""

import asyncio
import importlib.util
from collections.abc import Iterator

import pytest

# Importing it here would load it before its threads are told to sleep.
if importlib.util.find_spec("llama_cpp") is None:
    pytest.skip("llama-cpp-python is not installed", allow_module_level=True)

from rain.chat import Conversation, Message, prompt_tokens
from rain.engines.engine import Engine
from rain.errors import UsageError
from rain.models import open_engine
from rain.preferences import Evaluator, load, make_evaluator
from rain.search.asks import Prefix, Score, Stopped, Usage

pytestmark = pytest.mark.real

LIKED = ("What a joy this was, I could watch it again and again.", "Superb acting and a story that moved me to tears.",
         "The funniest thing I have seen in years.", "A warm and beautiful picture.")  # fmt: skip
DISLIKED = ("What a bore this was, I nearly walked out.", "Wooden acting and a story that makes no sense.",
            "The dullest thing I have seen in years.", "A cheap and ugly mess.")  # fmt: skip
REVIEW = Conversation((Message("user", "Film reviews:\n\n"),), "plain")
QUESTION = Conversation((Message("user", "How do I find a job?"),))


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    try:
        engine = open_engine("smollm2", context=2048)
    except UsageError as error:
        pytest.skip(str(error))
    yield engine
    engine.close()


def judge(engine: Engine, evaluator: Evaluator, reply: Prefix) -> tuple[Score, Usage]:
    async def judged() -> tuple[Score | Stopped, Usage]:
        steps, usage = evaluator.judge(reply, complete=True), Usage()
        questions = next(steps)
        while True:
            answers = await asyncio.gather(*(engine.answer(question) for question in questions))
            usage = sum((used for _, used in answers), usage)
            try:
                questions = steps.send([result for result, _ in answers])
            except StopIteration as done:
                return done.value, usage

    score, usage = asyncio.run(judged())
    assert isinstance(score, Score)
    return score, usage


def test_contrast_ranks_praise_above_complaint(engine: Engine) -> None:
    prompt = Prefix(prompt_tokens(engine, REVIEW))
    evaluator = make_evaluator(load("positive"), engine, REVIEW, prompt)
    liked, disliked = (
        [judge(engine, evaluator, Prefix(engine.tokenizer.encode(text), prompt))[0].soft for text in texts]
        for texts in (LIKED, DISLIKED)
    )
    won = sum(good > bad for good in liked for bad in disliked)
    assert won >= 13, f"{won} of 16 pairs: {liked} {disliked}"
    assert max(liked) > 0.3
    assert min(disliked) < -0.2


def test_contrast_costs_twice_the_new_tokens(engine: Engine) -> None:
    prompt = Prefix(prompt_tokens(engine, QUESTION))
    evaluator = make_evaluator(load("harmless"), engine, QUESTION, prompt)
    leaf = Prefix(engine.tokenizer.encode("Ask people you know, and read"), prompt)
    judge(engine, evaluator, leaf)
    child = Prefix(engine.tokenizer.encode(" the local paper."), leaf)
    assert judge(engine, evaluator, child)[1].forward_tokens <= 2 * (len(child.tokens) + 1)


@pytest.mark.parametrize("kind", ["choice", "yes_no", "one_word"])
@pytest.mark.parametrize("placement", ["quoted", "in_place"])
def test_questions_cost_the_same_however_long_the_reply(engine: Engine, kind: str, placement: str) -> None:
    prompt = Prefix(prompt_tokens(engine, QUESTION))
    evaluator = make_evaluator(load("harmless"), engine, QUESTION, prompt, kind=kind, placement=placement)
    reply, costs = prompt, []
    for text in ("Ask people you know,", " read the local paper,", " and write to companies that you like."):
        reply = Prefix(engine.tokenizer.encode(text), reply)
        score, usage = judge(engine, evaluator, reply)
        assert -1 <= score.soft <= 1
        costs.append(usage.forward_tokens - len(reply.tokens))
    assert costs[2] <= costs[1] + 4
    assert costs[2] <= 110
