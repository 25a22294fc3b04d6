"""How well scores rank texts: areas, pairs, intervals, and what a logistic regression makes of the scores. numpy only.

Texts for the same prompt are not independent, so whole prompts are drawn anew in every bootstrap (*clusters*). The
same draws serve every judge of the same rows: differences between judges are paired.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from copy import copy
from dataclasses import dataclass
from math import log, sqrt
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from rain.preferences.calibration import threshold_for

Floats: TypeAlias = npt.NDArray[np.float64]
Z = 1.959963984540054
"""Of a 95 % interval."""
DRAWS = 2000
SLOPES = (0.05, 20.0)
FEW = 10
"""Prompts below which a bootstrap is too sure of itself: its interval is then never narrower than Wilson's."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share or an area with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int
    """Texts, or pairs."""


@dataclass(frozen=True, slots=True)
class Area(Estimate):
    """The area under the curve: how often a good text is ranked above a bad one; ties count half."""

    draws: Floats | None = None
    """Its bootstrap, None where the interval is DeLong's."""
    prompts: int = 0
    """Of the rarer label."""


@dataclass(frozen=True, slots=True)
class Pairs(Estimate):
    """Of two texts for the same prompt, how often the good one is ranked above the bad one; ties count half."""

    prompts: int
    draws: Floats


class Clusters:
    """Rows by prompt, and the bootstrap's draws of whole prompts."""

    def __init__(self, groups: Sequence[Hashable], *, draws: int = DRAWS, seed: int = 0) -> None:
        """groups: of each row. Rows without a prompt of their own need a group of their own."""
        numbers: dict[Hashable, int] = {}
        self.of = np.array([numbers.setdefault(group, len(numbers)) for group in groups], np.int64)
        self.count = len(numbers)
        even = np.full(max(1, self.count), 1 / max(1, self.count))
        self.weights: Floats = np.random.default_rng(seed).multinomial(self.count, even, draws).astype(float)
        """How often each prompt is drawn, ``[draws, prompts]``."""

    def only(self, rows: npt.NDArray[np.bool_]) -> Clusters:
        """The same draws for some of the rows."""
        some = copy(self)
        some.of = self.of[rows]
        return some


def area(good: npt.ArrayLike, scores: npt.ArrayLike, clusters: Clusters, *, delong: bool = False) -> Area:
    """The area under the curve. delong: DeLong's interval on the logit scale, for texts that share no prompt.

    The interval of a perfect area would be a point; Wilson's for so many prompts of the rarer label stands in.
    Raises ValueError: only good or only bad texts.
    """
    label, value = np.asarray(good, bool), np.asarray(scores, float)
    if label.all() or not label.any():
        raise ValueError("an area needs good and bad texts")
    wins = _wins(value[label], value[~label])
    found, prompts = float(wins.mean()), _rarer(label, clusters)
    if delong:
        low, high = wilson(found * prompts, prompts) if found in (0.0, 1.0) else _delong(wins)
        return Area(found, low, high, len(label), None, prompts)
    drawn = _area_draws(label, wins, clusters)
    low, high = _interval(drawn, found, prompts)
    return Area(found, low, high, len(label), drawn, prompts)


def pair_accuracy(
    good: npt.ArrayLike, scores: npt.ArrayLike, clusters: Clusters, among: npt.ArrayLike | None = None
) -> Pairs | None:
    """Good above bad for the same prompt. among: the rows that count. None: there is no such pair.

    Every pair weighs the same, prompts are drawn anew; an interval that would be a point is Wilson's over the prompts.
    """
    label, value = np.asarray(good, bool), np.asarray(scores, float)
    counts = np.ones(len(label), bool) if among is None else np.asarray(among, bool)
    won, pairs = np.zeros(clusters.count), np.zeros(clusters.count)
    for group in range(clusters.count):
        here = (clusters.of == group) & counts
        wins = _wins(value[here & label], value[here & ~label])
        won[group], pairs[group] = wins.sum(), wins.size
    total = int(pairs.sum())
    if not total:
        return None
    with np.errstate(invalid="ignore"):
        drawn = (clusters.weights @ won) / (clusters.weights @ pairs)
    found, prompts = float(won.sum() / total), int((pairs > 0).sum())
    low, high = _interval(drawn, found, prompts)
    return Pairs(found, low, high, total, prompts, drawn)


def lead(better: Floats, worse: Floats) -> tuple[float, float]:
    """The 95 % interval of a difference, from draws of the same prompts."""
    return _percentiles(better - worse)


def lower(found: Area | Pairs, compared: int) -> float:
    """The lower bound where the best of so many judges is looked at (Bonferroni): of the interval at the level
    1 - 0.05 / ``compared``, made of the same draws. In: a figure that has draws."""
    assert found.draws is not None
    return _interval(found.draws, found.value, found.prompts, 0.05 / compared)[0]


def wilson(hits: float, n: float, z: float = Z) -> tuple[float, float]:
    """The interval of a share (E. B. Wilson, 1927), at 95 % unless ``z`` says otherwise."""
    if not n:
        return 0.0, 1.0
    share = hits / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return 0.0 if hits <= 0 else max(0.0, middle - half), 1.0 if hits >= n else min(1.0, middle + half)


