"""The figures of ``rain bench``: totals over totals, and pairs."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from rain.cli.bench_memory import MB, over
from rain.reply import Reply
from rain.run.metered import Part
from rain.search.asks import Usage


@dataclass
class Sample:
    """One reply and what it cost by part."""

    reply: Reply
    parts: dict[Part, Usage]
    first_seconds: float | None
    """To the first text that is sent."""
    first_tokens: int
    """And its tokens."""
    compound: float | None
    """VADER's, where that is installed: a lexicon that has nothing to do with the model. Of sentiment only."""
    tokens: tuple[int, ...] = ()
    """That were committed."""
    highest: int = 0
    """Bytes that the process held at most while the reply was made; 0 where that is unknown."""
    score: float | None = None
    """The reply's own; vanilla's is judged off the clock."""
    alone_seconds: float | None = None
    """Ordinary decoding to the end of the first text, and one judgement of it."""


def figures_of(samples: list[Sample], vanilla: list[Sample] | None, size: int | None = None) -> dict[str, Any]:
    """Totals over totals, so that long replies weigh what they cost. size: bytes of weights and cache."""
    usages = [sample.reply.usage for sample in samples]
    tokens = sum(usage.completion_tokens for usage in usages)
    iterations = sum(usage.iterations for usage in usages)
    forward, calls = sum(usage.forward_tokens for usage in usages), sum(usage.model_calls for usage in usages)
    seconds = sum(usage.seconds for usage in usages)
    scores = [sample.score for sample in samples if sample.score is not None]
    compounds = [sample.compound for sample in samples if sample.compound is not None]
    firsts = [sample.first_seconds for sample in samples if sample.first_seconds is not None]
    found: dict[str, Any] = {
        "n": len(samples),
        "tokens": tokens,
        "iterations": iterations,
        "rewinds": sum(usage.rewinds for usage in usages),
        "forward_tokens_per_token": ratio(forward, tokens),
        "calls_per_token": ratio(calls, tokens),
        "forward_tokens_per_iteration": ratio(forward, iterations),
        "calls_per_iteration": ratio(calls, iterations),
    }
    for part in samples[0].parts:
        spent = sum(sample.parts[part].forward_tokens for sample in samples)
        found[f"{part}_forward_tokens_per_token"] = ratio(spent, tokens)
        found[f"{part}_forward_tokens_per_iteration"] = ratio(spent, iterations)
        called = sum(sample.parts[part].calls for sample in samples)
        found[f"{part}_calls_per_token"] = ratio(called, tokens)
        found[f"{part}_calls_per_iteration"] = ratio(called, iterations)
    highest = max(sample.highest for sample in samples)
    peak = round(highest / MB, 1) if highest else None
    found |= {
        "drafted_tokens": sum(usage.drafted_tokens for usage in usages),
        "seconds": round(seconds, 2),
        "seconds_per_token": ratio(seconds, tokens),
        "seconds_to_first_text": ratio(sum(firsts), len(firsts)),
        "peak_mb": peak,
        "peak_mb_over_model_and_cache": over(peak, size),
        "score": ratio(sum(scores), len(scores)),
    }
    if compounds:
        found["vader"] = ratio(sum(compounds), len(compounds))
    alone = [sample for sample in samples if sample.alone_seconds is not None]
    if alone:
        firsts = [sample.first_seconds or 0.0 for sample in alone]
        found["first_text_over_vanilla"] = ratio(sum(firsts), sum(sample.alone_seconds or 0.0 for sample in alone))
    if vanilla:
        found |= _over_vanilla(samples, vanilla)
    return found


def _over_vanilla(samples: list[Sample], vanilla: list[Sample]) -> dict[str, Any]:
    """Seconds over ordinary decoding's: a token's (of the totals, and of the pairs: median and quartiles), and all.

    ``seconds_over_vanilla`` and the pairs are paces, seconds per output token; ``total_seconds_over_vanilla`` is what
    all replies took over what vanilla's took, however long each was.
    """

    def pace(sample: Sample) -> float:
        return sample.reply.usage.seconds / max(1, sample.reply.usage.completion_tokens)

    total, tokens = _sums(samples)
    base, base_tokens = _sums(vanilla)
    ratios = sorted(pace(sample) / pace(alone) for sample, alone in zip(samples, vanilla, strict=True))
    found: dict[str, Any] = {
        "seconds_over_vanilla": ratio(total / max(1, tokens), base / max(1, base_tokens)),
        "total_seconds_over_vanilla": ratio(total, base),
        "pairs_median": ratio(statistics.median(ratios), 1),
        "pairs_quartiles": [round(value, 3) for value in _quartiles(ratios)],
    }
    if samples[0].reply.mode == "optimistic":
        same = [not sample.reply.usage.iterations for sample in samples]
        found["passed"] = ratio(sum(same), len(same))
        passed = [(sample, alone) for sample, alone, ok in zip(samples, vanilla, same, strict=True) if ok]
        if passed:
            (mine, done), (theirs, drawn) = _sums([one for one, _ in passed]), _sums([one for _, one in passed])
            found["seconds_over_vanilla_when_passed"] = ratio(mine / max(1, done), theirs / max(1, drawn))
            found["same_text_when_passed"] = sum(one.reply.text == two.reply.text for one, two in passed)
    return found


def _sums(samples: list[Sample]) -> tuple[float, int]:
    usages = [sample.reply.usage for sample in samples]
    return sum(usage.seconds for usage in usages), sum(usage.completion_tokens for usage in usages)


def _quartiles(ordered: list[float]) -> tuple[float, float]:
    if len(ordered) < 2:
        return ordered[0], ordered[0]
    first, _, third = statistics.quantiles(ordered, n=4, method="inclusive")
    return first, third


def ratio(a: float, b: float) -> float | None:
    return round(a / b, 4) if b else None
