"""Three review openings on a real frozen model: what it says alone, and what it says with RAIN.

    make demo

Both use the same seed, temperature and top-k. The figure is VADER's, a lexicon that has nothing to do with the model:
-1 is as negative as can be, +1 as positive. Takes two to three minutes on two cores.
"""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

import rain

OPENINGS = (
    "The guide was late and",
    "The bakery on our street changed owners, and now",
    "The jokes in this comedy are good, and",
)
HEADING = "A customer's review:"
"""Stands above each opening, for both: without it the model goes on with stories and adverts as well."""
CANDIDATES = {"temperature": 1.0, "top_k": 15}
QUICK = {"iterations_per_set": 24, "fresh_iterations": 10}
"""About half of the paper's iterations for each token set: a demonstration should not take long."""
VANILLA = rain.Budget(max_tokens=40)
SEARCH = rain.Budget(max_tokens=40, max_seconds=100)
"""Out of time, the search commits the best it knows and says so."""
WANT: rain.Options = {"preset": "positive", "preference": "positive", "style": "plain", "system": HEADING}
"""The paper's settings, judged in one word: its own three-way choice is beyond a model of this size."""


def main() -> None:
    console, progress = Console(), Console(stderr=True)
    console.print("\n[bold]A frozen SmolLM2-135M goes on with three openings: alone, then with RAIN (`positive`).[/]")
    with progress.status("loading the model"):
        model = rain.load("smollm2")
    sentiment = SentimentIntensityAnalyzer()
    scores: dict[str, list[float]] = {"alone": [], "RAIN": []}
    for number, opening in enumerate(OPENINGS, 1):
        with progress.status(f"opening {number} of {len(OPENINGS)}: searching, up to a minute"):
            alone = model.generate(opening, mode="vanilla", seed=number, budget=VANILLA, settings=CANDIDATES, **WANT)
            searched = model.generate(
                opening, mode="faithful", seed=number, budget=SEARCH, settings=CANDIDATES | QUICK, **WANT
            )
        table = Table(show_header=False, title=f"{opening} …", title_justify="left", expand=True)
        table.add_column(style="bold", width=6)
        table.add_column(ratio=1)
        table.add_column(width=22)
        for name, reply in (("alone", alone), ("RAIN", searched)):
            text = reply.text.removeprefix(opening)
            compound = sentiment.polarity_scores(text)["compound"]
            scores[name].append(compound)
            colour = "green" if compound > 0.05 else "red" if compound < -0.05 else "yellow"
            figures = f"[{colour}]sentiment {compound:+.2f}[/]\n[dim]{cost(reply)}[/]"
            table.add_row(name, escape(text.strip()), figures)
        console.print(table)
        sys.stdout.flush()
    means = {name: sum(values) / len(values) for name, values in scores.items()}
    console.print(
        f"[bold]Mean sentiment: alone {means['alone']:+.2f}, with RAIN {means['RAIN']:+.2f}[/] "
        "(VADER; three samples show how it works, `make proof` measures it).\n"
        "See the search at work:\n"
        "  .venv/bin/rain generate 'The acting in this film is' --preference positive --style plain --max-tokens 40"
    )


def cost(reply: rain.Reply) -> str:
    usage = reply.usage
    lines = [f"{usage.forward_tokens:,} forward tokens, {usage.seconds:.0f} s"]
    if usage.iterations:
        lines.insert(0, f"{usage.iterations} tries, {usage.rewinds} rewinds")
    if reply.stopped_by in ("deadline", "budget"):
        lines.append("(time was up: best so far)")
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
