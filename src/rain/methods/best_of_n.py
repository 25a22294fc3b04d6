"""Best-of-n: whole replies drawn independently, judged by the evaluator that RAIN would use; the best is kept.

With a limit, n is as many as it pays for: replies are drawn in waves, each wave one batch behind the shared prompt,
until no further one can be drawn to its full length and judged. The first is vanilla's reply to the letter. A limit on
iterations is one on draws.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TYPE_CHECKING

from rain.methods.work import Task, Text, Work, answered, planned
from rain.reply import Reply
from rain.request import Options, Prompt
from rain.search.asks import Answer, Continuation, Judge, Sample, Score, Until
from rain.search.draft import draft_seed
from rain.search.events import Out, Search

if TYPE_CHECKING:
    from rain.api import Model

MOST = 500
"""Draws at most, whatever the limit pays for (the paper's)."""
USUAL = 16
"""Draws where nothing limits them."""


async def reply(
    model: Model, prompt: Prompt, *, prefix: str, options: Options, limit: int | None, most: int | None = None
) -> Reply:
    """See :func:`rain.methods.run`. most: draws at most; default 500 with a limit of forward tokens, 16 without."""
    plan = planned(model, prompt, prefix, options, limit)
    count = most or (USUAL if plan.budget.max_forward_tokens is None else MOST)
    count = min(count, plan.budget.max_iterations or count)
    found, _ = await answered(model, plan, lambda task: BestOf(task, count).run(), options, judged=True)
    return found


class BestOf(Work):
    """One reply of several. ``iterations`` counts the draws."""

    def __init__(self, task: Task, most: int) -> None:
        super().__init__(task)
        self.most = most
        self.scores: dict[tuple[int, ...], Score] = {}
        """Of the replies, by their tokens: what was drawn twice is judged once."""
        self.judging = 0.0
        """Forward tokens for each judgement of the last wave."""

    def run(self) -> Search:
        task = self.task
        best = yield from self.write(Text.empty(task.begun), draft_seed(task.seed), task.room, task.stop)
        self.iterations = 1
        yield from self._judge([best])
        if self.stopped:  # before there was anything to choose from
            return self.outcome(best, score=self._score(best))
        while not self.stopped and (count := self._wave()):
            drawn = yield from self._draw(count)
            self.iterations += len(drawn)
            yield from self._judge(drawn)
            best = max([best, *drawn], key=self._rank)
        if self.stopped == "budget":
            self.stopped = None  # spending it all is what this method does
        return self.outcome(best, score=self._score(best))

    def _draw(self, count: int) -> Generator[Out, list[Answer], list[Text]]:
        """As many more replies in one batch, or half as many where the budget will not have it."""
        task = self.task
        while count:
            seeds = tuple(draft_seed(task.seed, self.iterations + number) for number in range(count))
            until = Until(task.room, stop=task.stop)
            ask = Sample(
                task.begun, seeds, until, task.settings.temperature, task.settings.top_k, purpose="draft"
            )  # fmt: skip
            (found,) = yield from self.answers([ask])
            if isinstance(found, tuple):
                start = Text.empty(task.begun)
                return [start.and_then(one) for one in found if isinstance(one, Continuation)]
            if self.stopped != "budget":
                break
            count //= 2
            self.stopped = None if count else "budget"
        return []

    def _judge(self, texts: list[Text]) -> Generator[Out, list[Answer], None]:
        stop, prompt = self.task.stop, self.task.prompt
        replies = {self._key(text): text.only_text(stop) for text in texts}
        new = [key for key in replies if key and key not in self.scores]
        before = self.usage.forward_tokens
        results = yield from self.answers([Judge(replies[key], prompt, True) for key in new])
        for key, result in zip(new, results, strict=True):
            if isinstance(result, Score):
                self.scores[key] = result
        if new:
            self.judging = (self.usage.forward_tokens - before) / len(new)

    def _wave(self) -> int:
        """How many to draw next: what budget, cache and sequences hold."""
        task, left = self.task, self.forward_left()
        if task.room < 1:
            return 0
        if not task.engine.can.shares_prefixes:
            left -= task.begun.length
        pays = math.inf if left == math.inf else max(0, left // (max(1, task.room - 1) + self.judging))
        # Half of the cache: what is judged stands there once more.
        fits = max(1, (task.engine.can.context - task.begun.length) // (2 * task.room))
        return int(min(self.most - self.iterations, fits, task.engine.can.sequences, pays))

    def _key(self, text: Text) -> tuple[int, ...]:
        return text.only_text(self.task.stop).path(self.task.begun)

    def _score(self, text: Text) -> Score | None:
        return self.scores.get(self._key(text))

    def _rank(self, text: Text) -> tuple[float, float]:
        """RAIN's score; of equals the better soft score; of equals the one drawn first (as max does)."""
        score = self._score(text)
        return (self.task.value(score), score.soft) if score else (-math.inf, -math.inf)
