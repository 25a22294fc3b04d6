"""An engine that counts what its questions cost, by what they were for. For ``rain bench``."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, TypeAlias

from rain.engines.engine import Engine
from rain.search.asks import Question, Result, Sample, TopTokens, Usage

Part: TypeAlias = Literal["expansion", "look_ahead", "draft", "judgement"]
PARTS: tuple[Part, ...] = ("draft", "expansion", "look_ahead", "judgement")


class Metered:
    """Another engine, and what was spent through it since :meth:`reset`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.reset()

    def reset(self) -> None:
        self.spent: dict[Part, Usage] = dict.fromkeys(PARTS, Usage())
        self.questions: Counter[Part] = Counter()

    async def answer(self, question: Question, *, limit: int | None = None) -> tuple[Result, Usage]:
        result, usage = await self.engine.answer(question, limit=limit)
        part = _part(question)
        self.spent[part] += usage
        self.questions[part] += 1
        return result, usage

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


def _part(question: Question) -> Part:
    if isinstance(question, Sample):
        return question.purpose
    return "expansion" if isinstance(question, TopTokens) else "judgement"
