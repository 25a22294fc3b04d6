"""A search as JSON lines: a header, the answers in the order they were sent, the events, the outcome.

A replay feeds the answers to a new search and compares what comes out, so it needs no model and draws the same picture.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from rain.errors import RainError, UsageError
from rain.search.asks import (
    Answer,
    AnyResult,
    Asked,
    Continuation,
    Prefix,
    Sample,
    Score,
    Stopped,
    Top,
    Usage,
    Withdrawn,
)
from rain.search.budget import Budget
from rain.search.events import Event, Outcome, Search
from rain.search.loop import search
from rain.search.optimistic import optimistic
from rain.search.settings import Settings, changed
from rain.search.vanilla import vanilla

FORMAT = "rain-trace-1"
_BROKEN = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""What reading a damaged line can raise."""
MODES = ("optimistic", "fast", "faithful", "vanilla")
"""The modes whose searches can be recorded and replayed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Header:
    """What a search was started with."""

    model: str
    mode: str
    prompt: str
    """What a person wrote, to be shown."""
    prompt_tokens: tuple[int, ...]
    settings: Settings
    budget: Budget
    seed: int
    stop: tuple[str, ...]
    preference: str | None = None
    judge: dict[str, Any] | None = None


def start(header: Header, prompt: Prefix) -> Search:
    """The search that ``header`` describes, at its beginning."""
    if header.mode == "vanilla":
        judged = header.preference is not None
        return vanilla(prompt, header.settings, header.budget, seed=header.seed, stop=header.stop, judged=judged)
    run = optimistic if header.mode == "optimistic" else search
    return run(prompt, header.settings, header.budget, seed=header.seed, stop=header.stop)


class Writer:
    """Writes a trace while the search runs; every line is flushed, so that nothing is lost when it is interrupted."""

    def __init__(self, path: Path, header: Header) -> None:
        """Raises UsageError where the file cannot be written."""
        self.path = path
        try:
            self.file: TextIO = path.open("w", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write the trace to {path}: {error.strerror}") from None
        plain = dataclasses.asdict(header)
        self._line({"header": FORMAT, **plain})

    def answers(self, answers: Sequence[Answer]) -> None:
        self._line({"answers": [_answer_out(answer) for answer in answers]})

    def event(self, event: Event) -> None:
        self._line({"event": type(event).__name__, **dataclasses.asdict(event)})

    def outcome(self, outcome: Outcome) -> None:
        self._line({"outcome": dataclasses.asdict(outcome)})

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.file.close()

    def _line(self, value: dict[str, Any]) -> None:
        # ASCII: some characters that end a line elsewhere must not end one here.
        try:
            print(json.dumps(value), file=self.file, flush=True)
        except OSError as error:
            raise RainError(f"cannot go on writing the trace to {self.path}: {error.strerror}") from None


class Trace:
    """A trace read from a file; :meth:`replay` runs the search again without a model."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError: no such file, not a trace, a broken line."""
        self.path = path
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UsageError(f"no trace at {path}; make one with 'rain generate … --trace {path}'") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the trace {path}: {error}") from None
        self.lines: list[dict[str, Any]] = []
        for number, line in enumerate(text.removesuffix("\n").split("\n") if text else (), 1):
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                raise self._broken(number, "is not JSON") from None
            if not isinstance(value, dict):
                raise self._broken(number, "is not a JSON object")
            self.lines.append(value)
        if not self.lines or self.lines[0].get("header") != FORMAT:
            raise UsageError(f"{path} is not a trace of rain: its first line should be a header '{FORMAT}'")
        self.header = self._header(self.lines[0])

    def replay(self) -> Iterator[Event | Outcome]:
        """The events and the outcome, made anew. An interrupted trace ends where it ends.

        Raises UsageError naming the line where the replay and the recording differ, or that is broken.
        """
        prompt = Prefix(self.header.prompt_tokens)
        running = start(self.header, prompt)
        asked: dict[int, Asked] = {}
        events: list[Event | Outcome] = []

        def take(out: list[Asked | Withdrawn | Event]) -> None:
            for item in out:
                if isinstance(item, Asked):
                    asked[item.ticket] = item
                elif not isinstance(item, Withdrawn):
                    events.append(item)

        try:
            take(next(running))
        except StopIteration as end:
            events.append(end.value)
        ended = False
        for number, line in enumerate(self.lines[1:], 2):
            if ended:
                raise self._broken(number, "follows the end of the search")
            if "answers" in line:
                try:
                    answers = [_answer_in(answer, asked) for answer in line["answers"]]
                except _BROKEN:
                    raise self._broken(number, "holds an answer that nobody asked for, or a broken one") from None
                try:
                    take(running.send(answers))
                except StopIteration as end:
                    events.append(end.value)
                except Exception as error:
                    raise self._broken(number, f"is an answer the search cannot use ({error!r})") from None
                continue
            if not events:
                raise self._broken(number, "records something that does not happen when the search is replayed")
            event = events.pop(0)
            plain = dataclasses.asdict(event)
            again = {"outcome": plain} if isinstance(event, Outcome) else {"event": type(event).__name__, **plain}
            if json.loads(json.dumps(again)) != line:
                raise self._broken(number, f"differs from the replay, which gives {type(event).__name__} here")
            ended = isinstance(event, Outcome)
            yield event

    def _header(self, line: dict[str, Any]) -> Header:
        try:
            known = {field.name: line[field.name] for field in dataclasses.fields(Header)}
            known["settings"] = changed(Settings(), line["settings"])
            known["budget"] = Budget(**line["budget"])
            known["prompt_tokens"] = tuple(map(int, line["prompt_tokens"]))
            known["stop"] = tuple(map(str, line["stop"]))
            known["seed"] = int(line["seed"])
            if line["mode"] not in MODES:
                raise ValueError(f"unknown mode {line['mode']!r}")
            return Header(**known)
        except _BROKEN as error:
            raise self._broken(1, f"is a broken header ({error})") from None

    def _broken(self, number: int, what: str) -> UsageError:
        return UsageError(f"{self.path}, line {number} {what}; the trace is damaged or of another version of rain")


