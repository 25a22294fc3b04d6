"""One request: what was asked for, checked before any work."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict

from rain import chat, preferences
from rain.chat import Conversation, Message, Style
from rain.engines.engine import Engine
from rain.errors import UsageError
from rain.preferences import Evaluator, Named, Placement, Preference, Weighted
from rain.preferences.calibration import calibration_of
from rain.preferences.trust import Trust, trust
from rain.reply import MODES, Mode, NothingPassed, Reply, ReplyUsage, Segment
from rain.search.asks import Prefix, Usage
from rain.search.budget import Budget
from rain.search.events import Committed, Outcome
from rain.search.settings import FAST, PRESETS, SOFT, Settings, changed, preset
from rain.trace import Header

Prompt: TypeAlias = str | Sequence[Mapping[str, str]]
DEFAULT_MAX_TOKENS = 128
CHOICES: dict[str, tuple[str, ...]] = {
    "mode": MODES,
    "hold_back": ("reply", "clause"),
    "preset": tuple(PRESETS),
    "style": ("chat", "turns", "plain"),
    "placement": ("in_place", "quoted"),
    "on_failure": ("best", "refuse", "raise"),
}
REFUSAL = "I'd rather not answer this, because I could not find words for it that I would stand by."


class Options(TypedDict, total=False):
    """Keyword arguments of :meth:`Model.generate` and its twins; the same words as on the command line."""

    preference: str | Path | Preference | Weighted | None
    """What to want: a built-in name, a TOML file, a preference object, or several of them weighted."""
    prefer: str | None
    """What to want, in a sentence of your own."""
    preset: str | None
    """The paper's settings and evaluator: harmless, adversarial, truthful, positive."""
    mode: Mode | None
    """optimistic (draft, judge, search only where that fails), fast, faithful (the paper's search) or vanilla;
    default optimistic, with a preset faithful."""
    hold_back: Literal["reply", "clause"] | None
    """Optimistic mode: what must be judged before any of it is sent; default reply."""
    settings: Settings | Mapping[str, object] | None
    """Constants of the search to change, by name."""
    budget: Budget | None
    """Default: 128 tokens."""
    seed: int
    system: str | None
    prefix: str
    """What the reply is forced to begin with: continued from and judged, but no part of :attr:`Reply.text`."""
    style: Style | None
    """chat, turns (base models) or plain (a text that is continued); default chat where the model has a template."""
    evaluator: Named | None
    """contrastive, choice, yes_no, one_word or openings, several joined (``contrastive+yes_no``: the mean), each also
    with ``+refusals`` behind it; default the preference's own. Or a classifier: a callable from (text) or (prompt,
    reply) to the probability that it is good, ``module:function``, ``transformers:FOLDER[#LABEL]``. A name with a
    colon runs code: take none from strangers."""
    placement: Placement | None
    wording: str | None
    """In which of the preference's wordings its questions are asked (`rain preferences` lists them, `rain check
    --wordings all` compares them); default its own."""
    on_failure: Literal["best", "refuse", "raise"]
    """Where the reply does not pass: the best that was found, a refusal, or :class:`NothingPassed`. With the last two
    the stream holds nothing before the whole reply has passed, also with ``hold_back="clause"``."""
    require_check: bool
    """Refuse to search unless ``rain check`` found that the model can judge the preference, be it weakly."""
    trace: str | Path | None
    """Write the whole search to this file, for ``rain replay``."""
    cancel: asyncio.Event | None
    """Set it to stop the search; the reply is then what was committed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One request, checked: what :meth:`Model.stream` is about to do."""

    shown: str
    conversation: Conversation
    prompt: Prefix
    preference: Preference | Weighted | None
    mode: Mode
    settings: Settings
    budget: Budget
    seed: int
    kind: Named | None
    placement: Placement | None
    paper: bool
    named: frozenset[str]
    """The settings that were given."""
    on_failure: Literal["best", "refuse", "raise"]
    require_check: bool
    trace: str | Path | None
    prefix: tuple[int, ...] = ()
    """Tokens that stand between the prompt and what is searched for; to the judge they are part of the reply."""

    @staticmethod
    def make(engine: Engine, similarity_threshold: float, prompt: Prompt, options: Options) -> Plan:
        preference, settings, named = check_options(options)
        mode = options.get("mode") or ("faithful" if options.get("preset") else "optimistic")
        if mode in ("fast", "optimistic"):  # where an optimistic draft fails, it is mended fast
            settings = changed(settings, {name: value for name, value in FAST.items() if name not in named})
        if options.get("hold_back"):
            settings = changed(settings, {"hold_back": options.get("hold_back")})
        if "similarity_threshold" not in named:
            settings = changed(settings, {"similarity_threshold": similarity_threshold})
        settings = changed(settings, {"length_limit": min(settings.length_limit, engine.can.context)})
        style = options.get("style") or ("plain" if options.get("preset") == "positive" else None)
        conversation = _conversation(engine, prompt, options.get("system"), style)
        tokens = chat.prompt_tokens(engine, conversation)
        prefix = _printable(options.get("prefix") or "")
        # In turns the model's own first token brings a space.
        bare = conversation.style == "turns" and prefix[:1].strip()
        forced = engine.tokenizer.encode(f" {prefix}" if bare else prefix)
        if (length := len(tokens) + len(forced)) >= settings.length_limit:
            raise UsageError(
                f"the prompt is {length:,} tokens long and leaves no room for a reply: {engine.name} holds "
                f"{engine.can.context:,} tokens here and length_limit is {settings.length_limit:,}; "
                "shorten it, or raise --context and --set length_limit"
            )
        return Plan(
            shown=prompt if isinstance(prompt, str) else conversation.messages[-1].content,
            conversation=conversation,
            prompt=Prefix(tokens),
            preference=preference,
            mode=mode,
            settings=settings,
            budget=options.get("budget") or Budget(max_tokens=DEFAULT_MAX_TOKENS),
            seed=options.get("seed", 0),
            kind=options.get("evaluator"),
            placement=options.get("placement"),
            paper=options.get("preset") is not None and not (options.get("preference") or options.get("prefer")),
            named=frozenset(named),
            on_failure=options.get("on_failure") or "best",
            require_check=options.get("require_check", False),
            trace=options.get("trace"),
            prefix=forced,
        )

    def begun(self, prompt: Prefix) -> Prefix:
        """``prompt`` with what the reply is forced to begin with: where its own text begins."""
        return Prefix(self.prefix, prompt) if self.prefix else prompt

    def evaluator(
        self, engine: Engine, prompt: Prefix, judge: Engine | None = None, *, zeroed: bool = True
    ) -> Evaluator | None:
        """The evaluator for ``engine``'s replies behind ``prompt``; a preset brings the paper's. judge: who answers.

        zeroed: use what is known of the judge, or measure its zero first.
        """
        if self.preference is None:
            return None
        papers = self.preference.paper if self.paper and isinstance(self.preference, Preference) else None
        kind = self.kind or papers
        as_paper = papers is not None and kind == papers
        return preferences.make_evaluator(
            self.preference,
            engine,
            self.conversation,
            prompt,
            kind=kind,
            placement=self.placement,
            shots=True if as_paper and kind == "choice" else None,
            both_wordings=not (as_paper and kind == "yes_no"),
            zeroed=zeroed and not as_paper,
            judge=judge,
            decisive=self.settings.decisive,
        )

    def trust(self, engine: Engine, judge: Engine | None = None) -> Trust | None:
        """What is known of the judge, None where nothing is judged. Raises UsageError where a check is required."""
        evaluator = self.evaluator(engine, self.prompt, judge)
        if evaluator is None or self.preference is None:
            return None
        style = self.conversation.style
        if judge and style != "plain":
            style = chat.default_style(judge)
        # The paper asks yes or no once, which no check does.
        once = self.paper and isinstance(self.preference, Preference) and self.preference.paper == "yes_no"
        checked = not (once and evaluator.kind == "yes_no")
        where = self.placement if isinstance(self.preference, Weighted) else evaluator.placement
        known = trust(judge or engine, self.preference, evaluator.kind, where, style, as_checked=checked)
        if self.require_check:
            known.require()
        return known

    def header(
        self,
        model: str,
        prompt: Prefix,
        evaluator: Evaluator | None,
        budget: Budget,
        judge: str | None = None,
        known: Trust | None = None,
    ) -> Header:
        """What the search is started with; ``prompt`` and ``budget`` are what thinking has left of the plan's own.

        judge: the name of the model that the evaluator asks, if it is another. known: see :meth:`trust`.
        """
        settings = self.settings
        if evaluator and "score" not in self.named:
            settings = changed(settings, {"score": "hard" if self.paper else evaluator.score})
        if evaluator and settings.score == "soft":
            settings = changed(settings, {name: value for name, value in SOFT.items() if name not in self.named})
        measured = calibration_of(evaluator) if evaluator else None
        if measured and settings.score == "soft":
            known_here = {"gate": measured.threshold, "threshold": measured.soft_of(settings.threshold)}
            settings = changed(settings, {name: value for name, value in known_here.items() if name not in self.named})
        if self.mode == "optimistic" and settings.score == "soft" and "threshold" not in self.named:
            settings = changed(settings, {"threshold": settings.gate})  # what mends a draft passes as a draft does
        return Header(
            model=model,
            mode=self.mode,
            prompt=self.shown,
            prompt_tokens=prompt.path(),
            settings=settings,
            budget=budget,
            seed=self.seed,
            stop=chat.stop_strings(self.conversation),
            preference=self.preference.name if self.preference else None,
            judge=self._judge(evaluator, judge or model, known or Trust()),
        )

    def _judge(self, evaluator: Evaluator | None, model: str, known: Trust) -> dict[str, Any] | None:
        """What JSON says of the judge; ``model`` is the one that an evaluator asks."""
        if evaluator is None:
            return None
        classifier = preferences.classifier_name(self.kind)
        return {
            "evaluator": evaluator.kind,
            "placement": None if classifier else evaluator.placement,
            "model": classifier or model,
            "self_evaluation": evaluator.self_evaluation,
            **known.as_dict(),
        }

    def reply(
        self, header: Header, outcome: Outcome, before: Usage, seconds: float, committed: Sequence[Committed] = ()
    ) -> Reply:
        """The reply to ``outcome``; ``before``: what was spent before the search. Raises NothingPassed if asked for."""
        usage, settings = before + outcome.usage, header.settings
        score: float | None = None
        if outcome.score:
            score = outcome.score.soft if settings.score == "soft" else outcome.score.hard
        threshold = settings.gate if self.mode == "optimistic" else settings.threshold
        disagreement = outcome.score.disagreement if outcome.score else None
        reply = Reply(
            text=outcome.text,
            finish_reason=outcome.finish,
            preference=header.preference,
            mode=self.mode,
            model=header.model,
            seed=self.seed,
            score=score,
            passed=None if score is None else score > threshold,
            stopped_by=outcome.stopped_by,
            judge=header.judge and {**header.judge, "threshold": threshold, "disagreement": disagreement},
            usage=ReplyUsage(
                prompt_tokens=self.prompt.length + len(self.prefix),
                completion_tokens=len(outcome.tokens),
                forward_tokens=usage.forward_tokens - usage.judge_forward_tokens,
                cached_tokens=usage.cached_tokens,
                model_calls=round(usage.calls - usage.judge_calls, 3),
                judge_forward_tokens=usage.judge_forward_tokens,
                judge_calls=round(usage.judge_calls, 3),
                iterations=outcome.iterations,
                rewinds=outcome.rewinds,
                drafted_tokens=outcome.drafted,
                searches=outcome.searches,
                seconds=round(seconds, 3),
            ),
            segments=tuple(Segment(one.text, one.stop, one.value, one.iterations) for one in committed),
        )
        if reply.passed or not self.decides:
            return reply
        if self.on_failure == "raise":
            raise NothingPassed(reply)
        return dataclasses.replace(reply, text=REFUSAL, finish_reason="content_filter", segments=())

    @property
    def decides(self) -> bool:
        """Whether a reply that does not pass is no reply: then none of it may be seen before that is known."""
        return self.preference is not None and self.on_failure != "best"


