"""Replies side by side with their search, and where searches rewind: from samples and traces."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rain.errors import UsageError
from rain.evaluation.records import Sample
from rain.evaluation.report_tables import Table
from rain.trace import Trace

EACH = 2
"""Examples of the best, the worst, and of those drawn by chance."""
SEED = 0
STEPS = 60
"""Steps of a search that are shown."""
# Control characters, and those that turn the direction of what follows.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened in a search."""

    what: str
    text: str
    score: float | None


@dataclass(frozen=True, slots=True)
class Shown:
    """One method's reply."""

    method: str
    prefix: str
    text: str
    verdicts: tuple[tuple[str, str], ...]
    """What judges say: measure and judge, the verdict in words."""
    score: float | None
    """The method's own."""
    forward_tokens: int | None
    error: str | None
    steps: tuple[Step, ...]
    more_steps: int
    """That are not shown."""
    trace: str | None


@dataclass(frozen=True, slots=True)
class Example:
    """All methods' replies to one prompt."""

    why: str
    """As "rain higher than vanilla" or "drawn by chance"; higher is not always better (refused)."""
    item: str
    prompt: str
    replies: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class Rewinds:
    """Where a method's searches went back: tokens committed before each rewind."""

    method: str
    searches: int
    positions: tuple[int, ...]
    shares: tuple[float, ...]
    """The same as a share of the reply's tokens."""


def clean(text: str) -> str:
    """A model's text without characters that nobody sees but that change what is seen."""
    return _UNSEEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def examples(
    folder: Path,
    samples: Sequence[Sample],
    methods: Sequence[str],
    table: Table | None,
    said: Mapping[tuple[str, str], Mapping[str, Any]],
) -> list[Example]:
    """The best and the worst prompts for the first method beside the baseline, by ``table``, and some by chance.

    Where more prompts are equally good or bad than are shown, a fixed seed draws.
    """
    by: dict[tuple[str, int], dict[str, Sample]] = {}
    for sample in samples:
        by.setdefault((sample.item, sample.seed), {})[sample.method] = sample
    chance, chosen = random.Random(SEED), dict[tuple[str, int], str]()
    places = sorted(by)
    if table and table.against:
        against = table.against
        others = [row.method for row in table.rows if row.method != against and row.n]
        judged = said[table.judge, table.measure]
        if others:
            ours = "rain" if "rain" in others else others[0]
            differ = {
                place: float(judged[by[place][ours].id]) - float(judged[by[place][against].id])
                for place in places
                if all(
                    method in by[place] and judged.get(by[place][method].id) is not None for method in (ours, against)
                )
            }
            for turn, word in ((1, "higher"), (-1, "lower")):
                better = [place for place, difference in differ.items() if turn * difference > 0]
                chance.shuffle(better)
                better.sort(key=lambda place: -turn * differ[place])
                chosen |= dict.fromkeys(better[:EACH], f"{ours} {word} than {against} ({table.measure}, {table.judge})")
    rest = [place for place in places if place not in chosen]
    for place in chance.sample(rest, min(EACH, len(rest))):
        chosen[place] = "drawn by chance"
    return [
        Example(
            why,
            place[0],
            clean(next(iter(by[place].values())).prompt),
            tuple(_shown(folder, by[place][method], said) for method in methods if method in by[place]),
        )
        for place, why in chosen.items()
    ]


def rewinds(folder: Path, samples: Sequence[Sample]) -> list[Rewinds]:
    """Where searches rewind, of each method that has traces. Traces that are missing or broken are left out."""
    found: dict[str, list[list[tuple[int, int]]]] = {}
    for sample in samples:
        trace = _trace(folder, sample)
        if trace is not None:
            found.setdefault(sample.method, []).append(list(_rewound(trace)))
    return [
        Rewinds(
            method,
            len(searches),
            tuple(at for each in searches for at, _ in each),
            tuple(at / all_ for each in searches for at, all_ in each if all_),
        )
        for method, searches in found.items()
    ]


def _shown(folder: Path, sample: Sample, said: Mapping[tuple[str, str], Mapping[str, Any]]) -> Shown:
    told = tuple(
        (f"{measure} ({judge})", _word(values[sample.id]))
        for (judge, measure), values in said.items()
        if sample.id in values
    )
    trace = _trace(folder, sample)
    steps = list(_steps(trace)) if trace else []
    forward = int(sample.usage["forward_tokens"] + sample.usage["judge_forward_tokens"]) if sample.usage else None
    return Shown(
        sample.method,
        clean(sample.prefix),
        clean(sample.text),
        told,
        sample.score,
        forward,
        clean(sample.error) if sample.error else None,
        tuple(steps[:STEPS]),
        max(0, len(steps) - STEPS),
        sample.trace if trace else None,
    )


def _word(value: Any) -> str:
    if value is None:
        return "unjudged"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, int | float) else clean(str(value))


def _trace(folder: Path, sample: Sample) -> Trace | None:
    """A sample's trace; None where there is none that can be read. Only inside the run's folder."""
    if not sample.trace:
        return None
    path = (folder / sample.trace).resolve()
    if not path.is_relative_to(folder.resolve()):
        return None
    try:
        return Trace(path)
    except UsageError:
        return None


def _rewound(trace: Trace) -> Iterator[tuple[int, int]]:
    """Of each rewind: the tokens committed before it, and the most that were committed at once."""
    at, most, places = 0, 0, []
    for line in trace.lines[1:]:
        if line.get("event") == "Committed":
            at += len(line.get("tokens", ()))
        elif line.get("event") == "TakenBack":
            at -= len(line.get("tokens", ()))
            places.append(at)
        elif line.get("event") == "Tried" and line.get("rewind"):
            places.append(at)
        most = max(most, at)
    return ((place, most) for place in places)


def _steps(trace: Trace) -> Iterator[Step]:
    """What was tried and taken back, and what was kept."""
    words = {True: "rewound, tried", False: "tried"}
    for line in trace.lines[1:]:
        kind, text = line.get("event"), clean(str(line.get("text", "")))
        if kind == "Tried":
            yield Step(words[bool(line.get("rewind"))], text, None)
        elif kind == "Committed":
            yield Step("kept", text, line.get("value"))
        elif kind == "TakenBack":
            yield Step("taken back, for a better whole text", text, None)
        elif kind == "Drafted":
            yield Step("draft passed" if line.get("passed") else "draft failed", text, line.get("score"))
