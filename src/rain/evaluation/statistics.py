"""What samples can show: rates with intervals, and methods compared on the same items.

Every comparison is paired by item. It says "no difference shown" unless its interval leaves zero out *and* its
p-value, corrected for all that were compared with it, is below 5 %: either alone is too easily had with few items.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from math import inf, isclose, sqrt
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rain.errors import MissingExtra
from rain.preferences.ranking import Z
from rain.preferences.ranking import wilson as wilson

Value: TypeAlias = bool | int | float | None
"""A verdict: yes or no, a number, or None where there is none (unjudged)."""
Floats: TypeAlias = npt.NDArray[np.float64]

YES_NO = (bool, np.bool_)
DRAWS = 10_000
ALPHA, POWER = 0.05, 0.8
FEW = 10
"""Items below which the bootstrap is too sure of itself; another interval then widens its own."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One method against another on the same items. Rates and differences of them are shares (0.2 is 20 points)."""

    n: int
    """Pairs where both have a verdict."""
    items: int
    """Different items among them; several samples of one item are drawn together."""
    unjudged: int
    """Pairs left out because one of the two has no verdict."""
    difference: float
    """Mean of ours minus mean of theirs, on the pairs."""
    low: float
    high: float
    """95 % interval of the difference: paired bootstrap by item."""
    won: int
    """Pairs where ours is higher."""
    lost: int
    p: float
    """Two-sided: McNemar's exact test for yes/no with one sample an item, else sign flips by item."""
    p_corrected: float
    """By Holm's method, among all that were compared together."""
    compared: int
    """How many were compared together."""
    smallest_effect: float | None
    """The smallest difference that so many items show with 80 % power, corrected likewise; None: none at all."""
    yes_no: bool
    """Whether verdicts are yes or no: then differences are of rates."""
    shown: bool
    """Whether the difference is shown: interval beside zero and corrected p below 5 %."""
    sentence: str
    """All that in words."""


def compare(
    ours: Sequence[Value],
    theirs: Sequence[Value],
    items: Sequence[Hashable] | None = None,
    *,
    names: tuple[str, str] = ("this", "the other"),
    seed: int = 0,
) -> Comparison:
    """Compare two methods; ``ours[i]`` and ``theirs[i]`` are verdicts on the same item (and seed).

    items: the item of each pair, where one has several. names: for the sentence. Yes/no verdicts (all bool) are
    tested with McNemar's exact test (Q. McNemar, 1947), numbers with sign flips by item (R. A. Fisher, 1935).
    Raises ValueError: lengths differ. MissingExtra: no scipy, no statsmodels.
    """
    groups = list(range(len(ours))) if items is None else list(items)
    if not len(ours) == len(theirs) == len(groups):
        raise ValueError(f"{len(ours)}, {len(theirs)} and {len(groups)} are not pairs")
    known = [i for i in range(len(ours)) if ours[i] is not None and theirs[i] is not None]
    yes_no = all(isinstance(side[i], YES_NO) for i in known for side in (ours, theirs))
    differences = np.array([float(ours[i] or 0) - float(theirs[i] or 0) for i in known], float)
    sums, sizes = _by_item(differences, [groups[i] for i in known])
    alone = bool((sizes == 1).all())
    won, lost = int((differences > 0).sum()), int((differences < 0).sum())
    if not known:
        low, high = (-1.0, 1.0) if yes_no else (-inf, inf)
        p, effect, found = 1.0, None, 0.0
    else:
        found = float(differences.mean())
        low, high = _interval(found, sums, sizes, yes_no, seed)
        p = mcnemar(won, lost) if yes_no and alone else _sign_flips(sums, seed)
        effect = _effect(ALPHA, sums, sizes, won + lost, yes_no and alone)
    made = Comparison(
        len(known), len(sums), len(ours) - len(known), found, low, high, won, lost, p, p, 1, effect, yes_no, False, ""
    )
    return _told(made, names, yes_no)


def compare_all(
    ours: Sequence[tuple[str, Sequence[Value]]],
    theirs: tuple[str, Sequence[Value]],
    items: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
) -> list[Comparison]:
    """Compare several methods (name, verdicts) with one, corrected by Holm's method for being several.

    All sequences have one entry a pair, None where the method has no verdict there. Raises as :func:`compare`.
    """
    return compare_many([((name, theirs[0]), values, theirs[1]) for name, values in ours], items, seed=seed)


