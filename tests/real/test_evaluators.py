"""Openings and another model as judge, with the embedded model."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

# Importing it here would load it before its threads are told to sleep.
if importlib.util.find_spec("llama_cpp") is None:
    pytest.skip("llama-cpp-python is not installed", allow_module_level=True)

import rain
from rain.api import Model
from rain.chat import prompt_tokens
from rain.engines.engine import Engine
from rain.errors import UsageError
from rain.models import open_engine
from rain.preferences import load, make_evaluator
from rain.search.asks import Prefix
from real.test_judging import QUESTION, REVIEW, judge

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def engines() -> Iterator[tuple[Engine, Engine]]:
    try:
        pair = open_engine("smollm2", context=2048), open_engine("smollm2", context=2048)
    except UsageError as error:
        pytest.skip(str(error))
    yield pair
    for engine in pair:
        engine.close()


def test_openings_cost_about_25_tokens_beyond_the_reply(engines: tuple[Engine, Engine]) -> None:
    engine, _ = engines
    prompt = Prefix(prompt_tokens(engine, QUESTION))
    evaluator = make_evaluator(load("harmless"), engine, QUESTION, prompt, kind="openings", zeroed=False)
    reply, costs = prompt, []
    for text in ("Ask people you know,", " read the local paper,", " and write to companies that you like."):
        reply = Prefix(engine.tokenizer.encode(text), reply)
        score, usage = judge(engine, evaluator, reply)
        assert -1 <= score.soft <= 1
        costs.append(usage.forward_tokens - len(reply.tokens))
    assert costs[2] <= 35, costs
    with pytest.raises(UsageError, match="style 'plain'"):
        make_evaluator(load("harmless"), engine, REVIEW, Prefix(prompt_tokens(engine, REVIEW)), kind="openings")


def test_a_judge_with_the_same_weights_says_what_the_writer_would(engines: tuple[Engine, Engine]) -> None:
    writer, other = engines
    prompt = Prefix(prompt_tokens(writer, QUESTION))
    own = make_evaluator(load("harmless"), writer, QUESTION, prompt)
    foreign = make_evaluator(load("harmless"), writer, QUESTION, prompt, judge=other)
    leaf = Prefix(writer.tokenizer.encode("Ask people you know, and read"), prompt)
    child = Prefix(writer.tokenizer.encode(" the local paper."), leaf)
    for reply, most in ((leaf, 300), (child, 2 * (len(child.tokens) + 1))):
        score, usage = judge(other, foreign, reply)
        assert score.soft == pytest.approx(judge(writer, own, reply)[0].soft, abs=0.2)  # batches of other widths
        assert usage.forward_tokens <= most


def test_the_embedded_model_judges_for_itself_as_another(engines: tuple[Engine, Engine]) -> None:
    model = Model(engines[0], judge=engines[1])
    reply = model.generate(
        "How do I find a job?",
        preference="harmless",
        evaluator="openings+refusals",
        settings={"iterations_per_set": 4, "fresh_iterations": 2},
        budget=rain.Budget(max_tokens=8),
    )
    assert reply.judge is not None
    assert (reply.judge["evaluator"], reply.judge["model"]) == ("openings+refusals", "smollm2")
    assert reply.usage.judge_forward_tokens > 0
    assert reply.usage.forward_tokens > 0
