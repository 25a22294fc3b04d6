"""The gate before the cache: never overbooked, first come first served, nobody forgotten, everything given back."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

import rain
from engines.toy import ToyEngine
from rain.api import Model
from rain.engines.llamacpp import LlamaCppEngine
from rain.engines.scripted import ScriptedEngine
from rain.errors import UsageError
from rain.models import open_engine
from rain.reply import Reply
from rain.run.scheduler import Busy, QuestionCells, Scheduler, Want, question_cells, want
from rain.search.asks import Prefix, TopTokens
from rain.search.events import Event
from rain.search.settings import Settings, changed

QUICK = {"iterations_per_set": 10, "fresh_iterations": 5}


def gate(cells: int, waiting: int | None = None) -> Scheduler:
    return Scheduler(ScriptedEngine(context=cells), waiting=waiting)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Held:
    """Searches that hold their cells until they are told to end."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.began: list[str] = []
        self.gave_up: dict[str, int] = {}
        """Who gave up, and how many stood in line just then."""
        self.ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[bool]] = {}

    async def begin(self, name: str, cells: int, **options: Any) -> None:
        self.ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._hold(name, cells, options))
        await turns()

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await self.tasks[name]
        await turns()

    async def cancel(self, name: str) -> None:
        self.tasks[name].cancel()
        await turns()

    async def _hold(self, name: str, cells: int, options: dict[str, Any]) -> bool:
        async with self.scheduler.admit(Want(cells), **options) as admitted:
            if admitted:
                self.began.append(name)
                await self.ends[name].wait()
            else:
                self.gave_up[name] = self.scheduler.waiting
            return admitted


def play(script: Callable[[Held], Awaitable[None]], scheduler: Scheduler) -> None:
    async def work() -> None:
        held = Held(scheduler)
        await script(held)
        for event in held.ends.values():
            event.set()
        await asyncio.gather(*held.tasks.values(), return_exceptions=True)

    asyncio.run(asyncio.wait_for(work(), 10))
    assert (scheduler.booked, scheduler.waiting) == (0, 0)


def test_who_fits_begins_and_who_does_not_waits_in_the_order_of_arrival() -> None:
    scheduler = gate(100)

    async def script(held: Held) -> None:
        await held.begin("a", 60)
        await held.begin("b", 30)
        await held.begin("large", 80)
        await held.begin("small", 5)  # would fit, but came later
        assert (held.began, scheduler.booked, scheduler.waiting) == (["a", "b"], 90, 2)
        await held.end("a")
        assert held.began == ["a", "b"]
        await held.end("b")
        assert (held.began, scheduler.booked) == (["a", "b", "large", "small"], 85)

    play(script, scheduler)


def test_who_is_cancelled_while_waiting_leaves_at_once_and_lets_the_next_in() -> None:
    scheduler = gate(100)

    async def script(held: Held) -> None:
        await held.begin("a", 60)
        await held.begin("large", 80)
        await held.begin("small", 40)
        await held.cancel("large")
        assert (held.began, scheduler.booked, scheduler.waiting) == (["a", "small"], 100, 0)

    play(script, scheduler)


def test_who_is_cancelled_just_as_he_is_let_in_gives_everything_back() -> None:
    scheduler = gate(100)

    async def script(held: Held) -> None:
        await held.begin("a", 60)
        await held.begin("b", 60)
        held.ends["a"].set()
        while held.scheduler.waiting:
            await asyncio.sleep(0)
        held.tasks["b"].cancel()
        await turns()
        assert (held.began, scheduler.booked) == (["a"], 0)

    play(script, scheduler)


def test_a_running_one_that_is_cancelled_gives_its_cells_back() -> None:
    scheduler = gate(100)

    async def script(held: Held) -> None:
        await held.begin("a", 60)
        await held.begin("b", 60)
        await held.cancel("a")
        assert (held.began, scheduler.booked) == (["a", "b"], 60)

    play(script, scheduler)


def test_a_full_line_says_so_and_a_server_can_tell() -> None:
    scheduler = gate(100, waiting=1)

    async def script(held: Held) -> None:
        await held.begin("a", 100)
        await held.begin("b", 100)
        await held.begin("c", 1)
        with pytest.raises(Busy, match="scripted is busy: 1 searches wait"):
            await held.tasks.pop("c")
        await held.end("a")
        await held.begin("d", 1)
        assert scheduler.waiting == 1

    play(script, scheduler)


