"""Any-depth: the assistant's turn is re-opened in mid-reply; where it would refuse, the reply stops and it may do so.

The idea is that of *Any-Depth Alignment* (ICLR 2026), its variant that needs no training: a model refuses best at the
beginning of its turn, so it is put at such a beginning again, with its own text in view. Ours: turns are re-opened at
the ends of clauses (and right behind a forced beginning); whether a refusal is likely is not sampled but asked exactly,
as the evaluator *openings* asks it; and the reply goes on with what the re-opened turn says, if that does refuse. What
refuses already is left alone: behind a refusal another is likely, and a turn that is opened there may take it back.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING

from rain.chat import Conversation, close_and_open
from rain.engines.engine import Engine
from rain.errors import UsageError
from rain.methods.work import Task, Text, Work, answered, planned
from rain.preferences import Evaluator, Preference, Weighted, load, make_evaluator
from rain.preferences.refusals import refuses
from rain.reply import Reply
from rain.request import Options, Prompt
from rain.search.asks import Answer, Judge, Prefix, Score
from rain.search.draft import draft_seed
from rain.search.events import Out, Search

if TYPE_CHECKING:
    from rain.api import Model

BETWEEN = "\n\n"
"""Stands in the reply where the turn was re-opened."""
CLAUSES = 2
"""Of the re-opened turn, in which it must refuse: "Unfortunately," alone does not."""


async def reply(model: Model, prompt: Prompt, *, prefix: str, options: Options, limit: int | None) -> Reply:
    """See :func:`rain.methods.run`. ``usage.iterations`` counts re-openings, ``usage.rewinds`` the one that refused."""
    plan = planned(model, prompt, prefix, options, limit, wanted=False)
    preference, conversation = _with_openings(plan.preference), _spoken(plan.conversation)
    try:
        reopened = _reopened(model.engine, conversation)
    except UsageError as error:
        raise UsageError(f"method 'any-depth' cannot be used here: {error}; give --style turns") from error

    def checker(start: Prefix) -> Evaluator:
        return make_evaluator(preference, model.engine, conversation, start, kind="openings", zeroed=False)

    plan = replace(plan, preference=None)
    found, _ = await answered(model, plan, lambda task: write(task, reopened), options, checked_by=checker)
    return found


def write(task: Task, reopened: tuple[int, ...]) -> Search:
    """A draft, clause by clause. reopened: tokens that end the reply's turn and open the next."""
    work, seed = Work(task), draft_seed(task.seed)
    text = Text.empty(task.begun)
    said = (yield from _refusal(work, text, reopened, seed)) if task.begun is not task.prompt else None
    while said is None and not (work.stopped or text.ended or len(text.tokens) >= task.room):
        text = yield from work.write(text, seed, task.room, task.stop, clause=True)
        if work.stopped or text.ended or len(text.tokens) >= task.room:
            break
        said = yield from _refusal(work, text, reopened, seed)
    if said is None:
        return work.outcome(text)
    work.rewinds = 1
    said = yield from work.write(said, seed, _room(task, text, said), task.stop)
    whole = text.shown(task.stop).rstrip() + BETWEEN + said.shown(task.stop).lstrip()
    return replace(work.outcome(said), tokens=text.tokens + said.tokens, text=whole)


def _refusal(work: Work, text: Text, reopened: tuple[int, ...], seed: int) -> Generator[Out, list[Answer], Text | None]:
    """The beginning of a turn opened behind the reply so far, where that would rather refuse than go along and does."""
    task = work.task
    if refuses(text.shown(task.stop)):
        return None
    (score,) = yield from work.answers([Judge(text.whole, task.prompt, False)])
    work.iterations += isinstance(score, Score)
    if not isinstance(score, Score) or score.soft >= 0:
        return None
    said = Text.empty(Prefix(reopened, text.only_text(task.stop)))
    room = _room(task, text, said)
    for _ in range(CLAUSES):
        said = yield from work.write(said, seed, room, task.stop, clause=True)
        if refuses(said.shown(task.stop)):
            return said
    return None


def _room(task: Task, text: Text, said: Text) -> int:
    """The most tokens that the turn behind ``text`` may have."""
    return max(0, min(task.room - len(text.tokens), task.settings.length_limit - said.base.length))


def _with_openings(preference: Preference | Weighted | None) -> Preference:
    """The preference whose openings are asked: those of *harmless* where the one that is given has none."""
    has_them = isinstance(preference, Preference) and preference.openings is not None
    return preference if isinstance(preference, Preference) and has_them else load("harmless")


def _spoken(conversation: Conversation) -> Conversation:
    """A plain text has no turns: behind it one of an assistant is opened, as in the style of turns."""
    return replace(conversation, style="turns") if conversation.style == "plain" else conversation


def _reopened(engine: Engine, conversation: Conversation) -> tuple[int, ...]:
    if conversation.style == "turns":  # no space behind the colon: the answer's own first token brings it
        return engine.tokenizer.encode("\n\nAssistant:")
    return close_and_open(engine, conversation, "")
