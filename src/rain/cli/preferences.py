"""``rain preferences``: what can be wanted, and what is known of how well a model judges it."""

from __future__ import annotations

import json as json_module
import sys
from typing import TYPE_CHECKING, Any

from rain.cli import options
from rain.errors import MissingExtra

if TYPE_CHECKING:
    from rain.preferences import Preference
    from rain.preferences.calibration import Calibration


def preferences(model: options.ModelName = "smollm2", json: options.Json = False) -> int:
    """List the built-in preferences, their evaluators and wordings, and what 'rain check' found out on this model.

    Example:

        rain preferences --model smollm2
    """
    from rain.preferences import builtin_names, load

    found = [load(name) for name in builtin_names()]
    rows = _kept(model)
    ours = {row.key for preference in found for row in _of(preference, rows)[0]}
    own = [
        row for row in rows if row.preference not in builtin_names() or (row.builtin is False and row.key not in ours)
    ]
    if json:
        told = [_row(preference, *_of(preference, rows)) for preference in found]
        result = {"model": model, "preferences": told, "of_your_own": [_figures(row) for row in own]}
        print(json_module.dumps(result, ensure_ascii=False))
        return 0
    for preference in found:
        _tell(preference, model, *_of(preference, rows))
    if own:
        print("preferences of your own:")
        _table(own, named=True)
    return 0


def _kept(model: str) -> list[Calibration]:
    """What is kept of the model; nothing is loaded, only its file is found. Raises UsageError: no such model."""
    from rain import models
    from rain.engines import fingerprint
    from rain.preferences import calibration

    try:
        path = models.find(model)
    except MissingExtra as error:
        if model != models.DEFAULT:
            raise
        # Nobody asked for it: what can be wanted is worth telling all the same.
        print(f"rain: {error}", file=sys.stderr)
        return []
    return calibration.kept(fingerprint.of_file(path)) if calibration.anything_kept() else []


def _of(preference: Preference, rows: list[Calibration]) -> tuple[list[Calibration], int]:
    """What is known of a preference in any of its wordings, and how much was measured in other words than today's."""
    from rain.preferences.calibration import asks_the_same

    mine = [row for row in rows if row.preference == preference.name]
    worded = {name: preference.worded(name) for name in preference.wordings}
    known = [row for row in mine if row.wording in worded and asks_the_same(row, worded[row.wording])]
    # Those of a file of the same name are somebody's own.
    return known, sum(row not in known and row.builtin is not False for row in mine)


def _row(preference: Preference, known: list[Calibration], outdated: int) -> dict[str, Any]:
    return {
        "name": preference.name,
        "description": preference.description,
        "evaluators": preference.kinds,
        "default": preference.default,
        "wordings": preference.wordings,
        "kept": [_figures(row) for row in known],
        "outdated": outdated,
    }


def _figures(row: Calibration) -> dict[str, Any]:
    return row.model_dump(exclude={"model", "digest"})


def _tell(preference: Preference, model: str, known: list[Calibration], outdated: int) -> None:
    from rain.preferences.trust import check_command

    print(f"{preference.name}: {preference.description}")
    print(f"    evaluators: {', '.join(preference.kinds)} (default {preference.default}, paper {preference.paper})")
    print(f"    wordings: {', '.join(preference.wordings)}")
    if known:
        print(f"    on {model}:")
        _table(known)
    else:
        print(f"    on {model}: never checked; {check_command(model, preference)}")
    if outdated:
        other = "in words that it has no more (or of a file of this name)"
        print(f"    {outdated} more measured {other}, not used for these")


def _table(rows: list[Calibration], named: bool = False) -> None:
    from rain.preferences.trust import figures, gate

    lines = []
    for row in rows:
        judge = [*([row.preference] if named else []), row.evaluator, row.placement, row.style, row.wording]
        lines.append([*judge, row.verdict, figures(row), gate(row), row.made[:10]])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print("      " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
