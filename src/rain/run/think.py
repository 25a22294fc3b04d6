"""A reasoning model's thoughts: sampled once, neither judged nor searched; the search begins behind them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from rain import chat
from rain.chat import Conversation
from rain.engines.engine import Engine
from rain.engines.shares import OWNER, Owner
from rain.search.asks import Prefix, Sample, Until, Usage

T = TypeVar("T")
PEEK = 8
"""Tokens that show whether a reply begins with thoughts."""
MOST = 1024
"""Tokens of thoughts."""


def thoughts_room(engine: Engine, conversation: Conversation, prompt: Prefix, max_tokens: int = MOST) -> int:
    """The most tokens of thoughts behind ``prompt``; 0 for a model that does not think."""
    if conversation.style != "chat" or chat.thinking_markers(engine) is None:
        return 0
    return min(max_tokens, max(0, engine.can.context // 2 - prompt.length))


async def think(
    engine: Engine,
    conversation: Conversation,
    prompt: Prefix,
    *,
    seed: int,
    limit: int | None = None,
    max_tokens: int = MOST,
) -> tuple[Prefix, Usage]:
    """The prefix behind which the answer begins: ``prompt`` itself for a model that does not think first.

    limit: the most forward tokens that thinking may cost; where it is not enough, the model answers without.
    """
    markers = chat.thinking_markers(engine) if conversation.style == "chat" else None
    if markers is None:
        return prompt, Usage()
    opening, closing = markers
    usage, here = Usage(), prompt
    if not chat.opens_thinking(engine, conversation):
        result, usage = await engine.answer(Sample(prompt, (seed,), Until(PEEK, stop=(closing,))), limit=limit)
        (peek,) = result if isinstance(result, tuple) else (None,)
        if peek is None or isinstance(peek, float):
            return prompt, usage
        text = b"".join(peek.pieces).decode("utf-8", "replace")
        if not text.lstrip().startswith(opening):
            return prompt, usage
        here = peek.prefix
        if closing in text:
            return here, usage
    room = thoughts_room(engine, conversation, here, max_tokens)
    left = None if limit is None else max(0, limit - usage.forward_tokens)
    result, spent = await engine.answer(Sample(here, (seed,), Until(room, stop=(closing,))), limit=left)
    (thought,) = result if isinstance(result, tuple) else (None,)
    if thought is None or isinstance(thought, float):
        return prompt, usage + spent
    end = thought.prefix
    if thought.end != "stop":  # thoughts that found no end are ended for the model, so that it answers
        end = Prefix(engine.tokenizer.encode(f"\n{closing}\n\n", special=True), end)
    return end, usage + spent


async def in_time(work: Coroutine[Any, Any, T], deadline: float | None, cancel: asyncio.Event | None) -> T | None:
    """What ``work`` gives, asked for one owner; None where time was up or ``cancel`` was set first."""

    async def owned() -> T:
        OWNER.set(OWNER.get() or Owner())  # of this task only
        return await work

    task = asyncio.ensure_future(owned())
    alarm = asyncio.ensure_future(cancel.wait()) if cancel else None
    seconds = None if deadline is None else max(0.0, deadline - time.monotonic())
    try:
        await asyncio.wait({task, alarm} if alarm else {task}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for one in (task, alarm):
            if one and not one.done():
                one.cancel()
                await asyncio.gather(one, return_exceptions=True)
        work.close()  # it may not have begun
