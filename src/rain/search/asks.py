"""What a search can ask, and what it is answered: the bottom layer of the house.

A search never touches a model. It yields asks and is sent answers; an engine answers the four *questions*
(:class:`TopTokens`, :class:`Sample`, :class:`TokenLogprobs`, :class:`TextLogprobs`), an evaluator answers
:class:`Judge`, an encoder answers :class:`Embed`. Evaluators are generators of the same kind and ask the engine the
same four questions.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Vectors: TypeAlias = npt.NDArray[np.float32]
"""Sentence embeddings, shape ``[texts, dimensions]``, rows of unit length."""


class Prefix:
    """Tokens behind a parent prefix: the whole context is the chain from the first ancestor down to here.

    Compared by identity. Engines hold prefixes weakly: a prefix that nobody holds any more frees its cells.
    """

    __slots__ = ("__weakref__", "length", "parent", "tokens")

    def __init__(self, tokens: tuple[int, ...], parent: Prefix | None = None) -> None:
        self.tokens = tokens
        self.parent = parent
        self.length: int = len(tokens) + (parent.length if parent else 0)
        """Tokens in the whole chain."""

    def chain(self, since: Prefix | None = None) -> list[Prefix]:
        """The prefixes from (not including) ``since`` down to this one, the oldest first.

        Raises ValueError if ``since`` is not an ancestor.
        """
        links: list[Prefix] = []
        here: Prefix | None = self
        while here is not since:
            if here is None:
                raise ValueError("'since' is not an ancestor of this prefix")
            links.append(here)
            here = here.parent
        return links[::-1]

    def path(self, since: Prefix | None = None) -> tuple[int, ...]:
        """All token ids of the chain behind ``since`` (None: of the whole context)."""
        return tuple(token for link in self.chain(since) for token in link.tokens)

    def __repr__(self) -> str:
        return f"Prefix({len(self.tokens)} of {self.length} tokens)"


@dataclass(frozen=True, slots=True)
class Until:
    """Where a sample ends. End-of-sequence always ends it."""

    max_tokens: int
    """The most tokens to sample; 0 or more."""
    clause: bool = False
    """End where the decoded text, prefix included, ends a clause (:data:`CLAUSE_ENDS`). Tested before each token."""
    stop: tuple[str, ...] = ()
    """End where the sampled text (with a tail of the prefix) contains one of these; the stop string is kept."""


CLAUSE_ENDS = (b",", b".", b"?", b":", b";", b"\n")


@dataclass(frozen=True, slots=True)
class TopTokens:
    """The ``k`` most likely next tokens behind ``prefix``. Answered by :class:`Top`."""

    prefix: Prefix
    k: int


@dataclass(frozen=True, slots=True)
class Sample:
    """Continuations of ``prefix``: one draw for each seed and, with ``greedy``, one greedy one before them.

    Temperature, then top-k (0: the full distribution). Answered by a tuple of :class:`Continuation`, the greedy one
    first, then one for each seed in order; repeats are not removed.
    """

    prefix: Prefix
    seeds: tuple[int, ...]
    until: Until
    temperature: float = 1.0
    top_k: int = 0
    greedy: bool = False
    purpose: Literal["expansion", "look_ahead", "draft"] = "expansion"
    """What it is for; changes no answer, tells where the cost goes."""


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """The log-probabilities of ``choices`` as the token that follows ``prefix`` and the question ``tokens``.

    Full distribution, temperature 1. The question is asked on a branch that is dropped. Answered by a tuple of floats
    in the order of ``choices``.
    """

    prefix: Prefix
    tokens: tuple[int, ...]
    choices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TextLogprobs:
    """The log-probability of each token of ``prefix`` behind its ancestor ``since``, given all before it.

    Full distribution, temperature 1. ``since`` must hold at least one token. Engines remember what they computed with
    each link of the chain, so that asking again for a longer chain costs only what is new. Answered by a tuple of
    floats, one for each token.
    """

    prefix: Prefix
    since: Prefix


@dataclass(frozen=True, slots=True)
class Judge:
    """How good is the text of ``reply`` behind ``prompt``? Answered by an evaluator with a :class:`Score`.

    ``reply`` never holds an end-of-sequence token; ``complete`` says that the text ended there.
    """

    reply: Prefix
    prompt: Prefix
    complete: bool


@dataclass(frozen=True, slots=True)
class Embed:
    """Sentence embeddings of ``texts``. Answered by an encoder with :data:`Vectors`."""

    texts: tuple[str, ...]


Question: TypeAlias = TopTokens | Sample | TokenLogprobs | TextLogprobs
Ask: TypeAlias = Question | Judge | Embed


@dataclass(frozen=True, slots=True)
class Top:
    """The most likely next tokens, most likely first; ``logprobs`` of the full distribution at temperature 1."""

    tokens: tuple[int, ...]
    pieces: tuple[bytes, ...]
    """The bytes each token stands for; empty for control tokens."""
    logprobs: tuple[float, ...]
    ends: tuple[bool, ...]
    """Which of them are end-of-sequence tokens."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """One sampled continuation. ``prefix`` is a new link whose parent is the prefix that was asked about.

    An end-of-sequence token is kept as the last token (its piece is empty). Whoever holds ``prefix`` keeps its cells.
    """

    prefix: Prefix
    pieces: tuple[bytes, ...]
    logprobs: tuple[float, ...]
    """Of each token, in the filtered distribution (temperature and top-k applied), greedy included."""
    end: Literal["clause", "eos", "stop", "length"]

    @property
    def tokens(self) -> tuple[int, ...]:
        return self.prefix.tokens


@dataclass(frozen=True, slots=True)
class Score:
    """The self-evaluation of one text, both in [-1, 1] (`soft` may be wider for an evaluator that says so)."""

    soft: float
    hard: float
    disagreement: float | None = field(default=None, compare=False)
    """How far apart the wordings or orders of the question are: half the range of their soft scores, so 0 where all
    say the same and 1 where two say the opposite. None where only one thing was asked."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """An answer too: there will be no other. The search then commits the best it knows and ends."""

    why: Literal["budget", "deadline", "cancelled", "no_room"]


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer cost."""

    forward_tokens: int = 0
    """Tokens pushed through the model."""
    cached_tokens: int = 0
    """Tokens of the context that were needed and already there."""
    calls: float = 0.0
    """Model invocations; one shared by n questions counts 1/n for each."""
    judge_forward_tokens: int = 0
    """Those of ``forward_tokens`` that went through another model, which only judges."""
    judge_calls: float = 0.0
    """Those of ``calls`` that were its."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.forward_tokens + other.forward_tokens,
            self.cached_tokens + other.cached_tokens,
            self.calls + other.calls,
            self.judge_forward_tokens + other.judge_forward_tokens,
            self.judge_calls + other.judge_calls,
        )

    def as_judge(self) -> Usage:
        """The same, counted as spent by another model that only judges."""
        return replace(self, judge_forward_tokens=self.forward_tokens, judge_calls=self.calls)


Result: TypeAlias = Top | tuple[Continuation, ...] | tuple[float, ...] | Stopped
"""What an engine answers."""
AnyResult: TypeAlias = Result | Score | Vectors


@dataclass(frozen=True, slots=True)
class Asked:
    """An ask on its way out, under a number that its answer comes back with."""

    ticket: int
    ask: Ask


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The answer to this ticket is no longer wanted; whoever works on it may stop."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one ticket."""

    ticket: int
    result: AnyResult
    usage: Usage = field(default=Usage())


def shown(before: bytes, after: bytes) -> str:
    """What ``after`` shows beyond ``before``, its beginning; so that pieces add up to the whole text."""
    return after.decode("utf-8", "ignore")[len(before.decode("utf-8", "ignore")) :]
