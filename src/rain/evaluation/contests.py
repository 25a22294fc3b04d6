"""Two methods' replies side by side: is one preferred more often than chance?

As everywhere a difference is shown only if its interval leaves out what chance would give, here one half, *and* its
p-value, corrected for all that stand in one table, is at most 5 %. Ties say nothing either way and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rain.evaluation.statistics import ALPHA, holm, mcnemar, p_told


class Contest(NamedTuple):
    """How often one method's replies were preferred to another's, as counted."""

    names: tuple[str, str]
    share: float | None
    """Of what was decided for the first one, ties left out; None where nothing was."""
    low: float
    high: float
    n: int
    """Verdicts that are no tie."""
    won: int
    """Items whose verdicts are mostly for the first one: with one verdict an item those verdicts."""
    lost: int


@dataclass(frozen=True, slots=True)
class SignTest:
    """Whether one method's replies are preferred to another's more often than chance, ties left out."""

    p: float
    """Two-sided, of the exact sign test by item."""
    p_corrected: float
    """By Holm's method, among all that stand in one table."""
    compared: int
    """How many do, those left out where nothing was decided."""
    shown: bool
    """Whether the interval leaves one half out and the corrected p is at most 5 %."""
    sentence: str


def sign_tests(found: Sequence[Contest]) -> list[SignTest]:
    """The exact sign test (W. J. Dixon and A. M. Mood, 1946) of each, corrected by Holm's method for all of them.

    found: all that stand in one table. One in which nothing was decided is none, and costs the others nothing. Raises
    MissingExtra.
    """
    ps = [sign_test(each.won, each.lost) for each in found if each.n]
    many, raw, passed = max(1, len(ps)), iter(ps), iter(holm(ps))
    out = []
    for each in found:
        p, corrected = (next(raw), next(passed)) if each.n else (1.0, 1.0)
        alike = each.share is not None and (each.share > 0.5) == (each.won > each.lost)
        shown = not each.low <= 0.5 <= each.high and corrected <= ALPHA and alike
        out.append(SignTest(p, corrected, many, shown, _preferred(each, corrected, many, shown)))
    return out


def sign_test(won: int, lost: int) -> float:
    """The two-sided p-value of the exact sign test, ties left out. Raises MissingExtra.

    McNemar's exact test is this very test, of the pairs that differ.
    """
    return mcnemar(won, lost)


def _preferred(found: Contest, p: float, compared: int, shown: bool) -> str:
    ours, theirs = found.names
    if found.share is None:
        return f"No difference shown, {ours} over {theirs}: nothing was decided."
    by_item = "" if found.won + found.lost == found.n else f" (by item {found.won} to {found.lost})"
    share, low, high = (f"{100 * each:.0f}" for each in (found.share, found.low, found.high))
    figures = f"{share} % of {found.n} decided [{low}, {high}], {p_told(p, compared)}{by_item}"
    if shown:
        return f"{ours} is {'better' if found.share > 0.5 else 'worse'} than {theirs}: {figures}."
    beside = not found.low <= 0.5 <= found.high
    why = "; the interval leaves one half out, but p does not pass" if beside else ""
    return f"No difference shown, {ours} over {theirs}: {figures}{why}."
