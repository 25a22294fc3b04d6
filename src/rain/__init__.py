"""RAIN: a frozen language model that judges its own text, rewinds and commits something better.

>>> import rain
>>> model = rain.load("smollm2")
>>> reply = model.generate("What makes a good neighbour?", preference="positive")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rain.api import Model, load
    from rain.errors import EngineError, MissingExtra, RainError, UsageError
    from rain.preferences import Preference
    from rain.reply import NothingPassed, Reply, ReplyUsage
    from rain.request import Options
    from rain.search.budget import Budget
    from rain.search.settings import Settings, SettingsError

__version__ = "0.1.0"

_HOMES = {
    "Budget": "rain.search.budget",
    "EngineError": "rain.errors",
    "MissingExtra": "rain.errors",
    "Model": "rain.api",
    "NothingPassed": "rain.reply",
    "Options": "rain.request",
    "Preference": "rain.preferences",
    "RainError": "rain.errors",
    "Reply": "rain.reply",
    "ReplyUsage": "rain.reply",
    "Settings": "rain.search.settings",
    "SettingsError": "rain.search.settings",
    "UsageError": "rain.errors",
    "load": "rain.api",
}
__all__ = [
    "Budget",
    "EngineError",
    "MissingExtra",
    "Model",
    "NothingPassed",
    "Options",
    "Preference",
    "RainError",
    "Reply",
    "ReplyUsage",
    "Settings",
    "SettingsError",
    "UsageError",
    "load",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that ``import rain`` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'rain' has no attribute '{name}'")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
