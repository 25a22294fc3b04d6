"""From a row of logits to a token, and where a sample ends. Pure numpy; shared by every engine that sees logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from rain.search.asks import CLAUSE_ENDS, Prefix, Top, Until

Row: TypeAlias = npt.NDArray[np.float32]
"""Logits of one position, shape ``[vocabulary]``."""
End: TypeAlias = Literal["clause", "eos", "stop", "length"]


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a token is drawn from: the kept tokens and their normalised log-probabilities, in the same order."""

    tokens: npt.NDArray[np.intp] | None
    """Ids of the kept tokens, most likely first; None: the whole vocabulary by id."""
    logprobs: npt.NDArray[np.float64]
    vocabulary: int

    def draw(self, seed: int, position: int) -> tuple[int, float]:
        """The token that ``seed`` draws at ``position`` (tokens before it, prompt included) and its log-probability.

        A race: each token of the vocabulary has a waiting time of its own, exponential with its probability as rate,
        and the first wins. So a hair's difference in the logits (batches of another width) hardly ever turns a draw;
        cumulated probabilities are all shifted by it, and most draws from the tail would turn.
        """
        waits = _waits(seed, position, np.arange(self.vocabulary) if self.tokens is None else self.tokens)
        return self._token(int(np.argmax(self.logprobs - np.log(waits))))

    def greedy(self) -> tuple[int, float]:
        """The most likely token (the lowest id of several) and its log-probability."""
        return self._token(int(np.argmax(self.logprobs)))

    def _token(self, place: int) -> tuple[int, float]:
        return (place if self.tokens is None else int(self.tokens[place])), float(self.logprobs[place])


def _waits(seed: int, position: int, tokens: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Standard exponential waiting times, a fixed function of seed, position and token id (splitmix64)."""
    start = ((seed ^ (seed >> 64)) + position * 0x9E3779B97F4A7C15 + 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF
    x = _mixed(np.full(1, start, np.uint64)) + (tokens.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    uniform = ((_mixed(x) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return -np.log(uniform)


def _mixed(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def filtered(row: Row, temperature: float, top_k: int) -> Distribution:
    """Temperature, then top-k (0: all). A temperature of 0 leaves the most likely token alone."""
    tokens = most_likely(row, 1 if temperature == 0 else top_k) if top_k or temperature == 0 else None
    kept = (row if tokens is None else row[tokens]).astype(np.float64)
    if temperature not in (0.0, 1.0):
        kept /= temperature
    kept -= kept.max()
    return Distribution(tokens, kept - np.log(np.exp(kept).sum()), len(row))


def most_likely(row: Row, k: int) -> npt.NDArray[np.intp]:
    """Ids of the ``k`` largest logits, the largest first; of equals the lowest id first."""
    k = min(k, len(row))
    if k == 1:
        return np.array([row.argmax()])
    best = np.argpartition(row, len(row) - k)[len(row) - k :]
    return best[np.lexsort((best, -row[best]))]


def log_normaliser(row: Row) -> float:
    """``log(sum(exp(row)))``; a token's log-probability is its logit minus this."""
    largest = row.max()
    return float(largest) + float(np.log(np.exp(row - largest).sum(dtype=np.float64)))


def top(row: Row, k: int, piece: Callable[[int], bytes], eos: frozenset[int]) -> Top:
    """The answer to :class:`~rain.search.asks.TopTokens`."""
    tokens = tuple(int(token) for token in most_likely(row, k)) if k else ()
    total = log_normaliser(row)
    return Top(
        tokens,
        tuple(piece(token) for token in tokens),
        tuple(float(row[token]) - total for token in tokens),
        tuple(token in eos for token in tokens),
    )


@dataclass(slots=True, eq=False)
class Draw:
    """One sample as it grows; ``seed`` None is the greedy one.

    Its random numbers come from its seed and the position alone, so that a text drawn in pieces, one behind the other
    with the same seed, is the text drawn at once.
    """

    seed: int | None
    position: int
    """Tokens before the next one, prompt included."""
    tokens: list[int] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    full_logprobs: list[float] = field(default_factory=list)
    """Of the full distribution at temperature 1: what TextLogprobs would answer."""

    def next(self, distribution: Distribution) -> tuple[int, float]:
        self.position += 1
        return distribution.greedy() if self.seed is None else distribution.draw(self.seed, self.position - 1)


@dataclass(frozen=True, slots=True)
class Ending:
    """Where samples behind one prefix end."""

    until: Until
    max_tokens: int
    """``until.max_tokens``, or fewer where the context ends first."""
    tail: bytes
    """The end of the prefix's text, long enough for every stop string and for a clause's end."""
    eos: frozenset[int]

    def before(self, pieces: list[bytes]) -> End | None:
        """Whether it ends before another token is drawn."""
        if self.until.clause and self._last(pieces).endswith(CLAUSE_ENDS):
            return "clause"
        return "length" if len(pieces) >= self.max_tokens else None

    def after(self, token: int, pieces: list[bytes]) -> End | None:
        """Whether it ends with ``token``, the last of ``pieces`` its own."""
        if token in self.eos:
            return "eos"
        if self.until.stop:
            text = b"".join(pieces)
            for stop in self.until.stop:
                wanted = stop.encode()
                # One byte short of the stop string, so that one that ended in the prefix is not found again.
                before = self.tail[max(0, len(self.tail) - len(wanted) + 1) :] if len(wanted) > 1 else b""
                if wanted in before + text:
                    return "stop"
        return self.before(pieces)

    def _last(self, pieces: list[bytes]) -> bytes:
        return next((piece for piece in reversed(pieces) if piece), self.tail)


def ending(prefix: Prefix, until: Until, context: int, piece: Callable[[int], bytes], eos: frozenset[int]) -> Ending:
    """Where samples behind ``prefix`` end in a context of ``context`` tokens."""
    room = max(0, min(until.max_tokens, context - prefix.length))
    longest = max([1, *(len(stop.encode()) for stop in until.stop)])
    return Ending(until, room, tail(prefix, longest, piece), eos)


def tail(prefix: Prefix, size: int, piece: Callable[[int], bytes]) -> bytes:
    """The last bytes (at least ``size`` where there are as many) of the prefix's text; control tokens have none."""
    pieces: list[bytes] = []
    found = 0
    here: Prefix | None = prefix
    while here is not None:
        for token in reversed(here.tokens):
            pieces.append(piece(token))
            found += len(pieces[-1])
            if found >= size:
                return b"".join(reversed(pieces))
        here = here.parent
    return b"".join(reversed(pieces))
