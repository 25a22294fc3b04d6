"""What figures of ``rain bench`` are of: enough to repeat them, in the words of a run's manifest (``rain eval``)."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import rain
from rain.cli import options
from rain.cli.bench_measure import unjudged
from rain.machine import machine
from rain.preferences import Preference, classifier_name
from rain.search.settings import Settings

if TYPE_CHECKING:
    from rain.api import Model
    from rain.request import Options

ENGINES = ("llama-cpp-python",)
"""Packages that engines run on."""


def origin(loaded: Model, prompt: str, modes: Sequence[tuple[str, Options]], threads: int | None) -> dict[str, Any]:
    """Command, versions, machine, and what was asked for, as it was resolved. modes: their names and options."""
    _, given = modes[0]
    plan = loaded.plan(prompt, **given)
    evaluator = plan.evaluator(loaded.engine, plan.prompt)
    known = plan.trust(loaded.engine)
    changed = given.get("settings")
    return {
        "command": options.command_line(),
        "started": datetime.now(UTC).replace(microsecond=0).isoformat(),
        "versions": versions(),
        "machine": {**machine(), "threads": threads or os.cpu_count()},
        "fingerprint": loaded.engine.fingerprint,
        "preference": plan.preference.name if plan.preference else None,
        "evaluator": (classifier_name(plan.kind) or evaluator.kind) if evaluator else None,
        "placement": None if evaluator is None or classifier_name(plan.kind) else evaluator.placement,
        # What is known of the judge changes what passes, and so what is spent.
        "checked": known.checked if known else False,
        "wording": plan.preference.wording if isinstance(plan.preference, Preference) else None,
        "style": plan.conversation.style,
        "settings": changed if isinstance(changed, dict) else {},
        "settings_by_mode": {name: _settings(loaded, prompt, own) for name, own in modes},
    }


def versions() -> dict[str, str]:
    """Of RAIN, Python and the engine."""
    found = {"rain": rain.__version__, "python": platform.python_version()}
    for package in ("numpy", *ENGINES):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _settings(loaded: Model, prompt: str, own: Options) -> dict[str, Any]:
    """The constants that differ from the search's own defaults, by ``--set``, the mode, the model or a calibration."""
    plan = loaded.plan(prompt, **(unjudged(own) if own.get("mode") == "vanilla" else own))
    header = plan.header(loaded.name, plan.prompt, plan.evaluator(loaded.engine, plan.prompt), plan.budget)
    usual, found = dataclasses.asdict(Settings()), dataclasses.asdict(header.settings)
    return {name: value for name, value in found.items() if value != usual[name]}