def test_a_full_line_is_full_for_small_ones_too() -> None:
    scheduler = gate(100, waiting=1)

    async def script(held: Held) -> None:
        await held.begin("a", 60)
        await held.begin("large", 80)
        await held.begin("small", 5)
        with pytest.raises(Busy):
            await held.tasks.pop("small")

    play(script, scheduler)


def test_where_nobody_may_wait_who_fits_is_let_in() -> None:
    scheduler = gate(100, waiting=0)

    async def script(held: Held) -> None:
        await held.begin("a", 60)
        await held.begin("b", 40)
        assert held.began == ["a", "b"]
        await held.begin("c", 1)
        with pytest.raises(Busy):
            await held.tasks.pop("c")

    play(script, scheduler)


def test_one_that_wants_more_than_there_is_is_let_in_alone() -> None:
    scheduler = gate(100)

    async def script(held: Held) -> None:
        await held.begin("a", 60)
        await held.begin("huge", 10_000)
        await held.begin("b", 10)
        assert held.began == ["a"]
        await held.end("a")
        assert (held.began, scheduler.booked) == (["a", "huge"], 100)
        await held.end("huge")
        assert held.began == ["a", "huge", "b"]

    play(script, scheduler)


def test_one_that_cannot_even_begin_is_told_what_to_do() -> None:
    async def work() -> None:
        async with gate(100).admit(Want(500, least=101)):
            raise AssertionError("it was let in")

    with pytest.raises(UsageError, match=r"needs 101 tokens .* scripted holds 100; shorten the prompt, or raise"):
        asyncio.run(work())


@pytest.mark.parametrize("by", ["deadline", "cancel"])
def test_time_spent_in_line_counts(by: str) -> None:
    scheduler = gate(100)

    async def script(held: Held) -> None:
        await held.begin("a", 100)
        cancel = asyncio.Event()
        options: dict[str, Any] = {"cancel": cancel} if by == "cancel" else {"deadline": time.monotonic() + 0.01}
        await held.begin("b", 100, **options)
        await held.begin("c", 100)
        assert scheduler.waiting == 2
        cancel.set()
        assert not await held.tasks["b"]
        assert held.gave_up == {"b": 1}
        assert (held.began, scheduler.booked, scheduler.waiting) == (["a"], 100, 1)

    play(script, scheduler)


@examples(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**9), cells=st.integers(1, 200), waiting=st.none() | st.integers(0, 5))
def test_whatever_comes_and_goes_nothing_is_overbooked_or_forgotten(seed: int, cells: int, waiting: int | None) -> None:
    """Fifty searches come at random moments, some are cancelled, waiting or running, some give up in time."""
    chance = random.Random(seed)
    scheduler = gate(cells, waiting)
    running: dict[int, int] = {}
    waiting_for: dict[int, int] = {}
    came: list[int] = []
    ends: list[str] = []

    async def search(number: int, wanted: int, hold: int, cancel: asyncio.Event | None) -> None:
        came.append(number)
        waiting_for[number] = min(wanted, cells)
        try:
            async with scheduler.admit(Want(wanted), cancel=cancel) as admitted:
                if admitted:
                    running[number] = waiting_for.pop(number)
                    assert sum(running.values()) <= cells
                    # Who came earlier may not have heard yet, but is booked.
                    before = sum(wants for other, wants in waiting_for.items() if other < number)
                    assert before <= scheduler.booked - sum(running.values()), "somebody was overtaken"
                    await turns(hold)
                ends.append("done" if admitted else "gave up")
        except Busy:
            ends.append("busy")
        except asyncio.CancelledError:
            ends.append("cancelled")
        finally:
            running.pop(number, None)
            waiting_for.pop(number, None)

    async def work() -> None:
        tasks = []
        for number in range(50):
            cancel = asyncio.Event() if chance.random() < 0.3 else None
            task = asyncio.create_task(search(number, chance.randint(1, 2 * cells), chance.randrange(6), cancel))
            tasks.append(task)
            await turns(chance.randrange(4))
            assert scheduler.booked <= cells
            if cancel and chance.random() < 0.7:
                cancel.set()
            if chance.random() < 0.3:
                chance.choice(tasks).cancel()
        for end in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(end, AssertionError):
                raise end

    asyncio.run(asyncio.wait_for(work(), 10))
    assert (scheduler.booked, scheduler.waiting) == (0, 0)
    assert len(ends) == len(came)


