"""llama.cpp on real models: everything an engine must do, exact counts, and little room."""

import asyncio
import gc
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from rain.engines.llamacpp import LlamaCppEngine
from rain.errors import UsageError
from rain.models import open_engine
from rain.search.asks import Prefix, Result, Sample, TextLogprobs, TokenLogprobs, TopTokens, Until, Usage
from rain.testing import EngineConformance, floats, run, samples, tops

# Looked for, not imported: the engine sets how OpenMP waits before llama.cpp is loaded.
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(importlib.util.find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"),
]

STORED = Path.home() / ".cache" / "rain-models"


def smollm2(**options: int) -> LlamaCppEngine:
    try:
        engine = open_engine("smollm2", **options)
    except UsageError as error:
        pytest.skip(str(error))
    assert isinstance(engine, LlamaCppEngine)
    return engine


class TestSmolLM2(EngineConformance):
    cells_matter = True

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Iterator[LlamaCppEngine]:
        engine = smollm2(context=1024)
        yield engine
        engine.close()

    def small(self) -> LlamaCppEngine:
        return smollm2(context=48, sequences=4)


@pytest.fixture(scope="module")
def engine() -> Iterator[LlamaCppEngine]:
    engine = smollm2(context=1024)
    yield engine
    engine.close()


def prompt(engine: LlamaCppEngine, text: str = "Once upon a time there was a") -> Prefix:
    return Prefix(engine.tokenizer.encode(text, bos=True))


def test_ten_draws_of_ten_tokens_cost_their_histories(engine: LlamaCppEngine) -> None:
    start = prompt(engine)
    drawn, usage = run(samples(engine, Sample(start, tuple(range(10)), Until(10), top_k=15)))
    histories = {each.tokens[:n] for each in drawn for n in range(1, len(each.tokens))}
    assert usage.forward_tokens == start.length + len(histories)
    assert usage.calls == 10


def test_both_orders_of_a_question_are_one_call(engine: LlamaCppEngine) -> None:
    tokenizer = engine.tokenizer
    (each,), _ = run(samples(engine, Sample(prompt(engine), (3,), Until(12))))
    questions = [
        tokenizer.encode(text) for text in (" Is it (A) good or (B) bad? (", " What is it? (A) bad (B) good: (")
    ]

    async def judge() -> list[tuple[Result, Usage]]:
        asked = [TokenLogprobs(each.prefix, question, (1, 2)) for question in questions]
        return list(await asyncio.gather(*(engine.answer(question) for question in asked)))

    run(tops(engine, each.prefix, 1))
    before = engine.cells_used
    usages = [usage for _, usage in run(judge())]
    assert [usage.forward_tokens for usage in usages] == [len(question) for question in questions]
    assert [usage.calls for usage in usages] == [0.5, 0.5]
    assert engine.cells_used == before


def test_a_clause_more_costs_only_its_tokens_to_weigh(engine: LlamaCppEngine) -> None:
    praise = prompt(engine, "A kind and gentle story, full of joy:")
    text, spent = praise, 0
    for piece in (" The cat", " sat down", " and it", " smiled."):
        text = Prefix(engine.tokenizer.encode(piece), text)
        _, usage = run(floats(engine, TextLogprobs(text, praise)))
        spent += usage.forward_tokens
    assert spent == text.length - 1


def test_everything_is_freed_when_nobody_holds_it(engine: LlamaCppEngine) -> None:
    gc.collect()
    start = prompt(engine)
    held = [run(samples(engine, Sample(start, (n, n + 1), Until(9))))[0] for n in range(5)]
    assert engine.cells_used > start.length
    held.clear()
    gc.collect()
    assert engine.cells_used == start.length
    del start
    gc.collect()
    assert engine.cells_used == 0


def test_four_sequences_grow_ten_draws_in_waves() -> None:
    few, many = smollm2(context=256, sequences=4), smollm2(context=256)
    drawn = []
    for engine in (few, many):
        found, _ = run(samples(engine, Sample(prompt(engine), tuple(range(10)), Until(8), top_k=15)))
        drawn.append([each.tokens for each in found])
        engine.close()
    assert sum(a == b for a, b in zip(*drawn, strict=True)) >= 7


def test_searches_side_by_side_share_their_calls(engine: LlamaCppEngine) -> None:
    async def search(name: str) -> None:
        here = prompt(engine, f"{name} is a")
        for _ in range(8):
            answer, _ = await engine.answer(Sample(here, (), Until(1), greedy=True))
            assert isinstance(answer, tuple)
            here = Prefix((answer[0].tokens[0],), here)

    async def side_by_side() -> None:
        await asyncio.gather(*(search(name) for name in ("Paris", "Rome", "Berlin", "Madrid")))

    before = engine.totals.calls
    run(side_by_side())
    assert engine.totals.calls - before <= 12


def test_a_long_prompt_is_read_in_parts() -> None:
    engine = smollm2(context=700)
    words = engine.tokenizer.encode(" and so on" * 200)[:600]
    _, usage = run(tops(engine, Prefix(words), 1))
    assert usage == Usage(600, 0, 2.0)
    engine.close()


def test_text_is_read_and_written(engine: LlamaCppEngine) -> None:
    tokenizer = engine.tokenizer
    for text in ("Grüße, 世界! \U0001f600\n  two  spaces", "", "a\x00b"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    marked = tokenizer.encode("<|im_start|>user\nHi<|im_end|>", special=True)
    assert set(marked) & tokenizer.eos
    assert not set(tokenizer.encode("<|im_end|>")) & tokenizer.eos
    assert tokenizer.decode(marked) == "user\nHi"
    assert all(tokenizer.piece(token) == b"" for token in tokenizer.eos)
    assert engine.template is not None
    assert engine.template_tokens["eos_token"] == "<|im_end|>"


def test_the_weights_are_known_by_their_hash(engine: LlamaCppEngine) -> None:
    assert engine.weights_hash == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


@pytest.mark.skipif(not (STORED / "gemma3-270m.gguf").exists(), reason="shared/tools/get-model gemma3-270m")
def test_a_sliding_window_can_be_rewound_beyond_its_width() -> None:
    engine = LlamaCppEngine(STORED / "gemma3-270m.gguf", context=900)
    assert engine.template is None or engine.tokenizer.bos is not None
    start = Prefix(engine.tokenizer.encode("The cat sat on the mat and looked at the dog. " * 3, bos=True))
    before, _ = run(tops(engine, start, 3))
    long = Prefix(engine.tokenizer.encode("It was warm there, and nobody came by. " * 70)[:700], start)
    run(tops(engine, long, 1))
    again, usage = run(floats(engine, TokenLogprobs(start, (before.tokens[0],), (before.tokens[1],))))
    assert usage.forward_tokens == 1
    fresh, _ = run(floats(engine, TextLogprobs(Prefix((before.tokens[0], before.tokens[1]), start), start)))
    assert fresh[0] == pytest.approx(before.logprobs[0], abs=0.2)
    assert fresh[1] == pytest.approx(again[0], abs=0.2)
    engine.close()


def test_an_answer_after_closing_says_so() -> None:
    engine = smollm2(context=256)
    engine.close()
    engine.close()
    assert run(engine.answer(TopTokens(prompt_of(3), 1)))[1] == Usage()
    assert engine.cells_used == 0


def prompt_of(*tokens: int) -> Prefix:
    return Prefix(tokens)
