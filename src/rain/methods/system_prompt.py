"""Just ask: ordinary decoding with the preference's own sentence as system prompt, or before a plain text."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rain.chat import prompt_tokens, with_system
from rain.engines.engine import Engine
from rain.errors import UsageError
from rain.methods.vanilla import draw
from rain.methods.work import answered, planned, wish
from rain.reply import Reply
from rain.request import Options, Plan, Prompt
from rain.search.asks import Prefix

if TYPE_CHECKING:
    from rain.api import Model


async def reply(model: Model, prompt: Prompt, *, prefix: str, options: Options, limit: int | None) -> Reply:
    """See :func:`rain.methods.run`."""
    plan = asked_for(model.engine, planned(model, prompt, prefix, options, limit))
    found, _ = await answered(model, plan, draw, options)
    return found


def asked_for(engine: Engine, plan: Plan) -> Plan:
    """The request with the preference's sentence first among its instructions. Raises UsageError: no room for it."""
    conversation = with_system(plan.conversation, wish(plan.preference, plan.conversation.style))
    tokens = prompt_tokens(engine, conversation)
    length, limit = len(tokens) + len(plan.prefix), plan.settings.length_limit
    if length >= limit:
        raise UsageError(
            f"with the preference's sentence the prompt is {length:,} tokens long and leaves no room for a reply in "
            f"{limit:,}; shorten it, or raise --context and --set length_limit"
        )
    return replace(plan, conversation=conversation, prompt=Prefix(tokens))
