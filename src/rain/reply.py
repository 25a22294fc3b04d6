"""What comes back: one reply, and what it cost."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from rain.errors import RainError
from rain.search.events import Stop, StopReason

Mode: TypeAlias = Literal["optimistic", "fast", "faithful", "vanilla"]
MODES: tuple[Mode, ...] = ("optimistic", "fast", "faithful", "vanilla")


@dataclass(frozen=True, slots=True)
class ReplyUsage:
    """What a reply cost. ``forward_tokens`` went through the model, judge's prompts included; cached ones did not.

    Where another model judges, its share is not among the model's own ``forward_tokens`` and ``model_calls`` but in
    ``judge_forward_tokens`` and ``judge_calls``; ``cached_tokens`` are of both.
    """

    prompt_tokens: int
    completion_tokens: int
    forward_tokens: int
    cached_tokens: int
    model_calls: float
    judge_forward_tokens: int
    """0 where the model judges itself, or a classifier does."""
    judge_calls: float
    iterations: int
    rewinds: int
    drafted_tokens: int
    """Drafted as ordinary decoding would, also what was taken back (optimistic mode)."""
    searches: int
    """How often a draft failed and was drawn anew or searched from; 0: the reply is ordinary decoding's, to
    the letter."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a reply, and where it comes from."""

    text: str
    stop: Stop
    """draft (judged good enough; in mode vanilla not judged), redraft (the same, drawn anew), threshold (a search's,
    good enough), iterations (the best that was found, T spent) or stopped (the best known when something ended the
    work)."""
    value: float
    """Its score, or its value in the search; 0 where it was not judged."""
    iterations: int
    """Spent on it by a search."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply. ``score``: one judgement of the whole text in [-1, 1], None where it was not judged."""

    text: str
    finish_reason: Literal["stop", "length", "content_filter"]
    preference: str | None
    mode: Mode
    model: str
    seed: int
    score: float | None
    passed: bool | None
    """Whether the score is above the judge's ``threshold`` (see ``judge``); None where nothing was judged."""
    stopped_by: StopReason | None
    """What ended the search before its time; the text is then the best that was known."""
    judge: dict[str, Any] | None
    """Who judged and how: ``evaluator``, ``placement``, ``model`` (or the classifier), ``self_evaluation``, what is
    known of this judge (``auc``, ``checked``), the ``threshold`` that a reply's score must exceed to pass (the gate of
    the optimistic mode, else V), and the ``disagreement`` of wordings or orders in the final judgement (0: all say the
    same, 1: the opposite; None where one thing was asked).
    """
    usage: ReplyUsage
    segments: tuple[Segment, ...] = ()
    """What the text is made of, in order: what was drafted, what was searched, and why. Empty for a refusal."""

    def as_dict(self) -> dict[str, Any]:
        """The reply as JSON has it."""
        return dataclasses.asdict(self)


class NothingPassed(RainError):
    """No reply was good enough, and ``on_failure="raise"`` was asked for; :attr:`reply` is the best that was known."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(
            f"no reply passed preference '{reply.preference}' (best score {reply.score}); "
            "give it a larger budget, another seed, or --on-failure best"
        )
        self.reply = reply
