"""A run that is kept beside the code, and brought back: nothing of the data is in it, and nothing else is lost."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

from evaluation.runs import make_run, sample
from rain.evaluation import report
from rain.evaluation.judges import judge_run
from rain.evaluation.records import read_judgements, read_samples

KEEP = Path(__file__).parents[2] / "benchmarks" / "keep.py"


def keep(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["keep.py", *map(str, words)])
    runpy.run_path(str(KEEP), run_name="__main__")


def test_a_run_that_was_kept_is_brought_back_and_reported_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    prompts = [f"What is made up, number {n}?" for n in range(3)]
    rows = "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts)
    (data / "hh_harmless_first_turns.jsonl").write_text(rows)
    from rain.engines.scripted import WordTokenizer
    from rain.evaluation.suites import load

    items = load("hh", WordTokenizer(), data=data).items
    samples = [
        sample(item=one.id, method=method, prompt=one.prompt, trace="traces/a.jsonl", usage=None)
        for one in items
        for method in ("vanilla", "rain")
    ]
    run, kept, back = tmp_path / "run", tmp_path / "kept", tmp_path / "back"
    make_run(run, samples)
    judge_run(run, ["refusal"])
    keep(monkeypatch, "away", run, kept)
    assert all(prompt not in path.read_text() for path in kept.iterdir() for prompt in prompts)
    keep(monkeypatch, "back", kept, back, "--data", data)
    assert [(one.id, one.prompt, one.text) for one in read_samples(back)] == [
        (one.id, one.prompt, one.text) for one in samples
    ]
    assert read_judgements(back) == read_judgements(run)
    assert all(one.texts for one in read_judgements(back))
    assert report.build([run]).sections[0].tables
    assert report.build([back]).sections[0].tables == report.build([run]).sections[0].tables
    judges = report.build([run]).sections[0].judges
    assert "kappa" in judges["refusal"]
    assert report.build([back]).sections[0].judges == judges
    with pytest.raises(SystemExit, match="holds a run already"):
        keep(monkeypatch, "back", kept, back, "--data", data)
