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
    """Keep what was measured of a judge, for each measure the last. told: as ``rain eval judge --json`` has it."""
    figures = {f"{name}{end}": told.get(f"{name}{end}") for name in FIGURES for end in ("", "_low", "_high")}
    new = {"data": Path(told["data"]).name, "label": told["label"], "n": told["n"], **figures}
    kept = {**_read(judge), told["measure"]: new}
    with suppress(OSError):  # then reports say that it is not known
        cache.write(_path(judge), json.dumps(kept, ensure_ascii=False) + "\n")


def find(judge: str) -> dict[str, Any] | None:
    """What was kept, as JSON: by measure, and all of it in a ``sentence``. None where nothing was."""
    kept = _read(judge)
    told = "; ".join(f"{measure}: {_sentence(figures)}" for measure, figures in sorted(kept.items()))
    return {**kept, "sentence": told} if kept else None


def _read(judge: str) -> dict[str, Any]:
    try:
        found = json.loads(_path(judge).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    told = found.items() if isinstance(found, dict) else ()
    return {name: one for name, one in told if isinstance(one, dict) and {"data", "label", "n"} <= one.keys()}


def _path(judge: str) -> Path:
    return cache.folder() / "agreements" / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', judge)}.json"


def _sentence(known: dict[str, Any]) -> str:
    figures = []
    for name in FIGURES:
        value, low, high = (known.get(f"{name}{end}") for end in ("", "_low", "_high"))
        if None not in (value, low, high):
            figures.append(f"{'area' if name == 'auc' else name} {value:.2f} [{low:.2f}, {high:.2f}]")
    return f"agreement with the label {known['label']} of {known['data']}: {', '.join(figures)} (N = {known['n']})"
