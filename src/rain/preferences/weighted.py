"""Several preferences at once, with weights, or so that each of them may veto. In code, or read from TOML."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rain.errors import UsageError
from rain.preferences.preference import DEFAULT_WORDING, ContentFree, Placement, Preference, builtin_names, load

Combine: TypeAlias = Literal["mean", "min"]
KIND = "weighted"
"""What the judge of several preferences is called."""


@dataclass(frozen=True, slots=True)
class Part:
    """One preference of several."""

    preference: Preference
    evaluator: str | Callable[..., float] | None = None
    """As for one preference: a name, or a classifier; default the preference's own."""
    weight: float = 1.0
    """Its share of the mean, beside the others' weights."""

    @property
    def kind(self) -> str | None:
        """The evaluator's name; None for a classifier."""
        named = self.evaluator or self.preference.default
        return named if isinstance(named, str) and ":" not in named else None


@dataclass(frozen=True, slots=True)
class Weighted:
    """What to want: several things.

    combine: ``mean`` weighs the scores of the parts, ``min`` takes the lowest, so that one may veto. Raises UsageError:
    no parts, a weight that is not above zero, weights where they mean nothing.
    """

    parts: tuple[Part, ...]
    combine: Combine = "mean"
    name: str = ""
    """Default: the names of the parts."""
    description: str = ""

    # What a check asks of a preference: there is one judge, which asks where and how its parts do.
    kinds: ClassVar[tuple[str, ...]] = (KIND,)
    placement: ClassVar[Placement] = "in_place"
    wording: ClassVar[str] = DEFAULT_WORDING
    wordings: ClassVar[tuple[str, ...]] = (DEFAULT_WORDING,)
    content_free: ClassVar[tuple[ContentFree, ...]] = ()

    def worded(self, name: str) -> Weighted:
        """Itself. Raises UsageError: it has no other wordings."""
        if name != self.wording:
            raise UsageError(f"{self.name} combines several preferences, whose wordings stay as they are: no {name!r}")
        return self

    def __post_init__(self) -> None:
        if not self.name:
            between = " and " if self.combine == "min" else "+"
            object.__setattr__(self, "name", between.join(part.preference.name for part in self.parts))
        if not self.parts:
            raise UsageError(f"weighted preference {self.name!r} has no parts")
        if self.combine not in ("mean", "min"):
            raise UsageError(f"weighted preference {self.name!r}: combine {self.combine!r} is none of mean, min")
        for part in self.parts:
            if not (math.isfinite(part.weight) and part.weight > 0):
                raise UsageError(f"weighted preference {self.name!r}: weight {part.weight} must be above zero")
        if self.combine == "min" and any(part.weight != 1 for part in self.parts):
            raise UsageError(f"weighted preference {self.name!r}: combine 'min' takes no weights; leave them out")


def load_wanted(name_or_path: str | Path) -> Preference | Weighted:
    """A built-in preference by name, or whatever a TOML file describes. Raises UsageError: unknown, or a broken file.

    A file with ``[[parts]]`` holds several: ``preference`` (a name, or a file as seen from this one), ``evaluator`` and
    ``weight`` of each, and above them ``combine``, ``name`` and ``description``.
    """
    path = Path(name_or_path)
    if str(name_or_path) in builtin_names() or not path.is_file():
        return load(name_or_path)
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return load(path)  # which tells what is wrong with it
    return _weighted(rows, path) if "parts" in rows else load(path)


class _FilePart(BaseModel):
    model_config = ConfigDict(extra="forbid")
    preference: str
    evaluator: str | None = None
    weight: float = 1.0


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = ""
    description: str = ""
    combine: Combine = "mean"
    parts: list[_FilePart] = Field(min_length=1)


def _weighted(rows: dict[str, object], path: Path) -> Weighted:
    try:
        file = _File.model_validate(rows)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()[:3]
        )
        raise UsageError(f"{path}: {faults}") from error
    parts = []
    for part in file.parts:
        beside = path.parent / part.preference
        named = part.preference if part.preference in builtin_names() else beside
        parts.append(Part(load(named), part.evaluator, part.weight))
    try:
        return Weighted(tuple(parts), file.combine, file.name, file.description)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
