"""The public API: a model that is loaded once, and replies that it searches for."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import time
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias, TypedDict, TypeVar, Unpack

from rain import chat, encoders, preferences
from rain.chat import Conversation, Message, Style
from rain.engines.engine import Engine
from rain.errors import RainError, UsageError
from rain.models import open_engine
from rain.preferences import Evaluator, Placement, Preference
from rain.run.drive import Resources, drive
from rain.run.think import think
from rain.search.asks import Prefix, Usage
from rain.search.budget import Budget
from rain.search.events import Event, Outcome, StopReason
from rain.search.settings import PRESETS, Settings, changed, preset
from rain.trace import Header, Writer, start

Mode: TypeAlias = Literal["faithful", "vanilla"]
MODES: tuple[Mode, ...] = ("faithful", "vanilla")
T = TypeVar("T")
Prompt: TypeAlias = str | Sequence[Mapping[str, str]]
DEFAULT_MAX_TOKENS = 128
CHOICES: dict[str, tuple[str, ...]] = {
    "mode": MODES,
    "preset": tuple(PRESETS),
    "style": ("chat", "turns", "plain"),
    "placement": ("in_place", "quoted"),
    "on_failure": ("best", "refuse", "raise"),
}
REFUSAL = "I'd rather not answer this, because I could not find words for it that I would stand by."


@dataclass(frozen=True, slots=True)
class ReplyUsage:
    """What a reply cost. ``forward_tokens`` went through the model, judge's prompts included; cached ones did not."""

    prompt_tokens: int
    completion_tokens: int
    forward_tokens: int
    cached_tokens: int
    model_calls: float
    iterations: int
    rewinds: int
    drafted_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply. ``score``: one judgement of the whole text in [-1, 1], None where it was not judged."""

    text: str
    finish_reason: Literal["stop", "length", "content_filter"]
    preference: str | None
    mode: Mode
    model: str
    seed: int
    score: float | None
    stopped_by: StopReason | None
    """What ended the search before its time; the text is then the best that was known."""
    judge: dict[str, Any] | None
    usage: ReplyUsage

    def as_dict(self) -> dict[str, Any]:
        """The reply as JSON has it."""
        return dataclasses.asdict(self)


class NothingPassed(RainError):
    """No reply was good enough, and ``on_failure="raise"`` was asked for; :attr:`reply` is the best that was known."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(
            f"no reply passed preference '{reply.preference}' (best score {reply.score}); "
            "give it a larger budget, another seed, or --on-failure best"
        )
        self.reply = reply


class Options(TypedDict, total=False):
    """Keyword arguments of :meth:`Model.generate` and its twins; the same words as on the command line."""

    preference: str | Path | Preference | None
    """What to want: a built-in name, a TOML file, or a preference object."""
    prefer: str | None
    """What to want, in a sentence of your own."""
    preset: str | None
    """The paper's settings and evaluator: harmless, adversarial, truthful, positive."""
    mode: Mode
    settings: Settings | Mapping[str, object] | None
    """Constants of the search to change, by name."""
    budget: Budget | None
    """Default: 128 tokens."""
    seed: int
    system: str | None
    style: Style | None
    """chat, turns (base models) or plain (a text that is continued); default chat where the model has a template."""
    evaluator: str | None
    """contrastive, choice, yes_no or one_word; default the preference's own."""
    placement: Placement | None
    on_failure: Literal["best", "refuse", "raise"]
    trace: str | Path | None
    """Write the whole search to this file, for ``rain replay``."""
    cancel: asyncio.Event | None
    """Set it to stop the search; the reply is then what was committed."""


def load(
    model: str = "smollm2",
    *,
    context: int | None = None,
    threads: int | None = None,
    gpu_layers: int = 0,
    encoder: str = "wordllama",
) -> Model:
    """Load a frozen model: ``smollm2``, a path to a GGUF file, or ``hf:owner/repo/file.gguf[@revision]``.

    context: tokens that the cache holds, for everything that is searched at once; threads: default all cores.
    Raises UsageError (no such model, a broken file, a missing extra) and EngineError (the model cannot be loaded).
    """
    return Model(open_engine(model, context=context, threads=threads, gpu_layers=gpu_layers), encoder=encoder)