def test_one_gate_for_several_threads_and_loops() -> None:
    scheduler = gate(10)
    most = 0

    async def search() -> None:
        nonlocal most
        async with scheduler.admit(Want(4)):
            most = max(most, scheduler.booked)
            await asyncio.sleep(0.001)

    async def many() -> None:
        await asyncio.gather(*(search() for _ in range(10)))

    async def threads() -> None:
        await asyncio.wait_for(asyncio.gather(*(asyncio.to_thread(asyncio.run, many()) for _ in range(4))), 20)

    asyncio.run(threads())
    assert most == 8
    assert (scheduler.booked, scheduler.waiting) == (0, 0)


# What a search books --------------------------------------------------------------------------------------------------


def test_what_is_wanted_grows_with_what_is_open() -> None:
    settings = Settings()
    assert want(settings, 30, 40, searches=False) == Want(70, 31)
    assert want(settings, 30, 40) == Want(30 + 40 + 100, 31)
    assert want(settings, 30, 40, asks=QuestionCells(questions=150)) == Want(30 + 40 + 150, 180)
    assert want(settings, 30, 40, asks=QuestionCells(fixed=200, copies=1, questions=20)) == Want(
        30 + 200 + 80 + 100, 50
    )
    assert want(changed(settings, {"parallel_leaves": 8}), 30, 40) == Want(30 + 8 * 140, 31)
    assert want(settings, 30, 4) == Want(30 + 4 + 40, 31)
    assert want(changed(settings, {"length_limit": 50}), 30, None) == Want(30 + 20 + 100, 31)
    assert want(changed(settings, {"length_limit": 30}), 30, None, searches=False) == Want(30, 30)


# Of a draft that failed, questions about all its clauses and what is drawn anew are not booked: so nothing is, and not
# optimistic with an evaluator that asks.
MODES_AND_JUDGES = [(mode, "positive", "contrastive") for mode in ("vanilla", "optimistic", "fast", "faithful")]
MODES_AND_JUDGES += [(mode, "harmless", "one_word") for mode in ("vanilla", "fast", "faithful")]


@pytest.mark.parametrize(("mode", "preference", "evaluator"), MODES_AND_JUDGES)
@pytest.mark.parametrize("max_tokens", [6, 30])
def test_a_search_never_holds_more_cells_than_it_booked(
    mode: str, max_tokens: int, preference: str, evaluator: str
) -> None:
    """Held: needed by questions that are being answered; nothing of that can be dropped. On the real batcher."""
    engine = ToyEngine(context=4096, sequences=200, max_tokens=512, max_rows=200)
    table, decode = engine.stepper.table, engine.model.decode
    held: list[int] = []

    def watch(*batch: Any) -> Any:
        held.append(table.cells - table.spare)
        return decode(*batch)

    engine.model.decode = watch  # type: ignore[method-assign]  # spied on
    model = Model(engine)
    options: Any = {"preference": preference, "evaluator": evaluator, "style": "plain"}
    options |= {"mode": mode, "budget": rain.Budget(max_tokens), "settings": {**QUICK, "redrafts": 0}}
    wanted = model._wanted(model.plan(" the movie was", **options))
    for seed in range(5):
        model.generate(" the movie was", seed=seed, **options)
    engine.close()
    assert max_tokens <= max(held) <= wanted.most


def test_what_an_evaluator_asks_is_found_without_asking() -> None:
    engine = ScriptedEngine()
    model = Model(engine)
    plan = model.plan(" the movie was", preference="positive", evaluator="contrastive", style="plain")
    evaluator = plan.evaluator(engine, plan.prompt)
    assert evaluator
    found = question_cells(evaluator, plan.prompt, engine)
    assert (found.copies, found.questions) == (3, 0)
    assert found.fixed > 3 * plan.prompt.length
    assert not engine.asked


