"""``rain bench --plot``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rain.errors import MissingExtra, UsageError
from rain.run.metered import PARTS

KINDS = (".png", ".svg", ".pdf")


def drawing(path: Path) -> Callable[[dict[str, Any]], None]:
    """Something that draws a result there. Raises UsageError now for what would fail after everything is measured."""
    if path.suffix.lower() not in KINDS:
        raise UsageError(f"--plot {path}: the name must end in {', '.join(KINDS)}")
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        raise UsageError(f"--plot {path}: cannot be written: no such folder, or it is not writable")
    try:
        import matplotlib.figure  # noqa: F401  only to see that it is there
    except ImportError:
        raise MissingExtra("--plot needs matplotlib: pip install 'rain-lm[bench]'") from None
    return lambda result: _draw(result, path)


def _draw(result: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    modes = result["modes"]
    figure = Figure(figsize=(8, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    bottom = [0.0] * len(modes)
    for part in PARTS:
        heights = [figures[f"{part}_forward_tokens_per_token"] or 0.0 for figures in modes.values()]
        left.bar(list(modes), heights, bottom=bottom, label=part.replace("_", " "))
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    left.set_ylabel("forward tokens per output token")
    left.legend()
    right.bar(list(modes), [figures.get("seconds_over_vanilla") or 0.0 for figures in modes.values()])
    right.set_yscale("log")
    right.set_ylabel("seconds per token over vanilla")
    for axis in (left, right):
        axis.tick_params(axis="x", rotation=20)
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"--plot {path}: cannot be written: {error}") from None
