"""The page that shows a search: whole in itself, and safe whatever was typed."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from rich.console import Console

import rain
from rain.api import Model
from rain.cli.live import View
from rain.engines.scripted import ScriptedEngine
from rain.search.events import Outcome, TakenBack
from rain.trace import Trace
from rain.viewer import page

PROMPT = ' the movie was </script><script>alert("no")</script> {{DATA}}'


@pytest.fixture(params=["searched", "taken back"])
def trace(tmp_path: Path, request: pytest.FixtureRequest) -> Trace:
    budget, file = rain.Budget(max_tokens=6, max_iterations=12), tmp_path / "t.jsonl"
    options: Any = {"preference": "positive", "style": "plain", "budget": budget, "trace": file, "mode": "faithful"}
    if request.param == "searched":
        Model(ScriptedEngine()).generate(PROMPT, evaluator=lambda text: len(text) % 5 / 4, **options)
        return Trace(file)
    return taken_back(file)


def taken_back(file: Path) -> Trace:
    """Of a search that took back what it had committed, and gave the best whole text instead."""
    settings = {"gate": 0.99, "threshold": -1.0, "minimum_visits": 1, "look_ahead": "none", "redrafts": 0}
    with Model(ScriptedEngine()) as model:
        for seed in range(40):
            reply = model.generate(
                PROMPT, preference="positive", style="plain", mode="optimistic", settings=settings, seed=seed,
                evaluator=lambda text: crc32(text.encode()) % 97 / 97, budget=rain.Budget(max_tokens=8), trace=file,
            )  # fmt: skip
            trace = Trace(file)
            if any(isinstance(event, TakenBack) for event in trace.replay()):
                assert "".join(segment.text for segment in reply.segments) == reply.text
                return trace
    raise AssertionError("nothing was ever taken back")


def data(html: str) -> Any:
    return json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)[0])


def test_it_holds_every_event_and_what_was_typed_as_text(trace: Trace) -> None:
    events = list(trace.replay())
    shown = data(page(trace.header, events))
    assert shown["prompt"] == PROMPT
    assert [event["kind"] for event in shown["events"]] == [type(event).__name__ for event in events]


def test_it_needs_nothing_from_outside_and_runs_nothing_typed(trace: Trace) -> None:
    html = page(trace.header, trace.replay())
    assert html.count("<script") == 2
    assert not re.search(r"(src|href)\s*=|https?://|url\(|@import", html)


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_its_script_shows_the_text_at_every_step(trace: Trace, tmp_path: Path) -> None:
    html = page(trace.header, trace.replay())
    script = re.findall(r"<script>(.*)</script>", html, re.S)[0]
    stub = """
      const made = {};
      const node = name => made[name] ??= { textContent: "", children: [], append(...c) { this.children.push(...c) },
        replaceChildren(...c) { this.children = c } };
      let count = 0;
      globalThis.document = { getElementById: node, createElement: () => node("made" + count++) };
      node("data").textContent = require("fs").readFileSync(process.argv[2], "utf8");
    """
    (tmp_path / "page.js").write_text(
        stub + script + '\nshow(steps.length); console.log(by("text").children[1].textContent)', encoding="utf-8"
    )
    (tmp_path / "data.json").write_text(json.dumps(data(html)), encoding="utf-8")
    done = subprocess.run(
        ["node", str(tmp_path / "page.js"), str(tmp_path / "data.json")], capture_output=True, text=True, check=True
    )
    *_, outcome = trace.replay()
    assert done.stdout.removesuffix("\n") == outcome.text


def test_the_live_view_ends_with_the_reply(trace: Trace) -> None:
    view = View(Console(file=io.StringIO()))
    for event in trace.replay():
        if isinstance(event, Outcome):
            assert view.committed == event.text
        else:
            view.show(event)


def test_of_an_interrupted_trace_the_command_prints_what_is_committed_then(tmp_path: Path) -> None:
    *_, outcome = taken_back(tmp_path / "t.jsonl").replay()
    assert isinstance(outcome, Outcome)
    lines = (tmp_path / "t.jsonl").read_text(encoding="utf-8").splitlines()
    assert "outcome" in json.loads(lines[-1])
    (tmp_path / "t.jsonl").write_text("\n".join(lines[:-1]), encoding="utf-8")
    words = [sys.executable, "-c", "from rain.cli import main; main()", "replay", str(tmp_path / "t.jsonl")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.removesuffix("\n") == outcome.text
    assert "was interrupted" in done.stderr
