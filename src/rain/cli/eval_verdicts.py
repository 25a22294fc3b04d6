"""``rain eval verdicts``: judges for a run that was made, without the model that made it."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from rain.cli import options
from rain.errors import UsageError


def verdicts(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run (--out of rain eval).")],
    judge: Annotated[
        str,
        typer.Option("--judge", help="vader, refusal, harm-classifier, overlap, ai:MODEL; separated by commas."),
    ],
    harm_data: Annotated[
        Path | None, typer.Option("--harm-data", help="What the harm classifier is fitted to; else RAIN_DATA.")
    ] = None,
    judge_url: Annotated[
        str | None, typer.Option("--judge-url", help="An AI judge's endpoint; default OPENAI_BASE_URL, else OpenAI's.")
    ] = None,
    judge_key_env: Annotated[
        str | None, typer.Option("--judge-key-env", help="The variable with its key; default OPENAI_API_KEY.")
    ] = None,
    measure: Annotated[
        str | None,
        typer.Option("--measure", help="Which of the judge's measures, separated by commas; better compares replies."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="METHOD", help="What better compares the others with; default vanilla."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Judge anew what is judged, and ask again what is kept; costs it all again.")
    ] = False,
    json: options.Json = False,
) -> int:
    """Let judges judge the samples of a run that they have not judged; no model is loaded.

    Examples:

        rain eval verdicts build/eval/hh --judge refusal,ai:gpt-4o

        rain eval verdicts build/eval/hh --judge ai:MODEL --judge-url http://127.0.0.1:8000/v1

        rain eval verdicts build/eval/hh --judge ai:gpt-4o --measure better --against best-of-n
    """
    from rain.evaluation.summary import summary, table

    names = tuple(dict.fromkeys(name.strip() for name in judge.split(",") if name.strip()))
    if not names:
        raise UsageError("--judge: name a judge, as in --judge refusal")
    if "self" in names:
        raise UsageError("--judge self: the model must be there; ask for it in the command that made the run")
    if not (run / "samples.jsonl").is_file():
        raise UsageError(f"{run}: is no folder of a run; give what was --out of rain eval")
    measures = None if measure is None else [name.strip() for name in measure.split(",") if name.strip()]
    if measures == []:
        raise UsageError("--measure: name a measure, as in --measure better")
    judging = {"harm_data": harm_data, "url": judge_url, "key_env": judge_key_env}
    judge_samples(run, names, {**judging, "measures": measures, "against": against, "fresh": fresh})
    found = summary(run)
    print(json_module.dumps(found, ensure_ascii=False) if json else table(found))
    return 0


def judge_samples(out: Path, judges: Sequence[str], judging: dict[str, Any]) -> None:
    """Judge what the judges have not judged, with a bar; say what each did and what it cost."""
    from rain.cli.progress import bar as progress_bar
    from rain.evaluation.judges import judge_run

    with progress_bar() as bar:
        task = bar.add_task("judgements", total=None, rate="")

        def advance(judge: str, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, description=judge)

        for told in judge_run(out, judges, progress=advance, **judging):
            cost = ", ".join(f"{amount:,} {name.replace('_', ' ')}" for name, amount in told.cost.items())
            kept = f", {told.kept} kept from before" if told.kept else ""
            counts = f"{told.new} judged, {told.unjudged} unjudged{kept}"
            print(f"rain: {told.judge}: {counts}{cost and '; '}{cost}", file=sys.stderr)
