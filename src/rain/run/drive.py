"""Step one search: bring its asks to the engine, the evaluator and the encoder, and their answers back as they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

from rain.engines.engine import Engine
from rain.engines.shares import OWNER, Owner
from rain.run.allowance import Allowance
from rain.search.asks import (
    Answer,
    AnyResult,
    Ask,
    Asked,
    Embed,
    Judge,
    Prefix,
    Question,
    Result,
    Score,
    Stopped,
    Usage,
    Vectors,
    Withdrawn,
)
from rain.search.events import Event, Outcome, Search, StopReason


class Judging(Protocol):
    """What is needed of an evaluator, see :class:`rain.preferences.Evaluator`."""

    def judge(self, reply: Prefix, complete: bool) -> Generator[list[Question], list[Result], Score | Stopped]: ...


class Embedding(Protocol):
    """What is needed of an encoder, see :class:`rain.encoders.Encoder`."""

    def embed(self, texts: tuple[str, ...]) -> Vectors: ...


class Recorder(Protocol):
    """Takes down what goes into a search and what comes out, see :mod:`rain.trace`."""

    def answers(self, answers: Sequence[Answer]) -> None: ...

    def event(self, event: Event) -> None: ...

    def outcome(self, outcome: Outcome) -> None: ...


@dataclass(slots=True, eq=False)
class Resources:
    """Who answers: the engine that writes and judges, the evaluator that asks it, the encoder.

    judge: another engine that the evaluator's questions go to; what it spends is counted in ``Usage`` as a judge's.
    """

    engine: Engine
    evaluator: Judging | None = None
    encoder: Embedding | None = None
    judge: Engine | None = None


async def drive(
    search: Search,
    resources: Resources,
    *,
    max_forward_tokens: int | None = None,
    deadline: float | None = None,
    cancel: asyncio.Event | None = None,
    recorder: Recorder | None = None,
) -> AsyncGenerator[Event | Outcome]:
    """Run ``search`` to its end: yields its events as they happen, then its outcome.

    deadline: as :func:`time.monotonic` counts; past it, and once ``cancel`` is set, every open ask is answered with
    ``Stopped`` and the search commits the best it knows. Closing the generator drops all work under way.
    Raises what an engine, evaluator or encoder raises.
    """
    clerk = _Clerk(resources, max_forward_tokens)
    stopped: StopReason | None = None
    try:
        out = next(search)
        while True:
            for item in out:
                if isinstance(item, Asked):
                    clerk.open(item)
                elif isinstance(item, Withdrawn):
                    clerk.withdraw(item.ticket)
                else:
                    if recorder:
                        recorder.event(item)
                    yield item
            if stopped is None and cancel is not None and cancel.is_set():
                stopped = "cancelled"
            elif stopped is None and deadline is not None and time.monotonic() >= deadline:
                stopped = "deadline"
            answers = clerk.stop_all(stopped) if stopped else await clerk.some_answers(deadline, cancel)
            if not answers and clerk.tickets:
                out = []
                continue
            if recorder:
                recorder.answers(answers)
            out = search.send(answers)
    except StopIteration as end:
        if recorder:
            recorder.outcome(end.value)
        yield end.value
    finally:
        search.close()
        await clerk.close()


async def judge(resources: Resources, reply: Prefix, complete: bool) -> tuple[Score | Stopped, Usage]:
    """One judgement outside a search. ``complete``: the text ended there."""
    answer = await _Clerk(resources, None).judgement(0, reply, complete)
    assert isinstance(answer.result, (Score, Stopped))
    return answer.result, answer.usage


class _Clerk:
    """Open tickets and the tasks that work on them; keeps to the budget of forward tokens."""

    def __init__(self, resources: Resources, max_forward_tokens: int | None) -> None:
        self.resources = resources
        self.owner = OWNER.get() or Owner()
        """Whose account the search's forward tokens go on; somebody's who was named around it, or its own."""
        self.allowance = None if max_forward_tokens is None else Allowance(max_forward_tokens)
        self.tickets: dict[asyncio.Task[Answer], int] = {}
        self.dropped: list[asyncio.Task[Answer]] = []

    def open(self, asked: Asked) -> None:
        task = asyncio.ensure_future(self._answer(asked.ticket, asked.ask))
        self.tickets[task] = asked.ticket

    def withdraw(self, ticket: int) -> None:
        if self.allowance:
            return  # It is finished and answered all the same, so that its cost is known.
        for task in [task for task, number in self.tickets.items() if number == ticket]:
            self._drop(task)

    def stop_all(self, why: StopReason) -> list[Answer]:
        tickets = list(self.tickets.values())
        for task in list(self.tickets):
            self._drop(task)
        return [Answer(ticket, Stopped(why)) for ticket in tickets]

    async def some_answers(self, deadline: float | None, cancel: asyncio.Event | None) -> list[Answer]:
        """What is answered by now, after a wait for the first; in the order asked. Empty when time is up."""
        if not self.tickets:
            return []
        seconds = None if deadline is None else max(0.0, deadline - time.monotonic())
        waiting: set[asyncio.Task[Answer] | asyncio.Task[bool]] = set(self.tickets)
        alarm = asyncio.ensure_future(cancel.wait()) if cancel is not None else None
        if alarm is not None:
            waiting.add(alarm)
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if alarm is not None:
                alarm.cancel()
        done = [task for task in self.tickets if task.done()]
        for task in done:
            del self.tickets[task]
        return [task.result() for task in done]

    async def close(self) -> None:
        for task in list(self.tickets):
            self._drop(task)
        await asyncio.gather(*self.dropped, return_exceptions=True)
        self.dropped.clear()  # a cancelled task knows this clerk: in a circle, its prefixes would stay

    def _drop(self, task: asyncio.Task[Answer]) -> None:
        del self.tickets[task]
        task.cancel()
        self.dropped = [*(other for other in self.dropped if not other.done()), task]

    async def _answer(self, ticket: int, ask: Ask) -> Answer:
        OWNER.set(self.owner)  # of this task, which is made for one ask
        if isinstance(ask, Embed):
            assert self.resources.encoder is not None, "the search embeds texts: give an encoder"
            return Answer(ticket, self.resources.encoder.embed(ask.texts))
        if isinstance(ask, Judge):
            return await self.judgement(ticket, ask.reply, ask.complete)
        ((result, usage),) = await self._questions([ask], self.resources.engine)
        return Answer(ticket, result, usage)

    async def judgement(self, ticket: int, reply: Prefix, complete: bool) -> Answer:
        """Step the evaluator: its questions of one turn go out together, so that they share a batch."""
        assert self.resources.evaluator is not None, "the search judges texts: give an evaluator"
        judgement = self.resources.evaluator.judge(reply, complete)
        judge, usage, results = self.resources.judge, Usage(), None
        while True:
            try:
                questions = next(judgement) if results is None else judgement.send(results)
            except StopIteration as end:
                result: AnyResult = end.value
                return Answer(ticket, result, usage.as_judge() if judge else usage)
            answered = await self._questions(questions, judge or self.resources.engine)
            usage = sum((spent for _, spent in answered), usage)
            results = [result for result, _ in answered]

    async def _questions(self, questions: Sequence[Question], engine: Engine) -> list[tuple[Result, Usage]]:
        """Ask together."""
        if self.allowance:
            return await self.allowance.ask(questions, engine)
        return list(await asyncio.gather(*(engine.answer(question) for question in questions)))
