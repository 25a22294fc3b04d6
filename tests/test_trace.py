"""Traces: written while a search runs, replayed without a model, and honest about damage."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from rain.engines.scripted import ScriptedEngine
from rain.errors import UsageError
from rain.run.drive import Resources, drive
from rain.search.asks import Answer, Continuation, Prefix
from rain.search.budget import Budget
from rain.search.events import Event, Outcome
from rain.search.settings import Settings, changed
from rain.trace import Header, Trace, Writer, start
from run.test_drive import AskingJudge, ByLength

SETTINGS = changed(Settings(), {"iterations_per_set": 6, "fresh_iterations": 3, "parallel_leaves": 2})


def record(path: Path, mode: str = "faithful", max_seconds: float | None = None) -> list[Event | Outcome]:
    engine = ScriptedEngine(shuffle=1)
    tokens = (1, *engine.tokenizer.encode(" the movie was"))
    header = Header("scripted", mode, " the movie was", tokens, SETTINGS, Budget(max_tokens=9), 3, (" it",))

    async def work() -> list[Event | Outcome]:
        writer = Writer(path, header)
        resources = Resources(engine, AskingJudge(), ByLength())
        return [event async for event in drive(start(header, Prefix(tokens)), resources, recorder=writer)]

    return asyncio.run(work())


@pytest.mark.parametrize("mode", ["faithful", "vanilla"])
def test_a_replay_does_the_same_without_a_model(tmp_path: Path, mode: str) -> None:
    events = record(tmp_path / "trace.jsonl", mode)
    assert list(Trace(tmp_path / "trace.jsonl").replay()) == events


def test_an_interrupted_trace_replays_as_far_as_it_goes(tmp_path: Path) -> None:
    events = record(tmp_path / "trace.jsonl")
    lines = (tmp_path / "trace.jsonl").read_text().splitlines()
    (tmp_path / "half.jsonl").write_text("\n".join(lines[: len(lines) // 2]))
    half = list(Trace(tmp_path / "half.jsonl").replay())
    assert 0 < len(half) < len(events)
    assert half == events[: len(half)]


def test_characters_that_end_lines_elsewhere_do_no_harm(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "t.jsonl", Header("m", "vanilla", "a\u2028b\x85c", (1, 2), SETTINGS, Budget(3), 3, ()))
    tried = Continuation(Prefix((5,), Prefix((1, 2))), (b"\x85\xe2\x80\xa8",), (-1.0,), "eos")
    writer.answers([Answer(1, (tried,))])
    writer.close()
    trace = Trace(tmp_path / "t.jsonl")
    assert trace.header.prompt == "a\u2028b\x85c"
    assert list(trace.replay()) == []
    assert len(trace.lines) == 2


def test_a_changed_event_is_found(tmp_path: Path) -> None:
    record(tmp_path / "trace.jsonl")
    lines = (tmp_path / "trace.jsonl").read_text().splitlines()
    number = next(index for index, line in enumerate(lines) if '"BackedUp"' in line)
    changed_line = json.loads(lines[number])
    changed_line["score"] += 0.25
    lines[number] = json.dumps(changed_line)
    (tmp_path / "trace.jsonl").write_text("\n".join(lines))
    with pytest.raises(UsageError, match=f"line {number + 1} differs"):
        list(Trace(tmp_path / "trace.jsonl").replay())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a trace"),
        ("hello", "line 1 is not JSON"),
        ("[1]", "line 1 is not a JSON object"),
        ('{"header": "rain-trace-1"}', "line 1 is a broken header"),
        ('{"header": "other"}', "not a trace"),
    ],
)
def test_a_broken_trace_is_told_in_a_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "trace.jsonl").write_text(text)
    with pytest.raises(UsageError, match=message) as error:
        list(Trace(tmp_path / "trace.jsonl").replay())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "line",
    [
        '{"answers": [{"ticket": 99, "usage": {}}]}',
        '{"answers": [{"ticket": 1, "usage": {}}]}',
        '{"answers": 3}',
        '{"answers": [{"ticket": 1, "score": [1, 1], "usage": {}}]}',
        "{}",
        '{"event": "Tried"}',
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    record(tmp_path / "trace.jsonl")
    header = (tmp_path / "trace.jsonl").read_text().splitlines()[0]
    (tmp_path / "trace.jsonl").write_text(f"{header}\n{line}\n")
    with pytest.raises(UsageError, match="line 2"):
        list(Trace(tmp_path / "trace.jsonl").replay())


def test_no_trace_and_no_place_for_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no trace at"):
        Trace(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="cannot write"):
        record(tmp_path / "no" / "such" / "folder.jsonl")
