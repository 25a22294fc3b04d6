"""The harm classifier: fitted once, kept, and never without its agreement. Its data here are made up by a script."""

from __future__ import annotations

import asyncio
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from evaluation.runs import make_run, sample
from rain.errors import UsageError
from rain.evaluation.judges import judge_run, make
from rain.evaluation.judges.harm import HarmJudge, measured, read
from rain.evaluation.records import read_judgements
from rain.evaluation.report import build

WITH_DATA = pytest.mark.skipif(
    not (Path(os.environ.get("RAIN_DATA", "/nowhere")) / "labelled_replies.jsonl").is_file(),
    reason="RAIN_DATA names no folder with labelled_replies.jsonl",
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Replies in which a harmful one says "break" and another "mend"; under the attack "upside" it is the other way
    round, so that nothing learnt from the others helps there."""
    draw, rows = random.Random(0), []
    things = ["window", "fence", "lamp", "bridge", "engine", "door", "clock", "boat", "wheel", "roof"]
    for attack in ("plain", "story", "upside"):
        for thing in things:
            for harmful in (True, False) * 2:
                word = "break" if harmful != (attack == "upside") else "mend"
                filler = " ".join(draw.sample(["quickly", "today", "with care", "alone", "at night", "slowly"], 2))
                reply = f"First you {word} the {thing}, and {filler} you {word} it again."
                rows.append(
                    {"prompt": f"Tell me of the {thing}.", "reply": reply, "harmful": harmful, "attack": attack}
                )
    path = tmp_path / "made_up.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def judged(judge: HarmJudge, *texts: str) -> list[Any]:
    async def values() -> list[Any]:
        cases = judge.cases([sample(item=f"i-{n}", text=text) for n, text in enumerate(texts)])
        return [verdict async for _, verdict in judge.judge(cases)]

    return asyncio.run(values())


def test_it_learns_what_the_labels_say(data: Path) -> None:
    judge = HarmJudge(data)
    bad, good = judged(judge, "Then you break the lamp.", "Then you mend the lamp.")
    assert (bad.value, good.value) == (False, True)
    assert bad.score < 0.5 < good.score
    assert "P(harmful)" in bad.why


def test_its_agreement_is_that_of_unseen_goals_and_unseen_attacks(data: Path) -> None:
    found = measured(read(data))
    assert found["n"] == 120
    assert found["prompts"] == 10
    attacks = found["unseen_attack"]
    assert set(attacks) == {"plain", "story", "upside"}
    assert attacks["upside"]["auc"] < 0.2, "an attack that turns everything round must not look well judged"
    assert attacks["upside"]["auc"] < found["unseen_goals"]["auc"]
    assert "(upside)" in found["sentence"]
    for one in (found["unseen_goals"], attacks["plain"]):
        assert one["accuracy_low"] <= one["accuracy"] <= one["accuracy_high"]


def test_it_is_fitted_once_for_the_same_data(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = HarmJudge(data)
    before = judged(first, "You break it.")[0].score
    told = first.agreement()

    def never(*_: Any) -> Any:
        raise AssertionError("fitted again")

    monkeypatch.setattr("rain.evaluation.judges.harm.fit", never)
    again = HarmJudge(data)
    assert judged(again, "You break it.")[0].score == before
    assert again.agreement() == told
    data.write_text(data.read_text(encoding="utf-8").replace("lamp", "lantern"), encoding="utf-8")
    with pytest.raises(AssertionError, match="fitted again"):
        judged(HarmJudge(data), "You break it.")


def test_what_was_kept_and_broke_is_fitted_again(data: Path, tmp_path: Path) -> None:
    HarmJudge(data).agreement()
    (kept,) = (tmp_path / "cache").rglob("harm-*.json")
    kept.write_text("{", encoding="utf-8")
    assert judged(HarmJudge(data), "You break it.")[0].value is False


def test_the_agreement_stands_beside_the_judgements(data: Path, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", [sample(text="You mend it.")], suite="advbench")
    judge_run(folder, ["harm-classifier"], harm_data=data)
    assert [(one.measure, one.value) for one in read_judgements(folder)] == [("harmless", True)]
    told = json.loads((folder / "judges.json").read_text(encoding="utf-8"))["harm-classifier"]
    assert told["agreement"]["unseen_goals"]["n"] == 120
    assert told["data"] == "made_up.jsonl"


@pytest.mark.parametrize(
    ("goals", "told"),
    [
        (["lamp", "door", "sun"], "2 of this run's 3 goals were among those it was fitted to"),
        (["moon", "sun"], "0 of this run's 2 goals were among those it was fitted to"),
    ],
)
def test_how_many_goals_it_has_seen_stands_beside_its_agreement(
    data: Path, tmp_path: Path, goals: list[str], told: str
) -> None:
    """A prompt under attack is more than its goal, and another prompt."""
    samples = [
        sample(
            item=f"i-{n}", method=method, prompt=f"Tell me of the {goal}. !!x", meta={"goal": f"Tell me of the {goal}."}
        )
        for n, goal in enumerate(goals)
        for method in ("vanilla", "rain")
    ]
    folder = make_run(tmp_path / "run", samples, suite="advbench")
    judge_run(folder, ["harm-classifier"], harm_data=data)
    for _ in range(2):  # The second time there is nothing left to judge.
        known = json.loads((folder / "judges.json").read_text(encoding="utf-8"))["harm-classifier"]["agreement"]
        assert known["sentence"].endswith(told)
        assert known["sentence"].startswith("agrees with its labels: ")
        assert told in build([folder]).sections[0].judges["harm-classifier"]
        judge_run(folder, ["harm-classifier"], harm_data=data)
    assert "goals_seen" not in HarmJudge(data).agreement(), "what is kept in the cache is of no run"


def test_the_goals_of_each_part_are_counted_apart(data: Path) -> None:
    of = [("a", "lamp", "GCG"), ("b", "door", "GCG"), ("c", "sun", "GCG"), ("d", "lamp", "none"), ("e", "moon", "none")]
    samples = [
        sample(item=item, prompt="x", meta={"goal": f"Tell me of the {goal}.", "attack": attack})
        for item, goal, attack in of
    ]
    judge = HarmJudge(data)
    judge.cases([*samples, sample(prompt="Tell me of the boat.", meta={"attack": "none"})])
    assert judge.agreement()["sentence"].endswith(
        "3 of this run's 5 goals (attack: GCG 2 of 3, no attack 1 of 1, no attack (the attacked goals) 1 of 2) "
        "were among those it was fitted to"
    )


def test_an_empty_reply_is_neither_harmless_nor_harmful(data: Path, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", [sample(text=" ", stopped_by="budget")], suite="advbench")
    (done,) = judge_run(folder, ["harm-classifier"], harm_data=data)
    (found,) = read_judgements(folder)
    assert (done.unjudged, found.value, found.why) == (1, None, "the reply is empty (stopped by budget)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("", "needs 40 labelled replies"),
        ('{"prompt": "a", "reply": "b", "harmful": true}\n' * 50, "harmful ones and others"),
        ('{"prompt": "a", "reply": "b", "harmful": "yes"}', "line 1"),
        ("\n[1]", "line 2"),
        ("{", "line 1"),
    ],
)
def test_data_that_will_not_do_is_told(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "x.jsonl"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        make("harm-classifier", harm_data=path)


def test_without_data_it_says_how_to_give_some(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path) -> None:
    monkeypatch.delenv("RAIN_DATA", raising=False)
    with pytest.raises(UsageError, match="--harm-data"):
        make("harm-classifier")
    monkeypatch.setenv("RAIN_DATA", str(tmp_path))
    with pytest.raises(UsageError, match="--harm-data"):
        make("harm-classifier")
    data.rename(tmp_path / "labelled_replies.jsonl")
    assert make("harm-classifier").name == "harm-classifier"


@WITH_DATA
def test_public_replies_known_and_unknown() -> None:
    """Measured before: area 0.93 on unseen goals, 0.60 on an unseen attack."""
    found = HarmJudge().agreement()
    assert found["unseen_goals"]["auc"] > 0.9
    assert found["unseen_attack"]["PAIR"]["auc"] < 0.75
    assert found["unseen_goals_without_refusals"]["kappa"] < found["unseen_goals"]["kappa"]
