"""Who can be asked in a check: each evaluator, in each placement and wording that this model and preference allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from rain.chat import Conversation, Message, Style, default_style, prompt_tokens
from rain.engines.engine import Engine
from rain.errors import UsageError
from rain.preferences.evaluators import PLACED, REFUSALS, Evaluator, check_kind, make_evaluator
from rain.preferences.labelled import Row
from rain.preferences.preference import DEFAULT_WORDING, Placement, Preference
from rain.preferences.weighted import Weighted
from rain.search.asks import Prefix

PLACEMENTS: tuple[Placement, ...] = ("in_place", "quoted")
ALONE = "Text:\n"
"""What a text without a prompt stands behind."""


@dataclass(frozen=True, slots=True)
class CheckedJudge:
    """One judge: an evaluator, where it asks and in which words."""

    evaluator: str
    placement: Placement
    wording: str = DEFAULT_WORDING

    @property
    def name(self) -> str:
        """What the report calls it; its wordings share the name."""
        asks = self.evaluator.removesuffix(REFUSALS) in PLACED
        return f"{self.evaluator} {self.placement}" if asks else self.evaluator

    @property
    def told(self) -> str:
        """The name, with the wording where it is not the first."""
        return self.name if self.wording == DEFAULT_WORDING else f"{self.name} “{self.wording}”"


def style_of(engine: Engine, rows: Sequence[Row]) -> Style:
    """``plain`` for texts that stand alone or go on from their prompt, else the engine's default."""
    continued = all(not row.prompt or row.reply[:1].isspace() for row in rows)
    return "plain" if continued else default_style(engine)


def conversation_of(row: Row, style: Style) -> Conversation:
    """What the row's text replies to."""
    return Conversation((Message("user", row.prompt or ALONE),), style)


def possible(
    engine: Engine,
    preference: Preference | Weighted,
    row: Row,
    style: Style,
    evaluators: Sequence[str] | None = None,
    placements: Sequence[Placement] = PLACEMENTS,
    wordings: Sequence[str] | None = None,
) -> tuple[list[CheckedJudge], dict[str, str]]:
    """The judges that can be asked, and for the others why not.

    Raises UsageError: unknown names, no placement, none possible (with the evaluators that are), a style that the model
    does not allow (with the evaluators that other styles do), a classifier among several preferences.
    """
    if isinstance(preference, Weighted) and not all(part.kind for part in preference.parts):
        raise UsageError(f"a part of {preference.name!r} is judged by a classifier: only judging by a model is checked")
    try:
        prompt_tokens(engine, conversation_of(row, style))
    except UsageError as error:
        raise UsageError(f"{error}{_in_other_styles(engine, preference, row, style)}") from error
    kinds = list(dict.fromkeys(name.removesuffix(REFUSALS) for name in evaluators or preference.kinds))
    for name in kinds:
        check_kind(preference, name)
    if not placements or set(placements) - set(PLACEMENTS):
        raise UsageError(f"placements are {', '.join(PLACEMENTS)}; name at least one of them")
    words = [preference.worded(name) for name in (wordings or preference.wordings)]
    conversation = conversation_of(row, style)
    prompt = Prefix(prompt_tokens(engine, conversation))
    judges: list[CheckedJudge] = []
    impossible: dict[str, str] = {}
    for kind in kinds:
        for placement in placements if kind in PLACED else (None,):
            for worded in words:
                # A wording that leaves this evaluator's questions as they are is no other judge.
                section = getattr(worded, kind, None)
                if worded is not words[0] and section is not None and section == getattr(words[0], kind, None):
                    continue
                try:
                    made = make(engine, worded, conversation, prompt, kind, placement)
                except UsageError as error:
                    impossible.setdefault(f"{kind} {placement}" if placement else kind, str(error))
                    continue
                judges.append(CheckedJudge(kind, made.placement, worded.wording))
    if not judges:
        why = "; ".join(f"{name}: {reason}" for name, reason in impossible.items())
        others = possible(engine, preference, row, style)[0] if evaluators else []
        can = ", ".join(dict.fromkeys(judge.name for judge in others)) or "none of its evaluators"
        raise UsageError(f"{engine.name} cannot be asked this way ({why}); {can} can")
    return judges, impossible


def _in_other_styles(engine: Engine, preference: Preference | Weighted, row: Row, style: Style) -> str:
    """Which evaluators can be asked in which of the other styles, in words."""
    told = []
    for other in get_args(Style):
        try:
            prompt_tokens(engine, conversation_of(row, other))
            judges, _ = possible(engine, preference, row, other)
        except UsageError:
            continue
        told.append(f"--style {other}: {', '.join(dict.fromkeys(judge.evaluator for judge in judges))}")
    return f" ({'; '.join(told)})" if told else ""


def make(
    engine: Engine,
    preference: Preference | Weighted,
    conversation: Conversation,
    prompt: Prefix,
    kind: str,
    placement: Placement | None,
) -> Evaluator:
    """The evaluator as it is before anything is known of it: no zero, no calibration. Raises UsageError.

    Of several preferences the parts are judged with what is known of each, as they are in use.
    """
    where, parts_known = placement if kind in PLACED else None, isinstance(preference, Weighted)
    return make_evaluator(
        preference, engine, conversation, prompt, kind=kind, placement=where, zeroed=parts_known, together=False
    )
