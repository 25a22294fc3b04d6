"""Ordinary decoding, which everything is compared with: nobody judges, so its cost is what drawing costs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rain.methods.work import Task, answered, planned
from rain.reply import Reply
from rain.request import Options, Prompt
from rain.search.events import Search
from rain.search.vanilla import vanilla as vanilla

if TYPE_CHECKING:
    from rain.api import Model


async def reply(model: Model, prompt: Prompt, *, prefix: str, options: Options, limit: int | None) -> Reply:
    """See :func:`rain.methods.run`."""
    plan = planned(model, prompt, prefix, options, limit, wanted=False)
    found, _ = await answered(model, replace(plan, preference=None), draw, options)
    return found


def draw(task: Task) -> Search:
    """One draw at the settings' temperature and top-k."""
    return vanilla(task.begun, task.settings, task.budget, seed=task.seed, stop=task.stop, judged=False)