def compare_many(
    pairs: Sequence[tuple[tuple[str, str], Sequence[Value], Sequence[Value]]],
    items: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
) -> list[Comparison]:
    """Any comparisons (names, ours, theirs) that are told together, corrected by Holm's method for being many.

    One that has no pair with two verdicts is none, and costs the others nothing. Raises as :func:`compare`.
    """
    made = [compare(ours, theirs, items, names=names, seed=seed) for names, ours, theirs in pairs]
    real = [each.p for each in made if each.n]
    many, passed = max(1, len(real)), iter(holm(real))
    out = []
    for each, (names, ours, theirs) in zip(made, pairs, strict=True):
        effect = each.smallest_effect
        if many > 1:
            effect = smallest_effect(ours, theirs, items, alpha=ALPHA / many)
        p = next(passed) if each.n else 1.0
        fresh = replace(each, p_corrected=p, compared=many, smallest_effect=effect)
        out.append(_told(fresh, names, each.yes_no))
    return out


def mcnemar(won: int, lost: int) -> float:
    """The two-sided p-value of McNemar's exact test, from the pairs that differ. Raises MissingExtra."""
    test = _need("statsmodels.stats.contingency_tables").mcnemar([[0, won], [lost, 0]], exact=True)
    return min(1.0, float(test.pvalue))


def holm(ps: Sequence[float]) -> list[float]:
    """p-values corrected for being many (S. Holm, 1979). Raises MissingExtra."""
    if not ps:
        return []
    return [
        float(p) for p in _need("statsmodels.stats.multitest").multipletests(list(ps), alpha=ALPHA, method="holm")[1]
    ]


def smallest_effect(
    ours: Sequence[Value],
    theirs: Sequence[Value],
    items: Sequence[Hashable] | None = None,
    *,
    alpha: float = ALPHA,
) -> float | None:
    """The smallest difference that these pairs could show at level ``alpha`` with 80 % power; None: none at all.

    Yes/no: McNemar's exact test, at the discordance (share of pairs that differ) that was observed, or at the
    difference itself where that is larger. Numbers, or several samples an item: the t-test on item means with their
    observed spread. Raises MissingExtra.
    """
    groups = list(range(len(ours))) if items is None else list(items)
    known = [i for i in range(len(ours)) if ours[i] is not None and theirs[i] is not None]
    if not known:
        return None
    differences = np.array([float(ours[i] or 0) - float(theirs[i] or 0) for i in known], float)
    yes_no = all(isinstance(side[i], YES_NO) for i in known for side in (ours, theirs))
    sums, sizes = _by_item(differences, [groups[i] for i in known])
    return _effect(alpha, sums, sizes, int((differences != 0).sum()), yes_no and bool((sizes == 1).all()))


def mcnemar_power(n: int, discordance: float, difference: float, alpha: float = ALPHA) -> float:
    """The chance that McNemar's exact test on ``n`` pairs is below ``alpha``, unconditionally.

    discordance: the chance that a pair differs; difference: of the two rates, at most the discordance.
    """
    binom = _need("scipy.stats").binom
    discordance = max(discordance, difference)
    if discordance <= 0:
        return 0.0
    differing = np.arange(n + 1)
    chance = binom.pmf(differing, n, min(1.0, discordance))
    likely = chance > 1e-12
    differing, chance = differing[likely], chance[likely]
    # The test is below alpha where the rarer direction has at most `most` pairs: P(X <= most) <= alpha / 2.
    most = binom.ppf(alpha / 2, differing, 0.5).astype(int)
    most = np.where(binom.cdf(most, differing, 0.5) * 2 <= alpha, most, most - 1)
    toward = (discordance + difference) / (2 * discordance)
    below = binom.cdf(most, differing, toward) + binom.cdf(most, differing, 1 - toward)
    return float((chance * np.where(most >= 0, below, 0.0)).sum())


def bootstrap(
    statistic: Callable[[npt.NDArray[np.int64]], float | None], items: int, *, draws: int = 2000, seed: int = 0
) -> tuple[float, float] | None:
    """The 95 % percentile interval of ``statistic``, given the numbers of items drawn anew; None where it has none.

    Draws for which the statistic is undefined (None) are left out.
    """
    if items < 2:
        return None
    rng = np.random.default_rng(seed)
    found = [value for _ in range(draws) if (value := statistic(rng.integers(0, items, items))) is not None]
    if len(found) < draws / 2:
        return None
    low, high = np.quantile(found, [0.025, 0.975]).tolist()
    return low, high


def _by_item(differences: Floats, groups: Sequence[Hashable]) -> tuple[Floats, Floats]:
    """Of each item: the sum of its differences, and how many there are."""
    numbers: dict[Hashable, int] = {}
    of = np.array([numbers.setdefault(group, len(numbers)) for group in groups], np.int64)
    sums, sizes = np.zeros(len(numbers)), np.zeros(len(numbers))
    np.add.at(sums, of, differences)
    np.add.at(sizes, of, 1.0)
    return sums, sizes


