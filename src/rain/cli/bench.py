"""``rain bench``: what a reply costs, RAIN and vanilla interleaved on the same prompts in one run."""

from __future__ import annotations

import json as json_module
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from rain.cli import options
from rain.cli.bench_figures import figures_of, ratio
from rain.cli.bench_measure import KNOWN, Bench, chosen_modes, options_of
from rain.cli.bench_memory import over, peak_mb
from rain.cli.bench_origin import origin
from rain.cli.bench_plot import drawing
from rain.cli.bench_table import table
from rain.errors import UsageError
from rain.run.metered import Metered
from rain.search.budget import Budget

if TYPE_CHECKING:
    from rain.api import Model
    from rain.engines.engine import Engine

PROMPTS = (
    "We watched it on a rainy Sunday afternoon and",
    "The waiter brought the soup, which",
    "I finished the last chapter on the train, and the ending",
)
"""Openings for a first impression; give your own with --prompts."""
SENTIMENT = ("positive",)
"""Preferences that a lexicon of sentiment says something of."""


def bench(
    prompts: Annotated[Path | None, typer.Option("--prompts", help="A text file, one prompt a line.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="Only the first so many prompts.")] = None,
    modes: Annotated[
        str,
        typer.Option(
            "--modes", help=f"Modes to compare, separated by commas: {', '.join(KNOWN)} (with --hold-back clause)."
        ),
    ] = "vanilla,optimistic,fast",
    preference: options.Preference = "positive",
    evaluator: options.Evaluator = None,
    placement: options.Placement = None,
    wording: options.Wording = None,
    style: options.Style = "plain",
    set_: options.Set = None,
    seed: options.Seed = 0,
    max_tokens: options.MaxTokens = 47,
    model: options.ModelName = "smollm2",
    context: options.Context = None,
    threads: options.Threads = None,
    gpu_layers: options.GpuLayers = 0,
    profile: Annotated[bool, typer.Option("--profile", help="Show where the seconds go.")] = False,
    growth: Annotated[
        bool, typer.Option("--growth", help="Compare an iteration's cost late in a reply with an early one's.")
    ] = False,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw the costs into this file (.png, .svg).")] = None,
    json: options.Json = False,
) -> int:
    """Count what replies cost, and compare seconds with ordinary (cached) decoding in the same run.

    Example:

        rain bench --limit 3 --max-tokens 47 --json

        rain bench --modes vanilla,optimistic,optimistic-clause --profile --plot costs.png
    """
    chosen = chosen_modes(modes)
    texts = _texts(prompts)[:limit] if limit is None or limit > 0 else []
    if not texts:
        raise UsageError("nothing to measure: --limit must be above zero and --prompts must hold a prompt")
    wanted: Any = {
        "preference": preference,
        "evaluator": evaluator,
        "placement": placement,
        "wording": wording,
        "style": style,
        "settings": options.settings(set_),
        "budget": Budget(max_tokens=max_tokens),
    }
    from rain.request import check_options

    each: list[tuple[str, Any]] = [(mode, {**wanted, **options_of(mode)}) for mode in chosen]
    for _, asked in each:
        check_options(asked)
    picture = drawing(plot) if plot else None
    with options.load(model, context, threads, gpu_layers, "wordllama") as loaded:
        meter = Metered(loaded.engine)
        loaded.engine = cast("Engine", meter)
        result: dict[str, Any] = {"model": model, "prompts": 0, "max_tokens": max_tokens, "seed": seed}
        result |= {"interrupted": False, "prompts_asked": len(texts), **origin(loaded, texts[0], each, threads)}
        work = Bench(loaded, meter, texts, chosen, wanted, seed, lexicon=result["preference"] in SENTIMENT)
        before, start = dict(getattr(meter, "seconds", {})), time.perf_counter()
        try:
            work.measure()
            if profile:
                result["profile"] = _profile(loaded, before, time.perf_counter() - start)
            if growth:
                result["growth"] = work.growth()
        except KeyboardInterrupt:
            result["interrupted"] = True
        size: int | None = getattr(meter, "bytes", None)
    samples = work.samples
    result["prompts"] = len(samples[chosen[0]])
    result["peak_mb"] = peak = peak_mb()
    result["peak_mb_over_model_and_cache"] = over(peak, size)
    measured = chosen if result["prompts"] else []
    result["modes"] = {mode: figures_of(samples[mode], samples.get("vanilla"), size) for mode in measured}
    # Before it is drawn: a full disk must not take the figures, too.
    print(json_module.dumps(result) if json else table(result), flush=True)
    if picture and measured:
        picture(result)
    return 130 if result["interrupted"] else 0


def _profile(loaded: Model, before: dict[str, float], wall: float) -> dict[str, Any]:
    """Shares of the measured seconds: the model's own computing, drawing tokens, finding room, all else (Python).

    Of all that ran: the warm-up and the judging of vanilla's texts, too.
    """
    now: dict[str, float] = getattr(loaded.engine, "seconds", {})
    spent = {part: now[part] - before.get(part, 0.0) for part in now}
    shares = {part: ratio(seconds, wall) for part, seconds in spent.items()}
    return {**shares, "search_judge_and_waiting": ratio(wall - sum(spent.values()), wall)}


def _texts(path: Path | None) -> list[str]:
    if path is None:
        return list(PROMPTS)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--prompts {path}: cannot be read: {error}") from None
    return [line.strip() for line in lines if line.strip()]
