"""Many searches over one cache: who may begin, and who waits until there are cells enough.

A search books the cells that it may hold at once at the worst, before it begins, and gives them back when it ends. What
is booked never exceeds the cache; who does not fit waits, first come first served. Shares of the model's time are
another matter, see :mod:`rain.engines.shares`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from rain.engines.engine import Engine
from rain.errors import RainError, UsageError
from rain.run.drive import Judging
from rain.search.asks import Prefix, TokenLogprobs
from rain.search.settings import Settings


class Busy(RainError):
    """As many searches wait as may; a server answers with 429."""


@dataclass(frozen=True, slots=True)
class Want:
    """Cells that one search may hold at once."""

    most: int
    """At the worst; with less it goes on, but computes again what had to make room."""
    least: int = 1
    """Without which it cannot even begin."""


@dataclass(frozen=True, slots=True)
class QuestionCells:
    """Cells of an evaluator's questions, see :func:`question_cells`."""

    fixed: int = 0
    """Of prompts of its own."""
    copies: int = 0
    """How often it reads the reply behind a prompt of its own."""
    questions: int = 0
    """Of what is asked about one text at once."""


def question_cells(evaluator: Judging, prompt: Prefix, engine: Engine) -> QuestionCells:
    """What an evaluator asks ``engine`` about a reply behind ``prompt``, found by letting it begin; asks nothing.

    Not for evaluators that ask no model: to begin is all that they do.
    """
    reply = Prefix(engine.tokenizer.encode(" a")[-1:], prompt)
    begun = evaluator.judge(reply, False)
    try:
        questions = next(begun)
    except StopIteration:
        return QuestionCells()
    finally:
        begun.close()
    apart = {question.prefix for question in questions if prompt not in question.prefix.chain()}
    return QuestionCells(
        fixed=sum(prefix.length for prefix in apart),
        copies=len(apart),
        questions=sum(len(question.tokens) for question in questions if isinstance(question, TokenLogprobs)),
    )


def want(
    settings: Settings,
    prompt: int,
    max_tokens: int | None,
    *,
    asks: QuestionCells = QuestionCells(),
    searches: bool = True,
) -> Want:
    """The cells that one search may hold at once: ``prompt``, and for each leaf that is open

    * one path of at most ``max_tokens`` (tree and look-ahead), and one for each prompt that the judge reads it behind,
    * and below it either the token sets of an expansion or the judge's questions, whichever is more.

    Nothing is booked for what the engine keeps while there is room and computes again or lets wait where there is
    none: the rest of the tree, and of a draft that failed the questions about all its clauses and what is drawn anew.
    searches: False for vanilla decoding, which is judged once, at its end.
    """
    reply = max(0, settings.length_limit - prompt)
    reply = reply if max_tokens is None else min(reply, max_tokens)
    leaves = settings.parallel_leaves if searches else 1
    sets = settings.candidates * min(max(settings.set_lengths), reply) if searches else 0
    leaf = (1 + asks.copies) * reply + max(sets, asks.questions)
    least = prompt + max(min(1, reply), asks.questions)
    return Want(max(least, prompt + asks.fixed + leaves * leaf), least)


@dataclass(slots=True, eq=False)
class _Place:
    """One search at the gate."""

    cells: int
    loop: asyncio.AbstractEventLoop
    told: asyncio.Future[None]
    booked: bool = False


class Scheduler:
    """The gate before one engine's cache. For all threads and event loops."""

    def __init__(self, engine: Engine, *, cells: int | None = None, waiting: int | None = None) -> None:
        """cells: how many there are to book, if not the engine's own. waiting: searches that may wait; None: all."""
        self.name = engine.name
        self.cells = engine.can.context if cells is None else cells
        self._most_waiting = waiting
        self._lock = threading.Lock()
        self._booked = 0
        self._line: deque[_Place] = deque()

    @property
    def booked(self) -> int:
        """Cells of all searches that were admitted and have not ended."""
        return self._booked

    @property
    def waiting(self) -> int:
        """Searches that wait."""
        return len(self._line)

    @asynccontextmanager
    async def admit(
        self, wanted: Want, *, deadline: float | None = None, cancel: asyncio.Event | None = None
    ) -> AsyncIterator[bool]:
        """Wait until there are cells for a search, and hold them as long as the block runs.

        A search that wants more than there are is admitted alone. Past ``deadline`` (of :func:`time.monotonic`) and
        once ``cancel`` is set there is no more to wait for: the block gets False and no cells, and should end by
        itself at the same signal. Cancelling the task leaves the line at once.
        Raises Busy where too many wait, UsageError where the cache could not hold the search even alone.
        """
        if wanted.least > self.cells:
            raise UsageError(
                f"this search needs {wanted.least:,} tokens in the cache at the very least and {self.name} holds "
                f"{self.cells:,}; shorten the prompt, or raise --context"
            )
        place = self._enter(min(wanted.most, self.cells))
        try:
            yield place.booked or await self._wait(place, deadline, cancel)
        finally:
            self._leave(place)

    def _enter(self, cells: int) -> _Place:
        """Book at once, or stand in line."""
        loop = asyncio.get_running_loop()
        place = _Place(cells, loop, loop.create_future())
        with self._lock:
            full = self._line or self._booked + cells > self.cells
            if full and self._most_waiting is not None and len(self._line) >= self._most_waiting:
                raise Busy(
                    f"{self.name} is busy: {len(self._line)} searches wait for room among the {self.cells:,} tokens "
                    "of its cache, and no more may; try again later"
                )
            self._line.append(place)
            self._admit()
        return place

    async def _wait(self, place: _Place, deadline: float | None, cancel: asyncio.Event | None) -> bool:
        """Whether the place was booked before time was up."""
        alarm = asyncio.ensure_future(cancel.wait()) if cancel else None
        seconds = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            waiting: set[asyncio.Future[Any]] = {place.told, alarm} if alarm else {place.told}
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if alarm:
                alarm.cancel()
        if not place.told.done():
            self._leave(place)
        return place.booked

    def _leave(self, place: _Place) -> None:
        """Give back what was booked, or leave the line; who stands behind may fit now. Harmless if done twice."""
        with self._lock:
            if place.booked:
                self._booked -= place.cells
                place.booked = False
            elif place in self._line:
                self._line.remove(place)
            self._admit()

    def _admit(self) -> None:
        """Book for those in front, as far as there are cells."""
        while self._line and self._booked + self._line[0].cells <= self.cells:
            place = self._line.popleft()
            try:
                place.loop.call_soon_threadsafe(_tell, place.told)
            except RuntimeError:
                continue  # That loop is closed: nobody is waiting there any more.
            self._booked += place.cells
            place.booked = True


def _tell(told: asyncio.Future[None]) -> None:
    if not told.done():
        told.set_result(None)
