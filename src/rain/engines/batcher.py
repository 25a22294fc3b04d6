"""Between many event loops and one model: questions go to a thread that computes them in common batches.

Questions asked in the same turn of an event loop arrive together. After each step the answers go back in bulk, and
whoever was just answered may ask again before the next step, so that searches that run side by side stay in one batch.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from rain.engines.shares import OWNER, Owner
from rain.engines.steps import Running, Stepper
from rain.errors import EngineError
from rain.search.asks import Question, Result, Stopped, Usage

TICKS = 8
"""Turns of its event loop that an answered task may take to ask again."""
PATIENCE = 0.01
"""Seconds that the next step waits for them at most."""

Reply: TypeAlias = tuple[Result, Usage] | EngineError
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Ticket:
    """One question of one task."""

    question: Question
    limit: int | None
    owner: Owner | None
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[tuple[Result, Usage]]


class Batcher:
    """Answers questions with a stepper, in a thread of its own. ``close`` is called in that thread at the end."""

    def __init__(self, stepper: Stepper, close: Callable[[], None]) -> None:
        self._stepper = stepper
        self._close_model = close
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._gathering: dict[asyncio.AbstractEventLoop, list[Ticket]] = {}
        self._asked: list[Ticket] = []
        self._dropped: list[Ticket] = []
        self._calls: list[Callable[[], None]] = []
        self._closed = False
        self._broken: EngineError | None = None
        self._open: dict[Running, Ticket] = {}
        self._thread = threading.Thread(target=self._work, name="rain-batcher", daemon=True)
        self._thread.start()

    async def answer(self, question: Question, limit: int | None) -> tuple[Result, Usage]:
        """Answer one question. Raises EngineError where the model fails."""
        loop = asyncio.get_running_loop()
        ticket = Ticket(question, limit, OWNER.get(), loop, loop.create_future())
        with self._lock:
            if self._broken is not None:
                raise self._broken
            if self._closed:
                return Stopped("cancelled"), Usage()
            together = self._gathering.setdefault(loop, [])
            together.append(ticket)
            first = len(together) == 1
        if first:
            # Runs after everything that is ready now, so that what is asked in this turn arrives together.
            loop.call_soon(self._flush, loop)
        try:
            return await ticket.future
        except asyncio.CancelledError:
            with self._lock:
                self._dropped.append(ticket)
                self._news.notify()
            raise

    def call(self, function: Callable[[], T]) -> T | None:
        """Run ``function`` in the thread, between two steps, with dead prefixes freed; None if closed."""
        answer: Future[T] = Future()
        with self._lock:
            if self._closed:
                return None
            self._calls.append(lambda: answer.set_result(function()))
            self._news.notify()
        return answer.result()

    def close(self) -> None:
        """Answer what is open with ``Stopped("cancelled")`` and end the thread."""
        with self._lock:
            self._closed = True
            self._news.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            self._asked += self._gathering.pop(loop, [])
            self._news.notify()

    # -- the thread --------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while self._turn():
                pass
        except Exception as error:
            self._broken = EngineError(f"the engine failed and must be loaded again: {error!r}")
        with self._lock:
            self._closed = True
            left = [*self._open.values(), *self._asked, *(t for each in self._gathering.values() for t in each)]
            self._open, self._asked, self._gathering = {}, [], {}
            calls, self._calls = self._calls, []
        for call in calls:
            call()
        reply: Reply = self._broken or (Stopped("cancelled"), Usage())
        self._deliver([(ticket, reply) for ticket in left], wait=False)
        self._close_model()

    def _turn(self) -> bool:
        """Take what is new, compute one step, hand back what it answered; False once closed."""
        with self._lock:
            while not (self._asked or self._dropped or self._calls or self._closed or self._stepper.busy):
                self._news.wait()
            if self._closed:
                return False
            dropped, self._dropped = set(self._dropped), []
            asked, self._asked = [ticket for ticket in self._asked if ticket not in dropped], []
            calls, self._calls = self._calls, []
        self._drop(dropped)
        self._stepper.collect()
        for call in calls:
            call()
        known = [reply for ticket in asked for reply in self._take(ticket)]
        if known:
            # Answered without computing anything: they, too, may ask again before the next step.
            self._deliver(known)
        elif self._stepper.busy:
            self._deliver([(self._open.pop(running), _reply(running)) for running in self._stepper.step()])
        return True

    def _drop(self, dropped: set[Ticket]) -> None:
        for running, ticket in list(self._open.items()):
            if ticket in dropped:
                self._stepper.drop(running)
                del self._open[running]
        # Nor must what was dropped be held while dead prefixes are collected.
        dropped.clear()

    def _take(self, ticket: Ticket) -> list[tuple[Ticket, Reply]]:
        try:
            running = self._stepper.ask(ticket.question, ticket.limit, ticket.owner)
        except ValueError as error:
            return [(ticket, EngineError(str(error)))]
        if running.answer is not None:
            return [(ticket, _reply(running))]
        self._open[running] = ticket
        return []

    def _deliver(self, replies: list[tuple[Ticket, Reply]], wait: bool = True) -> None:
        heard = threading.Semaphore(0)
        told = _send(replies, heard)
        # While it waits, this thread must hold no prefix that its owner may drop meanwhile.
        replies.clear()
        until = time.monotonic() + PATIENCE
        for _ in range(told if wait else 0):
            if not heard.acquire(timeout=max(0.0, until - time.monotonic())):
                break


def _send(replies: list[tuple[Ticket, Reply]], heard: threading.Semaphore) -> int:
    """Hand each event loop its answers; how many loops there were."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Ticket, Reply]]] = {}
    for ticket, reply in replies:
        by_loop.setdefault(ticket.loop, []).append((ticket, reply))
    told = 0
    for loop, theirs in by_loop.items():
        try:
            loop.call_soon_threadsafe(_hand_over, loop, theirs, heard)
            told += 1
        except RuntimeError:
            continue  # That loop is closed: nobody is waiting there any more.
    return told


def _reply(running: Running) -> Reply:
    answer = running.answer
    assert answer is not None
    return answer if isinstance(answer, EngineError) else (answer, running.usage)


def _hand_over(
    loop: asyncio.AbstractEventLoop, replies: list[tuple[Ticket, Reply]], heard: threading.Semaphore
) -> None:
    for ticket, reply in replies:
        if ticket.future.done():
            continue
        if isinstance(reply, EngineError):
            ticket.future.set_exception(reply)
        else:
            ticket.future.set_result(reply)
    replies.clear()
    _tick(loop, TICKS, heard)


def _tick(loop: asyncio.AbstractEventLoop, left: int, heard: threading.Semaphore) -> None:
    if left:
        loop.call_soon(_tick, loop, left - 1, heard)
    else:
        heard.release()
