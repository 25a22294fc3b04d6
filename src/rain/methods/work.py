"""What methods share that do not search: a request made ready, text drawn in pieces, and the reply made of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from rain.chat import Conversation, Style
from rain.engines.engine import Engine
from rain.preferences import Evaluator, Preference, Weighted
from rain.reply import Reply
from rain.request import DEFAULT_MAX_TOKENS, Options, Plan, Prompt
from rain.run.drive import Resources, drive
from rain.run.think import in_time, think
from rain.search.asks import CLAUSE_ENDS, Answer, AnyResult, Ask, Continuation, Prefix, Score, Usage
from rain.search.budget import Budget
from rain.search.desk import Desk
from rain.search.draft import draft_more
from rain.search.events import Out, Outcome, Search
from rain.search.settings import Settings
from rain.search.stops import before_stop, tokens_before_stop

if TYPE_CHECKING:
    from rain.api import Model

ASIDE = ("mode", "hold_back", "trace", "on_failure")
"""Options that only a search has a use for."""


@dataclass(frozen=True, slots=True)
class Task:
    """One reply that is wanted: everything a method starts from."""

    engine: Engine
    conversation: Conversation
    preference: Preference | Weighted | None
    prompt: Prefix
    """What the evaluator judges from: prompt and thoughts."""
    begun: Prefix
    """Where the reply's own text begins: behind what it is forced to begin with."""
    settings: Settings
    budget: Budget
    seed: int
    stop: tuple[str, ...]

    @property
    def room(self) -> int:
        """The most tokens of the reply."""
        limit = self.settings.length_limit
        return max(0, min(limit - self.begun.length, self.budget.max_tokens or limit))

    @property
    def prefix(self) -> str:
        """What the reply is forced to begin with."""
        return self.engine.tokenizer.decode(self.begun.path(self.prompt))

    def value(self, score: Score) -> float:
        """The one of the two scores that RAIN would use here."""
        return score.hard if self.settings.score == "hard" else score.soft


Make: TypeAlias = Callable[[Task], Search]


def limited(options: Options, limit: int | None) -> Budget:
    """The budget of the options, or the usual one, with no more forward tokens than ``limit``."""
    budget = options.get("budget") or Budget(max_tokens=DEFAULT_MAX_TOKENS)
    limits = [each for each in (budget.max_forward_tokens, limit) if each is not None]
    return replace(budget, max_forward_tokens=min(limits)) if limits else budget


def planned(
    model: Model, prompt: Prompt, prefix: str, options: Options, limit: int | None, *, wanted: bool = True
) -> Plan:
    """The request, checked. wanted: it must name a preference. Raises UsageError."""
    kept = {name: value for name, value in options.items() if name not in ASIDE}
    if not wanted:
        kept["mode"] = "vanilla"
    plan = model.plan(prompt, **cast(Options, {**kept, "prefix": prefix, "budget": limited(options, limit)}))
    return replace(plan, mode="vanilla")


async def answered(
    model: Model,
    plan: Plan,
    make: Make,
    options: Options,
    *,
    judged: bool = False,
    checked_by: Callable[[Prefix], Evaluator] | None = None,
) -> tuple[Reply, Outcome]:
    """Run what ``make`` makes of the request, within its budget.

    judged: ``Judge`` is answered by the preference's evaluator; or checked_by: by the one made for this prompt.
    """
    started = time.monotonic()
    budget, engine = plan.budget, model.engine
    deadline = None if budget.max_seconds is None else started + budget.max_seconds
    known = plan.trust(engine, model.judge) if judged else None
    thinking = think(engine, plan.conversation, plan.prompt, seed=plan.seed, limit=budget.max_forward_tokens)
    prompt, spent = await in_time(thinking, deadline, options.get("cancel")) or (plan.prompt, Usage())
    if budget.max_forward_tokens is not None and spent.forward_tokens:
        budget = replace(budget, max_forward_tokens=max(1, budget.max_forward_tokens - spent.forward_tokens))
    begun = plan.begun(prompt)
    evaluator = plan.evaluator(engine, prompt, model.judge) if judged else None
    header = plan.header(model.name, begun, evaluator, budget, model.judge.name if model.judge else None, known)
    task = Task(
        engine, plan.conversation, plan.preference, prompt, begun, header.settings, budget, header.seed, header.stop
    )
    judge = model.judge if judged else None
    resources = Resources(engine, checked_by(prompt) if checked_by else evaluator, model.encoder, judge)
    running = drive(
        make(task),
        resources,
        max_forward_tokens=budget.max_forward_tokens,
        deadline=deadline,
        cancel=options.get("cancel"),
    )
    async for event in running:
        if isinstance(event, Outcome):
            return plan.reply(header, event, spent, time.monotonic() - started), event
    raise AssertionError("a method ends with its outcome")


