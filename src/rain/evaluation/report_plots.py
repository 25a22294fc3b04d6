"""The report's drawings, as SVG: rates with intervals, quality over cost, where searches rewind."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from rain.errors import MissingExtra
from rain.evaluation.report_examples import Rewinds
from rain.evaluation.report_tables import Row, Table


def of_table(table: Table) -> str | None:
    """Rates (or means) with their intervals, and the same over what they cost; None where nothing was judged."""
    rows = [row for row in table.rows if row.value is not None]
    if not rows:
        return None
    figure, (left, right) = _figure(1.4 + 0.35 * len(rows))
    what = f"{table.measure}, %" if table.rates else f"{table.measure}, mean"
    scale = 100.0 if table.rates else 1.0
    for number, row in enumerate(rows):
        colour = f"C{number % 10}"
        left.errorbar(
            [scale * float(row.value or 0)], [number], xerr=_spread(row, scale), fmt="o", capsize=3, color=colour
        )
        if row.cost.per_reply:
            x, y = row.cost.per_reply, scale * float(row.value or 0)
            right.errorbar([x], [y], yerr=_spread(row, scale), fmt="o", capsize=3, color=colour)
            right.annotate(_plain(row.method), (x, y), fontsize=8, xytext=(5, 4), textcoords="offset points")
    left.set_yticks(range(len(rows)), [f"{_plain(row.method)} (N = {row.n})" for row in rows])
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


def _figure(height: float) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("the report's drawings need pip install 'rain-lm[eval]'") from None
    figure = Figure(figsize=(9.5, max(2.4, height)), layout="constrained")
    return figure, figure.subplots(1, 2, width_ratios=(1, 1))


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