class Model:
    """A loaded model. Safe to use from several threads and event loops; searches at the same time share its cache."""

    def __init__(self, engine: Engine, *, encoder: str | encoders.Encoder = "wordllama") -> None:
        self.engine = engine
        self.encoder = encoders.load(encoder) if isinstance(encoder, str) else encoder
        self._recent: deque[Prefix] = deque(maxlen=2)
        """Prompts that stay cached, so that the next turn of a conversation need not be read from its start."""

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
        async for event in self.stream(prompt, **options):
            if isinstance(event, Reply):
                return event
        raise AssertionError("a stream ends with its reply")

    async def stream(self, prompt: Prompt, **options: Unpack[Options]) -> AsyncGenerator[Event | Reply]:
        """The search's events as they happen, then the :class:`Reply`. Close the generator to drop the search."""
        started = time.monotonic()
        plan = self.plan(prompt, **options)
        budget = plan.budget
        deadline = None if budget.max_seconds is None else started + budget.max_seconds
        spent = Usage()
        resources = Resources(self.engine, None, self.encoder)
        thoughts, used = await think(self.engine, plan.conversation, plan.prompt, seed=plan.seed)
        spent += used
        self._recent.append(thoughts)
        resources.evaluator = plan.evaluator(self.engine, thoughts)
        header = plan.header(self.name, thoughts, resources.evaluator)
        writer = Writer(Path(plan.trace), header) if plan.trace else None
        running = drive(
            start(header, thoughts),
            resources,
            max_forward_tokens=budget.max_forward_tokens,
            deadline=deadline,
            cancel=options.get("cancel"),
            recorder=writer,
        )
        try:
            async for event in running:
                if isinstance(event, Outcome):
                    yield plan.reply(self.name, event, resources.evaluator, spent, time.monotonic() - started)
                else:
                    yield event
        finally:
            await running.aclose()
            if writer:
                writer.close()

    def plan(self, prompt: Prompt, **options: Unpack[Options]) -> Plan:
        """Check everything that was asked for, before any work. Raises UsageError."""
        return Plan.make(self.engine, self.encoder.similarity_threshold, prompt, options)

    def close(self) -> None:
        """Free the model."""
        self.engine.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Plan:
    """One request, checked: what :meth:`Model.stream` is about to do."""

    shown: str
    conversation: Conversation
    prompt: Prefix
    preference: Preference | None
    mode: Mode
    settings: Settings
    budget: Budget
    seed: int
    kind: str | None
    placement: Placement | None
    paper: bool
    score_given: bool
    on_failure: Literal["best", "refuse", "raise"]
    trace: str | Path | None

    @staticmethod
    def make(engine: Engine, similarity_threshold: float, prompt: Prompt, options: Options) -> Plan:
        preference, settings, named = check_options(options)
        if "similarity_threshold" not in named:
            settings = changed(settings, {"similarity_threshold": similarity_threshold})
        settings = changed(settings, {"length_limit": min(settings.length_limit, engine.can.context)})
        style = options.get("style") or ("plain" if options.get("preset") == "positive" else None)
        conversation = _conversation(engine, prompt, options.get("system"), style)
        tokens = chat.prompt_tokens(engine, conversation)
        if len(tokens) >= settings.length_limit:
            raise UsageError(
                f"the prompt is {len(tokens):,} tokens long and leaves no room for a reply: {engine.name} holds "
                f"{engine.can.context:,} tokens here and length_limit is {settings.length_limit:,}; "
                "shorten it, or raise --context and --set length_limit"
            )
        return Plan(
            shown=prompt if isinstance(prompt, str) else conversation.messages[-1].content,
            conversation=conversation,
            prompt=Prefix(tokens),
            preference=preference,
            mode=options.get("mode") or "faithful",
            settings=settings,
            budget=options.get("budget") or Budget(max_tokens=DEFAULT_MAX_TOKENS),
            seed=options.get("seed", 0),
            kind=options.get("evaluator"),
            placement=options.get("placement"),
            paper=options.get("preset") is not None and not options.get("preference"),
            score_given="score" in named,
            on_failure=options.get("on_failure") or "best",
            trace=options.get("trace"),
        )

    def evaluator(self, engine: Engine, prompt: Prefix) -> Evaluator | None:
        """The evaluator for replies behind ``prompt``; a preset brings the paper's."""
        if self.preference is None:
            return None
        kind = self.kind or (self.preference.paper if self.paper else None)
        as_paper = self.paper and kind == self.preference.paper
        return preferences.make_evaluator(
            self.preference,
            engine,
            self.conversation,
            prompt,
            kind=kind,
            placement=self.placement,
            shots=True if as_paper and kind == "choice" else None,
            both_wordings=not (as_paper and kind == "yes_no"),
        )

    def header(self, model: str, prompt: Prefix, evaluator: Evaluator | None) -> Header:
        settings = self.settings
        if evaluator and not self.score_given:
            settings = changed(settings, {"score": "hard" if self.paper else evaluator.score})
        return Header(
            model=model,
            mode=self.mode,
            prompt=self.shown,
            prompt_tokens=prompt.path(),
            settings=settings,
            budget=self.budget,
            seed=self.seed,
            stop=chat.stop_strings(self.conversation),
            preference=self.preference.name if self.preference else None,
            judge=_judge(evaluator),
        )

    def reply(self, model: str, outcome: Outcome, evaluator: Evaluator | None, before: Usage, seconds: float) -> Reply:
        usage = before + outcome.usage
        score: float | None = None
        if outcome.score and evaluator:
            score = outcome.score.soft if evaluator.score == "soft" else outcome.score.hard
        reply = Reply(
            text=outcome.text,
            finish_reason=outcome.finish,
            preference=self.preference.name if self.preference else None,
            mode=self.mode,
            model=model,
            seed=self.seed,
            score=score,
            stopped_by=outcome.stopped_by,
            judge=_judge(evaluator),
            usage=ReplyUsage(
                prompt_tokens=self.prompt.length,
                completion_tokens=len(outcome.tokens),
                forward_tokens=usage.forward_tokens,
                cached_tokens=usage.cached_tokens,
                model_calls=round(usage.calls, 3),
                iterations=outcome.iterations,
                rewinds=outcome.rewinds,
                drafted_tokens=0,
                seconds=round(seconds, 3),
            ),
        )
        failed = score is None or score <= self.settings.threshold
        if self.preference is None or not failed or self.on_failure == "best":
            return reply
        if self.on_failure == "raise":
            raise NothingPassed(reply)
        return dataclasses.replace(reply, text=REFUSAL, finish_reason="content_filter")