def within(text: str, committed: Sequence[Committed]) -> list[Committed]:
    """What was committed, cut where ``text`` ends: a stop string, and what stands behind it, is no part of a reply."""
    kept, left = [], len(text)
    for one in committed:
        if left > 0:
            kept.append(dataclasses.replace(one, text=one.text[:left]))
            left -= len(one.text)
    return kept


def without(taken: str, committed: Sequence[Committed]) -> list[Committed]:
    """What is left of ``committed`` where the text ``taken``, its end, is taken back."""
    text = "".join(one.text for one in committed)
    return within(text[: len(text) - len(taken)], committed)


def check_options(options: Options) -> tuple[Preference | Weighted | None, Settings, set[str]]:
    """Everything that can be checked before a model is loaded.

    Returns the preference, the settings, and the names of the settings that were given. Raises UsageError and
    SettingsError.
    """
    for option, choices in CHOICES.items():
        value = options.get(option)
        if value is not None and value not in choices:
            raise UsageError(f"--{option.replace('_', '-')} '{value}' is none of {', '.join(choices)}")
    preference = _worded(_preference(options), options)
    if preference:
        preferences.check_kind(preference, options.get("evaluator"))
    place = options.get("trace")
    if place and (Path(place).is_dir() or not os.access(Path(place).absolute().parent, os.W_OK)):
        raise UsageError(f"cannot write the trace to {place}: no such folder, or it is not writable")
    given = options.get("settings") or {}
    name = options.get("preset")
    base = preset(name) if name else Settings()
    if isinstance(given, Settings):
        return preference, given, {field.name for field in dataclasses.fields(Settings)}
    return preference, changed(base, given), set(given)


