"""``rain report``: what runs show, as a page of HTML and as Markdown."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from rain.cli import options
from rain.errors import UsageError


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="DIR…", help="Folders that 'rain eval … --out DIR' made.")],
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="One page that needs nothing else.")
    ] = None,
    md: Annotated[Path | None, typer.Option("--md", metavar="FILE", help="The same as Markdown.")] = None,
    against: Annotated[
        str, typer.Option("--against", metavar="METHOD", help="What all other methods are compared with.")
    ] = "vanilla",
    json: options.Json = False,
) -> int:
    """What runs show: rates and differences with intervals, costs, examples, and how to repeat it.

    Markdown goes to standard output where neither --html nor --md is given.

    Example:

        rain report runs/hh runs/prefill --html report.html --md report.md
    """
    from rain.cli.human import plain
    from rain.evaluation import report as made

    found = made.build(runs, against=against)
    if json:
        sections = [plain(section.as_dict()) for section in found.sections]
        print(json_module.dumps({"version": found.version, "made": found.made, "runs": sections}))
    for path, text in ((html, made.html), (md, made.markdown)):
        if path:
            whole = text(found)
            try:
                path.write_text(whole, encoding="utf-8")
            except OSError as error:
                raise UsageError(f"{path}: cannot be written: {error.strerror or error}; name another file") from None
            if not json:
                print(path)
    if not (html or md or json):
        print(made.markdown(found), end="")
    return 0
