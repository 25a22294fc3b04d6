"""Scores as they come in, a JSON line each, so that a check that was interrupted goes on where it stopped."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from rain.errors import UsageError

Where: TypeAlias = tuple[str, str, str, str, float]
"""Row, evaluator, placement, wording (with a digest of its words where the header has none, and the version of an
evaluator that asks them in another way than it did), and the share of the text that was seen."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One judgement."""

    soft: float
    hard: float
    asked: tuple[float, ...] = ()
    """The soft score by each order or wording of the question alone; a constant may have been added to each."""
    disagreement: float | None = None
    forward_tokens: int = 0
    """What was computed for it in that batch; shared work counts where it was done."""


class Ledger:
    """Scores by what they are of; with a file, also there."""

    def __init__(self, path: Path | None = None, header: dict[str, Any] | None = None) -> None:
        """header: what the scores belong to (model, preference, style); a file with another one is not touched.

        Raises UsageError: a file of something else, or one that cannot be written.
        """
        self._known: dict[Where, Scored | None] = {}
        self._roomless: set[Where] = set()
        """What found no room when the file was written, which may have been in a smaller context: it is asked again."""
        self._file: TextIO | None = None
        if path is None:
            return
        first = {"check": 1, **(header or {})}
        try:
            held = path.read_bytes() if path.exists() else b""
            # Without a whole line it is somebody else's, unless it is the beginning of our own first line.
            if b"\n" not in held and not json.dumps(first).encode().startswith(held):
                raise _foreign(path)
            good = self._read(path, held.split(b"\n"), first)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8")
            # A last line that was not finished goes.
            self._file.truncate(good)
            if not good:
                self._write(first)
        except OSError as error:
            raise UsageError(f"--out {path}: cannot be written: {error.strerror or error}") from None

    def knows(self, row: str, evaluator: str, placement: str, wording: str, fraction: float) -> bool:
        """Whether this was asked, be it that it found no room just now."""
        return (row, evaluator, placement, wording, fraction) in self._known

    def get(self, row: str, evaluator: str, placement: str, wording: str, fraction: float) -> Scored | None:
        """What was answered."""
        return self._known.get((row, evaluator, placement, wording, fraction))

    def put(
        self,
        scored: Scored | None,
        row: str,
        evaluator: str,
        placement: str,
        wording: str,
        fraction: float,
        good: bool | None = None,
    ) -> None:
        """Keep a score; at once in the file."""
        where = (row, evaluator, placement, wording, fraction)
        if where in self._known:
            return
        self._known[where] = scored
        if scored is None and where in self._roomless:
            return
        names = ("row", "evaluator", "placement", "wording", "fraction")
        line = dict(zip(names, where, strict=True)) | ({} if good is None else {"good": good})
        self._write(line | (asdict(scored) if scored else {"soft": None}))

    def close(self) -> None:
        """Nothing more will come."""
        if self._file:
            self._file.close()
            self._file = None

    def _write(self, line: dict[str, Any]) -> None:
        if self._file:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()

    def _read(self, path: Path, lines: list[bytes], first: dict[str, Any]) -> int:
        """Take in what the file holds. Returns the length in bytes of what is whole."""
        length = 0
        for number, line in enumerate(lines[:-1]):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if number == 0 and row != first:
                raise _foreign(path)
            if not isinstance(row, dict):
                raise UsageError(f"--out {path}, line {number + 1}: is broken; name another file")
            if number:
                try:
                    where, scored = _where(row), _scored(row)
                except (KeyError, TypeError, ValueError, OverflowError):
                    raise UsageError(f"--out {path}, line {number + 1}: is no score; name another file") from None
                if scored is None:
                    self._roomless.add(where)
                else:
                    self._known[where] = scored
            length += len(line) + 1
        return length


def _foreign(path: Path) -> UsageError:
    return UsageError(f"--out {path}: holds something else (another model, preference or style); name another file")


def _where(row: dict[str, Any]) -> Where:
    texts = [row["row"], row["evaluator"], row["placement"], row["wording"]]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError
    return row["row"], row["evaluator"], row["placement"], row["wording"], float(row["fraction"])


def _scored(row: dict[str, Any]) -> Scored | None:
    if row["soft"] is None:
        return None
    apart = row["disagreement"]
    return Scored(
        float(row["soft"]),
        float(row["hard"]),
        tuple(float(value) for value in row["asked"]),
        None if apart is None else float(apart),
        int(row["forward_tokens"]),
    )
