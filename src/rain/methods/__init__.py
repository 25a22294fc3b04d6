"""What RAIN is compared with, and RAIN itself: one signature, one budget, one file each.

A method is loaded when it is first used, so that its name and what it does can be shown at no cost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING

from rain.errors import UsageError

if TYPE_CHECKING:
    from rain.api import Model
    from rain.reply import Reply
    from rain.request import Options, Prompt


@dataclass(frozen=True, slots=True)
class Method:
    """One way to get a reply. Call it as :func:`run` is called, without the name."""

    name: str
    about: str
    """What it does, in a line."""
    module: str
    """Where its ``reply`` is, in this package."""
    preference: bool = True
    """Whether it needs one; a method that needs none does not look at it."""
    judged: bool = False
    """Whether it judges with the preference's evaluator, so that its replies have a score."""
    settings: Mapping[str, int] = field(default_factory=dict)
    """Of the method alone: ``most`` of best-of-n."""
    bounded: bool = True
    """Whether a budget's ``max_iterations`` is a limit on what ``usage.iterations`` counts."""
    refusal_rule: bool = False
    """Whether it chooses by :mod:`rain.preferences.refusals`, the rule that the judge ``refusal`` holds, too."""

    async def __call__(
        self, model: Model, prompt: Prompt, *, prefix: str = "", options: Options, limit: int | None = None
    ) -> Reply:
        prefix = prefix or options.get("prefix") or ""
        model.forget()  # else what a method costs would depend on which one ran before
        reply: Reply = await import_module(f"{__name__}.{self.module}").reply(
            model, prompt, prefix=prefix, options=options, limit=limit, **self.settings
        )
        return reply


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("vanilla", "ordinary decoding, not judged", "vanilla", preference=False),
        Method("rain", "search with self-evaluation; mode, preset and settings as in the options", "rain", judged=True),
        Method("best-of-n", "independent replies, the best by RAIN's evaluator", "best_of_n", judged=True),
        Method("system-prompt", "ordinary decoding, asked for the preference in a sentence", "system_prompt"),
        Method("self-refine", "a draft, then up to three rounds of criticism and rewriting", "self_refine"),
        Method("self-examine", "a draft, refused after the fact if judged bad", "self_examine", judged=True),
        Method(
            "any-depth",
            "stops where the re-opened turn would refuse",
            "any_depth",
            preference=False,
            bounded=False,
            refusal_rule=True,
        ),
    )
}
"""By name. ``best-of-16`` is best-of-n with at most 16 draws."""


def find(name: str) -> Method:
    """The method of that name. Raises UsageError: there is none."""
    if name in METHODS:
        return METHODS[name]
    counted = re.fullmatch(r"best-of-([1-9][0-9]{0,5})", name)
    if counted:
        return replace(METHODS["best-of-n"], name=name, settings={"most": int(counted[1])})
    raise UsageError(f"unknown method '{name}'; there are: {', '.join(METHODS)}, and best-of-16 and the like")


async def run(
    model: Model, name: str, prompt: Prompt, *, prefix: str = "", options: Options, limit: int | None = None
) -> Reply:
    """One reply to ``prompt`` by the method ``name``.

    prefix: text that the reply is forced to begin with; no part of ``Reply.text``. options: as for
    :meth:`rain.Model.generate`; what a method has no use for is left aside. limit: forward tokens at most, all that the
    method pushes through any model; None: what the options' budget says. The reply's usage counts all of them.
    Raises UsageError as :meth:`rain.Model.generate` does, or for an unknown method.
    """
    return await find(name)(model, prompt, prefix=prefix, options=options, limit=limit)
