"""The search as a picture: one self-contained page, made of a trace's header and events."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from importlib import resources
from typing import Any

from rain.search.events import Event, Outcome
from rain.trace import Header

SHOWN = frozenset(
    (
        "iteration",
        "text",
        "rewind",
        "score",
        "passed",
        "texts",
        "priors",
        "visits",
        "value",
        "iterations",
        "stop",
        "finish",
        "stopped_by",
        "rewinds",
        "added",
    )
)
"""What the page is told of an event."""


def page(header: Header, events: Iterable[Event | Outcome]) -> str:
    """A page of HTML without any outside part: the text as it grew, what was tried and taken back, and every score."""
    data = {
        "prompt": header.prompt,
        "model": header.model,
        "mode": header.mode,
        "preference": header.preference,
        "seed": header.seed,
        "judge": header.judge,
        "events": [_plain(event) for event in events],
    }
    # Inside a script element nothing may look like its end, or like a comment.
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c").replace(">", "\\u003e")
    template = resources.files("rain.viewer").joinpath("page.html").read_text(encoding="utf-8")
    return template.replace("{{DATA}}", text, 1)


def _plain(event: Event | Outcome) -> dict[str, Any]:
    kind = type(event).__name__
    plain = {name: value for name, value in dataclasses.asdict(event).items() if name in SHOWN}
    return {"kind": kind, **plain}
