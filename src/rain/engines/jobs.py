"""The four questions as work for a batcher: which contexts must be computed, and what is read off the logits.

A job never touches a sequence. It names contexts (:class:`Need`), is shown logits, and names more contexts, until
nothing is needed and its result stands. So it can be stopped, moved and computed again wherever there is room.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rain.engines.engine import Tokenizer
from rain.engines.links import Links
from rain.engines.prefixes import PrefixTable, Tokens
from rain.engines.sampling import Draw, End, Ending, Row, ending, filtered, log_normaliser, top
from rain.search.asks import (
    Continuation,
    Prefix,
    Question,
    Result,
    Sample,
    TextLogprobs,
    TokenLogprobs,
    TopTokens,
)


@dataclass(slots=True, eq=False)
class Need:
    """A context whose logits are wanted."""

    path: Tokens
    """The whole context."""
    first: int
    """Logits are wanted behind each position from here to the end of the path."""
    see: Callable[[Need, int, Row], None]
    """Shown each position and its row, in order; the row is valid during the call only."""
    then: Callable[[], list[Need]]
    """Called when all rows were seen: the needs that take this one's place."""
    aside: int = -1
    """If 0 or more: what lies behind this many tokens is a question, to be asked on a branch and dropped."""
    growth: int = 0
    """The most tokens that may follow from this need, so that room can be planned."""
    sequence: int = -1
    """Where it is being computed; the stepper's business."""


@dataclass(frozen=True, slots=True)
class Kit:
    """What every job works with."""

    tokenizer: Tokenizer
    links: Links
    table: PrefixTable
    context: int
    """The most tokens one prefix may have."""


class Job(Protocol):
    """One question on its way to an answer."""

    prefix: Prefix

    def worst(self, match: Callable[[Tokens], int]) -> int:
        """The most forward tokens it could still need; ``match`` says how many tokens of a context are cached."""
        ...

    def begin(self) -> list[Need]:
        """The first needs; none if the answer is known."""
        ...

    def result(self) -> Result:
        """The answer, once nothing is needed any more."""
        ...


def job(question: Question, kit: Kit) -> Job:
    """The job that answers ``question``. Raises ValueError if it makes no sense."""
    if question.prefix.length == 0:
        raise ValueError("a question needs a prefix of at least one token")
    if isinstance(question, TopTokens):
        return TopJob(question, kit)
    if isinstance(question, Sample):
        return SampleJob(question, kit)
    if isinstance(question, TokenLogprobs):
        return TokenJob(question, kit)
    return TextJob(question, kit)


class TopJob:
    """The most likely next tokens: one row, remembered."""

    def __init__(self, question: TopTokens, kit: Kit) -> None:
        self.prefix = question.prefix
        self._k = question.k
        self._kit = kit
        self._row = kit.links.row(self.prefix)

    def worst(self, match: Callable[[Tokens], int]) -> int:
        return 0 if self._row is not None else _to_the_end(self._kit.links.path(self.prefix), match)

    def begin(self) -> list[Need]:
        if self._row is not None:
            return []
        path = self._kit.links.path(self.prefix)
        return [Need(path, len(path) - 1, self._see, list)]

    def result(self) -> Result:
        assert self._row is not None
        return top(self._row, self._k, self._kit.tokenizer.piece, self._kit.tokenizer.eos)

    def _see(self, need: Need, position: int, row: Row) -> None:
        self._kit.links.remember(self.prefix, row)
        self._row = self._kit.links.row(self.prefix)


class TokenJob:
    """Log-probabilities of a few tokens behind a question, asked on a branch."""

    def __init__(self, question: TokenLogprobs, kit: Kit) -> None:
        self.prefix = question.prefix
        self._question = question
        self._kit = kit
        self._logprobs: tuple[float, ...] | None = None
        row = None if question.tokens else kit.links.row(self.prefix)
        if row is not None:
            self._read(row)
        before = kit.links.path(self.prefix)
        self._path = np.concatenate([before, np.array(question.tokens, np.int32)])

    def worst(self, match: Callable[[Tokens], int]) -> int:
        return 0 if self._logprobs is not None else _to_the_end(self._path, match)

    def begin(self) -> list[Need]:
        if self._logprobs is not None:
            return []
        aside = self.prefix.length if self._question.tokens else -1
        return [Need(self._path, len(self._path) - 1, self._see, list, aside=aside)]

    def result(self) -> Result:
        assert self._logprobs is not None
        return self._logprobs

    def _see(self, need: Need, position: int, row: Row) -> None:
        if not self._question.tokens:
            self._kit.links.remember(self.prefix, row)
        self._read(row)

    def _read(self, row: Row) -> None:
        total = log_normaliser(row)
        self._logprobs = tuple(float(row[token]) - total for token in self._question.choices)


