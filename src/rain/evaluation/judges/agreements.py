"""What ``rain eval judge`` found of a judge's agreement with labels, kept in the user's cache for reports.

An AI judge is its name, its endpoint and its rubrics: another endpoint may call another model by the same name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rain import cache

FIGURES = ("auc", "accuracy", "kappa")
TOGETHER = ("endpoint", "rubrics")
"""What of :meth:`~rain.evaluation.judges.Judge.about` tells judges of one name apart."""


def keep(judge: str, told: dict[str, Any]) -> None:
    """Keep what was measured of a judge, for each measure the last. told: as ``rain eval judge --json`` has it, with
    what the judge tells of itself.
    """
    figures = {f"{name}{end}": told.get(f"{name}{end}") for name in FIGURES for end in ("", "_low", "_high")}
    new = {"data": Path(told["data"]).name, "label": told["label"], "n": told["n"], **figures}
    kept = {**_read(_path(judge, told)), told["measure"]: new}
    with suppress(OSError):  # then reports say that it is not known
        cache.write(_path(judge, told), json.dumps(kept, ensure_ascii=False) + "\n")


def find(judge: str, about: Mapping[str, Any]) -> dict[str, Any] | None:
    """What was kept, as JSON: by measure, and all of it in a ``sentence``. None where nothing was.

    about: what the judge tells of itself.
    """
    kept = _read(_path(judge, about))
    told = "; ".join(f"{measure}: {_sentence(figures)}" for measure, figures in sorted(kept.items()))
    return {**kept, "sentence": told} if kept else None


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    told = found.items() if isinstance(found, dict) else ()
    return {name: one for name, one in told if isinstance(one, dict) and {"data", "label", "n"} <= one.keys()}


def _path(judge: str, about: Mapping[str, Any]) -> Path:
    name, parts = re.sub(r"[^A-Za-z0-9.-]+", "_", judge), [about.get(each) for each in TOGETHER]
    if any(parts):
        name += "-" + hashlib.sha256(json.dumps([judge, *parts]).encode()).hexdigest()[:12]
    return cache.folder() / "agreements" / f"{name}.json"


def _sentence(known: dict[str, Any]) -> str:
    figures = []
    for name in FIGURES:
        value, low, high = (known.get(f"{name}{end}") for end in ("", "_low", "_high"))
        if None not in (value, low, high):
            figures.append(f"{'area' if name == 'auc' else name} {value:.2f} [{low:.2f}, {high:.2f}]")
    return f"agreement with the label {known['label']} of {known['data']}: {', '.join(figures)} (N = {known['n']})"
