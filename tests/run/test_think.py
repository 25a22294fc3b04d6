"""Reasoning models: thoughts are sampled once, neither judged nor searched; the answer is."""

from __future__ import annotations

import asyncio

import pytest

import rain
from rain.api import Model
from rain.chat import Conversation, Message, prompt_tokens
from rain.engines.scripted import ScriptedEngine
from rain.run.think import think
from rain.search.asks import Prefix
from rain.search.events import Committed, LookedAhead, Tried

PIECES = [b"<think>", b" hmm", b"</think>", b" yes", b" no", b"."]
NAMES = {piece: index + 2 for index, piece in enumerate(PIECES)}
OPENED = "{{ messages[-1]['content'] }}: <think>"
OFFERED = "{{ messages[-1]['content'] }}:{% if false %}<think></think>{% endif %}"


def reasoning(template: str, *, thinks: bool = True) -> ScriptedEngine:
    """Opens its thoughts, thinks twice, closes them, then says yes or no; without ``thinks`` it answers at once."""

    def following(tokens: tuple[int, ...]) -> list[float]:
        row = [-30.0] * (2 + len(PIECES) + 256)
        names = {NAMES[b"<think>"], NAMES[b" hmm"], NAMES[b"</think>"]}
        thoughts = [token for token in tokens if token in names]
        if thinks and not thoughts:
            row[NAMES[b"<think>"]] = 9
        elif thinks and NAMES[b"</think>"] not in thoughts:
            row[NAMES[b"</think>" if thoughts.count(NAMES[b" hmm"]) == 2 else b" hmm"]] = 9
        else:
            for piece in (b" yes", b" no", b"."):
                row[NAMES[piece]] = 2
        return row

    return ScriptedEngine(pieces=PIECES, following=following, template=template)


def begin(engine: ScriptedEngine) -> tuple[Prefix, Prefix]:
    conversation = Conversation((Message("user", "is it"),))
    prompt = Prefix(prompt_tokens(engine, conversation))
    start, _ = asyncio.run(think(engine, conversation, prompt, seed=1))
    return prompt, start


@pytest.mark.parametrize("template", [OPENED, OFFERED])
def test_the_search_begins_behind_the_thoughts(template: str) -> None:
    engine = reasoning(template)
    prompt, start = begin(engine)
    assert start is not prompt
    assert engine.tokenizer.decode(start.path(prompt)).endswith(" hmm hmm</think>")


def test_a_model_that_does_not_think_answers_at_once() -> None:
    prompt, start = begin(reasoning(OFFERED, thinks=False))
    assert start is prompt


def test_a_template_without_thoughts_asks_nothing() -> None:
    engine = reasoning("{{ messages[-1]['content'] }}:")
    prompt, start = begin(engine)
    assert start is prompt
    assert not engine.asked


def test_thoughts_are_neither_judged_nor_searched_nor_shown() -> None:
    model = Model(reasoning(OPENED))

    async def work() -> list[object]:
        return [
            event
            async for event in model.stream(
                "is it",
                preference="positive",
                evaluator="contrastive",
                settings={"iterations_per_set": 4},
                budget=rain.Budget(max_tokens=6),
            )
        ]

    *events, reply = asyncio.run(work())
    assert isinstance(reply, rain.Reply)
    shown = [event.text for event in events if isinstance(event, (Tried, LookedAhead, Committed))]
    assert shown
    assert not any("hmm" in text or "think" in text for text in [*shown, reply.text])
