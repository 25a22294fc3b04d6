"""Many searches at once: how much of what batching gives the engine is left when it is searches that fill the batch?

    python benchmarks/many.py --out benchmarks/many.json

In one process, on one model: four searches one after another, the same four at once, sixteen at once; and beside them,
before and after, the engine's own gain: a bare question for samples as wide as a search's mean step, alone against
sixteen of them at once. A gain is work in a second over work in a second alone. Of the engine, work is forward tokens;
of searches it is iterations, so that whatever was computed twice for want of room counts for nothing (the gain in
forward tokens is told, too). ``share`` is the searches' gain over the engine's. ``share_by_cpu_seconds`` is the same
with the processor's seconds for the clock's: it hardly minds what else the machine does, but does not see waiting.
``rate_over_engine`` (and by the processor's seconds) is simply the forward tokens in a second of the sixteen searches
over those of the sixteen questions. It is the surer figure: a search alone mixes steps of one token and of fifteen,
which together cost less than as many of the mean width, so that the engine's gain is flattered and ``share`` is not.

Searches of the same number of iterations take different numbers of steps, so that the last ones run in thin batches:
the fewer iterations, the more that costs. About three minutes on two cores that do nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import shlex
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from zlib import crc32

from positive import CANDIDATES, positive, read_openings

import rain
from rain.engines.llamacpp import LlamaCppEngine
from rain.search.asks import Prefix, Sample, Until, Usage


@dataclass
class Spent:
    """What some work took."""

    seconds: float = 0.0
    forward_tokens: int = 0
    calls: float = 0.0
    iterations: int = 0
    cpu_seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(*(mine + his for mine, his in zip(vars(self).values(), vars(other).values(), strict=True)))

    def rate(self, what: str, per: str = "seconds") -> float:
        return float(getattr(self, what) / getattr(self, per))


def main() -> int:
    options = arguments()
    with rain.load(options.model, context=options.context, threads=options.threads) as model:
        found = asyncio.run(measure(model, options))
    text = json.dumps(found, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, metavar="FILE")
    parser.add_argument("--openings", type=Path, default=Path(__file__).with_name("openings.txt"), metavar="FILE")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--context", type=positive)
    parser.add_argument("--threads", type=positive)
    parser.add_argument("--mode", choices=("faithful", "fast", "optimistic"), default="faithful")
    parser.add_argument("--max-tokens", type=positive, default=24)
    parser.add_argument("--max-iterations", type=positive, default=40)
    parser.add_argument("--few", type=positive, default=4, metavar="N")
    parser.add_argument("--many", type=positive, default=16, metavar="N")
    return parser.parse_args()


async def measure(model: rain.Model, options: argparse.Namespace) -> dict[str, Any]:
    engine = model.engine
    assert isinstance(engine, LlamaCppEngine)
    openings = read_openings(options.openings)[: options.many]
    await searches(model, openings[-1:], options)  # warm-up
    alone = Spent()
    for opening in openings[: options.few]:
        alone += tell("alone", await searches(model, [opening], options))
    width = max(1, round(alone.forward_tokens / alone.calls))
    bare_alone = await bare(engine, openings[: options.few], 1, width, options)
    bare_many = await bare(engine, openings, options.many, width, options)
    few = tell(f"{options.few} at once", await searches(model, openings[: options.few], options))
    many = tell(f"{options.many} at once", await searches(model, openings, options))
    bare_many += await bare(engine, openings, options.many, width, options)
    bare_alone += await bare(engine, openings[: options.few], 1, width, options)
    of_engine = gain(bare_many, bare_alone, "forward_tokens")
    return {
        "command": "python " + shlex.join(["benchmarks/many.py", *sys.argv[1:]]),
        "version": rain.__version__,
        "llama_cpp_python": metadata.version("llama-cpp-python"),
        "machine": f"{platform.machine()}, {options.threads or 'all'} threads",
        "cells": engine.can.context,
        **{name: getattr(options, name) for name in ("model", "mode", "max_tokens", "max_iterations")},
        "alone": {"searches": options.few, **figures(alone)},
        f"at_once_{options.few}": {**figures(few), **gains(few, alone, None)},
        f"at_once_{options.many}": {**figures(many), **gains(many, alone, of_engine)},
        "engine": {
            "width": width,
            "alone": figures(bare_alone),
            f"at_once_{options.many}": figures(bare_many),
            "gain": round(of_engine, 2),
        },
        "share": round(gain(many, alone, "iterations") / of_engine, 2),
        "rate_over_engine": round(gain(many, bare_many, "forward_tokens"), 2),
        "rate_over_engine_by_cpu_seconds": round(gain(many, bare_many, "forward_tokens", "cpu_seconds"), 2),
        "share_by_cpu_seconds": round(
            gain(many, alone, "iterations", "cpu_seconds")
            / gain(bare_many, bare_alone, "forward_tokens", "cpu_seconds"),
            2,
        ),
    }


async def searches(model: rain.Model, openings: list[str], options: argparse.Namespace) -> Spent:
    """All at once; the seed of each is its opening's."""
    engine = model.engine
    assert isinstance(engine, LlamaCppEngine)
    before, began, cpu = engine.totals, time.perf_counter(), time.process_time()
    replies = await asyncio.gather(*(search(model, opening, options) for opening in openings))
    iterations = sum(reply.usage.iterations for reply in replies)
    return since(before, began, cpu, engine, iterations)


