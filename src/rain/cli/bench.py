"""``rain bench``: what a reply costs, RAIN and vanilla interleaved on the same prompts in one run."""

from __future__ import annotations

import json as json_module
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from rain.cli import options
from rain.cli.bench_figures import Sample, figures_of, ratio
from rain.errors import UsageError
from rain.run.metered import Metered
from rain.search.budget import Budget

if TYPE_CHECKING:
    from rain.api import Model
    from rain.engines.engine import Engine
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
    growth: Annotated[bool, typer.Option("--growth", help="Compare a late token's cost with an early one's.")] = False,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw the costs into this file (.png, .svg).")] = None,
    json: options.Json = False,
) -> int:
    """Count what replies cost, and compare seconds with ordinary (cached) decoding in the same run.

    Example:

        rain bench --limit 3 --max-tokens 47 --json

        rain bench --modes vanilla,optimistic,fast --profile --plot costs.png
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
        "wording": wording,
        "style": style,
        "settings": options.settings(set_),
        "budget": Budget(max_tokens=max_tokens),
    }
    from rain.request import check_options

    for mode in chosen:
        options_: Any = {**wanted, **_mode(mode)}
        check_options(options_)
    with options.load(model, context, threads, gpu_layers, "wordllama") as loaded:
        meter = Metered(loaded.engine)
        loaded.engine = cast("Engine", meter)
        before, start = dict(getattr(meter, "seconds", {})), time.perf_counter()
        samples = _measure(loaded, meter, texts, chosen, wanted, seed)
        wall = time.perf_counter() - start
        result: dict[str, Any] = {"model": model, "prompts": len(texts), "max_tokens": max_tokens, "seed": seed}
        if profile:
            result["profile"] = _profile(loaded, before, wall)
        if growth:
            result["growth"] = _growth(loaded, texts, wanted, seed)
        size: int | None = getattr(meter, "bytes", None)
    result["peak_mb"] = peak = _peak_mb()
    result["peak_mb_over_model_and_cache"] = round(peak - size / 2**20, 1) if peak and size else None
    result["modes"] = {mode: figures_of(samples[mode], samples.get("vanilla")) for mode in chosen}
    if plot:
        from rain.cli.bench_plot import draw

        draw(result, plot)
    print(json_module.dumps(result) if json else _table(result))
    return 0


def _measure(
    loaded: Model, meter: Metered, texts: list[str], modes: list[str], wanted: Options, seed: int
) -> dict[str, list[Sample]]:
    from rain.api import run
    from rain.cli.progress import bar

    samples: dict[str, list[Sample]] = {mode: [] for mode in modes}
    warm: Options = {**wanted, "mode": "faithful", "budget": Budget(max_tokens=1, max_iterations=3)}
    loaded.generate("A first sentence to warm up, and the judge with it", **warm)
    with bar() as progress:
        task = progress.add_task("replies", total=len(texts) * len(modes), rate="")
        for number, text in enumerate(texts):
            # Every second prompt in the opposite order, so that no mode always comes first.
            for mode in modes if number % 2 == 0 else modes[::-1]:
                progress.update(task, description=f"{mode}, prompt {number + 1}")
                own: Options = {**wanted, **_mode(mode), "seed": seed + number}
                if mode == "vanilla":
                    # Ordinary decoding is not judged.
                    own["preference"] = None
                sample = run(_sample(loaded, meter, text, own))
                if mode == "optimistic-clause" and sample.first_tokens:
                    own["mode"], own["budget"] = "vanilla", Budget(max_tokens=sample.first_tokens)
                    sample.alone_seconds = run(_sample(loaded, meter, text, own)).reply.usage.seconds
                samples[mode].append(sample)
                progress.advance(task)
    return samples


async def _sample(loaded: Model, meter: Metered, text: str, own: Options) -> Sample:
    from rain.reply import Reply
    from rain.search.events import Committed

    meter.reset()
    start, first, tokens, reply = time.perf_counter(), None, 0, None
    async for event in loaded.stream(text, **own):
        if isinstance(event, Committed) and first is None:
            first, tokens = time.perf_counter() - start, len(event.tokens)
        if isinstance(event, Reply):
            reply = event
    assert reply is not None
    return Sample(reply, dict(meter.spent), first, tokens, _compound(reply.text))


def _compound(text: str) -> float | None:
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        return None
    return float(SentimentIntensityAnalyzer().polarity_scores(text)["compound"])


def _mode(name: str) -> Options:
    """``optimistic-clause`` is the optimistic mode with ``hold_back=clause``."""
    mode, _, hold_back = name.partition("-")
    from rain.reply import MODES

    if mode not in MODES or hold_back not in ("", "reply", "clause"):
        raise UsageError(f"--modes: '{name}' is none of {', '.join(MODES)}, optimistic-clause")
    chosen: Any = {"mode": mode}
    if hold_back:
        chosen["hold_back"] = hold_back
    return cast("Options", chosen)


def _growth(loaded: Model, texts: list[str], wanted: Options, seed: int) -> dict[str, Any]:
    """What a token costs early and late in a long reply: searches from forced beginnings of two lengths."""

    def seconds_of_an_iteration(length: int) -> float:
        seconds = 0.0
        for number, text in enumerate(texts):
            wanted_: Any = {**wanted, "seed": seed + number}
            begun: Any = {**wanted_, "mode": "vanilla", "preference": None, "budget": Budget(max_tokens=length)}
            prompt = text + loaded.generate(text, **begun).text
            own: Any = {**wanted_, "mode": "faithful", "budget": Budget(max_tokens=1, max_iterations=2)}
            loaded.generate(prompt, **own)  # reads the prompt
            own["budget"] = Budget(max_tokens=16, max_iterations=40)
            usage = loaded.generate(prompt, **own).usage
            seconds += usage.seconds / max(1, usage.iterations)
        return seconds

    early, late = seconds_of_an_iteration(64), seconds_of_an_iteration(480)
    return {"iteration_at_480_over_64": ratio(late, early)}


def _profile(loaded: Model, before: dict[str, float], wall: float) -> dict[str, Any]:
    """Shares of the measured seconds: the model's own computing, drawing tokens, finding room, all else (Python)."""
    now: dict[str, float] = getattr(loaded.engine, "seconds", {})
    spent = {part: now[part] - before.get(part, 0.0) for part in now}
    shares = {part: ratio(seconds, wall) for part, seconds in spent.items()}
    return {**shares, "search_judge_and_waiting": ratio(wall - sum(spent.values()), wall)}


