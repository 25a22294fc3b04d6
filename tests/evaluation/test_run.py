"""The runner: everything once, nothing lost, whatever happens."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import rain
from evaluation.little import evaluation, reviews, scripted
from rain.api import Model
from rain.engines.scripted import ScriptedEngine
from rain.errors import EngineError, UsageError
from rain.evaluation.records import SAMPLES, read_manifest, read_samples
from rain.evaluation.run import IN_A_ROW, Tally, run, seed_of
from rain.machine import digest_of, source
from rain.search.asks import Question
from rain.search.events import Outcome
from rain.trace import Trace

KILLS = 20


def go(model: Model, data: Path, out: Path, **how: Any) -> Tally:
    what, manifest = evaluation(model, data, out, **how)
    return asyncio.run(run(model, what, manifest))


@pytest.fixture(scope="module")
def model() -> Model:
    return scripted()


def test_every_method_replies_to_every_prompt(model: Model, tmp_path: Path) -> None:
    data, out = reviews(tmp_path, 3), tmp_path / "run"
    told = go(model, data, out)
    samples = read_samples(out)
    assert told == Tally(6, 6, 0)
    assert Counter(sample.method for sample in samples) == {"vanilla": 3, "rain": 3}
    for sample in samples:
        assert sample.id == f"{sample.item}|{sample.method}|0"
        assert sample.text
        assert sample.usage
        assert sample.usage["forward_tokens"] > 0
        assert sample.seed == seed_of(0, sample.item)
        assert sample.meta["review_positive"] in (True, False)
    keys = list(json.loads((out / SAMPLES).read_text().splitlines()[0]))
    assert keys[0] == "id"
    assert {"suite", "prompt", "prefix", "finish_reason", "score", "judge", "trace", "error", "made"} < set(keys)


def test_items_do_not_share_luck_and_methods_do() -> None:
    seeds = [seed_of(seed, f"imdb-{item}") for seed in range(3) for item in range(50)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert seed_of(0, "imdb-1") == 2096585623  # stable between processes and versions: runs can be gone on with


def test_the_same_command_goes_on_and_adds_what_is_new(model: Model, tmp_path: Path) -> None:
    data, out = reviews(tmp_path, 6), tmp_path / "run"
    assert go(model, data, out, limit=2, methods="vanilla").made == 2
    before = (out / SAMPLES).read_bytes()
    assert go(model, data, out, limit=2, methods="vanilla").made == 0
    assert go(model, data, out, limit=4).made == 6
    assert (out / SAMPLES).read_bytes().startswith(before)
    manifest = read_manifest(out)
    assert (manifest.n, manifest.methods, len(manifest.resumed)) == (4, ["vanilla", "rain"], 2)


def test_a_run_that_is_gone_on_with_says_which_code_made_each_sample(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = reviews(tmp_path, 4), tmp_path / "run"
    for limit, code in ((1, "code-of-monday"), (2, "code-of-friday"), (3, "code-of-friday")):
        monkeypatch.setattr("rain.evaluation.run.source", lambda code=code: code)
        assert go(model, data, out, limit=limit, methods="vanilla").made == 1
    assert [sample.source for sample in read_samples(out)] == ["code-of-monday", "code-of-friday", "code-of-friday"]
    manifest = read_manifest(out)
    assert manifest.versions["source"] == "code-of-monday"
    assert [each["versions"]["source"] for each in manifest.resumed] == ["code-of-friday"] * 2


def test_the_digest_of_the_source_changes_with_any_file_and_with_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "inner/b.py").write_text("y = 1\n")
    first = digest_of(tmp_path)
    (tmp_path / "notes.txt").write_text("other")
    assert digest_of(tmp_path) == first
    (tmp_path / "inner/b.py").write_text("y = 2\n")
    second = digest_of(tmp_path)
    (tmp_path / "inner/b.py").rename(tmp_path / "b.py")
    assert len({first, second, digest_of(tmp_path)}) == 3
    assert source() == digest_of(Path(rain.__file__).parent)
    assert len(source()) == 12


def test_a_run_in_two_parts_is_the_run_in_one(model: Model, tmp_path: Path) -> None:
    data = reviews(tmp_path, 4)
    go(model, data, tmp_path / "whole")
    go(model, data, tmp_path / "parts", limit=1)
    go(scripted(), data, tmp_path / "parts")

    def texts(out: Path) -> dict[str, str]:
        return {sample.id: sample.text for sample in read_samples(out)}

    assert texts(tmp_path / "whole") == texts(tmp_path / "parts")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "seed 0, not 1"),
        ({"model": {"seed": 7}}, "model scripted"),
        ({"data": 5}, "data_digest"),
        ({"options": {"max_tokens": 7}}, "max_tokens 6, not 7"),
    ],
)
def test_a_folder_of_another_run_is_not_touched(
    model: Model, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    data, out = reviews(tmp_path, 4), tmp_path / "run"
    go(model, data, out)
    before = {path: path.read_bytes() for path in out.iterdir()}
    other = scripted(**change["model"]) if "model" in change else model
    if "data" in change:
        data = reviews(tmp_path, change["data"])
    what, manifest = evaluation(other, data, out, seed=change.get("seed", 0))
    manifest.options.update(change.get("options", {}))
    with pytest.raises(UsageError, match="another --out") as error:
        asyncio.run(run(other, what, manifest))
    assert said in str(error.value)
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_samples_of_something_else_are_not_added_to(model: Model, tmp_path: Path) -> None:
    data, out = reviews(tmp_path, 2), tmp_path / "run"
    out.mkdir()
    (out / SAMPLES).write_text('{"mine": 1}\n')
    with pytest.raises(UsageError, match="no run of this"):
        go(model, data, out)
    assert (out / SAMPLES).read_text() == '{"mine": 1}\n'


def test_one_process_writes_a_run_at_a_time(model: Model, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    from rain.evaluation.records import Appender

    data, out = reviews(tmp_path, 2), tmp_path / "run"
    out.mkdir()
    with Appender(out / SAMPLES), pytest.raises(UsageError, match="another process"):
        go(model, data, out)


def test_a_prompt_that_fails_is_recorded_and_the_run_goes_on(tmp_path: Path) -> None:
    broken: list[str] = []

    def fail(question: Question) -> Exception | None:
        text = engine.tokenizer.decode(question.prefix.path())
        hit = "number 2 of" in text
        broken.extend([text] if hit else [])
        return EngineError("the card fell out\nand more") if hit else None

    engine = ScriptedEngine(fail=fail)
    model, data, out = Model(engine), reviews(tmp_path, 4), tmp_path / "run"
    told = go(model, data, out)
    assert broken
    assert told == Tally(8, 8, 2)
    failed = [sample for sample in read_samples(out) if sample.error]
    assert {(sample.item, sample.error) for sample in failed} == {("imdb-3", "the card fell out")}
    assert all(sample.text == "" and sample.usage is None for sample in failed)
    assert go(model, data, out).made == 0


def test_a_run_in_which_nothing_works_any_more_stops(tmp_path: Path) -> None:
    def fail(question: Question) -> Exception | None:
        return RuntimeError("device lost") if ready else None

    ready = False
    model, data, out = Model(ScriptedEngine(fail=fail)), reviews(tmp_path, 20), tmp_path / "run"
    go(model, data, out, limit=1)
    ready = True
    with pytest.raises(EngineError, match="RuntimeError: device lost"):
        go(model, data, out)
    assert len(read_samples(out)) == 2 + IN_A_ROW


def test_a_full_disk_leaves_whole_lines(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, out, write, count = reviews(tmp_path, 4), tmp_path / "run", os.write, 0

    def full(file: int, line: bytes) -> int:
        nonlocal count
        count += 1
        if count == 4:
            return write(file, line[:50])
        if count == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, line)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        go(model, data, out)
    monkeypatch.undo()
    assert (out / SAMPLES).read_bytes().endswith(b"}\n")
    assert len(read_samples(out)) == 3
    assert go(model, data, out).made == 5


def test_several_at_once_are_as_one_after_another(tmp_path: Path) -> None:
    data = reviews(tmp_path, 5)
    go(scripted(), data, tmp_path / "one")
    go(scripted(shuffle=3), data, tmp_path / "many", parallel=4)

    def texts(out: Path) -> dict[str, str]:
        return {sample.id: sample.text for sample in read_samples(out)}

    assert texts(tmp_path / "one") == texts(tmp_path / "many")


def test_swept_settings_reach_the_search(model: Model, tmp_path: Path) -> None:
    data, out = reviews(tmp_path, 3), tmp_path / "run"
    go(model, data, out, methods="vanilla", sweep=["iterations_per_set=1,12", "fresh_iterations=1,6"])
    spent: Counter[str] = Counter()
    for sample in read_samples(out):
        assert sample.usage
        spent[sample.method] += int(sample.usage["iterations"])
    assert set(spent) == {
        "vanilla",
        "rain[iterations_per_set=1]",
        "rain[iterations_per_set=12]",
        "rain[fresh_iterations=1]",
        "rain[fresh_iterations=6]",
    }
    assert spent["rain[iterations_per_set=1]"] < spent["rain[iterations_per_set=12]"]
    assert spent["vanilla"] == 0


def test_no_reply_costs_more_than_the_limit(model: Model, tmp_path: Path) -> None:
    from dataclasses import replace

    data, out = reviews(tmp_path, 3), tmp_path / "run"
    what, manifest = evaluation(model, data, out, methods="vanilla,rain,best-of-n")
    asyncio.run(run(model, replace(what, max_forward_tokens=400), manifest))
    costs = [sample.usage["forward_tokens"] for sample in read_samples(out) if sample.usage]
    assert len(costs) == 9
    assert max(costs) <= 400


def test_what_no_prompt_could_be_answered_with_is_told_before_anything_is_made(model: Model, tmp_path: Path) -> None:
    data, out = reviews(tmp_path, 3), tmp_path / "run"
    what, manifest = evaluation(model, data, out, methods="rain[evaluator=openings]")
    with pytest.raises(UsageError, match="openings"):
        asyncio.run(run(model, what, manifest))
    assert not out.exists()


def test_traces_are_kept_and_replay(model: Model, tmp_path: Path) -> None:
    data, out = reviews(tmp_path, 2), tmp_path / "run"
    go(model, data, out, traces=True)
    for sample in read_samples(out):
        assert (sample.trace is not None) == (sample.method == "rain")
        if sample.trace:
            *_, outcome = Trace(out / sample.trace).replay()
            assert isinstance(outcome, Outcome)
            assert outcome.text == sample.text


def test_cancelled_it_keeps_what_is_there(tmp_path: Path) -> None:
    model, data, out = scripted(delay=0.001), reviews(tmp_path, 40), tmp_path / "run"
    what, manifest = evaluation(model, data, out, parallel=3)

    async def interrupted() -> None:
        await asyncio.wait_for(run(model, what, manifest), 0.4)

    with pytest.raises(TimeoutError):
        asyncio.run(interrupted())
    there = read_samples(out)
    assert 0 < len(there) < 80
    assert go(scripted(), data, out, limit=20).samples == 40
    ids = [sample.id for sample in read_samples(out)]
    assert len(ids) == len(set(ids))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_killed_twenty_times_every_sample_is_there_once(tmp_path: Path) -> None:
    data, out = reviews(tmp_path, 100), tmp_path / "run"
    victim = Path(__file__).with_name("victim.py")
    done = subprocess.run(
        [sys.executable, str(victim), str(data), str(out), str(KILLS), "5"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["last"] == 0, done.stderr
    assert told["died"] == KILLS  # each was at work
    assert told["cut"] >= 2  # and some inside a write
    assert KILLS // 2 <= told["between"] < 200  # a busy machine gets less far between two kills
    wanted = {f"imdb-{n}|{method}|0" for n in range(1, 101) for method in ("vanilla", "rain")}
    ids = [row["id"] for row in table(out / SAMPLES)]
    assert len(ids) == 200
    assert set(ids) == wanted
    assert not (out / SAMPLES).read_bytes().count(b"\n\n")


def table(path: Path) -> list[dict[str, Any]]:
    """The rows as pandas reads them, where it is there."""
    try:
        import pandas
    except ImportError:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows: list[dict[str, Any]] = pandas.read_json(path, lines=True).to_dict("records")
    return rows
