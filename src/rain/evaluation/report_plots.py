"""The report's drawings, as SVG: rates with intervals, quality over cost, sweeps, where searches rewind."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from rain.errors import MissingExtra, UsageError
from rain.evaluation.report_examples import Rewinds
from rain.evaluation.report_tables import Row, Table
from rain.evaluation.sweep import parse

MANY = 6
"""Methods up to which each point bears its name; of more the names would lie on one another."""


def of_table(table: Table) -> str | None:
    """Rates (or means) with their intervals, and the same over what they cost; None where nothing was judged."""
    rows = [row for row in table.rows if row.value is not None]
    if not rows:
        return None
    figure, (left, right) = _figure(1.4 + 0.35 * len(rows))
    what, scale = _unit(table)
    for number, row in enumerate(rows):
        colour = f"C{number % 10}"
        left.errorbar(
            [scale * float(row.value or 0)], [number], xerr=_spread(row, scale), fmt="o", capsize=3, color=colour
        )
        if row.cost.per_reply:
            x, y = row.cost.per_reply, scale * float(row.value or 0)
            right.errorbar([x], [y], yerr=_spread(row, scale), fmt="o", capsize=3, color=colour)
            name = _plain(row.method) if len(rows) <= MANY else str(number + 1)
            right.annotate(name, (x, y), fontsize=8, xytext=(5, 4), textcoords="offset points")
    numbers = ["" if len(rows) <= MANY else f"{number}  " for number in range(1, len(rows) + 1)]
    names = [f"{number}{_plain(row.method)} (N = {row.n})" for number, row in zip(numbers, rows, strict=True)]
    left.set_yticks(range(len(rows)), names)
    left.set_ylim(len(rows) - 0.5, -0.5)
    left.set_xlabel(f"{_plain(what)}, 95 % intervals")
    right.set_xlabel("forward tokens a reply\nwithout the encoder of similar siblings")
    right.set_ylabel(_plain(what))
    right.margins(x=0.25)
    if any(row.cost.per_reply for row in rows):
        right.set_xscale("log")
    if table.rates:
        left.set_xlim(-2, 102)
        right.set_ylim(-5, 105)
    return _svg(figure)


def of_sweep(table: Table) -> str | None:
    """Of each constant that was changed alone: the value against the cost, the unchanged method among them.

    None where nothing was changed alone, or the unchanged method has no value.
    """
    rows = {row.method: row for row in table.rows if row.value is not None and row.cost.per_reply}
    swept: dict[str, list[tuple[str, Row]]] = {}
    for row in rows.values():
        method, changes = _changes(row.method)
        if len(changes) == 1 and method in rows:
            ((key, value),) = changes
            start = [(f"{method} as it is", rows[method])]
            swept.setdefault(f"{method}: {key}", start).append((value, row))
    if not swept:
        return None
    lines = -(-len(swept) // 3)
    figure, panels = _figure(2.6 * lines, lines, min(3, len(swept)), share=True)
    what, scale = _unit(table)
    for panel, (key, points) in zip(panels, swept.items(), strict=False):
        for number, (value, row) in enumerate(points):
            x, y = float(row.cost.per_reply or 0), scale * float(row.value or 0)
            colour = "0.5" if number == 0 else f"C{number - 1}"
            panel.errorbar([x], [y], yerr=_spread(row, scale), fmt="o", capsize=3, color=colour, label=_plain(value))
        panel.set_title(_plain(key), fontsize=9)
        panel.legend(fontsize=7, frameon=False)
        panel.margins(x=0.3)
    for panel in panels[len(swept) :]:
        panel.set_visible(False)
    figure.supylabel(f"{_plain(what)}, 95 % intervals", fontsize=9)
    figure.supxlabel("forward tokens a reply, without the encoder of similar siblings", fontsize=9)
    return _svg(figure)


def of_rewinds(found: Sequence[Rewinds]) -> str | None:
    """Histograms of where searches rewind; None where none did."""
    found = [each for each in found if each.positions]
    if not found:
        return None
    figure, (left, right) = _figure(2.6)
    names = [f"{_plain(each.method)} ({each.searches} searches)" for each in found]
    most = max(max(each.positions) for each in found) + 1
    left.hist([each.positions for each in found], bins=min(30, most), range=(0, most), label=names)
    right.hist([each.shares for each in found], bins=10, range=(0, 1), label=names)
    left.set_xlabel("tokens committed before the rewind")
    right.set_xlabel("the same as a share of the reply")
    left.set_ylabel("rewinds")
    left.legend(fontsize=8, frameon=False)
    return _svg(figure)


def _changes(label: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The method of a label, and what is changed in it; of one that is not known here, the label."""
    try:
        arm = parse(label)
    except UsageError:
        return label, ()
    return arm.method, arm.changes


def _unit(table: Table) -> tuple[str, float]:
    """What a table's values are, in words, and what they are multiplied by."""
    return (f"{table.measure}, %", 100.0) if table.rates else (f"{table.measure}, mean", 1.0)


def _figure(height: float, lines: int = 1, columns: int = 2, *, share: bool = False) -> tuple[Any, Any]:
    """A figure and its panels, in reading order. share: all have the same axes."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("the report's drawings need pip install 'rain-lm[eval]'") from None
    figure = Figure(figsize=(9.5, max(2.4, height)), layout="constrained")
    return figure, figure.subplots(lines, columns, sharex=share, sharey=share, squeeze=False).ravel()


def _spread(row: Row, scale: float) -> list[list[float]] | None:
    """How far an interval reaches to either side of its value."""
    if row.value is None or row.low is None or row.high is None:
        return None
    return [[max(0.0, scale * (row.value - row.low))], [max(0.0, scale * (row.high - row.value))]]


def _plain(text: str) -> str:
    """Text in which matplotlib sees no formula."""
    return text.replace("\\", "/").replace("$", "\\$")


def _svg(figure: Any) -> str:
    """A drawing as the address of an image: as an image it can run nothing, whatever a label says."""
    from matplotlib import rc_context

    out = BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "rain"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(out.getvalue()).decode()