def _peak_mb() -> float | None:
    """The most memory the whole process has held, in MB; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)


def _memory(result: dict[str, Any]) -> str:
    over = result["peak_mb_over_model_and_cache"]
    return f"peak memory {result['peak_mb']} MB" + (f", {over} of them beside model and cache" if over else "")


def _table(result: dict[str, Any]) -> str:
    from io import StringIO

    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{result['model']}, {result['prompts']} prompts, {_memory(result)}")
    table.add_column("")
    modes = result["modes"]
    for mode in modes:
        table.add_column(mode, justify="right")
    for name in dict.fromkeys(name for figures in modes.values() for name in figures):
        table.add_row(name.replace("_", " "), *(_shown(figures.get(name)) for figures in modes.values()))
    for extra in ("profile", "growth"):
        for name, value in result.get(extra, {}).items():
            table.add_row(f"{extra}: {name.replace('_', ' ')}", _shown(value))
    out = StringIO()
    Console(file=out, width=100).print(table)
    return out.getvalue().rstrip()


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(map(_shown, value))
    return "" if value is None else f"{value:,}"


def _texts(path: Path | None) -> list[str]:
    if path is None:
        return list(PROMPTS)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--prompts {path}: cannot be read: {error}") from None
    return [line.strip() for line in lines if line.strip()]
