"""``rain replay``: a recorded search again, without a model."""

from __future__ import annotations

import dataclasses
import json as json_module
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rain.cli import options
from rain.errors import UsageError

if TYPE_CHECKING:
    from rain.trace import Trace


def replay(
    path: Annotated[Path, typer.Argument(metavar="TRACE", help="A file that 'rain generate … --trace FILE' made.")],
    pause: Annotated[float, typer.Option("--pause", help="Seconds between two events on a terminal.")] = 0.03,
    html: Annotated[
        Path | None, typer.Option("--html", help="Draw the search into this file, a page that needs nothing else.")
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Run a recorded search again, without a model, and check that it does the same.

    Example:

        rain generate "The film opens with" -p positive --style plain --trace search.jsonl && rain replay search.jsonl

        rain replay search.jsonl --html search.html
    """
    from rich.console import Console

    from rain.cli.live import View, clean
    from rain.search.events import Committed, Outcome, TakenBack
    from rain.trace import Trace

    if not 0 <= pause <= 60:
        raise UsageError(f"--pause: {pause} is not between 0 and 60 seconds")
    trace = Trace(path)
    if html:
        return _draw(trace, html)
    console = Console()
    committed, outcome = "", None
    view = View(console) if console.is_terminal and not (json or quiet) else None
    if view:
        view.__enter__()
    try:
        for event in trace.replay():
            if isinstance(event, Outcome):
                outcome = event
            elif isinstance(event, Committed):
                committed += event.text
            elif isinstance(event, TakenBack):
                committed = committed.removesuffix(event.text)
            if view and not isinstance(event, Outcome):
                view.show(event)
                time.sleep(pause)
    finally:
        if view:
            view.__exit__(None, None, None)
    if json:
        plain = None if outcome is None else dataclasses.asdict(outcome)
        header = trace.header
        print(json_module.dumps({"prompt": header.prompt, "model": header.model, "outcome": plain}))
        return 0
    print(clean(committed if outcome is None else outcome.text))
    if outcome is None:
        print("rain: the search was interrupted here; this is what was committed", file=sys.stderr)
    elif not quiet and sys.stderr.isatty():
        print(f"{outcome.iterations} iterations, {outcome.rewinds} rewinds, the same as recorded", file=sys.stderr)
    return 0


def _draw(trace: Trace, html: Path) -> int:
    from rain.viewer import page

    text = page(trace.header, trace.replay())
    try:
        html.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--html {html}: cannot be written: {error.strerror or error}") from None
    print(html)
    return 0
