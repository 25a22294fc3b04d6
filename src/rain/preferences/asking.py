"""How judges put their words to a model, by version: what is asked may change while a preference's words stay."""

from __future__ import annotations

from rain.preferences.evaluators import PLACED, REFUSALS, parts_of
from rain.preferences.preference import Preference
from rain.preferences.weighted import Weighted

RULE = 2
"""Of ``+refusals``. 2: it has its say only as far as the reply refuses, and around calibrated scores."""
PLAIN_IN_PLACE = {"choice": 2, "one_word": 2}
"""Of evaluators in place in a plain text. 2: "Answer:" stands there once, or not at all in front of a label."""


def asking(preference: Preference | Weighted, evaluator: str, placement: str | None, style: str) -> str:
    """What of this judge is not asked as in the first version, with its version; empty for most.

    It belongs to whatever scores and calibrations are kept under, so that exactly the judges whose questions have
    changed are measured anew. placement: of an evaluator that asks in either; several joined by ``+`` ask where the
    preference says.
    """
    parts = parts_of(evaluator)
    placed = placement if len(parts) == 1 and placement else preference.placement
    changed = []
    if isinstance(preference, Preference) and style == "plain" and placed == "in_place":
        changed = [
            f"{part} {PLAIN_IN_PLACE[part]}"
            for part in parts
            if part in PLACED and part in PLAIN_IN_PLACE and not (part == "one_word" and _voiced(preference))
        ]
    if evaluator.endswith(REFUSALS):
        changed.append(f"refusals {RULE}")
    return ", ".join(changed)


def _voiced(preference: Preference) -> bool:
    """Whether its one word is said in the writer's own voice, which no question stands in front of."""
    return preference.one_word is not None and bool(preference.one_word.voice)
