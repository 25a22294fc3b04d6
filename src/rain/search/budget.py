"""What one reply may cost. Out of budget, the search commits the best it knows and says so."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from rain.search.settings import SettingsError


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits for one whole reply; None is no limit. Raises SettingsError for a limit that is not above zero.

    Checked before every ask, and an ask is never larger than what is left. ``max_seconds`` is the driver's matter.
    """

    max_tokens: int | None = None
    """Tokens of the reply; hard."""
    max_iterations: int | None = None
    max_forward_tokens: int | None = None
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            if value is None:
                continue
            option = "--" + entry.name.replace("_", "-")
            whole = entry.name != "max_seconds"
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise SettingsError(f"{option}: '{value}' is not a {'whole ' if whole else ''}number")
            if not math.isfinite(value) or value <= 0:
                raise SettingsError(f"{option}: {value} must be above zero")
