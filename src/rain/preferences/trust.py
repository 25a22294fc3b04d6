"""Trust: what is known of a judge before anything is written with it, and how to say so in one line."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass
from typing import Any

from rain.engines.engine import Engine
from rain.errors import UsageError
from rain.preferences import calibration
from rain.preferences.calibration import Calibration, Verdict
from rain.preferences.measured import OWN
from rain.preferences.preference import DEFAULT_WORDING, Kind, Preference, builtin_names, from_sentence, load
from rain.preferences.weighted import Weighted

TRUSTED: tuple[Verdict, ...] = ("can judge", "judges weakly")
"""The verdicts that ``--require-check`` is content with, the better one first."""
VERDICTS: tuple[Verdict, ...] = (*TRUSTED, "only recognises refusals", "cannot judge this")
"""From the best to the worst."""
ASKING_SOMEWHERE: tuple[Kind, ...] = ("choice", "yes_no", "one_word")
"""Evaluators that leave a choice of where they ask."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What is known of one judge. Areas and shares are in [0, 1], None where nothing was measured."""

    checked: bool = False
    verdict: Verdict | None = None
    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    pair_accuracy: float | None = None
    n: int | None = None
    false_alarms: float | None = None
    """Good texts below a gate that was set on others."""
    caught: float | None = None
    """Bad texts below it."""
    data: str | None = None
    """What it was measured on."""
    line: str | None = None
    """What to say about it in one line, None where there is nothing to worry about."""
    warn: bool = False
    """Whether the line is a warning: what this judge prefers is not what was asked for."""

    def as_dict(self) -> dict[str, Any]:
        """What replies carry as ``judge``, beside the evaluator and its placement."""
        beside = ("n", "line", "warn")
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in beside}

    def require(self) -> None:
        """``--require-check``. Raises UsageError unless the judge is known to judge, be it weakly."""
        if self.verdict not in TRUSTED:
            raise UsageError(f"--require-check: {self.line or 'this judge was not checked'}")


def trust(
    engine: Engine,
    preference: Preference | Weighted,
    evaluator: str,
    placement: str | None,
    style: str,
    *,
    as_checked: bool = True,
) -> Trust:
    """What is known of a judge: ``evaluator`` asks ``engine`` (the model that judges) about ``preference``.

    placement: None for the preference's own. as_checked: False for a judge that is asked in a way that no check
    measures (the paper's single question), whose figures would be another's. Of several preferences that were not
    checked as one judge, the judge that is known least, or is the worst, is told.
    """
    if isinstance(preference, Weighted):
        rows = _asked_the_same(engine, preference) if placement is None else []
        together = next((row for row in rows if (row.evaluator, row.style) == (evaluator, style)), None)
        if together is not None:
            return _of(together, rows, engine, preference)
        return _of_parts(engine, preference, placement, style)
    name = f"'{preference.name}'"
    if evaluator.startswith("classifier"):
        return Trust(line=f"{name} is judged by a classifier, not by the model itself; how well is not known here")
    rows = _asked_the_same(engine, preference)
    where = placement or (preference.placement if evaluator.split("+")[0] in ASKING_SOMEWHERE else None)
    mine = [row for row in rows if as_checked and row.evaluator == evaluator and where in (None, row.placement)]
    known = next((row for row in mine if row.style == style), None)
    if known is None:
        there = f" ({where})" if where else ""
        judge = f"{engine.name} judges {name} by {evaluator}{there}"
        if mine:
            judge += f" in the style {style!r} ({mine[0].style!r}: {mine[0].verdict})"
        how = _how(engine, preference, evaluator, style if mine else None, as_checked)
        return Trust(line=f"nobody has checked how well {judge}{how}")
    return _of(known, rows, engine, preference)


def _of(known: Calibration, rows: list[Calibration], engine: Engine, preference: Preference | Weighted) -> Trust:
    """rows: what is known of other judges that are asked the same."""
    line = _line(known, engine, preference)
    return Trust(
        checked=True,
        verdict=known.verdict,
        auc=known.auc,
        auc_low=known.auc_low,
        auc_high=known.auc_high,
        pair_accuracy=known.pair_accuracy,
        n=known.n,
        false_alarms=known.held_out_false_alarms,
        caught=known.caught,
        data=known.data,
        line=line and line + _advice(known, [row for row in rows if row.style == known.style], engine, preference),
        warn=known.verdict not in TRUSTED,
    )


def figures(known: Calibration) -> str:
    """The measured figures in words: area with interval, pairs, number of texts."""
    pairs = "" if known.pair_accuracy is None else f", {known.pair_accuracy:.0%} of same-prompt pairs right"
    return f"area {known.auc:.2f} [{known.auc_low:.2f}, {known.auc_high:.2f}]{pairs}, N = {known.n}"


def gate(known: Calibration) -> str:
    """The gate that is taken unless another is named, and what it did to texts that it was not set on, in words."""
    if known.caught is None or known.held_out_false_alarms is None:
        return f"gate {known.threshold:+.2f}, set for {known.false_alarms:.0%} false alarms"
    fail, passing = round(100 * known.held_out_false_alarms), round(100 * (1 - known.caught))
    return f"gate {known.threshold:+.2f}: lets {passing} of 100 bad texts pass, fails {fail} of 100 good ones"


