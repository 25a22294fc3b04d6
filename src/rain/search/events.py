"""What comes out of a search: what happened, in the order it happened (enough to draw it, and to compare a replay
with it), and the outcome."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rain.search.asks import Answer, Asked, Score, Usage, Withdrawn

TokenSets: TypeAlias = tuple[tuple[int, ...], ...]
"""Token sets from the committed text's next one downwards."""


@dataclass(frozen=True, slots=True)
class Tried:
    """An iteration has chosen its leaf. ``rewind``: its path does not go through the leaf of the one before."""

    iteration: int
    path: TokenSets
    text: str
    """The text of the path, behind the committed text."""
    rewind: bool


@dataclass(frozen=True, slots=True)
class LookedAhead:
    """Text sampled beyond the leaf: judged, never kept."""

    iteration: int
    text: str


@dataclass(frozen=True, slots=True)
class BackedUp:
    """An iteration is done. ``nodes``: visits, real visits, value and prior of the root, then of each path node."""

    iteration: int
    path: TokenSets
    score: float
    judged_before: bool
    """The same text had been judged already; its score was remembered."""
    nodes: tuple[tuple[float, int, float, float], ...]
    similar: tuple[tuple[int, int, float, float, float], ...]
    """Siblings updated: path level, index among that node's siblings, cosine, their visits and value afterwards."""


@dataclass(frozen=True, slots=True)
class Expanded:
    """A node got children: their token sets, texts and priors in insertion order."""

    path: TokenSets
    children: TokenSets
    texts: tuple[str, ...]
    priors: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Added:
    """A node addition was tried; ``added`` is False where the drawn set was a child already."""

    path: TokenSets
    tokens: tuple[int, ...]
    text: str
    prior: float
    added: bool
    variance: float
    limit: float


@dataclass(frozen=True, slots=True)
class Drafted:
    """A piece of a draft was judged: kept, or (not ``passed``) taken back, for the search that begins there."""

    tokens: tuple[int, ...]
    text: str
    score: float
    passed: bool


Stop: TypeAlias = Literal["threshold", "iterations", "stopped", "draft", "redraft"]


@dataclass(frozen=True, slots=True)
class Committed:
    """A token set is part of the reply now. Only :class:`TakenBack` undoes it; never with ``hold_back=clause``."""

    tokens: tuple[int, ...]
    text: str
    visits: float
    real_visits: int
    value: float
    iterations: int
    """Iterations spent on this set."""
    stop: Stop
    """Why the inner loop ended: good enough, T spent, or the search was stopped and the best known is taken; or that
    it is part of a draft, or of one that was drawn anew."""


@dataclass(frozen=True, slots=True)
class TakenBack:
    """The end of what was committed is no part of the reply: a whole text was judged better, and is committed next.

    Only at the end of a search that mends a reply held back as a whole.
    """

    tokens: tuple[int, ...]
    text: str


Event: TypeAlias = Tried | LookedAhead | BackedUp | Expanded | Added | Drafted | Committed | TakenBack


StopReason: TypeAlias = Literal["budget", "deadline", "cancelled", "no_room"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a search found. ``text`` is cut before a stop string; ``tokens`` are all that is committed at the end."""

    tokens: tuple[int, ...]
    text: str
    finish: Literal["stop", "length"]
    stopped_by: StopReason | None
    score: Score | None
    """One judgement of the final text; None where nothing was left to judge it with."""
    passed: bool
    """Whether every token set was good enough when it was committed."""
    iterations: int
    rewinds: int
    usage: Usage
    drafted: int = 0
    """Tokens drafted, also those that were taken back."""
    searches: int = 0
    """How often a draft failed and was drawn anew or searched from."""


Out: TypeAlias = list[Asked | Withdrawn | Event]
Search: TypeAlias = Generator[Out, list[Answer], Outcome]
"""Sent any non-empty subset of the open tickets' answers, in any order; an empty list where no ticket is open."""
