"""A guard on what a search of the fast mode costs, on the whole local engine without llama.cpp."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import numpy as np

from engines.toy import ToyEngine
from rain import encoders
from rain.run.drive import Resources, drive
from rain.search.asks import Prefix, Question, Result, Score, Stopped, TokenLogprobs
from rain.search.budget import Budget
from rain.search.events import Outcome
from rain.search.loop import search
from rain.search.settings import FAST, SOFT, Settings, changed

TOKENS, ROOM = 47, {"context": 4096, "sequences": 64, "max_tokens": 512, "max_rows": 256}


class Pleased:
    """Asks two questions at once, and likes most of what it reads."""

    def judge(self, reply: Prefix, complete: bool) -> Generator[list[Question], list[Result], Score | Stopped]:
        results = yield [TokenLogprobs(reply, (5, 6), (7, 8)), TokenLogprobs(reply, (6, 5), (8, 7))]
        evidence = 0.0
        for result in results:
            if isinstance(result, Stopped):
                return result
            evidence += result[0] - result[1]
        soft = float(np.tanh(evidence / 4 + 3))
        return Score(soft, 1.0 if soft > 0 else -1.0)


def never_ending() -> ToyEngine:
    engine = ToyEngine(**ROOM)
    row = engine.model.script.row

    def without_end(tokens: tuple[int, ...]) -> Any:
        found = row(tokens).copy()
        found[list(engine.tokenizer.eos)] = -1e9
        return found

    engine.model.script.row = without_end  # type: ignore[method-assign]  # this script never ends a text
    return engine


async def found(seed: int) -> Outcome:
    engine = never_ending()
    settings = changed(Settings(), {**FAST, **SOFT, "score": "soft", "similarity_threshold": 0.9})
    resources = Resources(engine, Pleased(), encoders.load("wordllama"))
    try:
        async for event in drive(search(Prefix((3, 4, 5)), settings, Budget(TOKENS), seed=seed), resources):
            if isinstance(event, Outcome):
                return event
    finally:
        engine.close()
    raise AssertionError("a search ends with its outcome")


def test_a_token_of_the_fast_mode_takes_few_calls() -> None:
    """1.8 when this was written, and 12 with one leaf at a time."""
    outcomes = [asyncio.run(found(seed)) for seed in range(3)]
    assert [len(outcome.tokens) for outcome in outcomes] == [TOKENS] * 3
    assert sum(outcome.usage.calls for outcome in outcomes) / (3 * TOKENS) <= 2.5
