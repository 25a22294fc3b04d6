"""A scripted world for searches: answers every ask at once, by fixed functions of the text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rain.engines.scripted import ScriptedEngine
from rain.search.asks import Answer, AnyResult, Ask, Asked, Embed, Judge, Prefix, Score, Usage, Withdrawn
from rain.search.budget import Budget
from rain.search.events import Event, Outcome
from rain.search.loop import Loop
from rain.search.settings import Settings


def unit(text: str, salt: str = "") -> float:
    """A number in [0, 1), fixed for a text."""
    digest = hashlib.blake2b(f"{salt}|{text}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


@dataclass
class World:
    """Engine, judge and encoder in one; ``mood`` shifts the scores down (-1) or up (1)."""

    engine: ScriptedEngine = field(default_factory=ScriptedEngine)
    mood: float = 0.0
    clash: float = 0.5
    """How alike embeddings are: 1 is all the same."""

    def answer(self, asked: Asked) -> Answer:
        result, usage = self._result(asked.ask)
        return Answer(asked.ticket, result, usage)

    def judge(self, text: str) -> Score:
        soft = max(-1.0, min(1.0, 2 * unit(text) - 1 + self.mood))
        return Score(soft, float(np.sign(round(soft, 1))))

    def embed(self, texts: tuple[str, ...]) -> Any:
        rows = [np.random.default_rng(int(unit(text, "e") * 2**40)).normal(size=8) for text in texts]
        rows = [self.clash * 4 * np.ones(8) + (1 - self.clash) * row for row in rows]
        return np.array([row / np.linalg.norm(row) for row in rows], dtype=np.float32)

    def _result(self, ask: Ask) -> tuple[AnyResult, Usage]:
        if isinstance(ask, Judge):
            return self.judge(self.engine.tokenizer.decode(ask.reply.path(ask.prompt))), Usage(3, 0, 1)
        if isinstance(ask, Embed):
            return self.embed(ask.texts), Usage()
        try:
            self.engine.answer(ask).send(None)
        except StopIteration as end:
            result: tuple[AnyResult, Usage] = end.value
            return result
        raise AssertionError("the scripted engine answers without waiting")


@dataclass
class Run:
    loop: Loop
    outcome: Outcome
    events: list[Event]
    withdrawn: list[int]
    asked: list[Ask]


def play(
    settings: Settings,
    budget: Budget,
    world: World | None = None,
    *,
    seed: int = 0,
    stop: tuple[str, ...] = (),
    choose: Callable[[int], int] = lambda count: 0,
    watch: Callable[[Loop, list[Event]], None] = lambda loop, events: None,
) -> Run:
    """Run a search, answering one open ticket at a time: the ``choose(count)``-th of those open."""
    world = world or World()
    loop = Loop(Prefix((1, *world.engine.tokenizer.encode(" the movie was"))), settings, budget, seed=seed, stop=stop)
    running, open_, events, withdrawn, asked = loop.run(), [], [], [], []
    answers: list[Answer] | None = None
    while True:
        try:
            out = next(running) if answers is None else running.send(answers)
        except StopIteration as end:
            return Run(loop, end.value, events, withdrawn, asked)
        fresh: list[Event] = []
        for item in out:
            if isinstance(item, Asked):
                open_.append(item)
                asked.append(item.ask)
            elif isinstance(item, Withdrawn):
                withdrawn.append(item.ticket)
                open_ = [one for one in open_ if one.ticket != item.ticket]
            else:
                fresh.append(item)
        events += fresh
        watch(loop, fresh)
        answers = [world.answer(open_.pop(choose(len(open_)) % len(open_)))] if open_ else []
