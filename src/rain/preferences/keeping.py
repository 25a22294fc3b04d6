"""From what a check found to the calibrations that are kept and used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from rain.engines.engine import Engine
from rain.preferences import calibration
from rain.preferences.calibration import Calibration
from rain.preferences.preference import Preference
from rain.preferences.ranking import Pairs
from rain.preferences.verdict import ENOUGH, Figures, Report
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


def keep(report: Report, engine: Engine, preference: Preference | Weighted, measured: Measured) -> list[Calibration]:
    """Keep a calibration for each judge, in each wording, that saw enough texts. Returns what could be kept."""
    every = [found for first in report.figures.values() for found in (first, *first.wordings.values())]
    made = [
        of(found, engine, preference, measured)
        for found in every
        if found.ranks.area.n >= ENOUGH and found.self_evaluation
    ]
    return [row for row in made if calibration.keep(row)]


def of(found: Figures, engine: Engine, preference: Preference | Weighted, measured: Measured) -> Calibration:
    """The calibration of one judge."""
    judge, area, main = found.judge, found.ranks.area, found.ranks.main[1]
    pairs = main if isinstance(main, Pairs) else found.ranks.pairs
    return Calibration(
        model=engine.fingerprint,
        preference=preference.name,
        digest=calibration.digest_of(
            preference.worded(judge.wording), judge.evaluator, judge.placement, measured.style, engine.fingerprint
        ),
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
