"""Every constant of the algorithm, named, with its default, its unit and where it comes from; and the four presets.

In the notes, P is the paper, C the authors' released program, ours goes beyond both.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


def _constant(default: Any, note: str, low: float | None = None, high: float | None = None) -> Any:
    return field(default=default, metadata={"note": note, "low": low, "high": high})


@dataclass(frozen=True, slots=True)
class Settings:
    """The constants of one search. Build one with :func:`preset` or :func:`changed`, which check names and ranges."""

    variant: Literal["released", "paper"] = _constant(
        "released",
        "which, where they differ: N, the normalised value, the stopping rule, an addition's prior",
    )
    expansion: Literal["lazy", "eager"] = _constant(
        "lazy", "expand a leaf when the search returns to it (ours), or at once (C)"
    )
    exploration: float = _constant(2.0, "c, the weight of the prior against the value (P, C); 0 is an ablation", 0, 1e6)
    candidates: int = _constant(10, "q, children of an expanded leaf: one greedy, the rest drawn (C)", 1, 256)
    set_lengths: tuple[int, ...] = _constant(
        (1, 2, 4, 10), "tokens in a set at depth 0, 1, 2 and all below (C)", 1, 256
    )
    top_k: int = _constant(15, "candidates are drawn from the k most likely tokens (C); 0 is all", 0, 1_000_000)
    temperature: float = _constant(1.0, "of candidates and their priors (C); the look-ahead is always at 1", 1e-3, 100)
    max_draws: int = _constant(9, "draws allowed in search of q - 1 different sets (C; adversarial 19)", 0, 10_000)
    root_mixing: float = _constant(0.25, "share of the uniform prior mixed into the root's children (C)", 0, 1)
    look_ahead: Literal["clause", "answer", "none"] = _constant(
        "clause", "sample on to the end of the clause, or of the answer, before judging (C); or not at all"
    )
    look_ahead_tokens: int = _constant(2048, "the most tokens of a look-ahead (C: only the length limit)", 0, 1_000_000)
    iterations_per_set: int = _constant(50, "T, iterations for one set, inherited visits included (C)", 1, 10**9)
    fresh_iterations: int = _constant(15, "iterations that a set may use however much it inherits (C)", 1, 10**9)
    minimum_visits: int = _constant(6, "T_min, real visits a child must exceed to be committed early (C)", 0, 10**9)
    threshold: float = _constant(0.8, "V, value a child must exceed to be committed early (P, C)", -100, 100)
    similarity: bool = _constant(True, "update similar siblings (P eq. 2); off is an ablation")
    similarity_threshold: float = _constant(0.95, "cosine from which siblings are similar (C, for MiniLM)", -1, 1)
    similarity_discount: float = _constant(0.2, "gamma, weight of a similar sibling's score (P eq. 2)", 0, 1)
    node_addition: bool = _constant(True, "add children where all are alike and bad (P); off is an ablation")
    variance_limit: float = _constant(0.03, "per token of a set: below this variance children are alike (C)", 0, 1e6)
    max_children: int = _constant(20, "no node is added beyond this (C)", 1, 100_000)
    addition_draws: int = _constant(
        1, "draws allowed in search of a set that is no child yet (C; adversarial 3)", 1, 1000
    )
    score: Literal["hard", "soft"] = _constant("hard", "which score the search uses: three-valued (P) or soft (ours)")
    length_limit: int = _constant(2048, "tokens of prompt and reply together (C)", 1, 10**9)
    parallel_leaves: int = _constant(
        1, "leaves looked ahead and judged at once, kept apart by virtual loss (ours)", 1, 4096
    )
    virtual_loss: float = _constant(
        0.5, "how much below its child's value an iteration under way is counted until it is scored (ours)", 0, 2
    )
    first_play: Literal["zero", "parent"] = _constant(
        "zero", "value of a child without visits: 0 once normalised, the worst (C), or its parent's (ours)"
    )
    pacing: bool = _constant(
        True, "share a budget of forward tokens among the sets still to come, so that the reply reaches its end (ours)"
    )
    commit: Literal["visits", "bound"] = _constant(
        "visits",
        "which child is committed: the most visited (P, C), or the one with the highest bound of its value (ours)",
    )
    doubt: float = _constant(0.5, "of ``commit=bound``: a value less this over sqrt(n) is its bound (ours)", 0, 10)
    early_stop: bool = _constant(False, "commit once no iteration that is left can change the choice (ours)")
    decisive: float = _constant(
        1.0, "soft score, up or down, beyond which a question is not asked again in other words or order (ours)", 0, 1
    )
    gate: float = _constant(0.0, "score above which a draft passes; calibrated where the judge is (ours)", -1, 1)
    hold_back: Literal["reply", "clause"] = _constant("reply", "what must be judged before any of it is sent (ours)")
    redrafts: int = _constant(
        8,
        "drafts, a quarter of them first, in place of one that failed, before anything is searched; 0 is none (ours)",
        0,
        256,
    )
    max_searches: int = _constant(8, "searches of one reply before it is searched to its end (ours)", 1, 10_000)

    def sets(self, depth: int, tokens: int) -> int:
        """Token sets that ``tokens`` more tokens make, from ``depth`` token sets on; at least 1."""
        count = 0
        while tokens > 0:
            tokens -= self.set_length(depth + count)
            count += 1
        return max(1, count)

    def set_length(self, depth: int) -> int:
        """Nominal tokens in a set whose parent is ``depth`` token sets from the start of the reply."""
        return self.set_lengths[min(depth, len(self.set_lengths) - 1)]


SOFT: dict[str, Any] = {"exploration": 0.7, "first_play": "parent"}
"""What is changed where scores are soft and nobody says otherwise (ours; docs: decision 6).

