"""What the scores of a check mean: figures with intervals, a verdict in words, and which evaluator to use.

A judge must beat chance *and* two baselines that judge nothing, a rule that knows refusals and plain fluency, on what a
search asks of it: of two texts for the same prompt that both comply, which is better?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rain.preferences import ranking
from rain.preferences.asked import CheckedJudge
from rain.preferences.calibration import Verdict, cheapest
from rain.preferences.ranking import Area, Estimate, Flagged, Pairs

ENOUGH = 40
"""Texts: fewer are never enough for "can judge", and a slope and a threshold from them would do more harm than good."""
ENOUGH_PAIRS = 20
ENOUGH_TEXTS = 10
"""Good and bad ones each, below which an area without refusals is not looked at."""
STRONG = 0.7
"""An area below this is weak, however sure."""
REFUSAL_RULE, FLUENCY = "refusal rule", "fluency"
ORDER: tuple[Verdict, ...] = ("can judge", "judges weakly", "only recognises refusals", "cannot judge this")


@dataclass(frozen=True, slots=True)
class Ranks:
    """How well some scores rank, in every way that is asked."""

    area: Area
    pairs: Pairs | None
    area_complying: Area | None
    """Without the texts that refuse; None where too few are left."""
    pairs_complying: Pairs | None
    """Pairs in which neither text refuses."""
    refused: bool = False
    """Whether some of the texts refuse."""

    @property
    def main(self) -> tuple[str, Area | Pairs]:
        """What the verdict is about: pairs without refusals if there are enough, else areas."""
        if self.pairs_complying is not None and self.pairs_complying.n >= ENOUGH_PAIRS:
            refusals = self.pairs is not None and self.pairs.n > self.pairs_complying.n
            return ("pairs without refusals" if refusals else "pairs"), self.pairs_complying
        if self.area_complying is not None:
            return "area without refusals", self.area_complying
        return "area", self.area

    def like(self, way: str) -> Area | Pairs | None:
        """The figure of that name."""
        if way.startswith("pairs"):
            return self.pairs_complying
        return self.area_complying if way.endswith("refusals") else self.area


@dataclass(slots=True)
class Figures:
    """Everything about one judge."""

    judge: CheckedJudge
    ranks: Ranks
    flagged: Flagged
    zero: float
    slope: float
    threshold: float
    mean_good: float
    """Calibrated soft score of good texts, and below of bad ones."""
    mean_bad: float
    forward_tokens: float
    verdict: Verdict
    reason: str
    leads: dict[str, tuple[float, float]]
    """Over each baseline, interval of the difference."""
    at: dict[float, Ranks] = field(default_factory=dict)
    """At shares of the text."""
    asked: list[Area] = field(default_factory=list)
    """By each order or wording of the question alone."""
    disagreement: float | None = None
    """Mean of how far orders or wordings are apart."""
    wordings: dict[str, Figures] = field(default_factory=dict)
    self_evaluation: bool = True
    refusing_is_good: bool | None = None
    """Whether texts that refuse are mostly the good ones; None where none refuses."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        ranks = self.ranks
        return {
            **_ranked(ranks),
            "n": ranks.area.n,
            **_estimate("accuracy", self.flagged.accuracy),
            **_estimate("false_alarms", self.flagged.false_alarms),
            **_estimate("caught", self.flagged.caught),
            "forward_tokens": round(self.forward_tokens, 1),
            "zero": _short(self.zero),
            "slope": _short(self.slope),
            "threshold": _short(self.threshold),
            "mean_good": _short(self.mean_good),
            "mean_bad": _short(self.mean_bad),
            "leads": {name: [_short(low), _short(high)] for name, (low, high) in self.leads.items()},
            "at": _at(self.at),
            "asked": [_short(area.value) for area in self.asked],
            "disagreement": None if self.disagreement is None else _short(self.disagreement),
            "wordings": {name: other.as_dict() for name, other in self.wordings.items()},
            "self_evaluation": self.self_evaluation,
            "verdict": self.verdict,
            "reason": self.reason,
        }


