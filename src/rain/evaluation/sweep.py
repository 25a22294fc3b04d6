"""Which methods are compared, and RAIN with one thing changed at a time.

A label names a method and what is changed in it: ``rain``, ``rain[similarity=off]``, or several at once, as the
paper's cumulative ablation has it: ``rain[similarity=off,node_addition=off]``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from rain import methods
from rain.errors import UsageError
from rain.request import Options, check_options
from rain.search.settings import Settings, SettingsError, changed

OTHERS = ("wording", "encoder", "evaluator", "mode")
"""What can be changed beside the settings."""

PAPER = {
    "T": "iterations_per_set",
    "T_min": "minimum_visits",
    "V": "threshold",
    "c": "exploration",
    "q": "candidates",
    "gamma": "similarity_discount",
}
"""The paper's symbols, which may stand for our names."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One method as it is run, under the label that its samples bear."""

    label: str
    method: str
    changes: tuple[tuple[str, str], ...] = ()

    @property
    def encoder(self) -> str | None:
        """Another encoder, None: the model's."""
        return dict(self.changes).get("encoder")


def arms(names: str, sweeps: Sequence[str] = ()) -> list[Arm]:
    """The arms of ``--methods`` and ``--sweep``, each once. Raises UsageError."""
    labels = [*split(names), *(label for sweep in sweeps for label in swept(sweep))]
    found = {arm.label: arm for arm in map(parse, labels)}
    if not found:
        raise UsageError(f"--methods: name at least one of {', '.join(methods.METHODS)}")
    return list(found.values())


def swept(sweep: str) -> list[str]:
    """Labels of ``KEY=V1,V2``; values that hold commas are separated by semicolons: ``set_lengths=1,2,4,10;1,1``."""
    key, equals, values = sweep.partition("=")
    parts = [part.strip() for part in values.split(";" if ";" in values else ",") if part.strip()]
    if not equals or not key.strip() or not parts:
        raise UsageError(f"--sweep {sweep}: expected KEY=V1,V2, as in --sweep threshold=0.6,0.8")
    return [f"rain[{_name(key)}={value}]" for value in parts]


def parse(label: str) -> Arm:
    """An arm from its label. Raises UsageError: no such method, setting or value."""
    whole = re.fullmatch(r"([\w-]+)(?:\[(.+)\])?", label)
    if whole is None:
        raise UsageError(f"--methods: '{label}' is no method; changes are written as in rain[similarity=off]")
    methods.find(whole[1])
    pairs: list[tuple[str, str]] = []
    for part in (whole[2] or "").split(","):
        key, equals, value = part.partition("=")
        if equals:
            pairs.append((_name(key), value.strip()))
        elif pairs:  # the second number of set_lengths=1,2
            pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]},{part.strip()}")
        elif part:
            raise UsageError(f"--methods: '{label}': expected KEY=VALUE in the brackets, as in rain[similarity=off]")
    settings = [field.name for field in dataclasses.fields(Settings)]
    for key, value in pairs:
        if key not in (*settings, *OTHERS):
            symbols = ", ".join(f"{symbol} ({ours})" for symbol, ours in PAPER.items())
            raise UsageError(
                f"'{label}': unknown '{key}'; there are {', '.join((*OTHERS, *settings))}; of the paper's, {symbols}"
            )
        if key in settings:
            try:
                changed(Settings(), {key: value})
            except SettingsError as error:
                raise UsageError(f"'{label}': {error}") from None
    inside = ",".join(f"{key}={value}" for key, value in pairs)
    return Arm(f"{whole[1]}[{inside}]" if inside else whole[1], whole[1], tuple(pairs))


def options_of(arm: Arm, base: Options) -> Options:
    """What ``arm`` is run with: ``base`` and its changes. Raises UsageError and SettingsError, without any model.

    An evaluation takes no ``on_failure="raise"``: what does not pass would be an error, and in no rate.
    """
    if base.get("on_failure") == "raise":
        raise UsageError(
            "--on-failure raise: replies that do not pass would be errors, which leave the rates, so that RAIN would "
            "be compared on the rest alone; take best or refuse"
        )
    found: dict[str, Any] = dict(base)
    settings = dict(cast("dict[str, object]", base.get("settings") or {}))
    for key, value in arm.changes:
        if key in ("wording", "evaluator", "mode"):
            found[key] = value
        elif key != "encoder":
            settings[key] = value
    if settings:
        found["settings"] = settings
    options = cast("Options", found)
    try:
        check_options(options)
    except UsageError as error:
        raise UsageError(f"'{arm.label}': {error}" if arm.changes else str(error)) from None
    return options


def split(names: str) -> list[str]:
    """Labels separated by commas, those inside brackets aside."""
    return [label.strip() for label in re.split(r",(?![^\[]*\])", names) if label.strip()]


def settings_of(said: Mapping[str, object]) -> dict[str, object]:
    """Settings as a person names them, under our names."""
    return {_name(key): value for key, value in said.items()}


def _name(key: str) -> str:
    name = key.strip().replace("-", "_")
    return PAPER.get(name, name)
