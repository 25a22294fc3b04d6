"""What the batcher and its steps promise: shared work, exact counts, progress in any room. On a toy model."""

import asyncio
import gc
import random
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rain.engines.scripted import ScriptedEngine
from rain.engines.shares import OWNER, Owner
from rain.errors import EngineError
from rain.search.asks import (
    Continuation,
    Prefix,
    Question,
    Result,
    Sample,
    Stopped,
    TextLogprobs,
    TokenLogprobs,
    TopTokens,
    Until,
    Usage,
)
from rain.testing import EngineConformance, floats, run, samples, tops

from .toy import ToyEngine

PROMPT = tuple(range(2, 30))


class TestToy(EngineConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Iterator[ToyEngine]:
        engine = ToyEngine()
        yield engine
        engine.close()

    def small(self) -> ToyEngine:
        return ToyEngine(context=40, sequences=3, max_tokens=7, max_rows=2, rows=1)


class TestToyWithTwoSequences(TestToy):
    def small(self) -> ToyEngine:
        return ToyEngine(context=64, sequences=1)

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Iterator[ToyEngine]:
        engine = ToyEngine(context=128, sequences=2, max_tokens=9, max_rows=3, rows=1)
        yield engine
        engine.close()


@pytest.fixture
def toy() -> Iterator[ToyEngine]:
    engine = ToyEngine()
    yield engine
    engine.close()


def test_draws_with_the_same_history_are_computed_once(toy: ToyEngine) -> None:
    drawn, usage = run(samples(toy, Sample(Prefix(PROMPT), tuple(range(10)), Until(10))))
    histories = {each.tokens[:n] for each in drawn for n in range(1, len(each.tokens))}
    assert usage.forward_tokens == len(PROMPT) + len(histories)
    assert usage.calls == max(len(each.tokens) for each in drawn)


def test_two_questions_behind_one_prefix_are_one_batch(toy: ToyEngine) -> None:
    async def judge() -> list[tuple[Result, Usage]]:
        prefix = Prefix(PROMPT)
        await tops(toy, prefix, 1)
        return list(await asyncio.gather(*(toy.answer(TokenLogprobs(prefix, (n, 3, 4), (5, 6))) for n in (7, 8))))

    answers = run(judge())
    assert [usage for _, usage in answers] == [Usage(3, len(PROMPT), 0.5)] * 2


def test_a_new_prefix_is_computed_once_for_all_that_ask(toy: ToyEngine) -> None:
    async def judge() -> list[tuple[Result, Usage]]:
        prefix = Prefix(PROMPT)
        return list(await asyncio.gather(*(toy.answer(TokenLogprobs(prefix, (n, 3, 4), (5, 6))) for n in (7, 8, 9))))

    answers = run(judge())
    assert sum(usage.forward_tokens for _, usage in answers) == len(PROMPT) + 3 * 3


def test_the_same_tokens_behind_another_prefix_object_are_shared(toy: ToyEngine) -> None:
    first, second = Prefix(PROMPT), Prefix(PROMPT[5:], Prefix(PROMPT[:5]))
    run(tops(toy, first, 1))
    _, usage = run(tops(toy, second, 1))
    assert usage == Usage(1, len(PROMPT) - 1, 1.0)


def test_a_dropped_prefix_frees_its_cells_and_its_ancestors_stay(toy: ToyEngine) -> None:
    prompt = Prefix(PROMPT)
    drawn, _ = run(samples(toy, Sample(prompt, (1, 2, 3), Until(6))))
    assert toy.cells_used > len(PROMPT)
    del drawn
    gc.collect()
    assert toy.cells_used == len(PROMPT)
    again, usage = run(samples(toy, Sample(prompt, (1,), Until(1))))
    assert usage.forward_tokens == 0
    del again, prompt
    gc.collect()
    assert toy.cells_used == 0


def test_a_sampled_set_is_used_again_but_for_its_last_token(toy: ToyEngine) -> None:
    drawn, _ = run(samples(toy, Sample(Prefix(PROMPT), (1, 2, 3), Until(6))))
    for each in drawn:
        _, usage = run(tops(toy, each.prefix, 1))
        assert usage.forward_tokens == 1


def test_the_logprobs_of_a_sampled_text_are_known(toy: ToyEngine) -> None:
    prompt = Prefix(PROMPT)
    (each,), _ = run(samples(toy, Sample(prompt, (4,), Until(6))))
    known, usage = run(floats(toy, TextLogprobs(each.prefix, prompt)))
    assert usage.forward_tokens == 0
    assert known == pytest.approx(each.logprobs, abs=1e-6)


def test_a_longer_text_costs_only_what_is_new(toy: ToyEngine) -> None:
    prompt = Prefix(PROMPT)
    text, spent = prompt, 0
    for n in range(5):
        text = Prefix((3 + n, 4, 5), text)
        logprobs, usage = run(floats(toy, TextLogprobs(text, prompt)))
        spent += usage.forward_tokens
        assert len(logprobs) == 3 * (n + 1)
    assert spent == len(PROMPT) + 3 * 5 - 1


def test_usages_sum_to_the_totals(toy: ToyEngine) -> None:
    async def many() -> list[tuple[Result, Usage]]:
        prompts = [Prefix((n, *PROMPT)) for n in range(2, 7)]
        asked: list[Question] = [Sample(prompt, (1, 2, 3), Until(8)) for prompt in prompts]
        asked += [TokenLogprobs(prompt, (4, 5), (6, 7)) for prompt in prompts]
        asked += [TopTokens(prompt, 3) for prompt in prompts]
        return list(await asyncio.gather(*(toy.answer(question) for question in asked)))

    total = sum((usage for _, usage in run(many())), Usage())
    assert total.forward_tokens == toy.totals.forward_tokens
    assert total.calls == pytest.approx(toy.totals.calls)


def test_searches_side_by_side_stay_in_one_batch(toy: ToyEngine) -> None:
    async def search(n: int) -> None:
        prefix = Prefix((n, *PROMPT))
        for token in range(2, 12):
            prefix = Prefix((token,), prefix)
            await toy.answer(TopTokens(prefix, 1))

    async def side_by_side() -> None:
        await asyncio.gather(*(search(n) for n in range(2, 8)))

    run(side_by_side())
    # Reading six prompts of 30 tokens takes three batches of 64; every further step serves all six.
    assert toy.totals.calls <= 3 + 9 + 3


def test_a_cancelled_question_frees_its_cells(toy: ToyEngine) -> None:
    toy.model.delay = 0.01

    async def cancel() -> None:
        task = asyncio.create_task(toy.answer(Sample(Prefix(PROMPT), tuple(range(9)), Until(400))))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(cancel())
    gc.collect()
    assert toy.cells_used == 0


@pytest.mark.parametrize(
    ("greedy", "modest", "low", "high"), [(16, 3, 0.8, 1.25), (16, 2, 0.8, 1.25), (3, 3, 0.8, 1.25)]
)
def test_a_greedy_owner_gets_no_more_than_one_who_wants_his_share(
    greedy: int, modest: int, low: float, high: float
) -> None:
    """Both ask questions of 20 tokens, one more of them at once, in steps of 30; without owners it is one to five."""
    toy = ToyEngine(max_tokens=30, sequences=40, context=2048)
    spent = Counter[str]()

    async def search(name: str, width: int) -> None:
        OWNER.set(Owner())
        prompt = Prefix((3, 4, len(name), 5))

        async def ask(number: int) -> None:
            tokens = (2 + number, *range(2, 21))
            for _ in range(100):
                _, usage = await toy.answer(TokenLogprobs(prompt, tokens, (5, 6)))
                spent[name] += usage.forward_tokens
                if sum(spent.values()) > 6000:
                    return

        await asyncio.gather(*(ask(number) for number in range(width)))

    async def both() -> None:
        await asyncio.gather(search("greedy", greedy), search("modest one", modest))

    run(both())
    assert low < spent["modest one"] / spent["greedy"] < high
    toy.close()


def test_a_long_prompt_makes_others_wait_for_no_step(toy: ToyEngine) -> None:
    """Reading 500 tokens takes eight steps of 64 that go on with the others' drawing, and no token of room is lost."""
    answered: list[float] = []

    async def read() -> None:
        OWNER.set(Owner())
        await toy.answer(TopTokens(Prefix(tuple(2 + n % 20 for n in range(500))), 1))
        answered.append(toy.totals.calls)

    async def draw() -> None:
        OWNER.set(Owner())
        await toy.answer(Sample(Prefix((4, 5)), (2,), Until(6)))
        answered.append(toy.totals.calls)

    async def both() -> None:
        await asyncio.gather(read(), draw())

    run(both())
    assert answered == [6, 8]


def test_a_failing_model_fails_the_questions_of_its_batch_only(toy: ToyEngine) -> None:
    prompt = Prefix(PROMPT)
    run(tops(toy, prompt, 1))
    toy.model.failures = 1
    with pytest.raises(EngineError, match="the toy broke"):
        run(samples(toy, Sample(Prefix((2, 2), prompt), (1, 2), Until(4))))
    drawn, usage = run(samples(toy, Sample(prompt, (1, 2), Until(4))))
    assert len(drawn) == 2
    assert usage.cached_tokens == len(PROMPT)


def test_what_was_evicted_is_computed_again() -> None:
    toy = ToyEngine(context=40, sequences=4)
    first = Prefix(PROMPT)
    before, _ = run(tops(toy, first, 3))
    run(tops(toy, Prefix((*PROMPT[3:], *PROMPT[:10])), 3))
    _, usage = run(floats(toy, TokenLogprobs(first, (2, 3), before.tokens)))
    assert usage.forward_tokens == len(PROMPT) + 2
    toy.close()


def test_a_question_that_does_not_fit_with_its_prefix_has_no_room() -> None:
    toy = ToyEngine(context=30)
    answer, usage = run(toy.answer(TokenLogprobs(Prefix(PROMPT), (2, 3, 4), (5,))))
    assert (answer, usage.forward_tokens) == (Stopped("no_room"), 0)
    (each,), _ = run(samples(toy, Sample(Prefix(PROMPT), (1,), Until(9, clause=False))))
    assert len(each.tokens) <= 2
    toy.close()


def test_a_question_behind_nothing_is_refused(toy: ToyEngine) -> None:
    with pytest.raises(EngineError, match="at least one token"):
        run(tops(toy, Prefix(()), 1))


def test_closing_answers_what_is_open() -> None:
    toy = ToyEngine()
    toy.model.delay = 0.02

    async def close() -> Result:
        task = asyncio.create_task(toy.answer(Sample(Prefix(PROMPT), (1, 2), Until(400))))
        await asyncio.sleep(0.005)
        toy.close()
        return (await task)[0]

    assert run(close()) == Stopped("cancelled")
    assert run(toy.answer(TopTokens(Prefix(PROMPT), 1)))[0] == Stopped("cancelled")
    toy.close()


def test_several_threads_with_loops_of_their_own(toy: ToyEngine) -> None:
    found: dict[int, list[tuple[int, ...]]] = {}

    def work(n: int) -> None:
        async def ask() -> list[tuple[int, ...]]:
            out = []
            for seed in range(5):
                (each,), _ = await samples(toy, Sample(Prefix((n, *PROMPT)), (seed,), Until(5)))
                out.append(each.tokens)
            return out

        found[n] = run(ask())

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    script = ScriptedEngine(order=6)
    for n, tokens in found.items():
        for seed in range(5):
            (each,), _ = run(samples(script, Sample(Prefix((n, *PROMPT)), (seed,), Until(5))))
            assert each.tokens == tokens[seed]
    assert len(found) == 4


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    context=st.integers(40, 120),
    sequences=st.integers(1, 6),
    max_tokens=st.integers(1, 40),
    max_rows=st.integers(1, 6),
)
def test_any_room_gives_the_answers_of_brute_force(
    seed: int, context: int, sequences: int, max_tokens: int, max_rows: int
) -> None:
    """Trees that grow and are dropped, many questions at once, in a cache that is too small for them."""
    toy = ToyEngine(context=context, sequences=sequences, max_tokens=max_tokens, max_rows=max_rows, rows=2)
    script = ScriptedEngine(order=6, context=context)
    chance = random.Random(seed)
    owners = [Owner() for _ in range(3)]

    async def ask(question: Question) -> tuple[Result, Usage]:
        OWNER.set(chance.choice(owners))
        return await toy.answer(question)

    async def grow() -> None:
        nodes = [Prefix(tuple(chance.randrange(2, 30) for _ in range(10)))]
        for _ in range(6):
            asked = [_question(chance, chance.choice(nodes)) for _ in range(chance.randrange(1, 5))]
            found = await asyncio.gather(*(ask(question) for question in asked))
            for question, (answer, _) in zip(asked, found, strict=True):
                expected, _ = await script.answer(question)
                assert plain(answer) == pytest.approx(plain(expected), abs=1e-5)
                if isinstance(answer, tuple):
                    nodes += [each.prefix for each in answer if isinstance(each, Continuation)]
            while len(nodes) > 6:
                nodes.pop(chance.randrange(len(nodes)))

    try:
        asyncio.run(asyncio.wait_for(grow(), 20))
        gc.collect()
        assert toy.cells_used == 0
    finally:
        toy.close()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