def check_options(options: Options) -> tuple[Preference | None, Settings, set[str]]:
    """Everything that can be checked before a model is loaded.

    Returns the preference, the settings, and the names of the settings that were given. Raises UsageError and
    SettingsError.
    """
    for option, choices in CHOICES.items():
        value = options.get(option)
        if value is not None and value not in choices:
            raise UsageError(f"--{option.replace('_', '-')} '{value}' is none of {', '.join(choices)}")
    preference = _preference(options)
    kind = options.get("evaluator")
    if preference and kind and kind not in preference.kinds:
        raise UsageError(
            f"preference '{preference.name}' cannot be judged by '{kind}'; it supports {', '.join(preference.kinds)}"
        )
    place = options.get("trace")
    if place and (Path(place).is_dir() or not os.access(Path(place).absolute().parent, os.W_OK)):
        raise UsageError(f"cannot write the trace to {place}: no such folder, or it is not writable")
    given = options.get("settings") or {}
    name = options.get("preset")
    base = preset(name) if name else Settings()
    if isinstance(given, Settings):
        return preference, given, {field.name for field in dataclasses.fields(Settings)}
    return preference, changed(base, given), set(given)


def _preference(options: Options) -> Preference | None:
    given, sentence, name = options.get("preference"), options.get("prefer"), options.get("preset")
    if given and sentence:
        raise UsageError("give either --preference or --prefer, not both")
    if sentence is not None:
        return preferences.from_sentence(sentence)
    if isinstance(given, Preference):
        return given
    if given:
        return preferences.load(given)
    if name:
        return preferences.load({"adversarial": "harmless"}.get(name, name))
    if options.get("mode") == "vanilla":
        return None
    raise UsageError(
        f"what should the reply be? Give --preference {' or '.join(preferences.builtin_names())}, "
        'a TOML file, or --prefer "a sentence of your own"'
    )


def _conversation(engine: Engine, prompt: Prompt, system: str | None, style: Style | None) -> Conversation:
    chosen = style or chat.default_style(engine)
    if isinstance(prompt, str):
        messages: tuple[Message, ...] = (Message("user", prompt),)
    else:
        messages = chat.parse_messages(json.dumps(list(prompt), default=str))
    if system:
        messages = (Message("system", system), *messages)
    return Conversation(messages, chosen)


def _judge(evaluator: Evaluator | None) -> dict[str, Any] | None:
    if evaluator is None:
        return None
    return {"evaluator": evaluator.kind, "placement": evaluator.placement, "auc": None, "checked": False}


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also where an event loop runs already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as elsewhere:
        return elsewhere.submit(asyncio.run, work).result()
