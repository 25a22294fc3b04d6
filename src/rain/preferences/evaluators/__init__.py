"""Evaluators: how the frozen model judges its own text. One file each, and one line in :data:`KINDS`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from rain.chat import Conversation
from rain.engines.engine import Engine
from rain.errors import UsageError
from rain.preferences.preference import Kind, Placement, Preference
from rain.search.asks import Prefix, Question, Result, Score, Stopped

Judgement: TypeAlias = Generator[list[Question], list[Result], Score | Stopped]
"""Yields questions to be asked together, is sent their answers in order, returns the score."""


ZEROED: tuple[Kind, ...] = ("one_word",)
"""Kinds whose soft score is a probability that content-free text should leave at one half."""


class Evaluator(Protocol):
    """Judges the growing replies to one prompt. Made once for each reply that is searched for."""

    kind: Kind
    placement: Placement
    score: Literal["soft", "hard"]
    """Which of the two a search uses unless somebody says otherwise."""
    bounded: bool
    """Whether soft scores stay in [-1, 1]."""

    def judge(self, reply: Prefix, complete: bool) -> Judgement:
        """Judge the text of ``reply``. Returns the ``Stopped`` of a question that was answered with it."""
        ...


@dataclass(frozen=True, slots=True)
class Case:
    """What every evaluator is made of."""

    preference: Preference
    engine: Engine
    conversation: Conversation
    prompt: Prefix
    placement: Placement | None
    """None: the preference's own."""
    shots: bool | None
    """Whether examples stand in front; None: where there are some and the placement has room for them."""
    both_wordings: bool
    """Whether yes/no asks both ways; the paper asks once."""


def make_evaluator(
    preference: Preference,
    engine: Engine,
    conversation: Conversation,
    prompt: Prefix,
    *,
    kind: str | None = None,
    placement: Placement | None = None,
    shots: bool | None = None,
    both_wordings: bool = True,
    zeroed: bool = True,
) -> Evaluator:
    """An evaluator for the replies behind ``prompt`` (the tokens of ``conversation``, or a link behind them).

    zeroed: take off what the judge says of content-free text, where the preference has some and the kind allows it.
    Raises UsageError: a kind that the preference or the engine does not support, a placement that the kind has no
    use for, letters that are not single tokens.
    """
    chosen = kind or preference.default
    make = _makers().get(chosen) if chosen in preference.kinds else None
    if make is None:
        raise UsageError(
            f"preference {preference.name!r} cannot be judged by {chosen!r}; it supports {', '.join(preference.kinds)}"
        )
    case = Case(preference, engine, conversation, prompt, placement, shots, both_wordings)
    evaluator = make(case)
    if zeroed and preference.content_free and chosen in ZEROED:
        from rain.preferences.calibration import Zeroed

        return Zeroed(evaluator, case, make)
    return evaluator


def _makers() -> dict[str, Callable[[Case], Evaluator]]:
    # Imported here because each of them imports the types above.
    from rain.preferences.evaluators import choice, contrastive, one_word, yes_no

    return {
        "choice": choice.ChoiceEvaluator,
        "yes_no": yes_no.YesNoEvaluator,
        "one_word": one_word.OneWordEvaluator,
        "contrastive": contrastive.ContrastiveEvaluator,
    }


def stopped(answers: list[Result]) -> Stopped | None:
    """The first answer that says there will be no other."""
    return next((answer for answer in answers if isinstance(answer, Stopped)), None)


def logprobs(answer: Result) -> tuple[float, ...]:
    """An answer that must be log-probabilities. Raises TypeError: the engine answered another question."""
    if not isinstance(answer, tuple):
        raise TypeError(f"expected log-probabilities, the engine answered {type(answer).__name__}")
    values = tuple(value for value in answer if isinstance(value, (int, float)))
    if len(values) != len(answer):
        raise TypeError("expected log-probabilities, the engine answered continuations")
    return values
