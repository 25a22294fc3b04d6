"""What ``rain bench`` measures: modes interleaved on the same prompts, and how cost grows with a reply."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from rain.cli.bench_figures import Sample, ratio
from rain.cli.bench_memory import Watch
from rain.errors import UsageError
from rain.reply import MODES, Reply, ReplyUsage
from rain.run.metered import Metered
from rain.search.budget import Budget

if TYPE_CHECKING:
    from rain.api import Model
    from rain.request import Options

CLAUSE = "optimistic-clause"
"""The optimistic mode with ``hold_back=clause``."""
KNOWN = (*MODES, CLAUSE)
EARLY, LATE = 64, 480
"""Tokens of a reply at which an iteration's cost is compared."""
SEARCHED = 16
"""Tokens that are searched there."""


def chosen_modes(text: str) -> list[str]:
    """The modes that ``--modes`` names. Raises UsageError: none, one that does not exist, one named twice."""
    chosen = [mode.strip() for mode in text.split(",") if mode.strip()]
    if not chosen:
        raise UsageError("--modes: name at least one mode, as in --modes vanilla,faithful")
    for mode in chosen:
        if mode not in KNOWN:
            raise UsageError(f"--modes: '{mode}' is none of {', '.join(KNOWN)}")
        if chosen.count(mode) > 1:
            raise UsageError(f"--modes: '{mode}' is named {chosen.count(mode)} times; name it once")
    return chosen


def options_of(mode: str) -> Options:
    """What a mode's name stands for."""
    return {"mode": "optimistic", "hold_back": "clause"} if mode == CLAUSE else cast("Options", {"mode": mode})


def unjudged(own: Options) -> Options:
    """The same for ordinary decoding, which nobody judges while it is measured."""
    return {**own, "mode": "vanilla", "preference": None, "wording": None}


