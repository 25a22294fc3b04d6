"""From the scores of a check to its report: the scores as arrays, and every figure that is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rain.errors import UsageError
from rain.preferences import ranking
from rain.preferences.asked import CheckedJudge
from rain.preferences.calibration import calibrated_soft, evidence, threshold_for
from rain.preferences.check import Scores
from rain.preferences.evaluators import REFUSALS
from rain.preferences.evaluators.with_refusals import combined
from rain.preferences.labelled import groups
from rain.preferences.ranking import Area, Clusters, Floats, Pairs
from rain.preferences.refusals import refusal_score, refuses
from rain.preferences.verdict import (
    ENOUGH_TEXTS,
    FLUENCY,
    ORDER,
    REFUSAL_RULE,
    Figures,
    Ranks,
    Report,
    beside,
    compared,
    headline,
    recommend,
    verdict_of,
)

SOME_REFUSE = 5
"""Texts that refuse, below which judges are not shown together with the refusal rule, too, unless somebody asks."""


def report(scores: Scores, *, false_alarms: float = 0.05, with_refusals: Sequence[str] | None = None) -> Report:
    """Work out everything. with_refusals: judges (by evaluator) to be shown together with the refusal rule, too; None:
    all of them, where a handful of texts refuse and refusing is clearly what is preferred."""
    reading = _Reading(scores, false_alarms)
    figures: dict[str, Figures] = {}
    impossible = dict(scores.impossible)
    for judge in scores.judges:
        if not reading.both_kinds(judge):
            impossible[judge.name] = "too few texts found room in the model's context; raise --context"
            continue
        found = reading.figures(judge)
        if judge.name in figures:
            figures[judge.name].wordings[judge.wording] = found
        else:
            figures[judge.name] = found
    if with_refusals is None:
        with_refusals = [judge.evaluator for judge in scores.judges] if reading.refusing_is_good else []
    for found in [found for found in figures.values() if found.judge.evaluator in with_refusals]:
        both = reading.with_refusals(found)
        figures[both.judge.name] = both
    if not figures:
        raise UsageError("no text found room in the model's context; raise --context")
    judges = compared(figures)
    chosen = recommend(judges)
    verdict, reason = headline(judges, chosen)
    return Report(
        figures,
        {name: reading.baseline(name, 1.0) for name in reading.baselines},
        {name: reading.baseline_at(name) for name in reading.baselines},
        impossible,
        chosen,
        verdict,
        reason,
        len(scores.rows),
        sum(row.good for row in scores.rows),
        int(reading.refusing[1.0].sum()),
        beside(figures, judges, chosen),
    )


class _Reading:
    """The scores as arrays."""

    def __init__(self, scores: Scores, false_alarms: float) -> None:
        self.scores, self.false_alarms = scores, false_alarms
        self.good = np.array([row.good for row in scores.rows])
        self.clusters = Clusters(groups(scores.rows))
        self.rule: dict[float, Floats] = {
            part: np.array([refusal_score(text) for text in texts]) for part, texts in scores.texts.items()
        }
        self.refusing = {part: np.array([refuses(text) for text in texts]) for part, texts in scores.texts.items()}
        direction = self.ranks(self.rule[1.0], 1.0).area
        # Where refusing is bad (helpful), the rule that judges nothing says so, too.
        self.sign = 1.0 if direction.value >= 0.5 else -1.0
        # The rule may take some text for a refusal by accident.
        self.refusing_is_good = direction.low > 0.5 and int(self.refusing[1.0].sum()) >= SOME_REFUSE
        self.fluency = {
            part: _numbers([None if value is None else -value for value in values])
            for part, values in scores.fluency.items()
        }
        known = np.isfinite(self.fluency[1.0])
        self.baselines = [REFUSAL_RULE, FLUENCY] if _both(self.good[known]) else [REFUSAL_RULE]
        if FLUENCY in self.baselines and self.ranks(self.fluency[1.0], 1.0).main[1].value < 0.5:
            # Where the likelier text is the better one, that is what a judge must be above.
            self.fluency = {part: -values for part, values in self.fluency.items()}

    def both_kinds(self, judge: CheckedJudge) -> bool:
        """Whether it judged good and bad texts."""
        return _both(self.good[[one is not None for one in self.scores.of[judge, 1.0]]])

    def baseline(self, name: str, part: float, among: Any = None) -> Ranks:
        return self.ranks(self._idle(name, part), part, among)

    def baseline_at(self, name: str) -> dict[float, Ranks]:
        """Where only the beginnings of the texts are seen."""
        parts = [part for part in self.scores.fractions if part < 1.0]
        return {
            part: self.baseline(name, part) for part in parts if _both(self.good[np.isfinite(self._idle(name, part))])
        }

    def _idle(self, name: str, part: float) -> Floats:
        return self.sign * self.rule[part] if name == REFUSAL_RULE else self.fluency[part]

    def ranks(self, values: Floats, part: float, among: Any = None) -> Ranks:
        """Of the rows that have a value (and are among these)."""
        known = np.isfinite(values) if among is None else np.isfinite(values) & among
        complying = known & ~self.refusing[part]
        refused = bool((self.refusing[part] & known).any())

        def area(rows: Any) -> Area:
            return ranking.area(self.good[rows], values[rows], self.clusters.only(rows))

        def pairs(rows: Any) -> Pairs | None:
            return ranking.pair_accuracy(self.good[rows], values[rows], self.clusters.only(rows))

        enough = min(self.good[complying].sum(), (~self.good[complying]).sum()) >= ENOUGH_TEXTS
        without = area(complying) if refused and enough else None
        return Ranks(area(known), pairs(known), without, pairs(complying), refused)

    def figures(self, judge: CheckedJudge) -> Figures:
        scored = self.scores.of[judge, 1.0]
        soft = _numbers([one.soft if one else None for one in scored])
        zero, slope = self._regression(judge, soft)
        calibrated = np.array([calibrated_soft(value, zero, slope) if np.isfinite(value) else np.nan for value in soft])
        found = self._figures(judge, soft, calibrated, zero, slope)
        for part in self.scores.fractions:
            some = self.scores.of.get((judge, part))
            if some and part < 1.0 and _both(self.good[[one is not None for one in some]]):
                found.at[part] = self.ranks(_numbers([one.soft if one else None for one in some]), part)
        width = max((len(one.asked) for one in scored if one), default=0)
        for number in range(width):
            alone = _numbers([one.asked[number] if one and len(one.asked) == width else None for one in scored])
            if _both(self.good[np.isfinite(alone)]):
                found.asked.append(self.ranks(alone, 1.0).area)
        apart = [one.disagreement for one in scored if one and one.disagreement is not None]
        found.disagreement = float(np.mean(apart)) if apart else None
        return found

    def with_refusals(self, base: Figures) -> Figures:
        """The judge and the rule together, as :class:`~rain.preferences.evaluators.with_refusals.WithRefusals` does."""
        judge = replace(base.judge, evaluator=base.judge.evaluator + REFUSALS)

        def together(part: float) -> Floats:
            scored = [one.soft if one else None for one in self.scores.of[base.judge, part]]
            softs = [None if soft is None else calibrated_soft(soft, base.zero, base.slope) for soft in scored]
            known = zip(softs, self.scores.texts[part], strict=True)
            return _numbers([None if soft is None else combined(soft, text) for soft, text in known])

        whole = together(1.0)
        found = self._figures(judge, whole, whole, base.zero, base.slope)
        found.at = {part: self.ranks(together(part), part) for part in base.at}
        if base.ranks.main[1].low <= 0.5 and found.verdict in ORDER[:2]:
            # What is good in it is the rule's: it must be neither recommended nor trusted.
            found.verdict = "only recognises refusals"
            found.reason = f"{found.reason}; without the rule {base.reason}"
        return found

    def _figures(self, judge: CheckedJudge, soft: Floats, calibrated: Floats, zero: float, slope: float) -> Figures:
        known = np.isfinite(soft)
        ranks = self.ranks(soft, 1.0)
        verdict, reason, leads = verdict_of(
            ranks, {name: self.baseline(name, 1.0, known) for name in self.baselines}
        )  # fmt: skip
        flagged = ranking.held_out(
            self.good[known], calibrated[known], self.clusters.only(known), self.false_alarms
        )  # fmt: skip
        limit = threshold_for(calibrated[known & self.good].tolist(), self.false_alarms)
        good, bad = (float(calibrated[known & kind].mean()) for kind in (self.good, ~self.good))
        evaluator = judge.evaluator.removesuffix(REFUSALS)
        cost = self.scores.costs.get(replace(judge, evaluator=evaluator), 0.0)
        return Figures(
            judge, ranks, flagged, zero, slope, limit, good, bad, cost, verdict, reason, leads,
            self_evaluation=":" not in evaluator,
            refusing_is_good=self.sign > 0 if ranks.refused else None,
        )  # fmt: skip

    def _regression(self, judge: CheckedJudge, soft: Floats) -> tuple[float, float]:
        known = np.isfinite(soft)
        proofs = [evidence(value) for value in soft[known]]
        return ranking.logistic(self.good[known].tolist(), proofs, self.scores.zeros.get(judge))


def _numbers(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], float)


def _both(good: Any) -> bool:
    return bool(np.any(good)) and not bool(np.all(good))
