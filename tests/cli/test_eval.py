"""``rain eval`` as a stranger meets it: real processes, on the scripted model but for one short run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

RAIN = [sys.executable, "-c", "from rain.cli import main; main()"]
SCRIPTED = """
import rain.cli.options
from rain.api import Model
from rain.cli import main
from rain.engines.scripted import ScriptedEngine

rain.cli.options.load = lambda *how: Model(ScriptedEngine(delay={delay}))
main()
"""
QUICK = ["--evaluator", "contrastive", "--mode", "faithful", "--set", "iterations_per_set=4"]
QUICK += ["--set", "fresh_iterations=2", "--max-tokens", "6"]


def rain(*words: str, scripted: bool = False, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCRIPTED.format(delay=0)] if scripted else RAIN
    clean = {name: value for name, value in os.environ.items() if name != "RAIN_DATA"}
    return subprocess.run([*command, "eval", *words], capture_output=True, text=True, timeout=300, env={**clean, **env})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Made-up reviews and questions."""
    folder = tmp_path / "data"
    folder.mkdir()
    reviews = [
        {"text": f"number {n} of the movie was a {'great' if n % 2 else 'bad'} story", "positive": n % 2 == 1}
        for n in range(30)
    ]
    (folder / "movie_sentences.jsonl").write_text("".join(json.dumps(row) + "\n" for row in reviews))
    (folder / "xstest.csv").write_text("id,prompt,type,label,focus,note\n1,Hello?,t,safe,,\n2,Hello?,t,fine,,\n")
    return folder


@pytest.mark.parametrize("suite", ["hh", "advbench", "prefill", "truthfulqa", "imdb", "xstest"])
def test_help_states_source_licence_and_defaults(suite: str) -> None:
    result = rain(suite, "--help")
    assert result.returncode == 0
    shown = " ".join(result.stdout.split())
    for word in ("Example", "Data:", "rows", "on the hub", "Default: preference", "--preset", "judges"):
        assert word in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nope"], "No such command"),
        (["imdb"], "--out"),
        (["imdb", "--out", "OUT"], "RAIN_DATA"),
        (["imdb", "--out", "OUT", "--data", "nowhere"], "no file and no folder"),
        (["imdb", "--out", "OUT", "--data", "DATA", "--limit", "0"], "above zero"),
        (["imdb", "--out", "OUT", "--data", "DATA", "--methods", "dice"], "unknown method 'dice'"),
        (["imdb", "--out", "OUT", "--data", "DATA", "--methods", ","], "name at least one"),
        (["imdb", "--out", "OUT", "--data", "DATA", "--sweep", "luck=1"], "unknown 'luck'"),
        (["imdb", "--out", "OUT", "--data", "DATA", "--sweep", "threshold"], "KEY=V1,V2"),
        (["imdb", "--out", "OUT", "--data", "DATA", "--judge", "dice"], "no judge 'dice'"),
        (["imdb", "--out", "OUT", "--data", "DATA", "--max-tokens", "0"], "above zero"),
        (["imdb", "--out", "OUT", "--data", "DATA", "--max-forward-tokens", "0"], "above zero"),
        (["imdb", "--out", "OUT", "--data", "DATA", "--on-failure", "raise"], "errors, which leave the rates"),
        (["imdb", "--out", "OUT", "--data", "DATA", "--parallel", "0"], "between 1 and 64"),
        (["imdb", "--out", "OUT", "--data", "DATA", "--preference", "nope"], "built in are"),
        (["imdb", "--out", "OUT", "--data", "DATA", "--model", "none.gguf"], "none.gguf"),
        (["imdb", "--out", "DATA/xstest.csv", "--data", "DATA"], "is a file"),
        (["prefill", "--out", "OUT", "--data", "DATA", "--prefill-tokens", "x"], "whole numbers"),
        (["prefill", "--out", "OUT", "--data", "DATA", "--prefill-tokens", "2000"], "1 to 1000"),
        (["advbench", "--out", "OUT", "--data", "DATA", "--attack", "dice"], "none of plain"),
        (["xstest", "--out", "OUT", "--data", "DATA", "--judge", "none"], "xstest.csv, line 3: the label is 'fine'"),
        (["imdb", "--out", "OUT", "--data", "DATA/xstest.csv"], "xstest.csv, line 2: the label is 'safe'"),
    ],
)
def test_wrong_use_is_told_in_a_line(data: Path, tmp_path: Path, words: list[str], message: str) -> None:
    out = tmp_path / "out"
    if "--out" in words and "--judge" not in words:
        words = [*words, "--judge", "none"]  # whatever is installed
    result = rain(*(word.replace("DATA", str(data)).replace("OUT", str(out)) for word in words))
    assert result.returncode == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert message in result.stderr
    assert not out.exists()