def _interval(found: float, sums: Floats, sizes: Floats, yes_no: bool, seed: int) -> tuple[float, float]:
    means = []
    rng = np.random.default_rng(seed)
    step = max(1, 2_000_000 // len(sums))
    for done in range(0, DRAWS, step):
        drawn = rng.integers(0, len(sums), (min(step, DRAWS - done), len(sums)))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975]).tolist()
    if not (len(sums) < FEW or isclose(low, high)):
        return low, high
    if yes_no:
        other = _agresti_min(int((sums > 0).sum()), int((sums < 0).sum()), len(sums))
    elif len(sums) < 2:
        other = (-inf, inf)
    else:
        half = (
            float(_need("scipy.stats").t.ppf(0.975, len(sums) - 1))
            * float((sums / sizes).std(ddof=1))
            / sqrt(len(sums))
        )
        other = (found - half, found + half)
    return min(low, other[0]), max(high, other[1])


def _agresti_min(won: int, lost: int, n: int) -> tuple[float, float]:
    """The interval of a difference of paired rates for few pairs: half a pair is added to each of the four cells.

    A. Agresti and Y. Min, Simple improved confidence intervals for comparing matched proportions (2005).
    """
    more, b, c = n + 2.0, won + 0.5, lost + 0.5
    middle = (b - c) / more
    half = Z * sqrt((b + c) - (b - c) ** 2 / more) / more
    return max(-1.0, middle - half), min(1.0, middle + half)


def _sign_flips(sums: Floats, seed: int) -> float:
    """Two-sided p of "an item's sign is chance": exact for few items, else by chance flips (counting what is seen)."""
    moved = sums[sums != 0]
    if not len(moved):
        return 1.0
    seen = abs(float(moved.sum())) - 1e-12
    if len(moved) <= 12:
        signs = 1.0 - 2.0 * ((np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1)
        return float((np.abs(signs @ moved) >= seen).mean())
    rng, hits = np.random.default_rng(seed), 0
    step = max(1, 2_000_000 // len(moved))
    for done in range(0, DRAWS, step):
        flips = 1.0 - 2.0 * rng.integers(0, 2, (min(step, DRAWS - done), len(moved)))
        hits += int((np.abs(flips @ moved) >= seen).sum())
    return (hits + 1) / (DRAWS + 1)


def _effect(alpha: float, sums: Floats, sizes: Floats, discordant: int, paired_yes_no: bool) -> float | None:
    n = len(sums)
    if not paired_yes_no:
        if n < 2:
            return None
        spread = float((sums / sizes).std(ddof=1))
        if not spread:
            return None
        return spread * float(
            _need("statsmodels.stats.power").TTestPower().solve_power(nobs=n, alpha=alpha, power=POWER)
        )
    discordance = discordant / n
    if mcnemar_power(n, 1.0, 1.0, alpha) < POWER:
        return None
    low, high = 0.0, 1.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if mcnemar_power(n, discordance, middle, alpha) >= POWER else (middle, high)
    return high


def _told(made: Comparison, names: tuple[str, str], yes_no: bool) -> Comparison:
    beside = made.low > 0 or made.high < 0
    shown = made.n > 0 and beside and made.p_corrected <= ALPHA
    return replace(made, shown=shown, sentence=_sentence(replace(made, shown=shown), names, yes_no))


def _sentence(made: Comparison, names: tuple[str, str], yes_no: bool) -> str:
    ours, theirs = names
    if not made.n:
        return f"No item has a verdict for both {ours} and {theirs}."

    def points(value: float, sign: str = "+") -> str:
        return f"{100 * value:{sign}.0f}" if yes_no else f"{value:{sign}.3g}"

    unit = " points" if yes_no else ""
    p = p_told(made.p_corrected, made.compared)
    figures = f"{points(made.difference)}{unit} [{points(made.low)}, {points(made.high)}], N = {made.n}, {p}"
    if made.shown:
        return f"{ours} is {'higher' if made.difference > 0 else 'lower'} than {theirs}: {figures}."
    beside = made.low > 0 or made.high < 0
    why = "; the interval leaves zero out, but p does not pass" if beside else ""
    if made.smallest_effect is None:
        power = "so few items can show none, however large" if yes_no or made.items < 2 else "no pair differs"
    else:
        least = made.smallest_effect
        power = f"so many items show {points(least, '') if not yes_no else f'{100 * least:.0f}'}{unit} or more"
    return f"No difference shown, {ours} over {theirs}: {figures}{why} ({power})."


def p_told(corrected: float, compared: int) -> str:
    """A corrected p-value in words, and for how many comparisons it was corrected."""
    p = f"p = {corrected:.2g}" if corrected >= 0.001 else "p < 0.001"
    return p + (f", corrected for {compared} comparisons" if compared > 1 else "")


def _need(module: str) -> Any:
    """A module of scipy or statsmodels. Raises MissingExtra."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtra("comparing methods needs pip install 'rain-lm[eval]'") from None