def test_searches_of_one_model_wait_for_each_other_and_all_end_as_they_do_alone() -> None:
    engine = ToyEngine(context=600, sequences=60)
    model = Model(engine)
    options: Any = {"preference": "positive", "evaluator": "contrastive", "style": "plain", "settings": QUICK}
    options |= {"mode": "faithful", "budget": rain.Budget(12)}
    alone = [model.generate(" the movie was", seed=seed, **options).text for seed in range(8)]
    most, booked = [], []

    async def watch() -> None:
        while True:
            most.append(model.scheduler.waiting)
            booked.append(model.scheduler.booked)
            await asyncio.sleep(0)

    async def search(seed: int) -> str:
        return (await model.agenerate(" the movie was", seed=seed, **options)).text

    async def together() -> list[str]:
        watching = asyncio.create_task(watch())
        try:
            return list(await asyncio.gather(*(search(seed) for seed in range(8))))
        finally:
            watching.cancel()

    assert asyncio.run(together()) == alone
    assert 0 < max(most) < 8
    assert 0 < max(booked) <= 600
    assert (model.scheduler.booked, model.scheduler.waiting) == (0, 0)
    engine.close()


def test_a_search_that_is_cancelled_in_line_ends_with_an_empty_reply() -> None:
    model = Model(ToyEngine(context=600))

    async def work() -> Reply:
        cancel = asyncio.Event()
        async with model.scheduler.admit(Want(600)):
            options: Any = {"preference": "positive", "evaluator": "contrastive", "style": "plain"}
            task = asyncio.create_task(model.agenerate(" the movie was", cancel=cancel, **options))
            await turns()
            cancel.set()
            return await task

    reply = asyncio.run(asyncio.wait_for(work(), 10))
    assert (reply.text, reply.stopped_by) == ("", "cancelled")
    model.close()


# What a cancelled search gives back -----------------------------------------------------------------------------------


async def cancelled_midway(model: Model, engine: ToyEngine | LlamaCppEngine, **options: Any) -> tuple[int, int, float]:
    """Cells in use in the midst of a search, cells left once its task was cancelled, and the steps that took."""
    seen: list[Event | Reply] = []

    async def search() -> None:
        async for event in model.stream(" the movie was", **options):
            seen.append(event)

    def used() -> int:
        return engine.cells_used

    task = asyncio.create_task(search())
    while len(seen) < 40:
        await asyncio.sleep(0.001)
        assert not task.done()
    during = await asyncio.to_thread(used)
    steps = engine.totals.calls
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    del task
    seen.clear()
    for _ in range(5):  # answers that were on their way to the event loop
        await asyncio.to_thread(used)
    gc.collect()
    return during, used(), engine.totals.calls - steps


def test_a_cancelled_search_leaves_nothing_but_its_prompt() -> None:
    engine = ToyEngine(context=1024, sequences=60)
    engine.model.delay = 0.001
    model = Model(engine)
    options: Any = {"preference": "positive", "evaluator": "contrastive", "style": "plain", "settings": QUICK}
    prompt = model.plan(" the movie was", **options).prompt.length
    work = cancelled_midway(model, engine, **options, mode="fast", budget=rain.Budget(60))
    during, after, steps = asyncio.run(work)
    assert during > 60
    assert after == prompt
    assert steps <= 2, "the step that was under way, and at most the next"
    # And the next question is served as if nothing had been.
    asyncio.run(engine.answer(TopTokens(Prefix((3, 4, 5)), 1)))
    engine.close()


@pytest.mark.real
@pytest.mark.skipif(importlib.util.find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed")
def test_a_cancelled_search_leaves_nothing_but_its_prompt_on_a_real_model() -> None:
    try:
        engine = open_engine("smollm2", context=1024, threads=1)
    except UsageError as error:
        pytest.skip(str(error))
    assert isinstance(engine, LlamaCppEngine)
    with Model(engine) as model:
        options: Any = {"preference": "positive", "style": "plain", "mode": "fast", "budget": rain.Budget(60)}
        prompt = model.plan(" the movie was", **options).prompt.length
        during, after, steps = asyncio.run(cancelled_midway(model, engine, **options))
    assert during > 60
    assert after == prompt
    assert steps <= 2
