"""One step after another: what all running questions need, in one batch, in whatever room there is.

Older questions come before newer ones, and within a question the earlier need before the later. The first of them is
always served, if need be at the cost of the others' cached work; so there is progress in the smallest cache, and
candidates grow in waves where sequences are few. Where several owners ask, the first is served an equal share at most,
and the rest goes by what each owner had (:mod:`rain.engines.shares`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from rain.engines.engine import Tokenizer
from rain.engines.jobs import Job, Kit, Need, job
from rain.engines.links import Links
from rain.engines.prefixes import PrefixTable, Store, Tokens
from rain.engines.sampling import Row
from rain.engines.shares import Owner, Shares
from rain.errors import EngineError
from rain.search.asks import Prefix, Question, Result, Stopped, TokenLogprobs, Usage

WORTH_WAITING = 8
"""Tokens another question is just computing that are worth a step's wait rather than computing them twice."""
PLANNED_GROWTH = 32
"""The most tokens of growth that room is kept free for, for each need: clauses mostly end long before the limit."""


LOST = -2


class NoRoom(Exception):
    """The model found no cells for the batch; nothing was computed."""


class Model(Store, Protocol):
    """What the stepper needs of a model."""

    max_tokens: int
    """The most tokens of one batch."""
    max_rows: int
    """The most rows of logits of one batch."""

    def decode(self, tokens: Tokens, positions: Tokens, sequences: Tokens, wanted: Tokens) -> Row:
        """Compute tokens at positions of sequences; rows ``[wanted ones, vocabulary]``, valid until the next call.

        Raises NoRoom if nothing was computed for want of cells, EngineError if it failed.
        """
        ...


@dataclass(slots=True, eq=False)
class Running:
    """A question that is being answered."""

    job: Job
    limit: int | None
    owner: Owner | None = None
    needs: list[Need] = field(default_factory=list)
    forward_tokens: int = 0
    cached_tokens: int = -1
    calls: float = 0.0
    kept: bool = False
    """Whether its prefix was told to stay."""
    answer: Result | EngineError | None = None

    @property
    def usage(self) -> Usage:
        return Usage(self.forward_tokens, max(0, self.cached_tokens), self.calls)


@dataclass(slots=True)
class Chunk:
    """A part of a need that goes into this step."""

    running: Running
    need: Need
    start: int
    tokens: Tokens
    cut_short: bool = False
    """Whether its owner's share was too small for all of the need."""

    @property
    def end(self) -> int:
        return self.start + len(self.tokens)

    @property
    def rows_from(self) -> int:
        return max(self.start, self.need.first)

    @property
    def rows(self) -> int:
        return max(0, self.end - self.rows_from)


