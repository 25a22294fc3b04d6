"""How far a judge agrees with labels: accuracy, area, Cohen's kappa, each with a 95 % interval that draws prompts."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rain.evaluation.agreement import two_raters
from rain.preferences.ranking import Clusters, area


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of one judge with one set of labels. What was unjudged is in no figure but in ``unjudged``."""

    n: int
    """Texts that were judged."""
    unjudged: int
    prompts: int
    """Different ones among them: whole prompts are drawn anew for the intervals."""
    share_true: float | None
    """Of the labels."""
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    auc: float | None
    """How often a text whose label is true has the higher score; of yes or no alone it is the mean of the two rates of
    right answers. None where all labels are the same."""
    auc_low: float | None
    auc_high: float | None
    kappa: float | None
    """None where one of the two says the same of all."""
    kappa_low: float | None
    kappa_high: float | None

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it, rounded to four digits."""
        return {name: round(one, 4) if isinstance(one, float) else one for name, one in asdict(self).items()}


def agreement(
    labels: Sequence[bool],
    values: Sequence[bool | None],
    scores: Sequence[float | None] | None = None,
    groups: Sequence[Hashable] | None = None,
) -> Agreement:
    """Agreement of ``values`` with ``labels``.

    scores: how sure the judge is that the label is true; default yes 1, no 0. groups: the prompt of each text; texts
    that stand alone have one of their own.
    """
    kept = [number for number, value in enumerate(values) if value is not None]
    of = [groups[number] if groups is not None else number for number in kept]
    label = [bool(labels[number]) for number in kept]
    value = [bool(values[number]) for number in kept]
    score = [float(value[place]) for place in range(len(kept))]
    if scores is not None and all(scores[number] is not None for number in kept):
        score = [float(scores[number] or 0.0) for number in kept]
    two = two_raters(label, value, of)
    ranked = area(label, score, Clusters(of)) if 0 < sum(label) < len(label) else None
    return Agreement(
        n=len(kept),
        unjudged=len(values) - len(kept),
        prompts=len(set(of)),
        share_true=float(np.mean(label)) if label else None,
        accuracy=two.raw.value,
        accuracy_low=two.raw.low,
        accuracy_high=two.raw.high,
        auc=ranked.value if ranked else None,
        auc_low=ranked.low if ranked else None,
        auc_high=ranked.high if ranked else None,
        kappa=two.kappa.value,
        kappa_low=two.kappa.low,
        kappa_high=two.kappa.high,
    )
