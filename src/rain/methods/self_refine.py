"""Self-refinement: a draft; the model says what is wrong with it, and writes it again. Three rounds at most.

The idea is that of *Self-Refine* (Madaan et al. 2023): one model drafts, criticises and rewrites, and the last version
counts. The words are ours; what to criticise is the preference's own sentence. Nobody judges which version is best.
A limit on iterations is one on rounds.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING

from rain.chat import Conversation, Message, close_and_ask, prompt_tokens
from rain.methods.work import Task, Text, Work, answered, planned, wish
from rain.reply import Reply
from rain.request import Options, Prompt
from rain.search.asks import Answer, Prefix
from rain.search.draft import draft_seed
from rain.search.events import Out, Search

if TYPE_CHECKING:
    from rain.api import Model

ROUNDS = 3
CRITICISM = 96
"""Tokens of a criticism at most."""
CRITICISE = "Read your last answer again. It should have followed this: {wish} In a sentence or two, what did not?"
REWRITE = "Now write your answer once more, mending what you have just found. Write the answer and nothing else."
CRITICISE_TEXT = "The text above should have been this: {wish} In a sentence or two, what is wrong with it?"
REWRITE_TEXT = "The same text once more, with all of that mended. {wish}"


async def reply(model: Model, prompt: Prompt, *, prefix: str, options: Options, limit: int | None) -> Reply:
    """See :func:`rain.methods.run`. ``usage.iterations`` counts the rounds; every version begins with ``prefix``."""
    plan = planned(model, prompt, prefix, options, limit)
    found, _ = await answered(model, plan, refine, options)
    return found


def refine(task: Task) -> Search:
    """Drafts until the rounds or the budget are at their end; the last one that is whole."""
    work, rounds = Work(task), min(ROUNDS, task.budget.max_iterations or ROUNDS)
    text = yield from work.write(Text.empty(task.begun), draft_seed(task.seed), task.room, task.stop)
    while work.iterations < rounds and not work.stopped and text.tokens:
        better = yield from _again(work, text)
        if better.tokens and not work.stopped:
            text = better
        work.iterations += not work.stopped
    if work.iterations == rounds < ROUNDS:
        work.stopped = work.stopped or "budget"
    return work.outcome(text)


def _again(work: Work, text: Text) -> Generator[Out, list[Answer], Text]:
    """One round: the criticism of ``text``, and what the model writes in its place."""
    task, number = work.task, work.iterations + 1
    plain = task.conversation.style == "plain"
    wanted = wish(task.preference, task.conversation.style)
    question = (CRITICISE_TEXT if plain else CRITICISE).format(wish=wanted)
    # Read again behind the prompt: a later version was written somewhere else.
    said = text.only_text(task.stop)
    said = said if text.base is task.begun else Prefix(said.path(text.base), task.begun)
    asked = Prefix(_asked(task, task.conversation, question), said)
    stop = ("\n\n",) if plain else task.stop
    seed = draft_seed(task.seed, 2 * number)
    criticism = yield from work.write(Text.empty(asked), seed, CRITICISM, stop)
    if work.stopped:
        return criticism
    more = Message("assistant", task.prefix + text.shown(task.stop)), Message("user", question)
    conversation = replace(task.conversation, messages=(*task.conversation.messages, *more))
    if plain:
        again = task.engine.tokenizer.encode(f"\n\n{REWRITE_TEXT.format(wish=wanted)}\n\n") + _beginning(task)
    else:
        again = _asked(task, conversation, REWRITE) + task.begun.path(task.prompt)
    start = Prefix(again, criticism.only_text(stop))
    room = min(task.room, max(0, task.settings.length_limit - start.length))
    return (yield from work.write(Text.empty(start), draft_seed(task.seed, 2 * number + 1), room, task.stop))


def _asked(task: Task, conversation: Conversation, question: str) -> tuple[int, ...]:
    """Tokens that close the reply, ask, and open the turn of the answer."""
    if conversation.style == "chat":
        return close_and_ask(task.engine, conversation, question, "")
    # As close_and_ask, but no space behind the colon: the answer's own first token brings it.
    shape = "\n\n{}\nAnswer:" if conversation.style == "plain" else "\n\nHuman: {}\n\nAssistant:"
    return task.engine.tokenizer.encode(shape.format(question))


def _beginning(task: Task) -> tuple[int, ...]:
    """A plain text's own beginning: the last message, without what stood before it."""
    bare = replace(task.conversation, messages=task.conversation.messages[-1:])
    tokens = prompt_tokens(task.engine, bare)
    bos = task.engine.tokenizer.bos
    return (tokens[1:] if tokens[:1] == (bos,) else tokens) + task.begun.path(task.prompt)
