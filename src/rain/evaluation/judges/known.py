"""What ``rain eval judge`` found of a judge's agreement with labels, kept in the user's cache for reports."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from rain import cache

FIGURES = ("auc", "accuracy", "kappa")


def keep(judge: str, told: dict[str, Any]) -> None:
    """Keep what was measured of a judge, the last counts. told: as ``rain eval judge --json`` has it."""
    figures = {f"{name}{end}": told.get(f"{name}{end}") for name in FIGURES for end in ("", "_low", "_high")}
    known = {"data": Path(told["data"]).name, "label": told["label"], "n": told["n"], **figures}
    with suppress(OSError):  # then reports say that it is not known
        cache.write(_path(judge), json.dumps({**known, "sentence": _sentence(known)}, ensure_ascii=False) + "\n")


def find(judge: str) -> dict[str, Any] | None:
    """What was kept, as JSON; None where nothing was, or it cannot be read."""
    try:
        found = json.loads(_path(judge).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _path(judge: str) -> Path:
    return cache.folder() / "agreements" / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', judge)}.json"


def _sentence(known: dict[str, Any]) -> str:
    figures = []
    for name in FIGURES:
        value, low, high = (known[f"{name}{end}"] for end in ("", "_low", "_high"))
        if None not in (value, low, high):
            figures.append(f"{'area' if name == 'auc' else name} {value:.2f} [{low:.2f}, {high:.2f}]")
    return f"agreement with the label {known['label']} of {known['data']}: {', '.join(figures)} (N = {known['n']})"