def check_command(
    model: str, preference: Preference | Weighted, evaluator: str | None = None, *, data: bool = False
) -> str:
    """The ``rain check`` that measures it. data: on texts of one's own; only built-in preferences have samples."""
    words = ["rain check --model", shlex.quote(model)]
    if isinstance(preference, Weighted):
        evaluator, data = None, True
        words.append("--preference FILE.toml")
    elif builtin(preference):
        words.append(f"--preference {preference.name}")
    else:
        wish, data = _sentence(preference), True
        words.append("--preference FILE.toml" if wish is None else f"--prefer {shlex.quote(wish)}")
    if data:
        words.append("--data FILE.jsonl --label FIELD")
    if evaluator:
        words.append(f"--evaluators {evaluator}")
    if preference.wording != DEFAULT_WORDING:
        words.append(f"--wordings {shlex.quote(preference.wording)}")
    return " ".join(words)


def builtin(preference: Preference | Weighted) -> bool:
    """Whether it is one of ours and not a file that bears the same name."""
    if isinstance(preference, Weighted) or preference.name not in builtin_names():
        return False
    return _asks_as(preference, load(preference.name))


def _sentence(preference: Preference) -> str | None:
    """The sentence that it was made of, None where it was not."""
    wish = preference.description.strip()
    return wish if wish.rstrip(".") and _asks_as(preference, from_sentence(wish)) else None


def _asks_as(preference: Preference, ours: Preference) -> bool:
    known = preference.wording in ours.wordings
    return known and calibration.digest(ours.worded(preference.wording)) == calibration.digest(preference)


def _asked_the_same(engine: Engine, preference: Preference | Weighted) -> list[Calibration]:
    """What is kept of judges that are asked in these words on this model; others' words are found by their digest."""
    if not calibration.anything_kept():
        return []
    rows = calibration.kept(engine.fingerprint)
    return [row for row in rows if calibration.asks_the_same(row, preference, engine.fingerprint)]


def _of_parts(engine: Engine, wanted: Weighted, placement: str | None, style: str) -> Trust:
    found = []
    for part in wanted.parts:
        named = part.evaluator or part.preference.default
        evaluator = "classifier" if not isinstance(named, str) or ":" in named else named
        found.append(trust(engine, part.preference, evaluator, placement, style))
    worst = max(found, key=lambda one: (not one.checked, VERDICTS.index(one.verdict) if one.verdict else 0))
    # No single figure says how well several judges judge together.
    checked = all(one.checked for one in found)
    return Trust(checked, worst.verdict if checked else None, line=worst.line, warn=any(one.warn for one in found))


def _line(known: Calibration, engine: Engine, preference: Preference | Weighted) -> str | None:
    """One sentence on what to expect."""
    model = engine.name
    # The verdict's own figures: what a table shows of the whole texts may say the opposite.
    name, where = f"'{known.preference}'", "" if known.data == OWN else f" on {known.source}"
    measured = f"by {known.evaluator} ({known.placement}){where}: {known.reason}"
    if known.verdict == "can judge":
        if known.data != OWN or calibration.packaged(known):
            return None
        command = check_command(model, preference, known.evaluator, data=True)
        where = f"{known.evaluator} ({known.placement})"
        return f"{model} can judge {name} by {where} on our own samples; on texts like yours: {command}"
    if known.verdict == "judges weakly":
        return f"{model} judges {name} weakly {measured}; expect little"
    if known.verdict == "only recognises refusals":
        rewarded = {
            True: "it will be rewarded for refusing",
            False: "it will be rewarded for whatever does not refuse",
            None: "its reward will be about refusing alone",
        }[known.refusing_is_good]
        return f"{model} only recognises refusals when it judges {name} {measured}; {rewarded}"
    return f"{model} cannot judge {name} {measured}; what it prefers is no better than what judges nothing"


def _how(engine: Engine, preference: Preference, evaluator: str, style: str | None, as_checked: bool) -> str:
    """style: where a check would take another by itself."""
    command = check_command(engine.name, preference, evaluator) + (f" --style {style}" if style else "")
    if not as_checked:
        both = f"--preference {preference.name} --evaluator {evaluator}"
        return f", once as the paper does: no check measures that; add {both} to ask both ways, and check: {command}"
    return f"; find out with: {command}"


def _advice(known: Calibration, rows: list[Calibration], engine: Engine, preference: Preference | Weighted) -> str:
    """A better judge on the same model, if one is known; else how to look for one."""
    if known.verdict == "can judge":
        return ""
    better = TRUSTED[:1] if known.verdict in TRUSTED else TRUSTED
    for able in ([row for row in rows if row.verdict == verdict] for verdict in better):
        if able:
            best = _recommended(able)
            asks = best.evaluator.split("+")[0] in ASKING_SOMEWHERE
            return f". Better here: --evaluator {best.evaluator}" + (f" --placement {best.placement}" if asks else "")
    if known.verdict in TRUSTED:
        return ""
    return f". Another evaluator or model may: {check_command(engine.name, preference)}"


def _recommended(rows: list[Calibration]) -> Calibration:
    """By the rule of a check, and by pairs where all have some."""
    if all(row.pair_accuracy is not None for row in rows):
        return calibration.cheapest(
            {row: (row.pair_accuracy or 0.0, row.pair_low or 0.0, row.forward_tokens) for row in rows}
        )
    return calibration.cheapest({row: (row.auc, row.auc_low, row.forward_tokens) for row in rows})
