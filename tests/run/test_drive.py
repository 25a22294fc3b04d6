"""The driver: budgets, deadlines, cancelling, errors, and many searches on one engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from rain.engines.scripted import ScriptedEngine
from rain.errors import EngineError
from rain.run.drive import Resources, drive
from rain.search.asks import Prefix, Question, Result, Score, Stopped, TokenLogprobs, Usage, Vectors
from rain.search.budget import Budget
from rain.search.events import Committed, Event, Outcome
from rain.search.loop import search
from rain.search.settings import Settings, changed
from rain.search.vanilla import vanilla

SETTINGS = changed(Settings(), {"iterations_per_set": 8, "fresh_iterations": 4})


class AskingJudge:
    """Two questions at once, as an evaluator would."""

    def judge(self, reply: Prefix, complete: bool) -> Generator[list[Question], list[Result], Score | Stopped]:
        results = yield [TokenLogprobs(reply, (5, 6), (7, 8)), TokenLogprobs(reply, (6, 5), (7, 8))]
        for result in results:
            if isinstance(result, Stopped):
                return result
        a, b = (float(result[0] > result[1]) for result in results)
        return Score(a + b - 1, a + b - 1)


class ByLength:
    def embed(self, texts: tuple[str, ...]) -> Vectors:
        rows = np.array([[1.0, len(text) % 7] for text in texts], dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def prompt(engine: ScriptedEngine) -> Prefix:
    return Prefix((1, *engine.tokenizer.encode(" the movie was")))


def finish(engine: ScriptedEngine, budget: Budget, **options: Any) -> tuple[list[Event], Outcome]:
    async def work() -> tuple[list[Event], Outcome]:
        running = search(prompt(engine), options.pop("settings", SETTINGS), budget)
        events = [event async for event in drive(running, Resources(engine, AskingJudge(), ByLength()), **options)]
        assert isinstance(events[-1], Outcome)
        return events[:-1], events[-1]

    return asyncio.run(work())


def test_a_search_runs_to_its_end_and_counts_what_it_cost() -> None:
    engine = ScriptedEngine(remembers=True)
    events, outcome = finish(engine, Budget(max_tokens=10))
    assert "".join(event.text for event in events if isinstance(event, Committed)) == outcome.text
    assert outcome.usage == engine.totals


@examples(max_examples=30, deadline=None)
@given(st.integers(1, 1500), st.integers(1, 4), st.booleans())
def test_forward_tokens_are_never_overrun(limit: int, leaves: int, remembers: bool) -> None:
    engine = ScriptedEngine(remembers=remembers)
    settings = changed(SETTINGS, {"parallel_leaves": leaves})
    _, outcome = finish(engine, Budget(None, None, limit), max_forward_tokens=limit, settings=settings)
    assert engine.totals.forward_tokens <= limit
    assert outcome.stopped_by in ("budget", None)


class Busy(ScriptedEngine):
    """Counts the questions that are open at once; ``surplus``: forward tokens of each beyond what one would expect."""

    def __init__(self, surplus: int = 0, **options: Any) -> None:
        super().__init__(remembers=True, delay=0.001, **options)
        self.surplus, self.at_once, self.most = surplus, 0, 0

    async def answer(self, question: Question, *, limit: int | None = None) -> tuple[Result, Usage]:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            left = None if limit is None else limit - self.surplus
            result, usage = await super().answer(question, limit=left)
        finally:
            self.at_once -= 1
        if isinstance(result, Stopped):
            return result, usage
        self.totals += Usage(self.surplus)
        return result, usage + Usage(self.surplus)


def test_questions_go_out_together_while_the_budget_pays_for_all_of_them() -> None:
    settings = changed(SETTINGS, {"parallel_leaves": 4, "pacing": False})
    engine = Busy()
    _, outcome = finish(engine, Budget(6, None, 5000), max_forward_tokens=5000, settings=settings)
    assert outcome.stopped_by is None
    assert engine.most >= 4


@pytest.mark.parametrize("limit", [10, 60, 400, 2000])
def test_what_costs_more_than_it_seemed_is_asked_again_with_all_that_is_left(limit: int) -> None:
    settings = changed(SETTINGS, {"parallel_leaves": 3})
    engine = Busy(surplus=7)
    _, outcome = finish(engine, Budget(6, None, limit), max_forward_tokens=limit, settings=settings)
    assert engine.totals.forward_tokens == outcome.usage.forward_tokens <= limit
    assert outcome.stopped_by is None or engine.totals.forward_tokens > 0.6 * limit or limit < 20


class ForeignJudge(AskingJudge):
    """Asks another engine, about prefixes of its own."""

    def __init__(self, start: Prefix) -> None:
        self.start = start

    def judge(self, reply: Prefix, complete: bool) -> Generator[list[Question], list[Result], Score | Stopped]:
        return (yield from super().judge(Prefix(reply.path()[-2:], self.start), complete))


def judged_by_another(limit: int | None) -> tuple[ScriptedEngine, ScriptedEngine, Outcome]:
    writer, judge = ScriptedEngine(remembers=True), ScriptedEngine(seed=9)

    async def work() -> Outcome:
        resources = Resources(writer, ForeignJudge(prompt(judge)), ByLength(), judge)
        running = search(prompt(writer), SETTINGS, Budget(max_tokens=8, max_forward_tokens=limit))
        *_, outcome = [event async for event in drive(running, resources, max_forward_tokens=limit)]
        assert isinstance(outcome, Outcome)
        return outcome

    return writer, judge, asyncio.run(work())


def test_a_judge_of_its_own_is_asked_and_its_cost_counted_apart() -> None:
    writer, judge, outcome = judged_by_another(None)
    assert not writer.asked["TokenLogprobs"]
    assert set(judge.asked) == {"TokenLogprobs"}
    assert outcome.usage.judge_forward_tokens == judge.totals.forward_tokens > 0
    assert outcome.usage.judge_calls == judge.totals.calls
    assert outcome.usage.forward_tokens == writer.totals.forward_tokens + judge.totals.forward_tokens


@pytest.mark.parametrize("limit", [3, 40, 200, 700])
def test_the_budget_counts_writer_and_judge(limit: int) -> None:
    writer, judge, outcome = judged_by_another(limit)
    assert writer.totals.forward_tokens + judge.totals.forward_tokens <= limit
    assert outcome.stopped_by in ("budget", None)


def test_a_budget_is_used_before_the_search_gives_up() -> None:
    engine = ScriptedEngine(remembers=True)
    settings = changed(SETTINGS, {"minimum_visits": 1000})
    _, outcome = finish(engine, Budget(max_forward_tokens=900), max_forward_tokens=900, settings=settings)
    assert outcome.stopped_by == "budget"
    assert engine.totals.forward_tokens > 800


def test_a_budget_is_shared_among_the_sets_so_that_the_reply_reaches_its_end() -> None:
    hopeless = {"minimum_visits": 1000, "iterations_per_set": 400, "fresh_iterations": 400}
    budget = Budget(max_tokens=20, max_forward_tokens=6000)

    def ended(pacing: bool) -> Outcome:
        settings = changed(SETTINGS, {**hopeless, "parallel_leaves": 3, "pacing": pacing})
        engine = ScriptedEngine(remembers=True)
        return finish(engine, budget, max_forward_tokens=6000, settings=settings)[1]

    paced, hasty = ended(True), ended(False)
    assert paced.stopped_by is None
    assert len(paced.tokens) == 20 or paced.finish == "stop"
    assert paced.usage.forward_tokens > 3000
    assert hasty.stopped_by == "budget"


def test_under_a_tight_budget_leaves_wait_for_each_other() -> None:
    def most(limit: int) -> int:
        long = changed(SETTINGS, {"parallel_leaves": 8, "iterations_per_set": 60, "minimum_visits": 1000})
        engine = Busy()
        finish(engine, Budget(9, None, limit), max_forward_tokens=limit, settings=long)
        return engine.most

    assert most(300) <= 4  # two questions of an iteration, and two of one that was withdrawn
    assert most(20_000) > 6


def test_sets_still_to_come() -> None:
    assert [Settings().sets(0, tokens) for tokens in (0, 1, 2, 3, 7, 8, 17, 18, 40)] == [1, 1, 2, 2, 3, 4, 4, 5, 7]
    assert Settings().sets(5, 21) == 3


@pytest.mark.parametrize("leaves", [1, 3])
def test_a_large_budget_stops_nothing(leaves: int) -> None:
    settings = changed(SETTINGS, {"parallel_leaves": leaves})
    budget = Budget(max_tokens=6, max_forward_tokens=100_000)
    _, outcome = finish(ScriptedEngine(shuffle=2), budget, max_forward_tokens=100_000, settings=settings)
    assert outcome.stopped_by is None
    assert outcome.text


def test_a_deadline_takes_the_best_known_text() -> None:
    engine = ScriptedEngine(delay=0.02)
    started = time.monotonic()
    _, outcome = finish(engine, Budget(max_tokens=200), deadline=time.monotonic() + 0.25)
    assert outcome.stopped_by == "deadline"
    assert outcome.text
    assert time.monotonic() - started < 5


def test_cancelling_keeps_what_is_committed() -> None:
    engine = ScriptedEngine(delay=0.001)

    async def work() -> tuple[str, Outcome]:
        cancel, committed = asyncio.Event(), ""
        running = search(prompt(engine), SETTINGS, Budget(max_tokens=300))
        async for event in drive(running, Resources(engine, AskingJudge(), ByLength()), cancel=cancel):
            if isinstance(event, Outcome):
                return committed, event
            if isinstance(event, Committed):
                committed += event.text
                cancel.set()
        raise AssertionError

    committed, outcome = asyncio.run(work())
    assert outcome.stopped_by == "cancelled"
    assert outcome.text == committed != ""


def test_closing_the_driver_drops_the_work() -> None:
    engine = ScriptedEngine(delay=0.001)

    async def work() -> int:
        running = drive(
            search(prompt(engine), SETTINGS, Budget(max_tokens=300)), Resources(engine, AskingJudge(), ByLength())
        )
        async for _ in running:
            break
        await running.aclose()
        return len(asyncio.all_tasks())

    assert asyncio.run(work()) == 1


def test_an_engine_that_fails_is_heard() -> None:
    engine = ScriptedEngine(fail=lambda question: EngineError("the model is gone"))
    with pytest.raises(EngineError, match="the model is gone"):
        finish(engine, Budget(max_tokens=5))


@pytest.mark.parametrize("leaves", [1, 4])
def test_shuffled_answers_still_end_well(leaves: int) -> None:
    engine = ScriptedEngine(shuffle=3)
    _, outcome = finish(engine, Budget(max_tokens=10), settings=changed(SETTINGS, {"parallel_leaves": leaves}))
    assert outcome.stopped_by is None
    assert len(outcome.tokens) == 10 or outcome.finish == "stop"


def test_vanilla_is_a_search_too() -> None:
    engine = ScriptedEngine(remembers=True)

    async def work(seed: int) -> Outcome:
        running = vanilla(prompt(engine), SETTINGS, Budget(max_tokens=40), seed=seed)
        events = [event async for event in drive(running, Resources(engine, AskingJudge()))]
        assert isinstance(events[-1], Outcome)
        return events[-1]

    first, again, other = (asyncio.run(work(seed)) for seed in (1, 1, 2))
    assert first.text == again.text != other.text
    assert first.score is not None
