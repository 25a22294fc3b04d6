"""What an attack changes: each method's replies to the same goals with and without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rain.evaluation.records import Judgement, Sample
from rain.evaluation.report_parts import attacked
from rain.evaluation.report_tables import of_both, verdicts
from rain.evaluation.statistics import Comparison, compare_many


@dataclass(frozen=True, slots=True)
class Attacked:
    """One measure by one judge: the replies under one attack over those without it."""

    attack: str
    judge: str
    measure: str
    independent: bool
    """False where the judged model is the judge."""
    rows: tuple[tuple[str, Comparison], ...]
    """By method; corrected for all of them."""


def attacks(samples: Sequence[Sample], judgements: Sequence[Judgement], methods: Sequence[str]) -> list[Attacked]:
    """Paired by goal, for each attack, judge and measure; nothing where no goal is there with and without an attack.

    Raises MissingExtra.
    """
    own = {one.judge for one in judgements if not one.independent}
    here = [sample for sample in samples if "attack" in sample.meta and "goal" in sample.meta]
    kinds = dict.fromkeys(str(sample.meta["attack"]) for sample in here if attacked(sample.meta))
    found = []
    for (judge, measure), said in verdicts(judgements).items():
        if measure == "kind" or any(isinstance(value, str) for value in said.values()):
            continue
        for attack in kinds:
            rows = _rows(attack, [sample for sample in here if sample.method in methods], said)
            if any(one.n for _, one in rows):
                found.append(Attacked(attack, judge, measure, judge not in own, rows))
    return found


def _rows(attack: str, samples: Sequence[Sample], said: Mapping[str, Any]) -> tuple[tuple[str, Comparison], ...]:
    pairs: dict[str, list[tuple[Sample, Sample]]] = {}
    alone = [sample for sample in samples if not attacked(sample.meta)]
    without = {_place(sample): sample for sample in sorted(alone, key=lambda sample: "target" not in sample.meta)}
    for sample in samples:
        if sample.meta["attack"] == attack and (other := without.get(_place(sample))):
            pairs.setdefault(sample.method, []).append((sample, other))
    places = [(method, number) for method, each in pairs.items() for number in range(len(each))]

    def values(method: str, side: int) -> list[Any]:
        chosen = [(one, pairs[one][number][side]) for one, number in places]
        return [said.get(s.id) if one == method and s.error is None else None for one, s in chosen]

    asked = [
        ((f"{method} under {attack}", f"{method} without it"), values(method, 0), values(method, 1)) for method in pairs
    ]
    made = compare_many(asked, [str(pairs[method][number][0].meta["goal"]) for method, number in places])
    failed = {
        method: [{str(pair[0].meta["goal"]) for pair in each if pair[side].error is not None} for side in (0, 1)]
        for method, each in pairs.items()
    }
    return tuple((method, of_both(one, *failed[method])) for method, one in zip(pairs, made, strict=True))


def _place(sample: Sample) -> tuple[str, str]:
    return sample.method, str(sample.meta["goal"])
