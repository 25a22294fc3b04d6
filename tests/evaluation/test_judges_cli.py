"""``rain eval judge`` as a stranger meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evaluation import endpoints as act
from evaluation.endpoints import faulty
from evaluation.runs import make_run, sample
from rain.evaluation.judges import agreements, judge_run

RAIN = [sys.executable, "-c", "from rain.cli import main; main()"]


def rain(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "RAIN_DATA"))}
    command = [*RAIN, "eval", "judge", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env={**clean, **env})


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twenty sentences, every fourth labelled against its words; two kinds of them."""
    rows = []
    for number in range(20):
        loved = number % 2 == 0
        text = f"Film {number}: " + ("I loved this wonderful film." if loved else "I hated this awful film.")
        rows.append({"text": text, "liked": loved != (number % 4 == 3), "kind": "long" if number < 10 else "short"})
    path = tmp_path / "films.jsonl"
    path.write_text("\n\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_agreement_in_all_and_by_part(data: Path) -> None:
    done = rain("vader", "--data", str(data), "--label", "liked", "--by", "kind,nothing", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["judge"], told["measure"], told["n"]) == ("vader", "positive", 20)
    assert told["accuracy"] == 0.75
    # Yes says the judge of 10, the label of 15: chance is 0.5.
    assert told["kappa"] == pytest.approx(0.5)
    assert told["kappa_low"] < 0.5 < told["kappa_high"]
    assert {kind: part["n"] for kind, part in told["by"]["kind"].items()} == {"long": 10, "short": 10}
    shown = rain("vader", "--data", str(data), "--label", "liked", "--by", "kind")
    assert "0.75 [" in shown.stdout
    assert "kind short" in shown.stdout


def test_what_was_measured_stands_beside_the_judge_in_runs(data: Path, tmp_path: Path) -> None:
    assert rain("vader", "--data", str(data), "--label", "liked", "--limit", "8").returncode == 0
    assert agreements.find("vader", {}) is None  # a part of the data is no measurement to be quoted
    assert rain("vader", "--data", str(data), "--label", "liked").returncode == 0
    folder = make_run(tmp_path / "run", [sample(item="m-1", text=" I loved it.")], suite="imdb")
    judge_run(folder, ["vader"])
    told = json.loads((folder / "judges.json").read_text(encoding="utf-8"))["vader"]["agreement"]
    assert told["positive"]["n"] == 20
    assert told["sentence"].startswith("positive: agreement with the label liked of films.jsonl: area ")
    assert "accuracy 0.75 [" in told["sentence"]


def test_the_other_label_may_be_the_one_that_is_meant(data: Path) -> None:
    told = json.loads(rain("vader", "--data", str(data), "--label", "liked=false", "--json").stdout)
    assert told["accuracy"] == 0.25


def test_an_ai_judge_its_unjudged_and_its_cost(data: Path, tmp_path: Path) -> None:
    def answer(handler: act.Handler) -> None:
        text = server.requests[-1]["body"]["messages"][-1]["content"]
        broken = "Film 4:" in text
        (act.says("hm") if broken else act.verdict("yes" if "loved" in text else "no"))(handler)

    with faulty(answer) as server:
        words = ["--data", str(data), "--label", "liked", "--measure", "positive", "--json"]
        done = rain(f"{server.url}#m", *words, XDG_CACHE_HOME=str(tmp_path), OPENAI_API_KEY="sk-test-1")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["n"], told["unjudged"]) == (19, 1)
    assert list(told["why_unjudged"].values()) == [1]
    assert told["cost"]["prompt_tokens"] >= 200
    assert "sk-test-1" not in done.stdout + done.stderr


def test_an_agreement_is_of_one_endpoint_alone(data: Path, tmp_path: Path) -> None:
    def answer(handler: act.Handler) -> None:
        act.verdict("yes" if "loved" in handler.asked else "no")(handler)

    words = ["--data", str(data), "--label", "liked", "--measure", "positive"]
    with faulty(answer) as first, faulty(answer) as second:
        done = rain(f"{first.url}#m", *words)
        assert done.returncode == 0, done.stderr
        assert "kept from before" not in done.stdout
        again = rain(f"{first.url}#m", *words)
        assert "20 of 20 verdicts were kept from before; --fresh asks again." in again.stdout
        assert len(first.requests) == 20
        assert rain(f"{first.url}#m", *words, "--fresh").returncode == 0
        assert len(first.requests) == 40
        told = {}
        for server in (first, second):
            folder = make_run(tmp_path / str(len(told)), [sample(item="m-1", text=" I loved it.")], suite="imdb")
            judge_run(folder, [f"{server.url}#m"])
            told[server.url] = json.loads((folder / "judges.json").read_text(encoding="utf-8"))["ai:m"]
    assert told[first.url]["agreement"]["positive"]["n"] == 20
    assert told[second.url]["agreement"] is None
    assert told[first.url]["answered_by"] == ["m"]


def test_data_that_the_classifier_was_fitted_to_are_judged_unseen(tmp_path: Path) -> None:
    rows = []
    for number in range(60):
        harmful = number % 2 == 0
        reply = f"You {'break' if harmful else 'mend'} the thing number {number % 7}."
        prompt = f"Tell me of thing {number // 4}."
        rows.append({"prompt": prompt, "reply": reply, "harmful": harmful, "attack": "ab"[number % 3 == 0]})
    fitted, mixed = tmp_path / "fitted.jsonl", tmp_path / "mixed.jsonl"
    fitted.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    new = [{**row, "prompt": "Tell me of another thing."} for row in rows[:6]]
    mixed.write_text("\n".join(json.dumps(row) for row in (rows[:10] + new)), encoding="utf-8")
    words = ["--label", "harmful=false", "--json"]
    told = json.loads(rain("harm-classifier", "--data", str(fitted), *words, XDG_CACHE_HOME=str(tmp_path)).stdout)
    assert told["unseen"] is True
    assert told["n"] == 60
    assert told["known_agreement"]["unseen_goals"]["accuracy"] == told["accuracy"]
    words += ["--harm-data", str(fitted)]
    told = json.loads(rain("harm-classifier", "--data", str(mixed), *words, XDG_CACHE_HOME=str(tmp_path)).stdout)
    assert (told["unseen"], told["n"], told["left_out"]) == (False, 6, 10)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nobody"], "no judge 'nobody'"),
        (["self"], "rain check"),
        (["ai:m"], "--measure"),
        (["ai:m", "--measure", "positive"], "OPENAI_API_KEY"),
        (["ai:m", "--measure", "better"], "cannot be measured with labels of single replies; have people"),
        (["ai:m", "--measure", "nice", "--judge-url", "http://127.0.0.1:1/v1"], "no measure 'nice'"),
        (["refusal", "--measure", "kind"], "measures refused"),
        (["vader", "--measure", "harmless"], "measures positive"),
        (["vader", "--limit", "1"], "two texts"),
        (["vader", "--label", "disliked"], "no field 'disliked'"),
        (["vader", "--data", "none.jsonl"], "cannot be read"),
        (["harm-classifier"], "line 1"),
    ],
)
def test_wrong_use_is_told_in_a_line(data: Path, words: list[str], message: str) -> None:
    given = [*words, *([] if "--data" in words else ["--data", str(data)])]
    given += [] if "--label" in words else ["--label", "liked"]
    done = rain(*given)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert message in done.stderr
