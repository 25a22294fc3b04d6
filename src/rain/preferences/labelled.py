"""Labelled texts to check a judge on: our own samples, or a file of JSON lines with a label."""

from __future__ import annotations

import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from rain.errors import UsageError
from rain.preferences.preference import builtin_names

_TRUE = {"true", "yes", "good", "positive", "1", "1.0"}
_FALSE = {"false", "no", "bad", "negative", "0", "0.0"}


@dataclass(frozen=True, slots=True)
class Row:
    """One text and whether it has what is preferred."""

    prompt: str
    """Empty where the text stands alone."""
    reply: str
    good: bool
    partial: bool = False
    """Whether the text was cut off."""

    @property
    def id(self) -> str:
        """Of the texts and the label, so that a file of scores knows its rows again."""
        return hashlib.sha256(json.dumps([self.prompt, self.reply, self.good]).encode()).hexdigest()[:16]


def groups(rows: Sequence[Row]) -> list[Hashable]:
    """Which rows share a prompt; a text that stands alone shares with none."""
    return [row.prompt or number for number, row in enumerate(rows)]


def samples(name: str) -> list[Row]:
    """The samples of our own for a built-in preference, longer and harder ones behind the others where there are some.

    Raises UsageError: there are none.
    """
    if name not in builtin_names():
        raise UsageError(
            f"preference {name!r} has no samples of its own: give labelled texts with --data FILE.jsonl --label FIELD"
        )
    folder = resources.files("rain.preferences").joinpath("samples")
    parts = [part for part in (folder / f"{name}.jsonl", folder / f"{name}-hard.jsonl") if part.is_file()]
    rows = [json.loads(line) for part in parts for line in part.read_text(encoding="utf-8").splitlines()]
    return [Row(row["prompt"], row["reply"], row["good"], row["partial"]) for row in rows]


def read(path: Path, label: str | None = None, text: str | None = None) -> list[Row]:
    """The rows of a file of JSON lines.

    label: ``FIELD`` (true is good) or ``FIELD=VALUE`` (that value is good); default ``good``. text: the field of the
    text, default ``reply`` where there is one, else ``text``; the field ``prompt`` is what it replies to.
    Raises UsageError: no such file or field, not JSON, an empty text, labels other than two.
    """
    objects = _objects(path)
    field, equals, wanted = (label or "good").partition("=")
    text = text or ("reply" if "reply" in objects[0][1] else "text")
    labels, rows = [], []
    for number, row in objects:
        for name, option in ((field, "--label"), (text, "--text")):
            if name not in row or row[name] is None:
                fields = ", ".join(row) or "none"
                raise UsageError(f"{path}, line {number}: no field {name!r} ({option}); its fields are {fields}")
        if not isinstance(row[text], str) or not row[text].strip():
            raise UsageError(f"{path}, line {number}: the field {text!r} must be a text that is not empty")
        labels.append(_plain(row[field]))
        prompt = row.get("prompt") or ""
        if not isinstance(prompt, str):
            raise UsageError(f"{path}, line {number}: the field 'prompt' must be a text")
        rows.append((prompt, row[text], bool(row.get("partial", False))))
    good = _good(path, field, labels, _plain(wanted) if equals else None)
    return [Row(prompt, reply, value, cut) for (prompt, reply, cut), value in zip(rows, good, strict=True)]


def pick(rows: Sequence[Row], limit: int | None, seed: int) -> list[Row]:
    """At most ``limit`` rows: a good and a bad one of every prompt that has both, then another of each, and so on.

    So pairs come first, and of as many prompts as can be. What is left is drawn half good and half bad.
    Raises UsageError: only good or only bad ones.
    """
    goods = sum(row.good for row in rows)
    if not rows or goods in (0, len(rows)):
        which = f"all {len(rows)} are {'good' if goods else 'bad'}" if rows else "there are none"
        raise UsageError(f"a check needs good and bad texts, and {which}; see --data and --label FIELD=GOOD")
    if limit is None or limit >= len(rows):
        return list(rows)
    if limit < 2:
        raise UsageError(f"--limit {limit}: a check needs two texts at least")
    drawn, by_prompt = random.Random(seed), defaultdict(list)
    for row, group in zip(rows, groups(rows), strict=True):
        by_prompt[group].append(row)
    pairs: list[tuple[int, float, Row, Row]] = []
    alone: list[Row] = []
    for several in by_prompt.values():
        good, bad = ([row for row in drawn.sample(several, len(several)) if row.good is kind] for kind in (True, False))
        pairs += [(turn, drawn.random(), *two) for turn, two in enumerate(zip(good, bad, strict=False))]
        alone += good[len(bad) :] + bad[len(good) :]
    pairs.sort(key=lambda pair: pair[:2])
    chosen = [row for _, _, *two in pairs for row in two][:limit]
    drawn.shuffle(alone)
    halves = [[row for row in alone if row.good is kind] for kind in (True, False)]
    while len(chosen) < limit and any(halves):
        rarer = min((half for half in halves if half), key=lambda half: sum(r.good is half[0].good for r in chosen))
        chosen.append(rarer.pop())
    return chosen


def _objects(path: Path) -> list[tuple[int, dict[str, Any]]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"--data {path}: cannot be read: {why}") from None
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise UsageError(f'{path}, line {number}: expected one JSON object, such as {{"text": "…", "good": true}}')
        found.append((number, row))
    if not found:
        raise UsageError(f"--data {path}: holds no texts")
    return found


def _plain(value: object) -> str:
    return str(value).strip().lower()


def _good(path: Path, field: str, labels: list[str], wanted: str | None) -> list[bool]:
    kinds = sorted(set(labels))
    if len(kinds) > 2:
        some = ", ".join(repr(kind) for kind in kinds[:4]) + (", …" if len(kinds) > 4 else "")
        raise UsageError(f"{path}: the label {field!r} has {len(kinds)} values ({some}); a check needs two")
    if wanted is None:
        if not set(kinds) <= _TRUE | _FALSE or len(set(kinds) & _TRUE) == 2 or len(set(kinds) & _FALSE) == 2:
            names = " and ".join(repr(kind) for kind in kinds)
            raise UsageError(f"{path}: which of {names} is good? Say so: --label {field}={kinds[0]}")
        return [label in _TRUE for label in labels]
    if wanted not in kinds:
        raise UsageError(f"{path}: no text has the label {field}={wanted}; there are {', '.join(kinds)}")
    return [label == wanted for label in labels]
