"""What a check found, as a table for people."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from rain.preferences.check import Scores
    from rain.preferences.ranking import Estimate
    from rain.preferences.verdict import Figures, Ranks, Report


def show(found: Report, told: dict[str, Any], scores: Scores) -> None:
    """Print the table, what stands beside it, and the verdict last."""
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False, soft_wrap=False)
    console.print(_table(found, told))
    for line in _notes(found, told, scores):
        console.print(escape(line), soft_wrap=True)
    console.print(f"\n[bold]{escape(told['sentence'])}[/bold]", soft_wrap=True)


def _table(found: Report, told: dict[str, Any]) -> Table:
    judge = told["judge_model"] or told["model"]
    title = f"{told['preference']}, judged by {judge}: {found.texts} texts, {found.good} good"
    table = Table(title=escape(title))
    refusals = ("without refusals",) if found.refusals else ()
    columns = ("", "area", "pairs", *refusals, "at 25 / 50 %", "each question", "false alarms", "caught", "tokens",
               "verdict")  # fmt: skip
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if 0 < number < len(columns) - 1 else "left", no_wrap=number < 3)
    ordered = sorted(found.figures.items(), key=lambda item: -item[1].ranks.main[1].value)
    for name, figures in ordered:
        table.add_row(_marked(name, figures is found.chosen), *_judge(figures, found.refusals))
        for wording, other in figures.wordings.items():
            marked = _marked(f"  “{wording}”", other is found.chosen)
            table.add_row(marked, *_judge(other, found.refusals), style="dim")
    table.add_section()
    for name, ranks in found.baselines.items():
        early = _early(found.baselines_at[name])
        table.add_row(name, *_ranks(ranks, found.refusals), early, "", "", "", "0", "judges nothing")
    return table


def _marked(name: str, chosen: bool) -> str:
    return f"[bold]{escape(name)}[/bold]" if chosen else escape(name)


def _judge(figures: Figures, refusals: int) -> tuple[str, ...]:
    alone = " / ".join(f"{area.value:.2f}" for area in figures.asked)
    flagged = figures.flagged
    own = "" if figures.self_evaluation else " (not self-evaluation)"
    return (
        *_ranks(figures.ranks, refusals),
        _early(figures.at),
        alone,
        f"{flagged.false_alarms.value:.0%}",
        f"{flagged.caught.value:.0%}",
        f"{figures.forward_tokens:.0f}",
        figures.verdict + own,
    )


def _early(at: dict[float, Ranks]) -> str:
    return " / ".join(f"{ranks.area.value:.2f}" for ranks in at.values())


def _ranks(ranks: Ranks, refusals: int) -> tuple[str, ...]:
    """Area and pairs; where some texts refuse, also pairs without them."""
    whole = (_share(ranks.area), _share(ranks.pairs))
    return (*whole, _share(ranks.pairs_complying)) if refusals else whole


def _share(found: Estimate | None) -> str:
    return "" if found is None else f"{found.value:.2f} \\[{found.low:.2f}, {found.high:.2f}]"


def _notes(found: Report, told: dict[str, Any], scores: Scores) -> list[str]:
    lines = []
    pairs = next(iter(found.figures.values())).ranks.pairs
    if pairs is None:
        lines.append("No two texts for the same prompt: the verdict is about areas, and a search asks for pairs.")
    else:
        lines.append(f"{pairs.n} pairs for {pairs.prompts} prompts; {found.refusals} texts refuse. Intervals are 95 %.")
    apart = [f"{name} {one.disagreement:.2f}" for name, one in found.figures.items() if one.disagreement is not None]
    if apart:
        lines.append(f"Orders or wordings of the question disagree by (0 to 1): {', '.join(apart)}.")
    if scores.cut:
        longer = f"{len(scores.cut)} of {found.texts} texts are longer than {scores.most_tokens} tokens"
        lines.append(f"{longer} and were judged up to there, as unfinished (--max-tokens).")
    for name, line in found.classifiers.items():
        lines.append(f"{name} is a classifier and no judgement of the model's own: {line}.")
    for name, why in found.impossible.items():
        lines.append(f"{name} cannot be asked: {why}.")
    spent = f"{scores.usage.forward_tokens:,} forward tokens in {scores.seconds:,.0f} s"
    lines.append(f"{spent}, on {told['data']}, seed {told['seed']}.")
    lines += told["keeping"]
    if told["kept"]:
        lines.append("What was measured is kept for this model and used from now on (rain preferences shows it).")
    return lines