def _preference(options: Options) -> Preference | Weighted | None:
    given, sentence, name = options.get("preference"), options.get("prefer"), options.get("preset")
    if given and sentence:
        raise UsageError("give either --preference or --prefer, not both")
    if sentence is not None:
        return preferences.from_sentence(_printable(sentence))
    if isinstance(given, (Preference, Weighted)):
        return given
    if given:
        return preferences.load_wanted(given)
    if name:
        return preferences.load({"adversarial": "harmless"}.get(name, name))
    if options.get("mode") == "vanilla":
        return None
    raise UsageError(
        f"what should the reply be? Give --preference {' or '.join(preferences.builtin_names())}, "
        'a TOML file, or --prefer "a sentence of your own"'
    )


def _worded(preference: Preference | Weighted | None, options: Options) -> Preference | Weighted | None:
    wording = options.get("wording")
    if wording is None:
        return preference
    if preference is None:
        raise UsageError("--wording: of which preference? Give --preference, too")
    if not (options.get("preference") or options.get("prefer")):
        raise UsageError("a preset brings its own questions; for another wording give --preference")
    if isinstance(preference, Weighted):
        raise UsageError(f"{preference.name} combines several preferences, whose wordings stay as they are")
    return preference.worded(wording)


def _conversation(engine: Engine, prompt: Prompt, system: str | None, style: Style | None) -> Conversation:
    chosen = style or chat.default_style(engine)
    if isinstance(prompt, str):
        messages: tuple[Message, ...] = (Message("user", _printable(prompt)),)
    else:
        messages = chat.parse_messages(_printable(json.dumps(list(prompt), default=str, ensure_ascii=False)))
    if system:
        messages = (Message("system", _printable(system)), *messages)
    return Conversation(messages, chosen)


def _printable(text: str) -> str:
    """Bytes that are no text come from a command line as lone surrogates, which nothing can write down."""
    return text.encode("utf-8", "replace").decode()
