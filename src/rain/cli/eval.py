"""``rain eval SUITE``: methods compared on a suite's prompts, with judges that are not the model."""

from __future__ import annotations

import asyncio
import json as json_module
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rain.cli import eval_judge, eval_verdicts, options
from rain.cli.eval_verdicts import judge_samples
from rain.errors import UsageError
from rain.evaluation.items import How
from rain.evaluation.suites import ATTACKS, SUITES

if TYPE_CHECKING:
    from rain.api import Model
    from rain.evaluation.records import Manifest
    from rain.evaluation.run import Evaluation, Progress, Tally
    from rain.request import Options

DATA, RUN = "The prompts", "The run"
LINE_EVERY = 30.0
"""Seconds between two lines of progress where nobody watches a terminal."""

app = typer.Typer(
    name="eval",
    help="The paper's evaluation: methods compared on the same prompts, at the same cost with --max-forward-tokens; "
    "resumed where it stopped.",
    epilog="Start with: rain eval imdb --data FOLDER --limit 6 --max-forward-tokens 4000 --out DIR",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


def _option(*names: str, help: str, panel: str = RUN) -> Any:
    return options.option(*names, help=help, panel=panel)


def suite(
    context_: typer.Context,
    out: Annotated[Path, _option("--out", help="The run's folder; the same command goes on from what is in it.")],
    methods: Annotated[
        str, _option("--methods", help="Separated by commas; with changes as in rain[similarity=off,exploration=0].")
    ] = "vanilla,rain",
    sweep: Annotated[
        list[str] | None,
        _option("--sweep", help="KEY=V1,V2: RAIN once with each value of a setting, wording, encoder or evaluator."),
    ] = None,
    data: Annotated[
        Path | None, _option("--data", panel=DATA, help="A file or folder; else RAIN_DATA, else the hub.")
    ] = None,
    limit: Annotated[
        int | None, _option("--limit", panel=DATA, help="Only so many prompts: a fixed random part.")
    ] = None,
    skip_broken: Annotated[
        bool, _option("--skip-broken", panel=DATA, help="Leave broken rows out and count them, instead of stopping.")
    ] = False,
    attack: Annotated[
        str | None, _option("--attack", panel=DATA, help=f"advbench: {', '.join(ATTACKS)}; default all.")
    ] = None,
    prefill_tokens: Annotated[
        str, _option("--prefill-tokens", panel=DATA, help="prefill: lengths of what replies begin with, 1 to 1000.")
    ] = "25,100",
    opening_words: Annotated[
        int, _option("--opening-words", panel=DATA, help="imdb: words of a review that are gone on with.")
    ] = 5,
    preference: options.Preference = None,
    prefer: options.Prefer = None,
    preset: options.Preset = None,
    evaluator: options.Evaluator = None,
    placement: options.Placement = None,
    wording: options.Wording = None,
    system: options.System = None,
    style: options.Style = None,
    mode: options.Mode = None,
    set_: options.Set = None,
    seed: options.Seed = 0,
    encoder: options.Encoder = "wordllama",
    max_tokens: Annotated[
        int | None, _option("--max-tokens", panel=options.BUDGET, help="Tokens of a reply; default the suite's.")
    ] = None,
    max_iterations: Annotated[
        int | None,
        _option(
            "--max-iterations",
            panel=options.BUDGET,
            help="Of one reply: RAIN's iterations, draws of best-of-n, rounds of self-refine.",
        ),
    ] = None,
    max_forward_tokens: Annotated[
        int | None,
        _option(
            "--max-forward-tokens",
            panel=options.BUDGET,
            help="Of one reply, the same for every method; without it costs differ.",
        ),
    ] = None,
    max_seconds: Annotated[
        float | None,
        _option(
            "--max-seconds", panel=options.BUDGET, help="Of one reply; what comes of it then depends on the machine."
        ),
    ] = None,
    on_failure: Annotated[
        str,
        _option("--on-failure", help="What RAIN alone gives where no reply passes: best, or refuse (reports say so)."),
    ] = "best",
    judge: Annotated[
        str | None, _option("--judge", help="Judges, separated by commas, or none; default the suite's own.")
    ] = None,
    harm_data: Annotated[
        Path | None,
        _option("--harm-data", help="Labelled replies for the judge harm-classifier; else in --data, else RAIN_DATA."),
    ] = None,
    judge_url: Annotated[
        str | None, _option("--judge-url", help="The endpoint of an AI judge; default OPENAI_BASE_URL, else OpenAI's.")
    ] = None,
    judge_key_env: Annotated[
        str | None, _option("--judge-key-env", help="The variable that holds its key; default OPENAI_API_KEY.")
    ] = None,
    parallel: Annotated[int, _option("--parallel", help="Replies that are made at once.")] = 1,
    traces: Annotated[
        bool, _option("--traces", help="Keep each search of RAIN's, for the report and 'rain replay'.")
    ] = False,
    model: options.ModelName = "smollm2",
    judge_model: options.JudgeModel = None,
    context: options.Context = None,
    threads: options.Threads = None,
    gpu_layers: options.GpuLayers = 0,
    json: options.Json = False,
) -> int:
    from rain.evaluation import suites
    from rain.evaluation import sweep as sweeps

    name = context_.command.name or ""
    of = suites.suite_of(name)
    how = How(_numbers("--prefill-tokens", prefill_tokens), _words(attack), opening_words)
    suites.check(how, limit)
    if not 1 <= parallel <= 64:
        raise UsageError(f"--parallel: {parallel} is not between 1 and 64")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file; name a folder")
    tokens = max_tokens if max_tokens is not None else of.max_tokens
    wanted = _wanted(of.preference, preference, prefer, preset)
    shared: Any = {
        **wanted,
        "evaluator": evaluator,
        "placement": placement,
        "wording": wording,
        "system": system,
        "style": style or of.style,
        "mode": mode,
        "settings": sweeps.settings_of(options.settings(set_)),
        "on_failure": on_failure,
        "budget": options.budget(tokens, max_iterations, None, max_seconds),
    }
    options.budget(tokens, None, max_forward_tokens, None)
    arms = sweeps.arms(methods, sweep or [])
    for arm in arms:
        sweeps.options_of(arm, shared)
    if max_iterations is not None:
        _warn_of_unbounded({arm.method for arm in arms})
    said = {
        **_told(wanted, wording),
        **{key: value for key, value in shared.items() if key not in (*wanted, "budget")},
        "encoder": encoder,
        "context": context,
        "parallel": parallel,
        "max_tokens": tokens,
        "max_iterations": max_iterations,
        "max_forward_tokens": max_forward_tokens,
        "max_seconds": max_seconds,
        # None where nothing was asked for, as in runs that were begun before this could be.
        "on_failure": None if on_failure == "best" else on_failure,
        **_chosen(name, how),
    }
    judges = of.judges if judge is None else () if judge.strip() == "none" else _words(judge) or ()
    if harm_data is None and data is not None and (data / "labelled_replies.jsonl").is_file():
        harm_data = data / "labelled_replies.jsonl"
    judging: Any = {"harm_data": harm_data, "url": judge_url, "key_env": judge_key_env}
    if judges:
        from rain.evaluation.judges import check_names

        check_names(judges, **judging)
    prompts = suites.read(name, data=data, limit=limit, how=how, skip_broken=skip_broken)
    with options.load(model, context, threads, gpu_layers, encoder, judge_model) as loaded:
        from rain.evaluation.run import Evaluation, manifest_of

        prompts = suites.ready(prompts, loaded.engine.tokenizer)
        evaluation = Evaluation(prompts, tuple(arms), shared, max_forward_tokens, seed, out, parallel, traces)
        command = options.command_line()
        manifest = manifest_of(loaded, evaluation, said, command)
        manifest.machine.update(threads=threads, gpu_layers=gpu_layers)
        with _going_on(out, command):
            tally = _run(loaded, evaluation, manifest, shared)
            if judges and tally.samples > tally.errors:
                judge_samples(out, judges, {**judging, "model": loaded})
    return _finish(evaluation, tally, json)


for _suite in SUITES.values():
    _data = f"{_suite.source.name}, {_suite.source.licence}, {_suite.source.rows:,} rows ({_suite.file})"
    _help = (
        f"{_suite.about[0].upper()}{_suite.about[1:]}.\n\nData: {_data}; on the hub {_suite.hub.name}.\n\n"
        f"Default: preference {_suite.preference} (the paper's is --preset {_suite.preset}), "
        f"style {_suite.style or 'of the model'}, {_suite.max_tokens} tokens, judges {', '.join(_suite.judges)}."
        f"\n\nExample:\n\n    rain eval {_suite.name} --data FOLDER --limit 6 --max-forward-tokens 4000 --out DIR"
    )
    app.command(_suite.name, help=_help)(suite)
app.command("judge")(eval_judge.judge)
app.command("verdicts")(eval_verdicts.verdicts)


def _run(model: Model, evaluation: Evaluation, manifest: Manifest, shared: Options) -> Tally:
    from rain.evaluation.report_notes import COSTS_DIFFER
    from rain.evaluation.run import run
    from rain.evaluation.summary import of
    from rain.methods import find

    print(f"rain: {of(manifest)}", file=sys.stderr)
    for note in manifest.notes:
        print(f"rain: {note}", file=sys.stderr)
    if evaluation.max_forward_tokens is None and len(evaluation.arms) > 1:
        print(f"rain: warning: no limit on forward tokens: {COSTS_DIFFER}", file=sys.stderr)
    if any(find(arm.method).judged for arm in evaluation.arms):
        options.tell(model.trust(evaluation.loaded.items[0].prompt, **shared))
    with _progress() as progress:
        return asyncio.run(run(model, evaluation, manifest, progress))


def _warn_of_unbounded(methods: Iterable[str]) -> None:
    """Say which methods do not keep to a limit on iterations, though they have some."""
    from rain.methods import find

    if free := sorted(method for method in methods if not find(method).bounded):
        why = "use --max-forward-tokens to compare at equal cost"
        print(f"rain: warning: --max-iterations is no limit for {', '.join(free)}; {why}", file=sys.stderr)


@contextmanager
def _going_on(out: Path, command: str) -> Iterator[None]:
    """Say how to go on where somebody interrupts."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"rain: what was made is in {out}; the same command goes on from there: {command}", file=sys.stderr)
        raise


def _finish(evaluation: Evaluation, tally: Tally, json: bool) -> int:
    """Say what the run shows so far."""
    from rain.evaluation.summary import summary, table

    found = summary(evaluation.out)
    print(json_module.dumps(found, ensure_ascii=False) if json else table(found))
    if tally.errors:
        where = evaluation.out / "samples.jsonl"
        print(f"rain: {tally.errors} replies failed; their 'error' in {where} says why", file=sys.stderr)
    return 1 if tally.made and tally.errors == tally.made else 0


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar with rate and time left; where nobody watches, a line now and then."""
    from rain.cli.progress import bar as progress_bar

    watched = sys.stderr.isatty()
    began, first, spoke = time.monotonic(), None, time.monotonic()
    with progress_bar() as bar:
        task = bar.add_task("samples", total=None, rate="")

        def advance(done: int, total: int, what: str) -> None:
            nonlocal first, spoke
            first = done if first is None else first
            spent = time.monotonic() - began
            rate = (done - first) / spent * 60 if spent and done > first else 0.0
            told = f"{rate:.1f}/min" if rate else ""
            bar.update(task, completed=done, total=total, description=what, rate=told)
            if not watched and rate and time.monotonic() - spoke >= LINE_EVERY:
                spoke = time.monotonic()
                left = (total - done) / rate
                print(
                    f"rain: {done} of {total} samples, {told}, about {left:.0f} min left", file=sys.stderr, flush=True
                )

        yield advance


def _wanted(default: str, preference: str | None, prefer: str | None, preset: str | None) -> dict[str, Any]:
    """A preset brings its preference; the suite's is taken where nothing is said."""
    if preference is None and prefer is None and preset is None:
        preference = default
    return {"preference": preference, "prefer": prefer, "preset": preset}


def _told(wanted: dict[str, Any], wording: str | None) -> dict[str, Any]:
    """What the manifest says of the preference: also a hash of its words, since a file may change."""
    from rain.preferences import Preference, load_wanted
    from rain.preferences.calibration import digest

    found = load_wanted(wanted["preference"]) if wanted["preference"] else None
    if wording and isinstance(found, Preference):
        found = found.worded(wording)
    parts = [found] if isinstance(found, Preference) else [part.preference for part in found.parts] if found else []
    return {"preset": wanted["preset"], "preference_digest": "+".join(map(digest, parts)) or None}


def _chosen(suite: str, how: How) -> dict[str, Any]:
    """What of this suite was chosen."""
    chosen: dict[str, dict[str, Any]] = {
        "prefill": {"prefill_tokens": list(how.prefill_tokens)},
        "advbench": {"attack": None if how.attacks is None else list(how.attacks)},
        "imdb": {"opening_words": how.opening_words},
    }
    return chosen.get(suite, {})


def _numbers(option: str, words: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in words.split(",") if word.strip())
    except ValueError:
        raise UsageError(f"{option} '{words}': expected whole numbers separated by commas, as in 25,100") from None


def _words(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(word.strip() for word in text.split(",") if word.strip())