@dataclass
class Bench:
    """Replies on their way. What has been measured can be looked at whenever the work is interrupted."""

    loaded: Model
    meter: Metered
    texts: list[str]
    modes: list[str]
    wanted: Options
    seed: int
    lexicon: bool
    """Whether VADER judges, too."""

    def __post_init__(self) -> None:
        self.done: list[dict[str, Sample]] = []
        """By prompt and mode; a prompt is there once all of its modes are."""

    @property
    def samples(self) -> dict[str, list[Sample]]:
        """What is done, by mode."""
        return {mode: [found[mode] for found in self.done] for mode in self.modes}

    def measure(self) -> None:
        """Every mode on every prompt."""
        from rain.cli.progress import bar

        warm: Options = {**self.wanted, "mode": "faithful", "budget": Budget(max_tokens=1, max_iterations=3)}
        self.loaded.generate("A first sentence to warm up, and the judge with it", **warm)
        with bar() as progress:
            task = progress.add_task("replies", total=len(self.texts) * len(self.modes), rate="")
            for number, text in enumerate(self.texts):
                found: dict[str, Sample] = {}
                # Every second prompt in the opposite order, so that no mode always comes first.
                for mode in self.modes if number % 2 == 0 else self.modes[::-1]:
                    progress.update(task, description=f"{mode}, prompt {number + 1}")
                    found[mode] = self._one(mode, text, self.seed + number)
                    progress.advance(task)
                self.done.append(found)
                if alone := found.get("vanilla"):
                    alone.score = self._score(text, alone)

    def _one(self, mode: str, text: str, seed: int) -> Sample:
        from rain.api import run

        own: Options = {**self.wanted, **options_of(mode), "seed": seed}
        if mode == "vanilla":
            own = unjudged(own)
        sample = run(self._sample(text, own))
        if mode == CLAUSE and sample.first_tokens:
            own["mode"], own["budget"] = "vanilla", Budget(max_tokens=sample.first_tokens)
            sample.alone_seconds = run(self._sample(text, own)).reply.usage.seconds
        return sample

    async def _sample(self, text: str, own: Options) -> Sample:
        from rain.search.events import Committed, TakenBack

        self.meter.reset()
        first, reply = None, None
        tokens: list[int] = []
        with Watch() as watch:
            start = time.perf_counter()
            async for event in self.loaded.stream(text, **own):
                if isinstance(event, Committed):
                    first = first or (time.perf_counter() - start, len(event.tokens))
                    tokens += event.tokens
                if isinstance(event, TakenBack):
                    del tokens[-len(event.tokens) :]
                if isinstance(event, Reply):
                    reply = event
        assert reply is not None
        seconds, count = first or (None, 0)
        compound = _compound(reply.text) if self.lexicon else None
        return Sample(
            reply, dict(self.meter.spent), seconds, count, compound, tuple(tokens), watch.highest, score=reply.score
        )

    def _score(self, text: str, alone: Sample) -> float | None:
        """What the evaluator of the other modes says of vanilla's text; off the clock, and not in its counts."""
        from rain.api import run
        from rain.run.drive import Resources, judge
        from rain.run.think import think
        from rain.search.asks import Prefix, Score
        from rain.search.stops import tokens_before_stop

        loaded, engine, seed = self.loaded, self.loaded.engine, alone.reply.seed
        mode = next((mode for mode in self.modes if mode != "vanilla"), "optimistic")
        own: Options = {**self.wanted, **options_of(mode), "seed": seed}
        plan = loaded.plan(text, **own)

        async def judged() -> float | None:
            prompt, _ = await think(engine, plan.conversation, plan.prompt, seed=seed)
            evaluator = plan.evaluator(engine, prompt)
            header = plan.header(loaded.name, prompt, evaluator, plan.budget)
            # What is judged holds neither end-of-sequence nor stop string.
            tokens = tuple(token for token in alone.tokens if token not in engine.tokenizer.eos)
            kept = tokens_before_stop([engine.tokenizer.piece(token) for token in tokens], header.stop)
            if evaluator is None or not kept:
                return None
            reply, complete = Prefix(tokens[:kept], prompt), alone.reply.finish_reason == "stop"
            score, _ = await judge(Resources(engine, evaluator), reply, complete)
            if not isinstance(score, Score):
                return None
            return score.soft if header.settings.score == "soft" else score.hard

        return run(judged())

    def growth(self) -> dict[str, Any]:
        """An iteration late in a long reply over one early in it: searches from forced beginnings of two lengths.

        ``positions``: tokens that stood before the two searches, for each prompt; null where its reply ended too soon.
        """
        positions: list[list[int] | None] = []
        pairs: list[tuple[ReplyUsage, ReplyUsage]] = []
        longest = 0
        for number, text in enumerate(self.texts):
            begun: Options = {**unjudged(self.wanted), "seed": self.seed + number}
            plan = self.loaded.plan(text, **begun)
            begun["budget"] = Budget(max_tokens=EARLY)
            early = self.loaded.generate(text, **begun)
            begun["budget"] = Budget(max_tokens=LATE)
            late = self.loaded.generate(text, **begun)
            longest = max(longest, late.usage.completion_tokens)
            room = plan.settings.length_limit - plan.prompt.length
            if late.finish_reason != "length" or late.usage.completion_tokens < LATE or room < LATE + 2 * SEARCHED:
                positions.append(None)
                continue
            pair = self._searched(text, early.text, number), self._searched(text, late.text, number)
            pairs.append(pair)
            positions.append([usage.prompt_tokens - plan.prompt.length for usage in pair])
        return {
            f"iteration_at_{LATE}_over_{EARLY}": _late_over_early(pairs, lambda usage: usage.seconds),
            f"forward_tokens_at_{LATE}_over_{EARLY}": _late_over_early(pairs, lambda usage: usage.forward_tokens),
            "prompts": len(pairs),
            "positions": positions,
            "why": None if pairs else f"no reply had {LATE} tokens and room behind them; the longest had {longest}",
        }

    def _searched(self, text: str, prefix: str, number: int) -> ReplyUsage:
        """What a search costs behind the beginning of a reply."""
        own: Options = {**self.wanted, "mode": "faithful", "prefix": prefix, "seed": self.seed + number}
        own["budget"] = Budget(max_tokens=1, max_iterations=2)
        self.loaded.generate(text, **own)  # reads the prompt
        own["budget"] = Budget(max_tokens=SEARCHED, max_iterations=40)
        return self.loaded.generate(text, **own).usage


def _late_over_early(pairs: list[tuple[ReplyUsage, ReplyUsage]], cost: Callable[[ReplyUsage], float]) -> float | None:
    """Cost of an iteration, totals over totals."""
    early, late = (
        ratio(sum(cost(pair[at]) for pair in pairs), sum(pair[at].iterations for pair in pairs)) for at in (0, 1)
    )
    return ratio(late, early) if early and late is not None else None


def _compound(text: str) -> float | None:
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        return None
    return float(SentimentIntensityAnalyzer().polarity_scores(text)["compound"])