@example(seed=597)
def test_any_limit_is_kept_in_any_room(seed: int) -> None:
    """Also where what a question had counted on is evicted while it has its part in a step (seed 597)."""
    chance = random.Random(seed)
    context, sequences, max_tokens, max_rows = (chance.randint(*ends) for ends in ((40, 120), (1, 6), (1, 40), (1, 6)))
    toy = ToyEngine(context=context, sequences=sequences, max_tokens=max_tokens, max_rows=max_rows, rows=2)

    async def ask(question: Question, limit: int | None) -> Result:
        result, usage = await toy.answer(question, limit=limit)
        assert limit is None or usage.forward_tokens <= limit
        return result

    async def grow() -> None:
        nodes = [Prefix(tuple(chance.randrange(2, 30) for _ in range(10)))]
        for _ in range(6):
            asked = [_question(chance, chance.choice(nodes)) for _ in range(chance.randrange(1, 5))]
            for answer in await asyncio.gather(*(ask(each, chance.choice((None, 8, 15, 25))) for each in asked)):
                if isinstance(answer, tuple):
                    nodes += [each.prefix for each in answer if isinstance(each, Continuation)]
            while len(nodes) > 6:
                nodes.pop(chance.randrange(len(nodes)))

    try:
        asyncio.run(asyncio.wait_for(grow(), 20))
        gc.collect()
        assert toy.cells_used == 0
    finally:
        toy.close()


def _question(chance: random.Random, node: Prefix) -> Question:
    kind = chance.randrange(4)
    if kind == 0:
        return TopTokens(node, 3)
    if kind == 1:
        until = Until(chance.randrange(1, 8), clause=chance.random() < 0.5)
        return Sample(node, tuple(range(chance.randrange(1, 6))), until, top_k=chance.choice((0, 4)), greedy=True)
    if kind == 2:
        return TokenLogprobs(node, tuple(chance.randrange(2, 30) for _ in range(chance.randrange(4))), (2, 3, 4))
    longer = Prefix(tuple(chance.randrange(2, 30) for _ in range(chance.randrange(5))), node)
    return TextLogprobs(longer, node)


def plain(answer: Result) -> list[float]:
    if isinstance(answer, Stopped):
        return [{"no_room": 1.0}.get(answer.why, 2.0)]
    if not isinstance(answer, tuple):
        return [*map(float, answer.tokens), *answer.logprobs]
    return [
        value
        for each in answer
        for value in ([each] if isinstance(each, float) else [*map(float, each.tokens), *each.logprobs])
    ]
