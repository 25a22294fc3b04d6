"""RAIN: the search, with everything the options say of it (mode, preset, settings, trace)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from rain.methods.work import limited
from rain.reply import Reply
from rain.request import Options, Prompt

if TYPE_CHECKING:
    from rain.api import Model


async def reply(model: Model, prompt: Prompt, *, prefix: str, options: Options, limit: int | None) -> Reply:
    """See :func:`rain.methods.run`."""
    given = cast(Options, {**options, "prefix": prefix, "budget": limited(options, limit)})
    return await model.agenerate(prompt, **given)