class Stepper:
    """All running questions over one model. Used by one thread only."""

    def __init__(self, model: Model, tokenizer: Tokenizer, sequences: int, cells: int, row_bytes: int) -> None:
        self.table = PrefixTable(sequences, cells, model)
        self.links = Links(row_bytes)
        self.forward_tokens = 0
        self.calls = 0
        self.seconds = {"model": 0.0, "choosing": 0.0, "placing": 0.0}
        """Computing batches, making answers of their rows (drawing tokens), and finding room before."""
        self._model = model
        self._kit = Kit(tokenizer, self.links, self.table, cells)
        self._running: list[Running] = []
        self._shares: Shares[tuple[Running, Need]] = Shares()

    @property
    def busy(self) -> bool:
        return bool(self._running)

    def ask(self, question: Question, limit: int | None, owner: Owner | None = None) -> Running:
        """Take a question on; its answer may stand at once."""
        running = Running(job(question, self._kit), limit, owner)
        aside = len(question.tokens) if isinstance(question, TokenLogprobs) else 0
        if question.prefix.length + aside > self._kit.context:
            running.answer = Stopped("no_room")
            return running
        if limit is not None and running.job.worst(self._computed) > limit:
            running.answer = Stopped("budget")
            return running
        running.needs = running.job.begin()
        if running.needs:
            self._running.append(running)
        else:
            running.cached_tokens = question.prefix.length
            running.answer = running.job.result()
        return running

    def drop(self, running: Running) -> None:
        """Nobody wants the answer any more."""
        if running in self._running:
            self._end(running, Stopped("cancelled"))

    def collect(self) -> None:
        """Free what was kept for prefixes that died."""
        for link in self.links.collect():
            self.table.forget(link)

    def step(self) -> list[Running]:
        """Compute one batch; the questions it answered."""
        clock = [time.perf_counter()]
        self.collect()
        before = list(self._running)
        chunks = self._fill()
        if chunks:
            clock.append(time.perf_counter())
            try:
                rows = self._compute(chunks)
            except EngineError as error:
                for running in {id(chunk.running): chunk.running for chunk in chunks}.values():
                    self._end(running, error)
            else:
                clock.append(time.perf_counter())
                self._read(chunks, rows)
                clock.append(time.perf_counter())
        for part, start, end in zip(("placing", "model", "choosing"), clock, clock[1:], strict=False):
            self.seconds[part] += end - start
        return [running for running in before if running.answer is not None]

    def _computed(self, path: Tokens) -> int:
        sequence, common = self.table.match(path)
        return min(common, int(self.table.settled[sequence])) if sequence >= 0 else 0

    # -- what goes into the batch ------------------------------------------------------------------------------------

    def _fill(self) -> list[Chunk]:
        chunks: list[Chunk] = []
        tokens, rows, shares = self._model.max_tokens, self._model.max_rows, self._shares
        shares.line_up((running.owner, (running, need)) for running, need in self._needs())
        while tokens and rows and (turn := shares.next()):
            chunk = self._serve(*turn, tokens, rows, chunks)
            if chunk is None:
                shares.charge(0)
                continue
            chunks.append(chunk)
            tokens -= len(chunk.tokens)
            rows -= chunk.rows
            shares.charge(len(chunk.tokens), again=turn if chunk.cut_short else None)
        shares.settle()
        return chunks

    def _serve(self, running: Running, need: Need, tokens: int, rows: int, chunks: list[Chunk]) -> Chunk | None:
        """A part of the need to go with ``chunks``, with its place taken; None if it must wait, or was ended."""
        if running.answer is not None:
            return None
        first = not chunks
        if need.sequence < 0 and not self._place(running, need, first):
            if first:
                self._end(running, Stopped("no_room"))
            return None
        share, row_share = self._shares.most(tokens), self._shares.most(rows)
        chunk = self._chunk(running, need, share, row_share, first)
        if chunk is None:
            if first:
                self._end(running, Stopped("no_room"))
            return None
        if running.limit is not None and running.forward_tokens + len(chunk.tokens) > running.limit:
            # Something it had counted on was evicted meanwhile. What it has in this step already is computed first.
            if not any(other.running is running for other in chunks):
                self._end(running, Stopped("budget"))
            return None
        at_its_share = len(chunk.tokens) == share < tokens or chunk.rows == row_share < rows
        chunk.cut_short = at_its_share and chunk.end < len(need.path)
        running.forward_tokens += len(chunk.tokens)
        self.table.extend(need.sequence, chunk.tokens)
        return chunk

    def _needs(self) -> Iterator[tuple[Running, Need]]:
        for running in self._running:
            for need in running.needs:
                yield running, need

    def _place(self, running: Running, need: Need, first: bool) -> bool:
        """Find a sequence for the need to be computed in; False if it must wait (the first: if there is no room)."""
        table = self.table
        while True:
            source, common = table.match(need.path)
            common = min(common, need.first)
            settled = int(table.settled[source]) if source >= 0 else 0
            if common > settled:
                if common - settled >= WORTH_WAITING and not first:
                    return False
                common = settled
            if common == 0:
                source = -1
            if not first and not self._planned(need, common):
                return False
            sequence = self._branch(need, source, common, first)
            if sequence != LOST:
                break
        if sequence < 0:
            return False
        need.sequence = sequence
        if running.cached_tokens < 0:
            running.cached_tokens = common
        return True

    def _planned(self, need: Need, common: int) -> bool:
        """Whether the need fits beside what the running ones may still grow by."""
        wanted = len(need.path) - common + min(need.growth, PLANNED_GROWTH)
        for _, other in self._needs():
            if other.sequence >= 0:
                left = len(other.path) - int(self.table.length[other.sequence])
                wanted += left + min(other.growth, PLANNED_GROWTH)
        return wanted <= self.table.spare

    def _branch(self, need: Need, source: int, common: int, first: bool) -> int:
        """A held sequence with the first ``common`` tokens of the need's path; -1 if none is to be had."""
        table = self.table
        aside = 0 <= need.aside <= common
        if source >= 0 and not table.held[source] and table.length[source] == common and not aside:
            table.hold(source)
            return source
        while (target := table.open()) < 0:
            if table.evict(spare=source):
                continue
            if source >= 0 and not table.held[source]:
                # The only sequence left is the one to fork from: go on in it.
                table.cut(source, common)
                if table.length[source] != common:
                    return LOST
                table.hold(source)
                return source
            if not (first and self._preempt(need)):
                return -1
        table.hold(target)
        if source >= 0 and not table.fork(source, common, target):
            table.release(target)
            return LOST
        return target

    def _chunk(self, running: Running, need: Need, tokens: int, rows: int, first: bool) -> Chunk | None:
        """As much of the need as fits the batch and the cells; None if nothing does."""
        table = self.table
        start = int(table.length[need.sequence])
        end = min(len(need.path), start + tokens, max(start, need.first) + rows)
        while table.free < end - start:
            if not table.evict() and not (first and self._preempt(need)):
                break
        end = min(end, start + table.free)
        return Chunk(running, need, start, need.path[start:end]) if end > start else None

    def _preempt(self, need: Need) -> bool:
        """Let go of the sequence of the last need in line, which will be computed again; False if there is none."""
        for _, other in reversed(list(self._needs())):
            if other is not need and other.sequence >= 0:
                self._let_go(other)
                return True
        return False

    # -- the batch and what follows from it --------------------------------------------------------------------------

    def _compute(self, chunks: list[Chunk]) -> Row:
        tokens = np.concatenate([chunk.tokens for chunk in chunks])
        positions = np.concatenate([np.arange(chunk.start, chunk.end, dtype=np.int32) for chunk in chunks])
        sequences = np.concatenate([np.full(len(c.tokens), c.need.sequence, np.int32) for c in chunks])
        wanted = (positions >= np.concatenate([np.full(len(c.tokens), c.need.first, np.int32) for c in chunks])).astype(
            np.int32
        )
        shared = len({id(chunk.running) for chunk in chunks})
        try:
            try:
                rows = self._model.decode(tokens, positions, sequences, wanted)
            except NoRoom:
                # The table counts exactly, so this should not happen; but a model may pad or round.
                while self.table.evict():
                    pass
                rows = self._model.decode(tokens, positions, sequences, wanted)
        except (EngineError, NoRoom) as error:
            for chunk in chunks:
                chunk.running.forward_tokens -= len(chunk.tokens)
            self.table.unsettle()
            if isinstance(error, NoRoom):
                raise EngineError("the model found no room for a batch that should have fitted") from error
            raise
        self.table.settle()
        self.forward_tokens += len(tokens)
        self.calls += 1
        for running in {id(chunk.running): chunk.running for chunk in chunks}.values():
            running.calls += 1 / shared
        return rows

    def _read(self, chunks: list[Chunk], rows: Row) -> None:
        at = 0
        for chunk in chunks:
            running, need = chunk.running, chunk.need
            first, count = chunk.rows_from, chunk.rows
            if running.answer is None:
                try:
                    for place in range(count):
                        need.see(need, first + place, rows[at + place])
                    if chunk.end == len(need.path):
                        self._follow(running, need)
                    else:
                        # What was seen need not be shown again, should the rest be computed elsewhere.
                        need.first = max(need.first, chunk.end)
                except Exception as error:
                    self._end(running, EngineError(f"an answer could not be read off the model: {error!r}"))
            at += count

    def _follow(self, running: Running, need: Need) -> None:
        """The need is met: keep what its prefix needs, and put in its place what follows."""
        if not running.kept:
            self._keep(running.job.prefix, need)
            running.kept = True
        place = running.needs.index(need)
        parts = need.then()
        running.needs[place : place + 1] = parts
        if parts and len(parts[0].path) > len(need.path):
            # The first to go on does so in place; the others fork from it when their turn comes.
            parts[0].sequence, need.sequence = need.sequence, -1
        self._let_go(need)
        if not running.needs:
            self._end(running, running.job.result())

    def _keep(self, prefix: Prefix, need: Need) -> None:
        """See to it that what was computed of a prefix and its ancestors stays as long as they live."""
        table, links = self.table, self.links
        here: Prefix | None = prefix
        while here is not None:
            length = min(here.length, len(need.path))
            link = links.of(here)
            if length and table.kept(link) < length:
                sequence = need.sequence
                if 0 <= need.aside <= length:
                    # The branch of a question goes away; where the prefix is elsewhere too, it stays there.
                    sequence, common = table.match(need.path[:length])
                    sequence = sequence if common == length else need.sequence
                table.keep(link, sequence, length)
            here = here.parent

    def _let_go(self, need: Need) -> None:
        if need.sequence >= 0:
            self.table.release(need.sequence)
            need.sequence = -1

    def _end(self, running: Running, answer: Result | EngineError) -> None:
        for need in running.needs:
            self._let_go(need)
        running.needs = []
        running.answer = answer
        if running in self._running:
            self._running.remove(running)
