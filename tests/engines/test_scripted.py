"""The scripted engine does what every engine must, and what its hooks promise."""

import asyncio

import pytest

from rain.engines.scripted import ScriptedEngine, WordTokenizer
from rain.errors import EngineError
from rain.search.asks import Prefix, Sample, Stopped, TopTokens, Until
from rain.testing import EngineConformance, run, samples, tops


class TestScripted(EngineConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> ScriptedEngine:
        return ScriptedEngine()


class TestScriptedThatRemembers(EngineConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> ScriptedEngine:
        return ScriptedEngine(remembers=True, shuffle=1)

    def small(self) -> ScriptedEngine:
        return ScriptedEngine(sequences=1)


def test_words_and_bytes_are_read_back() -> None:
    tokenizer = WordTokenizer()
    for text in (" the movie was good, and", "Zoë\n<end>", ""):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_control_tokens_are_read_only_when_asked_for() -> None:
    tokenizer = WordTokenizer()
    assert tokenizer.encode("<start> good<end>", special=True) == (1, *tokenizer.encode(" good"), 0)
    assert 0 not in tokenizer.encode(" good<end>")
    assert tokenizer.encode(" good", bos=True)[0] == tokenizer.bos


def test_the_next_token_can_be_a_function_of_all_before() -> None:
    engine = ScriptedEngine(
        pieces=(b" a", b" b"), following=lambda path: [-9, -9, *((9, 0) if path[-1] == 3 else (0, 9))]
    )
    (each,), _ = run(samples(engine, Sample(Prefix((3,)), (), Until(4), greedy=True)))
    assert each.tokens == (2, 3, 2, 3)


def test_it_fails_when_told_to() -> None:
    engine = ScriptedEngine(fail=lambda question: EngineError("out of order") if engine.asked.total() > 1 else None)
    run(tops(engine, Prefix((3,)), 1))
    with pytest.raises(EngineError, match="out of order"):
        run(tops(engine, Prefix((3,)), 1))


def test_a_delay_can_be_cancelled() -> None:
    async def impatient() -> None:
        await asyncio.wait_for(ScriptedEngine(delay=60).answer(TopTokens(Prefix((3,)), 1)), 0.01)

    with pytest.raises(TimeoutError):
        run(impatient())


def test_a_closed_engine_answers_that_it_stopped() -> None:
    engine = ScriptedEngine()
    engine.close()
    assert run(engine.answer(TopTokens(Prefix((3,)), 1)))[0] == Stopped("cancelled")
