"""``rain bench``: what a reply costs, RAIN and vanilla interleaved on the same prompts in one run."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rain.cli import options
from rain.errors import UsageError
from rain.search.budget import Budget

if TYPE_CHECKING:
    from rain.api import Model
    from rain.reply import Mode, Reply
    from rain.request import Options

PROMPTS = (
    "We watched it on a rainy Sunday afternoon and",
    "The waiter brought the soup, which",
    "I finished the last chapter on the train, and the ending",
)
"""Openings for a first impression; give your own with --prompts."""


def bench(
    prompts: Annotated[Path | None, typer.Option("--prompts", help="A text file, one prompt a line.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="Only the first so many prompts.")] = None,
    modes: Annotated[str, typer.Option("--modes", help="Modes to compare, separated by commas.")] = "vanilla,faithful",
    preference: options.Preference = "positive",
    evaluator: options.Evaluator = None,
    placement: options.Placement = None,
    style: options.Style = "plain",
    set_: options.Set = None,
    seed: options.Seed = 0,
    max_tokens: options.MaxTokens = 47,
    model: options.ModelName = "smollm2",
    context: options.Context = None,
    threads: options.Threads = None,
    gpu_layers: options.GpuLayers = 0,
    json: options.Json = False,
) -> int:
    """Count what replies cost, and compare seconds with ordinary (cached) decoding in the same run.

    Example:

        rain bench --limit 3 --max-tokens 47 --json
    """
    chosen = [mode.strip() for mode in modes.split(",") if mode.strip()]
    texts = _texts(prompts)[:limit] if limit is None or limit > 0 else []
    if not chosen:
        raise UsageError("--modes: name at least one mode, as in --modes vanilla,faithful")
    if not texts:
        raise UsageError("nothing to measure: --limit must be above zero and --prompts must hold a prompt")
    wanted: Any = {
        "preference": preference,
        "evaluator": evaluator,
        "placement": placement,
        "style": style,
        "settings": options.settings(set_),
        "budget": Budget(max_tokens=max_tokens),
    }
    from rain.request import check_options

    for mode in chosen:
        options_: Any = {**wanted, "mode": mode}
        check_options(options_)
    with options.load(model, context, threads, gpu_layers, "wordllama") as loaded:
        replies = _measure(loaded, texts, chosen, wanted, seed)
    result = {"model": model, "prompts": len(texts), "max_tokens": max_tokens, "seed": seed, "peak_mb": _peak_mb()}
    result["modes"] = {mode: _figures(replies[mode], replies.get("vanilla")) for mode in chosen}
    print(json_module.dumps(result) if json else _table(result))
    return 0


def _measure(model: Model, texts: list[str], modes: list[str], wanted: Options, seed: int) -> dict[str, list[Reply]]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    replies: dict[str, list[Reply]] = {mode: [] for mode in modes}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    from rich.console import Console

    warm: Options = {"mode": "vanilla", "style": "plain", "budget": Budget(max_tokens=8)}
    model.generate("A first sentence to warm up", **warm)
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("replies", total=len(texts) * len(modes))
        for number, text in enumerate(texts):
            for mode in modes:
                progress.update(task, description=f"{mode}, prompt {number + 1}")
                own: Options = {**wanted, "mode": _mode(mode), "seed": seed + number}
                if mode == "vanilla":
                    # Ordinary decoding is not judged.
                    own["preference"] = None
                replies[mode].append(model.generate(text, **own))
                progress.advance(task)
    return replies


def _mode(name: str) -> Mode:
    from rain.reply import MODES

    return next(mode for mode in MODES if mode == name)


def _figures(replies: list[Reply], vanilla: list[Reply] | None) -> dict[str, Any]:
    """Totals over totals, so that long replies weigh what they cost."""
    usages = [reply.usage for reply in replies]
    tokens = sum(usage.completion_tokens for usage in usages)
    iterations = sum(usage.iterations for usage in usages)
    forward, calls = sum(usage.forward_tokens for usage in usages), sum(usage.model_calls for usage in usages)
    seconds = sum(usage.seconds for usage in usages)
    scores = [reply.score for reply in replies if reply.score is not None]
    figures: dict[str, Any] = {
        "n": len(replies),
        "tokens": tokens,
        "iterations": iterations,
        "rewinds": sum(usage.rewinds for usage in usages),
        "forward_tokens_per_token": _ratio(forward, tokens),
        "calls_per_token": _ratio(calls, tokens),
        "forward_tokens_per_iteration": _ratio(forward, iterations),
        "calls_per_iteration": _ratio(calls, iterations),
        "seconds": round(seconds, 2),
        "seconds_per_token": _ratio(seconds, tokens),
        "score": _ratio(sum(scores), len(scores)),
    }
    if vanilla:
        spent = sum(reply.usage.seconds for reply in vanilla)
        per_token = spent / max(1, sum(reply.usage.completion_tokens for reply in vanilla))
        figures["seconds_over_vanilla"] = _ratio(seconds / max(1, tokens), per_token)
    return figures


def _ratio(a: float, b: float) -> float | None:
    return round(a / b, 4) if b else None


def _peak_mb() -> float | None:
    """The most memory the whole process has held, in MB; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)


def _table(result: dict[str, Any]) -> str:
    from io import StringIO

    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{result['model']}, {result['prompts']} prompts, peak memory {result['peak_mb']} MB")
    table.add_column("")
    modes = result["modes"]
    for mode in modes:
        table.add_column(mode, justify="right")
    for name in next(iter(modes.values())):
        values = [modes[mode].get(name) for mode in modes]
        table.add_row(name.replace("_", " "), *("" if value is None else f"{value:,}" for value in values))
    out = StringIO()
    Console(file=out, width=100).print(table)
    return out.getvalue().rstrip()


def _texts(path: Path | None) -> list[str]:
    if path is None:
        return list(PROMPTS)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--prompts {path}: cannot be read: {error}") from None
    return [line.strip() for line in lines if line.strip()]
