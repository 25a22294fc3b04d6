"""Rows of evaluation data: from a CSV, JSON or JSON lines file, each with its line, or from the hub."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from rain.errors import MissingExtra, UsageError

ENVIRONMENT = "RAIN_DATA"


@dataclass(frozen=True, slots=True)
class Hub:
    """Where the same data lies on the Hugging Face hub."""

    name: str
    split: str
    config: str | None = None
    folder: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one file, read or to be read once."""

    where: str
    """A path, or ``hub:OWNER/NAME``."""
    digest: str
    """Of the file's bytes, in hex; on the hub what ``datasets`` calls its fingerprint."""
    rows: tuple[tuple[int, Mapping[str, Any] | str], ...]
    """The line (1-based; on the hub the row) that each begins on, and the row or, as a text, what is wrong with it."""


def find(file: str, data: Path | None) -> Path | None:
    """The file of that name in the folder ``data``, else in ``RAIN_DATA``; ``data`` itself where that is a file.

    None: neither was given. Raises UsageError: there is no such file.
    """
    given, said = data, "--data"
    if given is None:
        folder = os.environ.get(ENVIRONMENT)
        given, said = (Path(folder), ENVIRONMENT) if folder else (None, "")
    if given is None:
        return None
    given = given.expanduser()
    path = given / file if given.is_dir() else given
    if not path.is_file():
        what = f"has no {file}" if given.is_dir() else "is no file and no folder"
        raise UsageError(f"{said} {given}: {what}; name the file, or a folder that holds {file}")
    return path


def read(path: Path) -> Table:
    """The rows of a file, by its ending: .csv, .json (a list of objects), else JSON lines. Raises UsageError."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; name another with --data") from None
    kinds = {".csv": _csv, ".json": _json}
    rows = tuple(kinds.get(path.suffix.lower(), _json_lines)(raw))
    return Table(str(path), hashlib.sha256(raw).hexdigest()[:16], rows)


def fetch(hub: Hub) -> Table:
    """The rows of a data set on the hub, kept by ``datasets`` for the next time. Raises MissingExtra and UsageError."""
    try:
        load_dataset = import_module("datasets").load_dataset
    except ImportError:
        raise MissingExtra(f"fetching {hub.name} from the hub needs datasets: pip install datasets") from None
    try:
        found = load_dataset(hub.name, hub.config, data_dir=hub.folder, split=hub.split)
    except Exception as error:  # no network, no right, no such set: it has a class of its own for each
        first = (str(error).strip().splitlines() or [repr(error)])[0]
        raise UsageError(f"{hub.name} cannot be fetched from the hub: {first}; give a file with --data") from error
    fingerprint = str(getattr(found, "_fingerprint", ""))
    return Table(f"hub:{hub.name}", fingerprint, tuple(enumerate((dict(row) for row in found), 1)))


def _csv(raw: bytes) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    # Bytes that are no UTF-8 become lone surrogates, so that one bad row does not hide all others.
    reader = csv.reader(io.StringIO(raw.decode("utf-8-sig", "surrogateescape"), newline=""))
    names: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, f"no CSV: {error}"
            continue
        if names is None:
            names = cells
        elif cells:  # an empty line is no row
            fault = _unreadable("".join(cells))
            if len(cells) != len(names):
                fault = f"{len(cells)} cells, but the first line names {len(names)} columns"
            yield line, fault or dict(zip(names, cells, strict=True))


def _json_lines(raw: bytes) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    for line, piece in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if piece.strip():
            yield line, _object(piece)


def _json(raw: bytes) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    """Objects of a list one by one, so that each has its line. What cannot be parsed ends the list."""
    text = raw.decode("utf-8-sig", "surrogateescape")
    decoder = json.JSONDecoder()

    def skip(at: int, marks: str) -> int:
        while at < len(text) and text[at] in marks:
            at += 1
        return at

    at = skip(0, " \t\r\n")
    if text[at : at + 1] != "[":
        yield text.count("\n", 0, at) + 1, "no list of objects: it must begin with ["
        return
    at += 1
    while (at := skip(at, " \t\r\n,")) < len(text) and text[at] != "]":
        line = text.count("\n", 0, at) + 1
        try:
            value, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            yield error.lineno, f"no JSON: {error.msg}; what follows cannot be read"
            return
        fault = _unreadable(json.dumps(value, ensure_ascii=False))
        yield line, fault or (value if isinstance(value, dict) else "no JSON object")


def _object(piece: bytes) -> Mapping[str, Any] | str:
    try:
        value = json.loads(piece)
    except UnicodeDecodeError:
        return "no UTF-8"
    except ValueError as error:
        return f"no JSON: {error}"
    if not isinstance(value, dict):
        return "no JSON object"
    return _unreadable(json.dumps(value, ensure_ascii=False)) or value


def _unreadable(text: str) -> str:
    """What is wrong with a text that cannot be written down; also an escape such as ``\\ud800`` stands for no text."""
    return "no UTF-8" if any("\ud800" <= mark <= "\udfff" for mark in text) else ""
