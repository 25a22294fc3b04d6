"""Self-examination: ordinary decoding, judged once by RAIN's evaluator; what is judged bad is refused after the fact.

The idea is that of *LLM Self Defense* (Phute et al. 2023); judge and threshold are RAIN's own: the gate of optimistic
mode, which ``rain check`` calibrates. A draft that could not be judged (no budget is left) is refused too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rain.methods.work import Task, Text, Work, answered, planned
from rain.reply import Reply
from rain.request import REFUSAL, Options, Prompt
from rain.search.asks import Judge, Score
from rain.search.draft import draft_seed
from rain.search.events import Search
from rain.search.tree import TOLERANCE

if TYPE_CHECKING:
    from rain.api import Model


async def reply(model: Model, prompt: Prompt, *, prefix: str, options: Options, limit: int | None) -> Reply:
    """See :func:`rain.methods.run`. A refusal has the draft's score, and ``content_filter`` as finish reason."""
    plan = planned(model, prompt, prefix, options, limit)
    found, outcome = await answered(model, plan, examine, options, judged=True)
    return found if outcome.passed else replace(found, text=REFUSAL, finish_reason="content_filter")


def examine(task: Task) -> Search:
    """A draft and its score; ``passed`` says whether it may be shown."""
    work = Work(task)
    text = yield from work.write(Text.empty(task.begun), draft_seed(task.seed), task.room, task.stop)
    said, score = text.only_text(task.stop), None
    if said.length > task.prompt.length and not work.stopped:
        (result,) = yield from work.answers([Judge(said, task.prompt, text.ended)])
        score = result if isinstance(result, Score) else None
    passed = score is not None and task.value(score) > task.settings.gate + TOLERANCE
    return work.outcome(text, score=score, passed=passed)