def logistic(good: npt.ArrayLike, evidence: npt.ArrayLike, zero: float | None) -> tuple[float, float]:
    """Zero and slope of P(good) = 1 / (1 + exp(-slope (evidence - zero))), by Newton's method.

    zero: given by content-free text, or None: fitted, too. Labels count as Platt's smoothed targets (1999), so that
    texts that are told apart without a fault give no endless slope; it is kept within :data:`SLOPES`.
    """
    label, value = np.asarray(good, bool), np.asarray(evidence, float)
    target = np.where(label, (label.sum() + 1) / (label.sum() + 2), 1 / ((~label).sum() + 2))
    if zero is not None:
        slope = _newton((value - zero)[:, None], target)[0]
        return zero, float(np.clip(slope, *SLOPES))
    centre, spread = float(value.mean()), float(value.std()) or 1.0
    scaled = (value - centre) / spread
    slope, shift = _newton(np.stack([scaled, np.ones_like(scaled)], axis=1), target)
    steep = slope / spread
    if not SLOPES[0] <= steep <= SLOPES[1]:
        # The other parameter of a clipped fit means nothing: half way between the two kinds is as good as any.
        return float((value[label].mean() + value[~label].mean()) / 2), float(np.clip(steep, *SLOPES))
    return float(centre - shift / steep), float(steep)


@dataclass(frozen=True, slots=True)
class Flagged:
    """What a threshold does to texts that it was not set on."""

    false_alarms: Estimate
    """Good texts below it."""
    caught: Estimate
    """Bad texts below it."""
    accuracy: Estimate


def held_out(
    good: npt.ArrayLike, scores: npt.ArrayLike, clusters: Clusters, false_alarms: float, folds: int = 5
) -> Flagged:
    """Thresholds set on all prompts but a fifth, tried on that fifth, five times. Intervals are Wilson's."""
    label, value = np.asarray(good, bool), np.asarray(scores, float)
    fold = np.random.default_rng(1).permutation(clusters.count)[clusters.of] % folds
    below = np.zeros(len(label), bool)
    for number in range(folds):
        others = value[label & (fold != number)]
        if len(others):
            below[fold == number] = value[fold == number] < threshold_for(others.tolist(), false_alarms)
    right = np.where(label, ~below, below)
    return Flagged(_share(below[label]), _share(below[~label]), _share(right))


def _share(hits: npt.NDArray[np.bool_]) -> Estimate:
    low, high = wilson(float(hits.sum()), len(hits))
    return Estimate(float(hits.mean()) if len(hits) else 0.0, low, high, len(hits))


def _wins(good: Floats, bad: Floats) -> Floats:
    """``[good, bad]``: 1 where the good one is above, one half where they tie."""
    difference = good[:, None] - bad[None, :]
    won: Floats = (difference > 0) + 0.5 * (difference == 0)
    return won


def _area_draws(label: npt.NDArray[np.bool_], wins: Floats, clusters: Clusters) -> Floats:
    weights = clusters.weights[:, clusters.of]
    good, bad = weights[:, label], weights[:, ~label]
    with np.errstate(invalid="ignore"):
        drawn: Floats = ((good @ wins) * bad).sum(axis=1) / (good.sum(axis=1) * bad.sum(axis=1))
    return drawn


def _delong(wins: Floats) -> tuple[float, float]:
    """DeLong, DeLong and Clarke-Pearson (1988): the variance of an area from its placements."""
    found, (m, n) = float(wins.mean()), wins.shape
    variance = 0.0
    if m > 1:
        variance += float(wins.mean(axis=1).var(ddof=1)) / m
    if n > 1:
        variance += float(wins.mean(axis=0).var(ddof=1)) / n
    middle, half = log(found / (1 - found)), Z * sqrt(variance) / (found * (1 - found))
    low, high = (1 / (1 + np.exp(-np.clip((middle - half, middle + half), -700, 700)))).tolist()
    return low, high


def _percentiles(drawn: Floats, outside: float = 0.05) -> tuple[float, float]:
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return 0.0, 1.0
    low, high = np.percentile(known, [50 * outside, 100 - 50 * outside]).tolist()
    return low, high


def _interval(drawn: Floats, found: float, prompts: int, outside: float = 0.05) -> tuple[float, float]:
    """The bootstrap's, Wilson's where that would be a point, and never narrower than Wilson's where prompts are few.

    outside: the share that it leaves out.
    """
    interval = _percentiles(drawn, outside)
    point = found in (0.0, 1.0)
    if prompts >= FEW and not point:
        return interval
    low, high = wilson(found * prompts, prompts, NormalDist().inv_cdf(1 - outside / 2))
    return (low, high) if point else (min(low, interval[0]), max(high, interval[1]))


def _rarer(label: npt.NDArray[np.bool_], clusters: Clusters) -> int:
    return min(len(np.unique(clusters.of[label])), len(np.unique(clusters.of[~label])))


def _newton(columns: Floats, target: Floats) -> Floats:
    """The coefficients of a logistic regression. Steps are halved until the likelihood grows."""

    def cost(coefficients: Floats) -> float:
        odds = columns @ coefficients
        return float((np.logaddexp(0, odds) - target * odds).sum())

    here = np.zeros(columns.shape[1])
    for _ in range(100):
        chance = 1 / (1 + np.exp(-np.clip(columns @ here, -500, 500)))
        gradient = columns.T @ (chance - target)
        curvature = (columns * (chance * (1 - chance))[:, None]).T @ columns + 1e-9 * np.eye(len(here))
        step, size = np.linalg.solve(curvature, gradient), 1.0
        while size > 1e-6 and not cost(here - size * step) <= cost(here):
            size /= 2
        here = here - size * step
        if np.abs(size * step).max() < 1e-9:
            break
    return here