def test_a_run_is_made_judged_shown_and_gone_on_with(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("vaderSentiment")
    out = tmp_path / "out"
    words = ["imdb", "--data", str(data), "--out", str(out), *QUICK, "--methods", "vanilla,rain,best-of-n"]
    words += ["--max-forward-tokens", "900"]
    first = rain(*words, "--limit", "2", "--json", scripted=True)
    assert first.returncode == 0, first.stderr
    assert "costs differ" not in first.stderr
    found: dict[str, Any] = json.loads(first.stdout)
    assert (found["suite"], found["samples"], found["errors"]) == ("imdb", 6, 0)
    assert list(found["methods"]) == ["vanilla", "rain", "best-of-n"]
    for figures in found["methods"].values():
        judged = figures["measures"]["positive (vader)"]
        assert (judged["n"], judged["unjudged"], judged["independent"]) == (2, 0, True)
        assert 0 <= judged["low"] <= judged["rate"] <= judged["high"] <= 1
        assert figures["forward_tokens_per_token"] > 0
    before = (out / "samples.jsonl").read_bytes()
    second = rain(*words, "--limit", "3", scripted=True)
    assert second.returncode == 0, second.stderr
    assert (out / "samples.jsonl").read_bytes().startswith(before)
    assert len((out / "samples.jsonl").read_text().splitlines()) == 9
    assert "best-of-n" in second.stdout
    assert "%" in second.stdout
    manifest = json.loads((out / "run.json").read_text())
    assert manifest["command"].startswith("rain eval imdb --data")
    assert manifest["n"] == 3
    other = rain(*words, "--limit", "3", "--seed", "4", scripted=True)
    assert other.returncode == 2
    assert "seed 0, not 4; choose another --out" in other.stderr


def test_seconds_what_follows_a_failure_and_the_papers_symbols_are_handed_on(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["imdb", "--data", str(data), "--out", str(out), "--judge", "none", "--limit", "1", "--max-tokens", "6"]
    words += ["--evaluator", "contrastive", "--mode", "faithful", "--set", "T=4", "--set", "fresh_iterations=2"]
    first = rain(*words, "--methods", "vanilla", scripted=True)
    assert first.returncode == 0, first.stderr
    told = json.loads((out / "run.json").read_text())["options"]
    assert told["settings"] == {"iterations_per_set": "4", "fresh_iterations": "2"}
    assert (told["max_seconds"], told["on_failure"]) == (None, None)  # as in runs from before there were these
    assert "max_seconds None, not 1e-09" in rain(*words, "--max-seconds", "1e-9", scripted=True).stderr
    assert "on_failure None, not refuse" in rain(*words, "--on-failure", "refuse", scripted=True).stderr
    words[words.index(str(out))] = str(tmp_path / "short")
    assert rain(*words, "--max-seconds", "1e-9", scripted=True).returncode == 0
    words[words.index(str(tmp_path / "short"))] = str(tmp_path / "refused")
    hard = ["--methods", "rain", "--set", "V=1", "--on-failure", "refuse"]
    assert rain(*words, *hard, scripted=True).returncode == 0
    samples = [
        json.loads((tmp_path / name / "samples.jsonl").read_text().splitlines()[-1]) for name in ("short", "refused")
    ]
    assert samples[0]["stopped_by"] == "deadline"
    assert samples[1]["finish_reason"] == "content_filter"


def test_a_limit_that_a_method_does_not_keep_to_is_told(data: Path, tmp_path: Path) -> None:
    words = ["imdb", "--data", str(data), "--out", str(tmp_path / "out"), *QUICK, "--limit", "1", "--judge", "none"]
    words += ["--methods", "vanilla,best-of-n,any-depth"]
    without = rain(*words, scripted=True).stderr
    assert "is no limit for" not in without
    assert "rain: warning: no limit on forward tokens: costs differ: compare with --max-forward-tokens" in without
    words[words.index(str(tmp_path / "out"))] = str(tmp_path / "few")
    result = rain(*words, "--max-iterations", "2", scripted=True)
    assert result.returncode == 0, result.stderr
    assert "rain: warning: --max-iterations is no limit for any-depth; use --max-forward-tokens" in result.stderr
    lines = (tmp_path / "few/samples.jsonl").read_text().splitlines()
    spent = {told["method"]: told["usage"]["iterations"] for told in map(json.loads, lines)}
    assert (spent["vanilla"], spent["best-of-n"]) == (0, 2)


def test_data_may_come_from_the_environment(data: Path, tmp_path: Path) -> None:
    words = ["imdb", "--out", str(tmp_path / "out"), *QUICK, "--methods", "vanilla", "--limit", "1", "--judge", "none"]
    result = rain(*words, scripted=True, RAIN_DATA=str(data))
    assert result.returncode == 0, result.stderr
    assert "own data: movie_sentences.jsonl" in result.stderr


def test_a_preference_whose_words_have_changed_is_another_run(data: Path, tmp_path: Path) -> None:
    wish = tmp_path / "calm.toml"
    text = 'name = "calm"\ndescription = "d"\ndefault = "contrastive"\npaper = "contrastive"\n[contrastive]\n'
    wish.write_text(text + 'ask = "Be calm."\nopposite = "Be loud."\n')
    words = ["imdb", "--data", str(data), "--out", str(tmp_path / "out"), *QUICK, "--preference", str(wish)]
    words += ["--limit", "1", "--judge", "none"]
    assert rain(*words, scripted=True).returncode == 0
    wish.write_text(text + 'ask = "Be very calm."\nopposite = "Be loud."\n')
    result = rain(*words, scripted=True)
    assert result.returncode == 2
    assert "preference_digest" in result.stderr


def test_ctrl_c_loses_nothing_and_says_how_to_go_on(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["eval", "imdb", "--data", str(data), "--out", str(out), *QUICK, "--judge", "none", "--parallel", "2"]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPTED.format(delay=0.005), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores Ctrl-C, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    samples = out / "samples.jsonl"
    while not (samples.exists() and samples.read_bytes().count(b"\n") >= 3):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    printed, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert printed == ""
    assert "Traceback" not in said
    assert f"the same command goes on from there: rain eval imdb --data {data}" in said
    before = samples.read_bytes()
    assert before.endswith(b"}\n")
    assert rain(*words[1:], scripted=True).returncode == 0
    assert samples.read_bytes().startswith(before)
    ids = [json.loads(line)["id"] for line in samples.read_text().splitlines()]
    assert len(ids) == len(set(ids)) == 60


def test_where_every_reply_fails_the_exit_code_says_so(data: Path, tmp_path: Path) -> None:
    words = ["imdb", "--data", str(data), "--out", str(tmp_path / "out"), *QUICK, "--judge", "none", "--limit", "1"]
    failing = SCRIPTED.format(delay="0, fail=lambda question: ValueError('no power')")
    result = subprocess.run(
        [sys.executable, "-c", failing, "eval", *words], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 1
    assert "2 replies failed" in result.stderr


@pytest.mark.real
def test_the_embedded_model_makes_a_small_run(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["imdb", "--data", str(data), "--out", str(out), "--max-tokens", "4", "--max-forward-tokens", "150"]
    result = rain(*words, "--limit", "1", "--judge", "none", "--threads", "1", "--traces")
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert [row["method"] for row in rows] == ["vanilla", "rain"]
    assert all(0 < row["usage"]["forward_tokens"] <= 150 for row in rows)
    assert (out / rows[1]["trace"]).is_file()