def wish(preference: Preference | Weighted | None, style: Style) -> str:
    """The sentence in which a preference asks for itself: as an instruction, or as a heading of a plain text."""
    if isinstance(preference, Weighted):
        return " ".join(wish(part.preference, style) for part in preference.parts)
    assert preference is not None
    section = preference.contrastive
    if section is None:
        return preference.description
    return section.plain_ask if style == "plain" and section.plain_ask else section.ask


@dataclass(frozen=True, slots=True)
class Text:
    """What was drawn behind ``base``."""

    base: Prefix
    whole: Prefix
    """With all that was drawn."""
    tokens: tuple[int, ...] = ()
    pieces: tuple[bytes, ...] = ()
    end: Literal["clause", "eos", "stop", "length"] = "length"

    @staticmethod
    def empty(base: Prefix) -> Text:
        return Text(base, base)

    def and_then(self, found: Continuation) -> Text:
        return Text(self.base, found.prefix, self.tokens + found.tokens, self.pieces + found.pieces, found.end)

    def shown(self, stop: Sequence[str]) -> str:
        """The text up to a stop string."""
        return before_stop(b"".join(self.pieces), stop).decode("utf-8", "ignore")

    def only_text(self, stop: Sequence[str]) -> Prefix:
        """Without end-of-sequence token and stop string: what is judged, and continued from."""
        kept = tokens_before_stop(self.pieces[: len(self.pieces) - (self.end == "eos")], stop)
        return self.whole if kept == len(self.tokens) else Prefix(self.tokens[:kept], self.base)

    @property
    def ended(self) -> bool:
        return self.end in ("eos", "stop")


Drawing: TypeAlias = Generator[Out, list[Answer], Text]


class Work(Desk):
    """Asks one after another; counts what they cost and remembers what stopped them."""

    def __init__(self, task: Task) -> None:
        super().__init__(task.budget)
        self.task = task
        self.drawn = 0
        """Tokens drawn, also those that are no part of the reply."""

    def answers(self, asks: Sequence[Ask]) -> Generator[Out, list[Answer], list[AnyResult | None]]:
        """As every search asks; counts what was drawn."""
        results = yield from super().answers(asks)
        for result in results:
            if isinstance(result, tuple):
                self.drawn += sum(len(one.tokens) for one in result if isinstance(one, Continuation))
        return results

    def write(self, text: Text, seed: int, room: int, stop: tuple[str, ...], *, clause: bool = False) -> Drawing:
        """``text`` and what follows it, as ordinary decoding draws it: to its end, or (clause) that of the clause.

        room: tokens it may have in all.
        """
        while not self.stopped and not text.ended and len(text.tokens) < room:
            left = min(room - len(text.tokens), self.forward_left())
            if left < 1:
                self.stopped = "budget"
                break
            # What ends a clause gets a token more. The prompt may end one, so the first token is asked for alone.
            before = text.pieces[-1] if text.pieces else b"\n"
            ask = draft_more(text.whole, seed, self.task.settings, left, stop, before, clause)
            (found,) = yield from self.answers([ask])
            if not isinstance(found, tuple):
                break
            (grown,) = (one for one in found if isinstance(one, Continuation))
            text = text.and_then(grown)
            if clause and text.pieces[-1].endswith(CLAUSE_ENDS):
                break
        return text

    def outcome(self, text: Text, *, score: Score | None = None, passed: bool = True) -> Outcome:
        """What the method found. ``Outcome.drafted`` counts everything that was drawn."""
        shown = text.shown(self.task.stop)
        finish: Literal["stop", "length"] = "stop" if text.ended else "length"
        return Outcome(
            text.tokens, shown, finish, self.stopped, score, passed, self.iterations, self.rewinds, self.usage,
            drafted=self.drawn,
        )  # fmt: skip
