"""What a run shows so far: for each method rates with intervals, and what they cost. The report says more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rain.evaluation.records import Judgement, Manifest, Sample, judged, last_samples, read_manifest
from rain.evaluation.report_tables import counted, parts


def summary(folder: Path) -> dict[str, Any]:
    """One JSON object. Raises UsageError where ``folder`` is no run.

    Rates are over what was judged; what was not is ``unjudged``, and a sample with an error is in no rate.
    """
    manifest, samples = read_manifest(folder), last_samples(folder)
    said = judged(folder, samples)
    # A sample that was judged twice counts as it was judged last.
    last = {(one.judge, one.measure, one.sample): one for one in said if one.other is None}
    labels = list(dict.fromkeys((*manifest.methods, *(sample.method for sample in samples))))
    return {
        "suite": manifest.suite,
        "out": str(folder),
        "model": manifest.model,
        "preference": manifest.preference,
        "seed": manifest.seed,
        "notes": manifest.notes,
        "samples": len(samples),
        "errors": sum(sample.error is not None for sample in samples),
        "methods": {
            label: _figures([sample for sample in samples if sample.method == label], list(last.values()))
            for label in labels
        },
        "duels": [asdict(duel) for duel in counted(samples, said)],
    }


def table(found: dict[str, Any]) -> str:
    """:func:`summary` as a small table."""
    from io import StringIO

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=f"{found['suite']}, {found['model']}, seed {found['seed']}", title_justify="left")
    columns = list(dict.fromkeys(name for figures in found["methods"].values() for name in figures["measures"]))
    shown.add_column("method")
    for name in ("N", "errors", *columns, "forward tokens a reply", "per token", "seconds"):
        shown.add_column(name, justify="right")
    for label, figures in found["methods"].items():
        cells = [_cell(figures["measures"].get(name)) for name in columns]
        spent = (figures["forward_tokens_per_reply"], figures["forward_tokens_per_token"])
        costs = [*("" if each is None else f"{each:,.1f}" for each in spent), f"{figures['seconds']:,.1f}"]
        shown.add_row(Text(label), str(figures["n"]), str(figures["errors"]), *cells, *costs)
    out = StringIO()
    Console(file=out, width=110).print(shown)
    return "\n".join((out.getvalue().rstrip(), *map(_duel, found["duels"]), *found["notes"]))


def of(manifest: Manifest) -> str:
    """One line: what a run's prompts are and where they come from."""
    return f"{manifest.suite}: {manifest.source}, {manifest.licence}, {manifest.split}; N = {manifest.n}"


def _figures(samples: Sequence[Sample], judgements: Sequence[Judgement]) -> dict[str, Any]:
    whole = [sample for sample in samples if sample.error is None]
    ids = {sample.id for sample in whole}
    of = {sample.id: part for part, some in parts(whole).items() for sample in some}
    usages = [sample.usage for sample in whole if sample.usage]
    tokens = sum(usage["completion_tokens"] for usage in usages)
    forward = sum(usage["forward_tokens"] + usage["judge_forward_tokens"] for usage in usages)
    scores = [sample.score for sample in whole if sample.score is not None]
    measures: dict[str, list[Judgement]] = {}
    for one in judgements:
        if one.sample in ids:
            part = of[one.sample] and f", {of[one.sample]}"
            measures.setdefault(f"{one.measure} ({one.judge}){part}", []).append(one)
    return {
        "n": len(whole),
        "errors": len(samples) - len(whole),
        "tokens": tokens,
        "forward_tokens": forward,
        "forward_tokens_per_reply": round(forward / len(usages), 2) if usages else None,
        "forward_tokens_per_token": round(forward / tokens, 2) if tokens else None,
        "seconds": round(sum(usage["seconds"] for usage in usages), 1),
        "score": round(sum(scores) / len(scores), 4) if scores else None,
        "measures": {name: _measure(ones) for name, ones in measures.items()},
    }


def _measure(ones: Sequence[Judgement]) -> dict[str, Any]:
    """A rate with its Wilson interval, a mean where values are numbers, counts where they are words."""
    values = [one.value for one in ones if one.value is not None]
    shared = {
        "n": len(values),
        "unjudged": len(ones) - len(values),
        "independent": all(one.independent for one in ones),
    }
    if not values:
        return {"rate": None, "low": None, "high": None, **shared}
    if all(isinstance(value, bool) for value in values):
        from rain.evaluation.statistics import wilson

        low, high = wilson(sum(map(bool, values)), len(values))
        return {"rate": round(sum(map(bool, values)) / len(values), 4), "low": low, "high": high, **shared}
    if all(isinstance(value, (int, float)) for value in values):
        return {"mean": round(sum(map(float, values)) / len(values), 4), **shared}
    return {"counts": dict(Counter(map(str, values)).most_common()), **shared}


def _duel(duel: dict[str, Any]) -> str:
    """Only what was counted: whether it is a difference says the report."""
    where = f"{duel['judge']}{duel['part'] and ', '}{duel['part']}"
    ties = f"{duel['ties']} ties" + (f" ({duel['disagreed']}: orders disagree)" if duel["disagreed"] else "")
    counts = f"{duel['won']} won, {duel['lost']} lost, {ties}, {duel['unjudged']} unjudged"
    return f"{duel['method']} beside {duel['other']} ({where}): {counts}"


def _cell(figures: dict[str, Any] | None) -> str:
    if figures is None:
        return ""
    if "counts" in figures:
        shown = ", ".join(f"{count} {word}" for word, count in figures["counts"].items())
    elif "mean" in figures:
        shown = f"{figures['mean']:+.3f}"
    elif figures["rate"] is None:
        shown = "not judged"
    else:
        shown = f"{figures['rate']:.0%} [{figures['low']:.0%}, {figures['high']:.0%}]"
    return shown + (f", {figures['unjudged']} unjudged" if figures["unjudged"] else "")