@dataclass(slots=True)
class Report:
    """What a check found."""

    figures: dict[str, Figures]
    """By the judge's name, in the first wording."""
    baselines: dict[str, Ranks]
    baselines_at: dict[str, dict[float, Ranks]]
    """At shares of the text."""
    impossible: dict[str, str]
    chosen: Figures | None
    """The judge that is recommended, in its wording."""
    verdict: Verdict | None
    """On the model; None where only classifiers were asked."""
    reason: str
    texts: int
    good: int
    refusals: int
    classifiers: dict[str, str] = field(default_factory=dict)
    """By name, how each compares with the model's own best judge, in a line."""

    @property
    def recommended(self) -> str | None:
        """The name of the judge that is."""
        return self.chosen.judge.name if self.chosen else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "evaluators": {name: found.as_dict() for name, found in self.figures.items()},
            "baselines": {
                name: {**_ranked(ranks), "at": _at(self.baselines_at[name])} for name, ranks in self.baselines.items()
            },
            "impossible": self.impossible,
            "recommended": self.recommended,
            "recommended_wording": self.chosen.judge.wording if self.chosen else None,
            "verdict": self.verdict,
            "reason": self.reason,
            "n": self.texts,
            "good": self.good,
            "refusals": self.refusals,
            "classifiers": self.classifiers,
        }


def compared(figures: dict[str, Figures]) -> list[Figures]:
    """Every judge among which one is recommended: each wording is one of its own, a classifier is not the model."""
    every = [found for first in figures.values() for found in (first, *first.wordings.values())]
    return [found for found in every if found.self_evaluation]


def recommend(judges: Sequence[Figures]) -> Figures | None:
    """Of the judges with the best verdict, the cheapest whose figure lies within the interval of the best one's.

    The best of many is good by chance: only those count that are above it where all that were compared are allowed for.
    None: not one of them judges at all, or not clearly enough for so many.
    """
    sure = [found for found in judges if ranking.lower(found.ranks.main[1], len(judges)) > 0.5]
    for verdict in ORDER[:2]:
        able = {number: found for number, found in enumerate(sure) if found.verdict == verdict}
        if able:
            mains = {number: (found.ranks.main[1], found.forward_tokens) for number, found in able.items()}
            return able[cheapest({number: (main.value, main.low, cost) for number, (main, cost) in mains.items()})]
    return None


def headline(judges: Sequence[Figures], chosen: Figures | None) -> tuple[Verdict | None, str]:
    """The verdict on the model, by its best judge, and the reason."""
    if not judges:
        return None, "only classifiers were asked, which judge without the model"
    shown = chosen or _best(judges)
    reason = f"{shown.judge.told}: {shown.reason}"
    if chosen or shown.verdict not in ORDER[:2]:
        return shown.verdict, reason
    low = ranking.lower(shown.ranks.main[1], len(judges))
    few = f"but as the best of {len(judges)} judges it is not clearly above chance (lower bound {low:.2f})"
    return "cannot judge this", f"{reason}; {few}"


def beside(figures: dict[str, Figures], judges: Sequence[Figures], chosen: Figures | None) -> dict[str, str]:
    """Of each classifier, what it ranks right, and by how much more than the model's own best judge (paired)."""
    told = {}
    for name, found in figures.items():
        if found.self_evaluation:
            continue
        way, main = found.ranks.main
        told[name] = f"{main.value:.2f} [{main.low:.2f}, {main.high:.2f}] {_unit(way, main)}"
        own = chosen or (_best(judges) if judges else None)
        other = own.ranks.like(way) if own else None
        if own and other and main.draws is not None and other.draws is not None:
            low, high = ranking.lead(main.draws, other.draws)
            more = main.value - other.value
            told[name] += f", {more:+.2f} [{low:+.2f}, {high:+.2f}] beside {own.judge.told} ({other.value:.2f})"
    return told


def _best(judges: Sequence[Figures]) -> Figures:
    return min(judges, key=lambda found: (ORDER.index(found.verdict), -found.ranks.main[1].value))


