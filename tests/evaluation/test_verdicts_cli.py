"""``rain eval verdicts``: a run that was made is judged later, without its model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from evaluation.runs import make_run, sample
from rain.cli import main


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
    ],
)
def test_what_cannot_be_is_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", [sample()])
    assert ran(*(word.format(run=run) for word in words)) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
