"""The page that shows a search: whole in itself, and safe whatever was typed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import rain
from rain.api import Model
from rain.engines.scripted import ScriptedEngine
from rain.trace import Trace
from rain.viewer import page

PROMPT = ' the movie was </script><script>alert("no")</script> {{DATA}}'


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    budget, file = rain.Budget(max_tokens=6, max_iterations=12), tmp_path / "t.jsonl"
    options: Any = {"preference": "positive", "style": "plain", "budget": budget, "trace": file, "mode": "faithful"}
    Model(ScriptedEngine()).generate(PROMPT, evaluator=lambda text: len(text) % 5 / 4, **options)
    return Trace(file)


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