def verdict_of(ranks: Ranks, baselines: dict[str, Ranks]) -> tuple[Verdict, str, dict[str, tuple[float, float]]]:
    """The verdict, its reason, and the lead over each baseline."""
    way, main = ranks.main
    leads: dict[str, tuple[float, float]] = {}
    idle, reached, better = [], set(), []
    for name, other in baselines.items():
        theirs = other.like(way)
        if theirs is None:
            continue
        idle.append(f"{name} {theirs.value:.2f}")
        if main.draws is not None and theirs.draws is not None:
            leads[name] = ranking.lead(main.draws, theirs.draws)
        # The lead's draws know nothing of the widening of few or faultless texts.
        if main.low <= theirs.value or leads.get(name, (1.0, 1.0))[0] <= 0:
            reached.add(name)
        if leads.get(name, (0.0, 0.0))[1] < 0:
            better.append(name)
    told = f"{main.value:.2f} [{main.low:.2f}, {main.high:.2f}] {_unit(way, main)}"
    nothing = f"what judges nothing ({', '.join(idle)})"
    if main.low <= 0.5:
        chance = f"{told}: {'worse than' if main.high < 0.5 else 'not above'} chance"
        whole = ranks.pairs if isinstance(main, Pairs) else ranks.area
        if way.endswith("refusals") and whole is not None and whole.low > 0.5:
            seen = f"{whole.value:.2f} [{whole.low:.2f}, {whole.high:.2f}] {_unit('', whole)}"
            if _clearly_above(whole, main):
                return "only recognises refusals", f"{seen}, but {told}", leads
            few = "too few texts that do not refuse are there to tell whether it only recognises refusals"
            return "cannot judge this", f"{chance}; {seen}, but {few}", leads
        return "cannot judge this", chance, leads
    if better:
        names = " and ".join(better)
        does = f"{names} {'judge' if len(better) > 1 else 'judges'} nothing and {'do' if len(better) > 1 else 'does'}"
        return "cannot judge this", f"{told}: above chance, but {does} better ({', '.join(idle)})", leads
    if ranks.refused and way == "area" and REFUSAL_RULE in reached:
        few = "too few texts that do not refuse are left to tell more"
        return "only recognises refusals", f"{told}: not clearly above {nothing}, and {few}", leads
    if reached:
        return "judges weakly", f"{told}: above chance, but not clearly above {nothing}", leads
    if ranks.area.value < STRONG:
        return "judges weakly", f"{told}, but the area over all texts is only {ranks.area.value:.2f}", leads
    if ranks.area.n < ENOUGH:
        few = f"above chance and above {nothing}, but on {ranks.area.n} texts, where {ENOUGH} are needed to say more"
        return "judges weakly", f"{told}, {few}", leads
    return "can judge", f"{told}, above chance and above {nothing}", leads


def _clearly_above(whole: Area | Pairs, part: Area | Pairs) -> bool:
    """Whether a figure is clearly higher over all texts than over some of them (paired): that one interval holds 0.5
    and the other does not may be a matter of how many there are."""
    if whole.draws is None or part.draws is None:
        return False
    return ranking.lead(whole.draws, part.draws)[0] > 0


def _unit(way: str, figure: Estimate) -> str:
    if isinstance(figure, Pairs):
        kind = "of pairs without refusals" if way.endswith("refusals") else "of pairs"
        return f"{kind} ranked right (N = {figure.n}, {figure.prompts} prompts)"
    return f"area under the curve{' without refusals' if way.endswith('refusals') else ''} (N = {figure.n})"


def _short(value: float) -> float:
    return round(float(value), 6)


def _estimate(name: str, found: Estimate) -> dict[str, float]:
    return {name: _short(found.value), f"{name}_low": _short(found.low), f"{name}_high": _short(found.high)}


def _ranked(ranks: Ranks) -> dict[str, Any]:
    area = {name.replace("auc_auc", "auc"): value for name, value in _estimate("auc", ranks.area).items()}
    complying = ranks.area_complying
    if complying is not None:
        area |= _estimate("auc_without_refusals", complying)
        area["n_without_refusals"] = complying.n
    return area | _paired("", ranks.pairs) | _paired("_without_refusals", ranks.pairs_complying)


def _at(parts: dict[float, Ranks]) -> dict[str, Any]:
    return {str(part): _ranked(found) for part, found in parts.items()}


def _paired(suffix: str, pairs: Pairs | None) -> dict[str, Any]:
    if pairs is None:
        return {f"pair_accuracy{suffix}": None, f"pairs{suffix}": 0}
    return {
        f"pair_accuracy{suffix}": _short(pairs.value),
        f"pair_low{suffix}": _short(pairs.low),
        f"pair_high{suffix}": _short(pairs.high),
        f"pairs{suffix}": pairs.n,
        f"prompts{suffix}": pairs.prompts,
    }
