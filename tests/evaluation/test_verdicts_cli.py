"""``rain eval verdicts``: a run that was made is judged later, without its model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from evaluation import endpoints as act
from evaluation.endpoints import faulty
from evaluation.runs import make_run, sample
from rain.cli import main
from rain.evaluation.records import read_judgements


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def ran(*words: str) -> int:
    with patch.object(sys, "argv", ["rain", "eval", "verdicts", *words]), pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_run_is_judged_once_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refusal = sample(item="hh-2", text="I'm sorry, but I can't help with that.")
    run = make_run(tmp_path / "run", [sample(), refusal], model="/no/such/model.gguf")
    assert ran(str(run), "--judge", "refusal", "--json") == 0
    told = capsys.readouterr()
    assert "refusal: 4 judged" in told.err, "refused and kind, of two samples"
    assert json.loads(told.out)["suite"] == "hh"
    lines = [json.loads(line) for line in (run / "judgements.jsonl").read_text().splitlines()]
    assert {line["sample"][:4]: line["value"] for line in lines if line["measure"] == "refused"} == {
        "hh-1": False,
        "hh-2": True,
    }
    assert ran(str(run), "--judge", "refusal") == 0
    assert "refusal: 0 judged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{run}/none", "--judge", "refusal"], "is no folder of a run"),
        (["{run}", "--judge", " , "], "name a judge"),
        (["{run}", "--judge", "self"], "the command that made the run"),
        (["{run}", "--judge", "nobody"], "no judge 'nobody'"),
        (["{run}", "--judge", "refusal", "--measure", ","], "name a measure"),
        (["{run}", "--judge", "refusal", "--measure", "better"], "refusal measures refused, kind here"),
        (["{run}", "--judge", "refusal", "--against", "vanilla"], "refusal compares nothing with it"),
        (["{run}", "--judge", "refusal", "--against", "dice"], "--against dice: there are no replies of it"),
        (["{run}", "--judge", "{ai}", "--measure", "nice"], "no measure 'nice'; it knows harmless"),
        (["{run}", "--judge", "{ai}", "--measure", "harmless", "--against", "rain"], "ask with --measure better"),
        (["{run}", "--judge", "{ai}", "--measure", "better", "--against", "dice"], "there are vanilla, rain"),
        (["{run}", "--judge", "refusal,{ai}", "--against", "dice"], "there are vanilla, rain"),
    ],
)
def test_what_cannot_be_is_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", [sample(), sample(method="rain")])
    assert ran(*(word.format(run=run, ai="http://127.0.0.1:1/v1#m") for word in words)) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not (run / "judgements.jsonl").exists()


def test_without_the_usual_opponent_it_is_told_what_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", [sample(method="rain"), sample(method="best-of-n")])
    assert ran(str(run), "--judge", "http://127.0.0.1:1/v1#m", "--measure", "better") == 2
    assert "--against vanilla: there are no replies of it; there are rain, best-of-n" in capsys.readouterr().err


def test_only_the_measures_that_are_named_are_judged(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [sample()])
    assert ran(str(run), "--judge", "refusal", "--measure", "kind") == 0
    assert [one.measure for one in read_judgements(run)] == ["kind"]


@pytest.mark.parametrize("suite", ["hh", "truthfulqa"])
def test_methods_are_judged_in_pairs_beside_any_of_them(suite: str, tmp_path: Path) -> None:
    texts = {"vanilla": "Worst.", "best-of-n": "Middling.", "rain": "Best."}
    run = make_run(tmp_path / "run", [sample(method=name, text=text) for name, text in texts.items()], suite=suite)
    order = list(texts.values())

    def prefers(handler: act.Handler) -> None:
        first, second = sorted((text for text in order if text in handler.asked), key=handler.asked.index)
        act.verdict("first" if order.index(first) > order.index(second) else "second")(handler)

    with faulty(prefers) as server:
        words = ["--judge", f"{server.url}#m", "--measure", "better", "--against", "best-of-n"]
        assert ran(str(run), *words) == 0
        assert len(server.requests) == 4, "two pairs in both orders, and nothing else"
        assert ran(str(run), *words) == 0
        assert len(server.requests) == 4
    found = {(one.sample.split("|")[1], str(one.other).split("|")[1]): one for one in read_judgements(run)}
    assert {pair: one.value for pair, one in found.items()} == {
        ("vanilla", "best-of-n"): 0.0,
        ("rain", "best-of-n"): 1.0,
    }
    assert {one.measure for one in found.values()} == {"better"}