Soft scores lie closer together than the paper's -1, 0 and 1: with c = 2 the prior alone decides what is visited, and
with less, a child that was never visited, the worst by the released rule, is hardly ever tried.
"""
FAST: dict[str, Any] = {"parallel_leaves": 12, "commit": "bound", "early_stop": True, "decisive": 0.95}
"""What ``--mode fast`` changes, and the default mode for the searches that mend its drafts."""
PRESETS: dict[str, dict[str, Any]] = {
    "harmless": {},
    "adversarial": {"minimum_visits": 5, "temperature": 2.0, "max_draws": 19, "addition_draws": 3},
    "truthful": {"minimum_visits": 16, "look_ahead": "answer"},
    "positive": {},
}
"""What each preset of the paper changes (section 3 of the specification); evaluators are the preferences' matter."""


class SettingsError(ValueError):
    """A setting that does not exist or a value that cannot be; the message is for people."""


def preset(name: str) -> Settings:
    """The settings of one of the paper's experiments. Raises SettingsError for an unknown name."""
    if name not in PRESETS:
        raise SettingsError(f"unknown preset '{name}'; there are: {', '.join(PRESETS)}")
    return Settings(**PRESETS[name])


def changed(settings: Settings, values: Mapping[str, object]) -> Settings:
    """``settings`` with some values changed, given as values or as a person types them (``on``, ``off``, ``1,2,4``).

    Raises SettingsError for an unknown name, a value of the wrong kind or outside its range.
    """
    hints = typing.get_type_hints(Settings)
    known = {f.name: f for f in dataclasses.fields(Settings)}
    parsed: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise SettingsError(f"unknown setting '{name}'; there are: {', '.join(known)}")
        parsed[name] = _parse(name, hints[name], value, known[name].metadata)
    return dataclasses.replace(settings, **parsed)


def _parse(name: str, kind: Any, value: object, limits: Mapping[Any, Any]) -> Any:
    text = str(value).strip().lower()
    if typing.get_origin(kind) is Literal:
        options = typing.get_args(kind)
        if text not in options:
            raise SettingsError(f"setting {name}: '{value}' is none of {', '.join(options)}")
        return text
    if kind is bool:
        if text in ("on", "true", "yes", "1"):
            return True
        if text in ("off", "false", "no", "0"):
            return False
        raise SettingsError(f"setting {name}: '{value}' is neither on nor off")
    if kind == tuple[int, ...]:
        parts = list(value) if isinstance(value, (tuple, list)) else [part for part in text.split(",") if part.strip()]
        if not parts:
            raise SettingsError(f"setting {name}: expected whole numbers separated by commas, like 1,2,4,10")
        return tuple(_number(name, int, part, limits) for part in parts)
    return _number(name, kind, value, limits)


def _number(name: str, kind: type[int] | type[float], value: object, limits: Mapping[Any, Any]) -> int | float:
    try:
        number = kind(str(value).strip())
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise SettingsError(f"setting {name}: '{value}' is not {what}") from None
    low, high = limits["low"], limits["high"]
    if not math.isfinite(number) or not low <= number <= high:
        raise SettingsError(f"setting {name}: {value} is not between {low:g} and {high:g}")
    return number
