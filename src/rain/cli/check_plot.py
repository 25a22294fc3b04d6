"""What a check found, as a drawing: the figures with their intervals, and quality over cost."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rain.errors import MissingExtra, UsageError


def drawing(path: Path) -> Callable[[dict[str, Any]], None]:
    """Something that draws the JSON of a check there. Raises UsageError: no matplotlib, no such kind of file, nowhere
    to write it."""
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--plot {path}: the name must end in .png, .svg or .pdf")
    if not path.parent.is_dir():
        raise UsageError(f"--plot {path}: there is no folder {path.parent}")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"--plot {path}: cannot be written there")
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtra("--plot: needs pip install matplotlib (or 'rain-lm[bench]')") from error
    matplotlib.use("Agg")
    return lambda told: _draw(path, told)


def _draw(path: Path, told: dict[str, Any]) -> None:
    from matplotlib import pyplot

    judges = dict(sorted(told["evaluators"].items(), key=lambda item: item[1]["auc"]))
    rows = judges | told["baselines"]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 1.5 + 0.45 * len(rows)), width_ratios=(3, 2))
    kinds = (("auc", "area", "o", 0.12), ("pair_accuracy", "pairs for the same prompt", "s", -0.12))
    for key, name, mark, shift in kinds:
        low, high = ("auc_low", "auc_high") if key == "auc" else ("pair_low", "pair_high")
        known = [(number, row) for number, row in enumerate(rows.values()) if row.get(key) is not None]
        if known:
            values = [row[key] for _, row in known]
            spread = [
                [max(0.0, row[key] - row[low]) for _, row in known],
                [max(0.0, row[high] - row[key]) for _, row in known],
            ]
            left.errorbar(
                values, [number + shift for number, _ in known], xerr=spread, fmt=mark, capsize=3, label=name
            )  # fmt: skip
    left.set_yticks(range(len(rows)), [*judges, *(f"{name} (judges nothing)" for name in told["baselines"])])
    left.axvline(0.5, color="grey", linestyle=":")
    left.set_xlim(0, 1)
    left.set_xlabel("share ranked right, 95 % intervals; 0.5 is chance")
    left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    for name, row in judges.items():
        figured = row["pair_accuracy"] if row["pair_accuracy"] is not None else row["auc"]
        right.plot(row["forward_tokens"], figured, "o", color="C2" if name == told["recommended"] else "C7")
        right.annotate(name, (row["forward_tokens"], figured), fontsize=7, xytext=(3, 3), textcoords="offset points")
    right.set_xlabel("forward tokens of a judgement, beyond the reply")
    right.set_ylabel("share ranked right")
    right.axhline(0.5, color="grey", linestyle=":")
    right.set_ylim(0, 1.02)
    figure.suptitle(f"{told['preference']}, judged by {told['judge_model'] or told['model']} (N = {told['n']})")
    figure.tight_layout()
    try:
        figure.savefig(path)
    except OSError as error:
        raise UsageError(f"--plot {path}: cannot be written: {error.strerror or error}") from error
    finally:
        pyplot.close(figure)