def _answer_out(answer: Answer) -> dict[str, Any]:
    return {"ticket": answer.ticket, "usage": dataclasses.asdict(answer.usage), **_result_out(answer.result)}


def _result_out(result: AnyResult) -> dict[str, Any]:
    if isinstance(result, Score):
        apart = [] if result.disagreement is None else [result.disagreement]
        return {"score": [result.soft, result.hard, *apart]}
    if isinstance(result, Stopped):
        return {"stopped": result.why}
    if isinstance(result, Top):
        pieces = [_bytes_out(piece) for piece in result.pieces]
        return {"top": [result.tokens, pieces, result.logprobs, result.ends]}
    if isinstance(result, np.ndarray):
        rows = np.ascontiguousarray(result, dtype="<f4")
        return {"vectors": [rows.shape[1], base64.b64encode(rows.tobytes()).decode()]}
    return {
        "continuations": [
            [item.tokens, [_bytes_out(piece) for piece in item.pieces], item.logprobs, item.end]
            for item in result
            if isinstance(item, Continuation)
        ]
    }


def _answer_in(line: dict[str, Any], asked: dict[int, Asked]) -> Answer:
    ask = asked.pop(line["ticket"]).ask
    return Answer(
        line["ticket"], _result_in(line, ask.prefix if isinstance(ask, Sample) else None), Usage(**line["usage"])
    )


def _result_in(line: dict[str, Any], parent: Prefix | None) -> AnyResult:
    if "score" in line:
        soft, hard, *apart = map(float, line["score"])
        return Score(soft, hard, *apart)
    if "stopped" in line:
        return Stopped(line["stopped"])
    if "top" in line:
        tokens, pieces, logprobs, ends = line["top"]
        return Top(tuple(tokens), tuple(map(_bytes_in, pieces)), tuple(logprobs), tuple(ends))
    if "vectors" in line:
        dimensions, data = line["vectors"]
        return np.frombuffer(base64.b64decode(data), dtype="<f4").astype(np.float32).reshape(-1, dimensions)
    return tuple(
        Continuation(Prefix(tuple(tokens), parent), tuple(map(_bytes_in, pieces)), tuple(logprobs), end)
        for tokens, pieces, logprobs, end in line["continuations"]
    )


def _bytes_out(piece: bytes) -> str:
    """Bytes as a string of the same length, so that a trace can be read by people where the text is plain."""
    return piece.decode("latin-1")


def _bytes_in(piece: str) -> bytes:
    return piece.encode("latin-1")
