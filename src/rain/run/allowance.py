"""A budget of forward tokens that many questions draw on at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from weakref import WeakSet

from rain.engines.engine import Engine
from rain.search.asks import Prefix, Question, Result, Sample, Stopped, TokenLogprobs, Usage


class Allowance:
    """Forward tokens that are left. Each question is promised the most it seems to need, and nothing is promised twice.

    A question waits where what is left is promised to others; the last that nothing else is under way for gets it all.
    """

    def __init__(self, tokens: int) -> None:
        self.left = tokens
        """Forward tokens that are not spent."""
        self._promised = 0
        self._given_back = asyncio.Condition()
        self._read: WeakSet[Prefix] = WeakSet()
        """Prefixes that a question was answered behind: an engine that shares them need not read them again."""

    async def ask(self, questions: Sequence[Question], engine: Engine) -> list[tuple[Result, Usage]]:
        """Ask together. ``Stopped("budget")`` answers what the rest would not pay for."""
        wanted = [self._need(question, engine) for question in questions]
        answered, all_of_it = await self._ask(questions, engine, wanted)
        refused = [number for number, (result, _) in enumerate(answered) if _too_dear(result)]
        if refused and not all_of_it:  # they need more than it seemed
            again, _ = await self._ask([questions[number] for number in refused], engine, None)
            for number, (result, usage) in zip(refused, again, strict=True):
                answered[number] = (result, answered[number][1] + usage)
        return answered

    async def _ask(
        self, questions: Sequence[Question], engine: Engine, wanted: list[int] | None
    ) -> tuple[list[tuple[Result, Usage]], bool]:
        """The answers, and whether each was promised its equal share of all that is left. wanted: None for that."""
        async with self._given_back:
            await self._given_back.wait_for(lambda: not self._promised or self._free(wanted))
            all_of_it = wanted is None or not self._free(wanted)
            if wanted is None or all_of_it:
                wanted = [max(0, self.left // max(1, len(questions)))] * len(questions)
            promised = sum(wanted)
            self._promised += promised
        spent = 0
        try:
            asked = (engine.answer(question, limit=limit) for question, limit in zip(questions, wanted, strict=True))
            answered = list(await asyncio.gather(*asked))
            spent = sum(usage.forward_tokens for _, usage in answered)
        finally:
            self.left -= spent
            self._promised -= promised
            async with self._given_back:
                self._given_back.notify_all()
        self._read.update(
            question.prefix
            for question, (result, _) in zip(questions, answered, strict=True)
            if not isinstance(result, Stopped)
        )
        return answered, all_of_it

    def _free(self, wanted: list[int] | None) -> bool:
        return wanted is not None and self.left - self._promised >= sum(wanted)

    def _need(self, question: Question, engine: Engine) -> int:
        """The most that ``question`` can cost, if what was read is still there."""
        unread, here = 0, question.prefix
        while not (engine.can.shares_prefixes and here in self._read):
            unread += len(here.tokens)
            if here.parent is None:
                break
            here = here.parent
        if isinstance(question, TokenLogprobs):
            return unread + len(question.tokens)
        if isinstance(question, Sample):
            return unread + (len(question.seeds) + question.greedy) * max(0, question.until.max_tokens - 1)
        return unread


def _too_dear(result: Result) -> bool:
    return isinstance(result, Stopped) and result.why == "budget"
