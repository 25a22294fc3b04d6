"""``rain human``: blind ratings by people: a form to rate with, and what the ratings say."""

from __future__ import annotations

import json as json_module
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rain.cli import options

if TYPE_CHECKING:
    from rain.evaluation.agreement import Coefficient
    from rain.evaluation.human_score import Rate, Scores, Wins

OWN = " (not independent: the judged model, or what judged within its searches)"

group = typer.Typer(
    no_args_is_help=True,
    help="Blind ratings by people: make a form (new), read the ratings (score).",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@group.command("new")
def new(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder that 'rain eval … --out RUN' made.")],
    methods: Annotated[
        str | None, typer.Option("--methods", metavar="A,B", help="Two methods; not needed where the run has two.")
    ] = None,
    n: Annotated[int | None, typer.Option("--n", metavar="N", help="Items, drawn by chance. Default: all.")] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.html", help="The form.")] = Path("rate.html"),
    measure: Annotated[
        str | None,
        typer.Option("--measure", help="What is asked: harmless, positive, truthful, helpful. Default: as the run."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of items, order and sides. Default: drawn, and kept in the key.")
    ] = None,
    json: options.Json = False,
) -> int:
    """Make one HTML file that two methods' replies can be rated in: blind, offline, with the keyboard.

    Beside FILE.html lies FILE.key.json, which says whose reply is whose: raters must not get it, nor the run.

    Example:

        rain human new runs/hh --methods vanilla,rain --n 60 --out rate.html
    """
    from rain.evaluation import human, sweep

    form = human.make(run, None if methods is None else sweep.split(methods), n=n, seed=seed, measure=measure)
    key = human.write(form, out)
    items = len(form.key.places)
    if json:
        print(json_module.dumps({"form": str(out), "key": str(key), "items": items, "measure": form.key.measure}))
        return 0
    print(out)
    print(
        f"rain: {items} items; the key is {key}: keep it and the run from the raters.\n"
        "rain: warning: prompts and replies may offend or disturb; tell raters before they open the file.",
        file=sys.stderr,
    )
    return 0


@group.command("score")
def score(
    ratings: Annotated[list[Path], typer.Argument(metavar="RATINGS.json…", help="What raters have exported.")],
    key: Annotated[Path, typer.Option("--key", metavar="FILE.key.json", help="The form's key.")],
    ai: Annotated[
        Path | None, typer.Option("--ai", metavar="DIR", help="A run with judges' verdicts to compare people with.")
    ] = None,
    json: options.Json = False,
) -> int:
    """Rates, wins without ties, and how far raters agree with each other and with judges. Intervals are of 95 %.

    Example:

        rain human score ratings-*.json --key rate.key.json --ai runs/hh
    """
    from rain.evaluation import human, human_score

    known = human.read_key(key)
    found = human_score.score(human_score.read_ratings(ratings, known), known, ai)
    print(json_module.dumps(plain(found.as_dict())) if json else _table(found))
    return 0


def plain(value: Any) -> Any:
    """JSON has no endless numbers."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _table(found: Scores) -> str:
    from rain.cli.live import clean

    lines = [f"{found.items} items, {len(found.raters)} raters: {', '.join(found.raters)}", "", f"{found.measure}:"]
    for method in found.methods:
        lines.append(f"  {method}: {_rate(found.rates[method])}")
        if len(found.raters) > 1:
            lines += [f"    {name}: {_rate(rates[method])}" for name, rates in found.rates_by_rater.items()]
    lines += ["", f"{found.methods[0]} beside {found.methods[1]}, ties left out: {_wins(found.wins)}"]
    if len(found.raters) > 1:
        lines += [f"    {name}: {_wins(wins)}" for name, wins in found.wins_by_rater.items()]
        lines += [
            "",
            f"Krippendorff's alpha: {found.measure} {_coefficient(found.alpha_yes_no)}; "
            f"better {_coefficient(found.alpha_better)}",
        ]
    if found.left_out:
        lines += ["", f"{found.left_out} replies are left out beside judges: their run has another text, or none."]
    for judge, count in found.undecided.items():
        if count:
            lines += ["", f"{judge}: {count} pairs are left out of 'better': its two orders disagree, which is no tie."]
    for title, pairs in (("Person against person", found.people), ("People against judges", found.ai)):
        if pairs:
            lines += ["", title + ":"]
        for pair in pairs:
            own = OWN if pair.other in found.not_independent else ""
            lines.append(f"  {pair.one} and {pair.other}{own}")
            for what, said in ((found.measure, pair.yes_no), ("better", pair.better)):
                lines.append(f"    {what}: alike {_coefficient(said.raw)}, kappa {_coefficient(said.kappa)}")
    return clean("\n".join(lines))


def _rate(rate: Rate) -> str:
    if rate.share is None:
        return f"not rated ({rate.unrated} unrated)"
    return f"{_percent(rate.share, rate.low, rate.high)} of {rate.n} ratings, {rate.unrated} unrated"


def _wins(wins: Wins) -> str:
    counts = f"{wins.won} won, {wins.lost} lost, {wins.ties} ties, {wins.unrated} unrated"
    return f"{counts}. {wins.test.sentence}" if wins.test else counts


def _percent(share: float, low: float, high: float) -> str:
    return f"{100 * share:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def _coefficient(value: Coefficient) -> str:
    if value.value is None:
        return f"undefined (N = {value.n})"
    interval = "no interval" if value.low is None or value.high is None else f"[{value.low:.2f}, {value.high:.2f}]"
    return f"{value.value:.2f} {interval} (N = {value.n})"
