"""How far raters agree: raw, Cohen's kappa, Krippendorff's alpha, with intervals by item.

A rating is any hashable category (nominal), or None where there is none. Samples of one item are not independent, so
intervals draw whole items anew.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from rain.evaluation.statistics import bootstrap, wilson

Rating: TypeAlias = Hashable | None
Floats: TypeAlias = npt.NDArray[np.float64]
_Of: TypeAlias = Callable[[Floats], float | None]


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A coefficient and its 95 % interval; None where it is undefined (as where all ratings are the same)."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    """Units that at least two raters have rated."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of two raters: the share rated alike, and Cohen's kappa."""

    raw: Coefficient
    kappa: Coefficient


def two_raters(
    one: Sequence[Rating], other: Sequence[Rating], items: Sequence[Hashable], *, seed: int = 0
) -> Agreement:
    """Agreement of two raters on the same units. Units that one of them has not rated are left out.

    one, other: a rating of each unit; items: the item that a unit is of.
    """
    numbers = _numbers([*one, *other])
    tables = np.zeros((len(set(items)), len(numbers), len(numbers)))
    item_of = _numbers(items)
    for a, b, item in zip(one, other, items, strict=True):
        if a is not None and b is not None:
            tables[item_of[item], numbers[a], numbers[b]] += 1
    tables = tables[tables.sum(axis=(1, 2)) > 0]
    return Agreement(_with_interval(tables, raw_of, seed), _with_interval(tables, kappa_of, seed))


def krippendorff(units: Sequence[Sequence[Rating]], items: Sequence[Hashable], *, seed: int = 0) -> Coefficient:
    """Krippendorff's alpha for nominal ratings by any number of raters; missing ratings (None) are allowed.

    units: of each unit, what each rater said; items: the item that a unit is of. Source: K. Krippendorff, Computing
    Krippendorff's Alpha-Reliability (2011).
    """
    numbers = _numbers([rating for unit in units for rating in unit])
    item_of = _numbers(items)
    tables = np.zeros((len(set(items)), len(numbers), len(numbers)))
    paired = np.zeros(len(tables), int)
    for unit, item in zip(units, items, strict=True):
        counts = np.zeros(len(numbers))
        for rating in unit:
            if rating is not None:
                counts[numbers[rating]] += 1
        if counts.sum() >= 2:
            tables[item_of[item]] += (np.outer(counts, counts) - np.diag(counts)) / (counts.sum() - 1)
            paired[item_of[item]] += 1
    found = _with_interval(tables[paired > 0], alpha_of, seed)
    return Coefficient(found.value, found.low, found.high, int(paired.sum()))


def raw_of(table: Floats) -> float | None:
    """The share of units on the diagonal of a table ``[one rater's category, the other's]``."""
    return float(np.trace(table) / table.sum()) if table.sum() else None


def kappa_of(table: Floats) -> float | None:
    """Cohen's kappa (J. Cohen, 1960) of such a table; None where chance alone would agree always."""
    total = table.sum()
    if not total:
        return None
    chance = float(table.sum(axis=0) @ table.sum(axis=1) / total**2)
    return None if chance >= 1 else float((np.trace(table) / total - chance) / (1 - chance))


def alpha_of(coincidences: Floats) -> float | None:
    """Krippendorff's alpha of a coincidence matrix; None where only one category occurs."""
    total, each = coincidences.sum(), coincidences.sum(axis=0)
    expected = total**2 - float(each @ each)
    if total <= 1 or expected <= 0:
        return None
    return float(1 - (total - 1) * (total - np.trace(coincidences)) / expected)


def _with_interval(tables: Floats, of: _Of, seed: int) -> Coefficient:
    """tables: ``[items, categories, categories]``, which add up."""
    whole = tables.sum(axis=0)
    value = of(whole) if len(tables) else None
    interval = None if value is None else bootstrap(lambda drawn: of(tables[drawn].sum(axis=0)), len(tables), seed=seed)
    low, high = interval or (None, None)
    if low is not None and low == high:  # No draw differs, as in perfect agreement: that is no certainty.
        low, high = wilson((value or 0) * len(tables), len(tables)) if of is raw_of else (None, None)
    return Coefficient(value, low, high, int(whole.sum()) if len(tables) else 0)


def _numbers(values: Sequence[Rating]) -> dict[Rating, int]:
    numbers: dict[Rating, int] = {}
    for value in values:
        if value is not None:
            numbers.setdefault(value, len(numbers))
    return numbers
