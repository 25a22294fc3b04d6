"""From what a check found to the calibrations that are kept and used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from rain.engines.engine import Engine
from rain.preferences import calibration
from rain.preferences.calibration import Calibration
from rain.preferences.preference import Preference
from rain.preferences.ranking import Pairs
from rain.preferences.trust import builtin
from rain.preferences.verdict import Figures, Report, compared
from rain.preferences.weighted import Weighted


@dataclass(frozen=True, slots=True)
class Measured:
    """How."""

    style: str
    data: str
    """What it was measured on."""
    false_alarms: float
    """Wished for at the threshold."""
    version: str
    """Of RAIN."""


ENOUGH_OF_EACH = 20
"""Good and bad texts each, below which a slope and a gate from them would do more harm than good."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a check."""

    rows: list[Calibration]
    told: list[str]
    """What was not kept and why, and what was replaced, in a line each."""


def keep(
    report: Report, engine: Engine, preference: Preference | Weighted, measured: Measured, *, replace: bool = False
) -> Kept:
    """Keep a calibration for each judge, in each wording, that saw enough texts.

    What was measured on more of the same texts stays, unless ``replace``; what was measured on other texts is replaced.
    """
    rows: list[Calibration] = []
    few: dict[str, list[str]] = {}
    stays: dict[str, list[str]] = {}
    replaced: dict[str, list[str]] = {}
    for found in compared(report.figures):
        good, bad = found.flagged.false_alarms.n, found.flagged.caught.n
        name = found.judge.told
        if min(good, bad) < ENOUGH_OF_EACH:
            few.setdefault(f"{good} good and {bad} bad", []).append(name)
            continue
        made = of(found, engine, preference, measured)
        worded = preference.worded(made.wording)
        before = calibration.find(
            engine.fingerprint, worded, made.evaluator, made.placement, made.wording, measured.style
        )  # fmt: skip
        if before and before.data == made.data and before.n > made.n and not replace:
            stays.setdefault(f"N = {before.n}", []).append(name)
        elif calibration.keep(made):
            rows.append(made)
            if before and before.data != made.data:
                replaced.setdefault(f"{before.source} (N = {before.n})", []).append(name)
    needed = f"{ENOUGH_OF_EACH} good and {ENOUGH_OF_EACH} bad texts are needed"
    told = [f"Not kept of {', '.join(names)}: {needed}, and there were {seen}." for seen, names in few.items()]
    told += [
        f"Not kept of {', '.join(names)}: what was measured on more of the same texts ({size}) stays in use; --replace "
        "takes this instead."
        for size, names in stays.items()
    ]
    told += [f"Replaced of {', '.join(names)}: what was measured on {what}." for what, names in replaced.items()]
    return Kept(rows, told)


def of(found: Figures, engine: Engine, preference: Preference | Weighted, measured: Measured) -> Calibration:
    """The calibration of one judge."""
    judge, area, main = found.judge, found.ranks.area, found.ranks.main[1]
    worded = preference.worded(judge.wording)
    pairs = main if isinstance(main, Pairs) else found.ranks.pairs
    return Calibration(
        model=engine.fingerprint,
        preference=preference.name,
        builtin=builtin(worded),
        digest=calibration.digest_of(worded, judge.evaluator, judge.placement, measured.style, engine.fingerprint),
        evaluator=judge.evaluator,
        placement=judge.placement,
        wording=judge.wording,
        style=measured.style,
        zero=found.zero,
        slope=found.slope,
        threshold=found.threshold,
        false_alarms=measured.false_alarms,
        held_out_false_alarms=found.flagged.false_alarms.value,
        caught=found.flagged.caught.value,
        mean_good=found.mean_good,
        mean_bad=found.mean_bad,
        auc=area.value,
        auc_low=area.low,
        auc_high=area.high,
        pair_accuracy=pairs.value if pairs else None,
        pair_low=pairs.low if pairs else None,
        pair_high=pairs.high if pairs else None,
        n=area.n,
        forward_tokens=found.forward_tokens,
        verdict=found.verdict,
        reason=found.reason,
        refusing_is_good=found.refusing_is_good,
        data=measured.data,
        version=measured.version,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
    )
