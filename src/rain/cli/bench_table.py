"""The figures of ``rain bench`` as people read them."""

from __future__ import annotations

from typing import Any

PACE = "seconds over vanilla and the pairs: per output token; total seconds over vanilla: of whole replies"


def table(result: dict[str, Any]) -> str:
    """All but the calls of each part, which only JSON has."""
    from io import StringIO

    from rich.console import Console
    from rich.table import Table

    out = StringIO()
    console = Console(file=out, width=100)
    if result["interrupted"]:
        console.print(f"interrupted: {result['prompts']} of {result['prompts_asked']} prompts were measured")
    modes = result["modes"]
    if not modes:
        return out.getvalue().rstrip()
    shown = Table(title=f"{result['model']}, {result['prompts']} prompts, {_memory(result)}")
    shown.caption = PACE if "vanilla" in modes and len(modes) > 1 else None
    shown.add_column("")
    for mode in modes:
        shown.add_column(mode, justify="right")
    for name in dict.fromkeys(name for figures in modes.values() for name in figures):
        if "_calls_per_" not in name:
            shown.add_row(name.replace("_", " "), *(_shown(figures.get(name)) for figures in modes.values()))
    for extra in ("profile", "growth"):
        for name, value in result.get(extra, {}).items():
            if not isinstance(value, list) and (value is not None or name != "why"):
                shown.add_row(f"{extra}: {name.replace('_', ' ')}", _shown(value))
    console.print(shown)
    return out.getvalue().rstrip()


def _memory(result: dict[str, Any]) -> str:
    over = result["peak_mb_over_model_and_cache"]
    return f"peak memory {result['peak_mb']} MB" + (f", {over} of them beside model and cache" if over else "")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(map(_shown, value))
    if isinstance(value, str):
        return value
    return "" if value is None else f"{value:,}"
