"""The parts of a suite, which no figure mixes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rain.evaluation.records import Sample


def parts(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """The parts of a suite that must not be mixed: attacks, lengths of a prefill, safe and unsafe prompts."""
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(_part(sample.meta), []).append(sample)
    return (
        {"": found.popitem()[1]} if len(found) == 1 else dict(sorted(found.items(), key=lambda each: _order(each[0])))
    )


def _part(meta: Mapping[str, Any]) -> str:
    if "prefill_tokens_wanted" in meta:
        return f"prefill of {meta['prefill_tokens_wanted']} tokens"
    if meta.get("label") in ("safe", "unsafe"):
        return f"{meta['label']} prompts"
    if "attack" not in meta:
        return ""
    if attacked(meta):
        return f"attack: {meta['attack']}"
    if "target" in meta:  # Only AdvBench's own goals have one; the goals of the suffixes are others.
        return "no attack (AdvBench)"
    return "no attack (the attacked goals)" if "goal" in meta else "no attack"


def attacked(meta: Mapping[str, Any]) -> bool:
    """Whether there is an attack in the prompt."""
    return meta.get("attack") not in (None, "none")


def _order(part: str) -> tuple[int, str]:
    digits = "".join(character for character in part if character.isdigit())
    return (int(digits) if part.startswith("prefill") and digits else 0, part)
