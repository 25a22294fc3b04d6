"""The public API: a model that is loaded once, and replies that it searches for."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, Unpack

from rain import encoders
from rain.engines.engine import Engine
from rain.errors import RainError, UsageError
from rain.models import open_engine
from rain.preferences.trust import Trust
from rain.reply import Reply
from rain.request import Options, Plan, Prompt, within, without
from rain.run.drive import Resources, drive
from rain.run.scheduler import QuestionCells, Scheduler, Want, question_cells, want
from rain.run.think import in_time, think, thoughts_room
from rain.search.asks import Prefix, Usage
from rain.search.events import Committed, Event, Outcome, TakenBack
from rain.trace import Writer, start

T = TypeVar("T")
WORTH_KEEPING = 64
"""Tokens that a prompt must share with the next one, or all of that, to stay in the cache of an idle model."""


def load(
    model: str = "smollm2",
    *,
    context: int | None = None,
    threads: int | None = None,
    gpu_layers: int = 0,
    encoder: str = "wordllama",
    judge_model: str | None = None,
) -> Model:
    """Load a frozen model: ``smollm2``, a path to a GGUF file, or ``hf:owner/repo/file.gguf[@revision]``.

    context: tokens that the cache holds, for everything that is searched at once; threads: default all cores.
    judge_model: another frozen model, named in the same way, that judges in its place.
    Raises UsageError (no such model, a broken file, a missing extra, a judge that cannot be loaded) and EngineError
    (the model cannot be loaded).
    """

    def opened(name: str) -> Engine:
        return open_engine(name, context=context, threads=threads, gpu_layers=gpu_layers)

    try:
        judge = None if judge_model is None else opened(judge_model)
    except RainError as error:
        raise UsageError(f"--judge-model: {error}") from error
    try:
        return Model(opened(model), encoder=encoder, judge=judge)
    except BaseException:
        if judge:
            judge.close()
        raise


class Model:
    """A loaded model. Safe to use from several threads and event loops; searches at the same time share its cache."""

    def __init__(
        self,
        engine: Engine,
        *,
        encoder: str | encoders.Encoder = "wordllama",
        judge: Engine | None = None,
        scheduler: Scheduler | None = None,
    ) -> None:
        """judge: another frozen model, to judge what this one writes. scheduler: who may search at once."""
        self.engine = engine
        self.scheduler = scheduler or Scheduler(engine)
        self.judge = judge
        self.encoder = encoders.load(encoder) if isinstance(encoder, str) else encoder
        self._recent: deque[Prefix] = deque(maxlen=2)
        """Prompts that stay cached, so that the next turn of a conversation need not be read from its start."""
        self._lock, self._streams = threading.Lock(), 0
        """How many streams are under way; counted by several threads."""

    @property
    def name(self) -> str:
        return self.engine.name

    def generate(self, prompt: Prompt, **options: Unpack[Options]) -> Reply:
        """Search a reply to ``prompt``, a text or a list of messages (``role``, ``content``). See :class:`Options`.

        Raises UsageError for a prompt, preference, setting or budget that cannot be, NothingPassed if asked for.
        """
        return run(self.agenerate(prompt, **options))

    async def agenerate(self, prompt: Prompt, **options: Unpack[Options]) -> Reply:
        """:meth:`generate` for use in an event loop."""
        async with aclosing(self.stream(prompt, **options)) as events:
            async for event in events:
                if isinstance(event, Reply):
                    return event
        raise AssertionError("a stream ends with its reply")

    async def stream(self, prompt: Prompt, **options: Unpack[Options]) -> AsyncGenerator[Event | Reply]:
        """The search's events as they happen, then the :class:`Reply`. Close the generator to drop the search."""
        started = time.monotonic()
        plan = self.plan(prompt, **options)
        deadline = None if plan.budget.max_seconds is None else started + plan.budget.max_seconds
        cancel = options.get("cancel")
        known = plan.trust(self.engine, self.judge)
        async with self.scheduler.admit(self._wanted(plan), deadline=deadline, cancel=cancel):
            self._count(1)
            try:
                async with aclosing(self._stream(plan, known, started, deadline, cancel)) as events:
                    async for event in events:
                        yield event
            finally:
                self._count(-1)

    def _count(self, more: int) -> None:
        with self._lock:
            self._streams += more

    def _wanted(self, plan: Plan) -> Want:
        """Cells that a search may hold at once; what another model judges lies in its own cache."""
        prompt = plan.begun(plan.prompt)
        evaluator = None if self.judge else plan.evaluator(self.engine, plan.prompt, zeroed=False)
        asks = QuestionCells()
        if evaluator and evaluator.self_evaluation:
            asks = question_cells(evaluator, prompt, self.engine)
            first = question_cells(plan.evaluator(self.engine, plan.prompt) or evaluator, prompt, self.engine)
            if first != asks:  # a zero is measured first, on texts of its own
                asks = replace(asks, fixed=asks.fixed + first.fixed + first.questions)
        length = prompt.length + thoughts_room(self.engine, plan.conversation, plan.prompt)
        # Most drafts pass; other draws, and the leaves of a search that mends one, wait where there is no room.
        settings = replace(plan.settings, parallel_leaves=1) if plan.mode == "optimistic" else plan.settings
        return want(settings, length, plan.budget.max_tokens, asks=asks, searches=plan.mode != "vanilla")

    async def _stream(
        self,
        plan: Plan,
        known: Trust | None,
        started: float,
        deadline: float | None,
        cancel: asyncio.Event | None,
    ) -> AsyncGenerator[Event | Reply]:
        if self._streams == 1:
            self._forget_others(plan.prompt)
        limit = plan.budget.max_forward_tokens
        thinking = think(self.engine, plan.conversation, plan.prompt, seed=plan.seed, limit=limit)
        thoughts, spent = await in_time(thinking, deadline, cancel) or (plan.prompt, Usage())
        budget = plan.budget
        if limit is not None and spent.forward_tokens:
            budget = replace(budget, max_forward_tokens=max(1, limit - spent.forward_tokens))
        self._recent.append(thoughts)
        begun = plan.begun(thoughts)
        evaluator = plan.evaluator(self.engine, thoughts, self.judge)
        resources = Resources(self.engine, evaluator, self.encoder, self.judge)
        header = plan.header(self.name, begun, evaluator, budget, self.judge.name if self.judge else None, known)
        writer = Writer(Path(plan.trace), header) if plan.trace else None
        running = drive(
            start(header, begun),
            resources,
            max_forward_tokens=budget.max_forward_tokens,
            deadline=deadline,
            cancel=cancel,
            recorder=writer,
        )
        committed: list[Committed] = []
        try:
            async for event in running:
                if isinstance(event, Outcome):
                    committed = within(event.text, committed)
                    reply = plan.reply(header, event, spent, time.monotonic() - started, committed)
                    for one in committed if plan.decides and reply.passed else ():
                        yield one
                    yield reply
                    continue
                if isinstance(event, Committed):
                    committed.append(event)
                elif isinstance(event, TakenBack):
                    committed = without(event.text, committed)
                if not plan.decides:
                    yield event
        finally:
            await running.aclose()
            if writer:
                writer.close()

    def forget(self) -> None:
        """Let go of the prompts that are kept in the cache for what may come next."""
        self._recent.clear()

    def _forget_others(self, prompt: Prefix) -> None:
        """Let go of prompts that ``prompt`` has too little in common with to be worth keeping.

        Where nothing else is under way the cache is then empty, and a text lies in it in the order of its tokens; only
        so do its logits not depend on what was computed before (docs/decisions/0007).
        """
        begins = prompt.path()[:WORTH_KEEPING]
        worth = [one for one in list(self._recent) if one.path()[: len(begins)] == begins]
        self._recent = deque(worth, maxlen=2)

    def plan(self, prompt: Prompt, **options: Unpack[Options]) -> Plan:
        """Check everything that was asked for, before any work. Raises UsageError."""
        return Plan.make(self.engine, self.encoder.similarity_threshold, prompt, options)

    def trust(self, prompt: Prompt, **options: Unpack[Options]) -> Trust | None:
        """What is known of how well the judge of these options judges; None where nothing is judged."""
        return self.plan(prompt, **options).trust(self.engine, self.judge)

    def close(self) -> None:
        """Free the model, and its judge."""
        self.engine.close()
        if self.judge:
            self.judge.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also where an event loop runs already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as elsewhere:
        return elsewhere.submit(asyncio.run, work).result()
