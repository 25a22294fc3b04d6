"""``rain check``: can this model judge this?"""

from __future__ import annotations

import asyncio
import hashlib
import json as json_module
import shlex
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import rain
from rain.cli import options
from rain.errors import RainError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rain.engines.engine import Engine
    from rain.preferences import Preference, Weighted
    from rain.preferences.check import Scores
    from rain.preferences.labelled import Row
    from rain.preferences.verdict import Report

DATA = "The texts"


def _option(*names: str, help: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=DATA)


def check(
    preference: options.Preference = None,
    prefer: options.Prefer = None,
    evaluators: Annotated[
        str | None, typer.Option("--evaluators", help="Separated by commas; default all that the preference has.")
    ] = None,
    placements: Annotated[
        str, typer.Option("--placements", help="Where questions are asked: in_place, quoted or both.")
    ] = "in_place,quoted",
    wordings: Annotated[
        str, typer.Option("--wordings", help="Names of wordings, or all; the others beside the first on whole texts.")
    ] = "default",
    data: Annotated[
        Path | None, _option("--data", help="JSON lines with a text, or prompt and reply; default samples of our own.")
    ] = None,
    label: Annotated[str | None, _option("--label", help="FIELD, or FIELD=VALUE that is good; default good.")] = None,
    text: Annotated[str | None, _option("--text", help="The field of the text; default reply, else text.")] = None,
    limit: Annotated[int | None, _option("--limit", help="Only so many texts, pairs first.")] = None,
    max_tokens: Annotated[int, _option("--max-tokens", help="Of each text; what is longer is cut.")] = 256,
    require_pairs: Annotated[
        bool | None,
        _option(
            "--require-pairs/--no-require-pairs",
            help="An error where no prompt has both a good and a bad text; default where texts have prompts.",
        ),
    ] = None,
    seed: options.Seed = 0,
    false_alarms: Annotated[
        float, typer.Option("--false-alarms", help="Share of good texts that may fall below the threshold.")
    ] = 0.05,
    style: options.Style = None,
    model: options.ModelName = "smollm2",
    judge_model: options.JudgeModel = None,
    context: options.Context = None,
    threads: options.Threads = None,
    gpu_layers: options.GpuLayers = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write every score here as JSON lines; the same command goes on from them."),
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw the figures here (PNG, SVG or PDF).")] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Do not keep what was measured for later use.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Keep it though more of the same texts were measured before.")
    ] = False,
    json: options.Json = False,
) -> int:
    """Measure whether the model can judge, before anyone trusts it, and which evaluator to use.

    Example:

        rain check --preference positive --limit 48 --forget
    """
    from rain.chat import default_style
    from rain.preferences import keeping
    from rain.preferences.labelled import pick
    from rain.preferences.reading import report

    wanted = _preference(preference, prefer)
    if not 0 < false_alarms < 1:
        raise UsageError(f"--false-alarms: {false_alarms} must be between 0 and 1")
    if max_tokens < 1:
        raise UsageError(f"--max-tokens: {max_tokens} must be above zero")
    if style not in (None, "chat", "turns", "plain"):
        raise UsageError(f"--style: {style!r} is none of chat, turns, plain")
    if plot:
        from rain.cli.check_plot import drawing

        draw = drawing(plot)
    rows, measured_on = _rows(wanted, data, label, text)
    rows = pick(rows, limit, seed)
    if require_pairs or (require_pairs is None and any(row.prompt for row in rows)):
        _need_pairs(rows)
    how = {
        "evaluators": _names(evaluators),
        "placements": _names(placements) or (),
        "wordings": wanted.wordings if wordings == "all" else _names(wordings),
        "style": style,
        "reads_the_reply": judge_model is not None,
        "most_tokens": max_tokens,
    }
    _check_names(wanted, how)
    engine = _load(model, judge_model, context, threads, gpu_layers)
    try:
        scores = _collect(engine, wanted, rows, how, out)
        found = report(scores, false_alarms=false_alarms, with_refusals=_explicit(how["evaluators"]))
        kept = keeping.Kept([], [])
        if not forget:
            measured = keeping.Measured(scores.style, measured_on, false_alarms, rain.__version__)
            kept = keeping.keep(found, engine, wanted, measured, replace=replace)
    finally:
        engine.close()
    # What is not asked for by itself when something is written.
    other = "" if scores.style == default_style(engine) else f" --style {scores.style}"
    if judge_model:
        other += f" --judge-model {shlex.quote(judge_model)}"
    told = {
        "model": model,
        "judge_model": judge_model,
        "fingerprint": engine.fingerprint,
        "preference": wanted.name,
        "style": scores.style,
        "data": measured_on,
        "seed": seed,
        "limit": limit,
        "max_tokens": max_tokens,
        "cut": len(scores.cut),
        "target_false_alarms": false_alarms,
        **found.as_dict(),
        "sentence": sentence(engine.name, wanted.name, found, other),
        "kept": len(kept.rows),
        "keeping": kept.told,
        "forward_tokens": scores.usage.forward_tokens,
        "seconds": round(scores.seconds, 1),
    }
    if json:
        print(json_module.dumps(told, ensure_ascii=False))
    else:
        from rain.cli.check_table import show

        show(found, told, scores)
    if plot:
        draw(told)
    return 0