class TextJob:
    """Log-probabilities of a text, token by token; remembered link by link, so that only what is new is computed."""

    def __init__(self, question: TextLogprobs, kit: Kit) -> None:
        self.prefix = question.prefix
        self._kit = kit
        if question.since.length == 0:
            raise ValueError("TextLogprobs needs a 'since' of at least one token")
        self._chain = question.prefix.chain(question.since)
        self._known: list[tuple[float, ...]] = []
        for link in self._chain:
            logprobs = kit.links.of(link).logprobs if link.tokens else ()
            if logprobs is None:
                break
            self._known.append(logprobs)
        self._new = self._chain[len(self._known) :]
        self._path, self._first = self._plan() if self._new else (np.empty(0, np.int32), 0)

    def worst(self, match: Callable[[Tokens], int]) -> int:
        computes = self._first < len(self._path)
        return len(self._path) - min(match(self._path), self._first) if computes else 0

    def begin(self) -> list[Need]:
        # Not kept: the need knows this job, and a circle would keep its prefixes until the garbage collector comes.
        return [Need(self._path, self._first, self._see, list)] if self._first < len(self._path) else []

    def result(self) -> Result:
        if self._new:
            self._share_out()
        return tuple(logprob for link in self._known for logprob in link)

    def _plan(self) -> tuple[Tokens, int]:
        """What is to be computed, and the first position whose row is wanted; none is where that is its end."""
        path = self._kit.links.path(self.prefix)
        self._start = self._new[0].length - len(self._new[0].tokens)
        self._text = path[self._start :]
        self._logprobs = np.zeros(len(self._text))
        before = self._new[0].parent
        row = self._kit.links.row(before) if before is not None else None
        first = self._start - 1
        if row is not None:
            self._logprobs[0] = float(row[self._text[0]]) - log_normaliser(row)
            first += 1
        # The last token is only predicted, not read: reading it is left to whoever goes on from here.
        return path[:-1], first

    def _see(self, need: Need, position: int, row: Row) -> None:
        place = position + 1 - self._start
        self._logprobs[place] = float(row[self._text[place]]) - log_normaliser(row)
        if place == 0 and (before := self._new[0].parent) is not None:
            self._kit.links.remember(before, row)

    def _share_out(self) -> None:
        place = 0
        for link in self._new:
            logprobs = tuple(self._logprobs[place : place + len(link.tokens)].tolist())
            self._kit.links.of(link).logprobs = logprobs
            self._known.append(logprobs)
            place += len(link.tokens)


class SampleJob:
    """Continuations. Draws with the same history are one need; where they part, it forks."""

    def __init__(self, question: Sample, kit: Kit) -> None:
        self.prefix = question.prefix
        self._question = question
        self._kit = kit
        self._ending: Ending = ending(self.prefix, question.until, kit.context, kit.tokenizer.piece, kit.tokenizer.eos)
        start = question.prefix.length
        self._draws = [Draw(None, start)] if question.greedy else []
        self._draws += [Draw(seed, start) for seed in question.seeds]
        self._grown: dict[int, Continuation] = {}
        at_once = self._ending.before([])
        if at_once is not None:
            for draw in self._draws:
                self._finish(draw, at_once, None)
        self._row = None if at_once is not None or not self._draws else kit.links.row(self.prefix)

    def worst(self, match: Callable[[Tokens], int]) -> int:
        if len(self._grown) == len(self._draws):
            return 0
        path = self._kit.links.path(self.prefix)
        first = _to_the_end(path, match) if self._row is None else len(path) - match(path)
        return first + len(self._draws) * (self._ending.max_tokens - 1)

    def begin(self) -> list[Need]:
        if len(self._grown) == len(self._draws):
            return []
        path = self._kit.links.path(self.prefix)
        if self._row is not None:
            return self._split(self._draws, path, self._row, None)
        return [self._need(self._draws, path)]

    def result(self) -> Result:
        return tuple(self._grown[id(draw)] for draw in self._draws)

    def _need(self, draws: list[Draw], path: Tokens) -> Need:
        parts: list[Need] = []

        def see(need: Need, position: int, row: Row) -> None:
            if len(path) == self.prefix.length:
                self._kit.links.remember(self.prefix, row)
            parts.extend(self._split(draws, path, row, need))

        left = self._ending.max_tokens - len(draws[0].tokens) - 1
        return Need(path, len(path) - 1, see, lambda: parts, growth=len(draws) * left)

    def _split(self, draws: list[Draw], path: Tokens, row: Row, need: Need | None) -> list[Need]:
        """Draw one token for each draw; those that drew the same go on together."""
        distribution = filtered(row, self._question.temperature, self._question.top_k)
        total = log_normaliser(row)
        together: dict[int, list[Draw]] = {}
        for draw in draws:
            token, logprob = draw.next(distribution)
            draw.tokens.append(token)
            draw.pieces.append(b"" if token in self._kit.tokenizer.eos else self._kit.tokenizer.piece(token))
            draw.logprobs.append(logprob)
            draw.full_logprobs.append(float(row[token]) - total)
            end = self._ending.after(token, draw.pieces)
            if end is None:
                together.setdefault(token, []).append(draw)
            else:
                self._finish(draw, end, need)
        return [
            self._need(group, np.concatenate([path, np.array([token], np.int32)])) for token, group in together.items()
        ]

    def _finish(self, draw: Draw, end: End, need: Need | None) -> None:
        prefix = Prefix(tuple(draw.tokens), self.prefix)
        link = self._kit.links.of(prefix)
        link.logprobs = tuple(draw.full_logprobs)
        if need is not None:
            # Its last token was drawn, not read: all but that one is there already.
            self._kit.table.keep(link, need.sequence, len(need.path))
        self._grown[id(draw)] = Continuation(prefix, tuple(draw.pieces), tuple(draw.logprobs), end)


def _to_the_end(path: Tokens, match: Callable[[Tokens], int]) -> int:
    """Tokens to be computed until the row behind the path's last one is there; at least that one."""
    return len(path) - min(match(path), len(path) - 1)