def since(before: Usage, began: float, cpu: float, engine: LlamaCppEngine, iterations: int = 0) -> Spent:
    """What was spent since the engine's totals and both clocks stood there."""
    seconds, cpu_seconds, after = time.perf_counter() - began, time.process_time() - cpu, engine.totals
    forward_tokens, calls = after.forward_tokens - before.forward_tokens, after.calls - before.calls
    return Spent(seconds, forward_tokens, calls, iterations, cpu_seconds)


async def search(model: rain.Model, opening: str, options: argparse.Namespace) -> rain.Reply:
    return await model.agenerate(
        opening,
        preference="positive",
        style="plain",
        mode=options.mode,
        seed=crc32(f"0:{opening}".encode()),
        budget=rain.Budget(max_tokens=options.max_tokens, max_iterations=options.max_iterations),
        settings=CANDIDATES,
    )


async def bare(
    engine: LlamaCppEngine, openings: list[str], at_once: int, width: int, options: argparse.Namespace
) -> Spent:
    """``at_once`` questions for ``width`` samples each, one group after another until every opening was asked."""
    spent = Spent()
    for start in range(0, len(openings), at_once):
        prompts = [Prefix(engine.tokenizer.encode(opening, bos=True)) for opening in openings[start : start + at_once]]
        until = Until(options.max_tokens)
        before, began, cpu = engine.totals, time.perf_counter(), time.process_time()
        await asyncio.gather(*(engine.answer(Sample(prompt, tuple(range(width)), until)) for prompt in prompts))
        spent += since(before, began, cpu, engine)
    return tell(f"engine, {at_once} at once", spent)


def tell(what: str, spent: Spent) -> Spent:
    print(f"{what}: {json.dumps(figures(spent))}", file=sys.stderr, flush=True)
    return spent


def figures(spent: Spent) -> dict[str, Any]:
    found: dict[str, Any] = {
        "seconds": round(spent.seconds, 2),
        "cpu_seconds": round(spent.cpu_seconds, 2),
        "forward_tokens": spent.forward_tokens,
        "tokens_per_call": round(spent.forward_tokens / spent.calls, 1),
        "forward_tokens_per_second": round(spent.rate("forward_tokens"), 1),
    }
    if spent.iterations:
        found |= {"iterations": spent.iterations, "iterations_per_second": round(spent.rate("iterations"), 2)}
        found["forward_tokens_per_iteration"] = round(spent.forward_tokens / spent.iterations, 1)
    return found


def gain(spent: Spent, alone: Spent, what: str, per: str = "seconds") -> float:
    return spent.rate(what, per) / alone.rate(what, per)


def gains(spent: Spent, alone: Spent, of_engine: float | None) -> dict[str, Any]:
    found = {"gain": gain(spent, alone, "iterations"), "gain_in_forward_tokens": gain(spent, alone, "forward_tokens")}
    if of_engine:
        found["share_in_forward_tokens"] = found["gain_in_forward_tokens"] / of_engine
    return {name: round(value, 2) for name, value in found.items()}


if __name__ == "__main__":
    sys.exit(main())