def sentence(model: str, preference: str, found: Report, other: str = "") -> str:
    """The verdict as a sentence that can stand alone. other: options that belong to the judge beside its own."""
    from rain.preferences.preference import DEFAULT_WORDING

    if found.verdict is None:
        return f"There is no verdict on how {model} judges '{preference}': {found.reason}."
    says = {
        "can judge": f"{model} can judge '{preference}'",
        "judges weakly": f"{model} judges '{preference}' weakly",
        "cannot judge this": f"{model} cannot judge '{preference}'; the best was",
        "only recognises refusals": f"{model} only recognises refusals when it judges '{preference}'",
    }[found.verdict]
    if found.chosen is None:
        return f"{says} {found.reason}."
    judge, cost = found.chosen.judge, found.chosen.forward_tokens
    use = f"--evaluator {judge.evaluator}" + (f" --placement {judge.placement}" if " " in judge.name else "")
    if judge.wording != DEFAULT_WORDING:
        use += f" --wording {shlex.quote(judge.wording)}"
    return f"{says} by {found.reason}. Use: {use}{other} ({cost:.0f} tokens a judgement)."


def _preference(name: str | None, prefer: str | None) -> Preference | Weighted:
    from rain.preferences import builtin_names, from_sentence
    from rain.preferences.weighted import load_wanted

    if (name is None) == (prefer is None):
        raise UsageError(
            f"say what shall be judged: --preference NAME ({', '.join(builtin_names())}), --preference FILE.toml, or "
            "--prefer 'a sentence'; one of them"
        )
    if prefer is not None:
        return from_sentence(prefer)
    return load_wanted(name or "")


def _rows(
    wanted: Preference | Weighted, data: Path | None, label: str | None, text: str | None
) -> tuple[list[Row], str]:
    """The texts and what to call them."""
    from rain.preferences import Weighted
    from rain.preferences.labelled import read, samples

    if data is None:
        if label or text:
            raise UsageError("--label and --text are about a file: give it with --data FILE.jsonl")
        if isinstance(wanted, Weighted):
            raise UsageError(
                f"{wanted.name} combines several preferences and has no samples of its own: give labelled texts with "
                "--data FILE.jsonl --label FIELD"
            )
        return samples(wanted.name), "samples"
    rows = read(data, label, text)
    return rows, f"{data.name} {hashlib.sha256(data.read_bytes()).hexdigest()[:12]}"


def _need_pairs(rows: list[Row]) -> None:
    kinds: dict[str, set[bool]] = {}
    for row in rows:
        if row.prompt:
            kinds.setdefault(row.prompt, set()).add(row.good)
    if not any(len(both) == 2 for both in kinds.values()):
        raise UsageError(
            "no good and bad text are for the same prompt, so it cannot be measured which of two replies is judged "
            "better: give pairs, or look at the area alone with --no-require-pairs"
        )


def _names(words: str | None) -> list[str] | None:
    return None if words is None else [word.strip() for word in words.split(",") if word.strip()]


def _explicit(evaluators: Any) -> list[str] | None:
    """Of evaluators that were named, those that shall be shown together with the refusal rule."""
    from rain.preferences.evaluators import REFUSALS

    if evaluators is None:
        return None
    return [name.removesuffix(REFUSALS) for name in evaluators if name.endswith(REFUSALS)]


def _check_names(wanted: Preference | Weighted, how: dict[str, Any]) -> None:
    """Raises UsageError before a model is loaded."""
    from rain.preferences.asked import PLACEMENTS
    from rain.preferences.evaluators import check_kind

    if how["evaluators"] == []:
        raise UsageError(f"--evaluators: name at least one of {', '.join(wanted.kinds)}")
    for name in how["evaluators"] or ():
        check_kind(wanted, name)
    if not how["placements"] or set(how["placements"]) - set(PLACEMENTS):
        raise UsageError(f"--placements: name {', '.join(PLACEMENTS)} or both, separated by a comma")
    for name in how["wordings"] or ():
        wanted.worded(name)


def _load(
    model: str, judge_model: str | None, context: int | None, threads: int | None, gpu_layers: int
) -> Engine:  # fmt: skip
    """Who judges; the model that writes is not needed, since the texts are there."""
    from rain.models import open_engine

    options.engine_numbers(context, threads, gpu_layers)
    name = judge_model or model
    with _status(f"loading {name} …"):
        try:
            return open_engine(name, context=context, threads=threads, gpu_layers=gpu_layers)
        except RainError as error:
            if judge_model:
                raise UsageError(f"--judge-model: {error}") from error
            raise


def _collect(
    engine: Engine, wanted: Preference | Weighted, rows: list[Row], how: dict[str, Any], out: Path | None
) -> Scores:
    from rain.preferences import calibration
    from rain.preferences.asked import style_of
    from rain.preferences.check import collect
    from rain.preferences.ledger import Ledger

    style = how["style"] or style_of(engine, rows)
    header = {
        "model": engine.fingerprint,
        "preference": wanted.name,
        "digest": calibration.digest(wanted, engine.fingerprint, style),
        "style": style,
        "reads_the_reply": how["reads_the_reply"],
    }
    ledger = Ledger(out, header)
    try:
        with _progress() as progress:
            return asyncio.run(collect(engine, wanted, rows, ledger=ledger, progress=progress, **how))
    except KeyboardInterrupt:
        if out:
            print(f"rain: what was judged is in {out}; the same command goes on from there", file=sys.stderr)
        raise
    finally:
        ledger.close()


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    from rain.cli.progress import bar as progress_bar

    with progress_bar() as bar:
        task = bar.add_task("judgements", total=None, rate="")

        def advance(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=f"{speed:.1f}/s" if speed else "")

        yield advance


@contextmanager
def _status(text: str) -> Iterator[None]:
    from rich.console import Console

    if not sys.stderr.isatty():
        yield
        return
    with Console(stderr=True).status(text):
        yield
