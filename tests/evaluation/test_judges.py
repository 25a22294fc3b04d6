"""Judges of a run: what is written, what is left alone, and the judges that need no data and no endpoint."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import pytest

import rain
from evaluation.runs import make_run, sample
from rain.errors import UsageError
from rain.evaluation import judges, records, report
from rain.evaluation.judges import JUDGES, Case, Judge, Verdict, check_names, judge_run, latest, make
from rain.evaluation.judges.labels import agreement
from rain.evaluation.judges.lexicon import POSITIVE
from rain.evaluation.judges.overlap import references
from rain.evaluation.judges.own import OwnJudge
from rain.evaluation.records import JUDGEMENTS, SAMPLES, Appender, Judgement, Sample, read_judgements
from rain.evaluation.report_tables import splits
from rain.evaluation.summary import summary


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def verdicts(judge: Judge, cases: Sequence[Case]) -> list[Verdict]:
    async def all_of_them() -> list[Verdict]:
        return [verdict async for _, verdict in judge.judge(cases)]

    return asyncio.run(all_of_them())


def test_verdicts_are_appended_once(tmp_path: Path) -> None:
    samples = [
        sample(item="m-1", text=" I loved it, a wonderful evening."),
        sample(item="m-2", text=" It was awful."),
        sample(item="m-3", text="", error="out of memory"),
    ]
    folder = make_run(tmp_path / "run", samples, suite="imdb")
    told: list[tuple[str, int, int]] = []
    (done,) = judge_run(folder, ["vader", "vader"], progress=lambda *words: told.append(words))
    assert (done.judge, done.new, done.unjudged) == ("vader", 2, 0)
    assert told == [("vader", 1, 2), ("vader", 2, 2)]
    found = read_judgements(folder)
    assert [(one.sample, one.measure, one.value) for one in found] == [
        ("m-1|vanilla|0", "positive", True),
        ("m-2|vanilla|0", "positive", False),
    ]
    assert all(one.independent for one in found)
    before = (folder / JUDGEMENTS).read_bytes()
    assert judge_run(folder, ["vader"])[0].new == 0
    assert (folder / JUDGEMENTS).read_bytes() == before


def rates(folder: Path) -> list[tuple[float | None, int, int]]:
    """Rate, N and unjudged of vanilla as the report has them; with them it is asked whether the summary agrees."""
    rows = [row for table in report.build([folder]).sections[0].tables for row in table.rows]
    told = list(summary(folder)["methods"]["vanilla"]["measures"].values())
    assert [(one["rate"], one["n"]) for one in told] == [(row.value, row.n) for row in rows]
    return [(row.value, row.n, row.unjudged) for row in rows]


def made_again(folder: Path, again: Sample, *, second_line: bool) -> None:
    """Put another reply in the place of the one with its id, or behind it."""
    path = folder / SAMPLES
    if not second_line:
        path.write_text("".join(f"{line}\n" for line in path.read_text().splitlines() if again.id not in line))
    with Appender(path) as out:
        out.write(again)


@pytest.mark.parametrize("second_line", [False, True])
def test_a_reply_made_again_does_not_keep_the_verdict_of_the_old_text(tmp_path: Path, second_line: bool) -> None:
    folder = make_run(tmp_path / "run", [sample(item=f"m-{n}", text=" I loved it.") for n in range(2)], suite="imdb")
    judge_run(folder, ["vader"])
    assert rates(folder) == [(1.0, 2, 0)]
    made_again(folder, sample(item="m-1", text=" I hated it."), second_line=second_line)
    assert rates(folder) == [(1.0, 1, 1)], "no verdict of this text is there yet"
    assert judge_run(folder, ["vader"])[0].new == 1
    assert rates(folder) == [(0.5, 2, 0)]
    assert judge_run(folder, ["vader"])[0].new == 0


def test_a_verdict_on_two_replies_is_of_both_texts() -> None:
    ours, theirs = sample(method="rain", text="a"), sample(text="b")
    texts = records.hash_of("a", "b")
    one = Judgement(sample=ours.id, other=theirs.id, judge="ai:m", measure="better", value=1.0, texts=texts)
    assert records.fits(one, {each.id: each for each in (ours, theirs)})
    again = theirs.model_copy(update={"text": "c"})
    assert not records.fits(one, {each.id: each for each in (ours, again)})
    assert not records.fits(one, {ours.id: ours})


@pytest.mark.parametrize(
    ("made", "new"),
    [("2026-01-02T03:04:04+00:00", 1), ("2026-01-02T03:04:05+00:00", 0), ("once", 0), (None, 0)],
)
def test_an_older_verdict_without_a_hash_counts_unless_it_was_made_before_the_reply(
    tmp_path: Path, made: str | None, new: int
) -> None:
    folder = make_run(tmp_path / "run", [sample(text=" I loved it.", made="2026-01-02T03:04:05+00:00")], suite="imdb")
    line = {"sample": sample().id, "judge": "vader", "measure": "positive", "value": False, "made": made}
    line = {name: value for name, value in line.items() if name != "made" or made}
    (folder / JUDGEMENTS).write_text(json.dumps(line) + "\n")
    assert judge_run(folder, ["vader"])[0].new == new
    assert rates(folder) == [(float(new), 1, 0)]


def test_what_a_crash_has_cut_is_judged_again(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", [sample(item="m-1"), sample(item="m-2")], suite="imdb")
    judge_run(folder, ["vader"])
    path = folder / JUDGEMENTS
    path.write_bytes(path.read_bytes()[:-20])
    judge_run(folder, ["vader"])
    assert sorted(one.sample for one in read_judgements(folder)) == ["m-1|vanilla|0", "m-2|vanilla|0"]


def test_the_unjudged_is_tried_again_and_not_told_twice(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", [sample(item="a"), sample(item="b", score=0.5)])
    for _ in range(2):
        judge_run(folder, ["self"])
    found = read_judgements(folder)
    assert [(one.sample, one.value) for one in found] == [("a|vanilla|0", None), ("b|vanilla|0", True)]
    assert "did not judge" in (found[0].why or "")


@pytest.mark.parametrize(
    ("name", "measures"), [("vader", ["positive"]), ("refusal", ["kind", "refused"]), ("self", ["harmless"])]
)
def test_an_empty_reply_is_unjudged_also_where_it_was_judged_before(
    tmp_path: Path, name: str, measures: list[str]
) -> None:
    """A method that could not pay for a reply within its limit leaves an empty one."""
    one = sample(text="\n", score=0.5, stopped_by="budget")
    folder = make_run(tmp_path / "run", [one])
    with Appender(folder / JUDGEMENTS) as out:
        out.write_all([Judgement(sample=one.id, judge=name, measure=measure, value=True) for measure in measures])
    for _ in range(2):
        judge_run(folder, [name])
    found = read_judgements(folder)[len(measures) :]
    assert sorted(each.measure for each in found) == measures
    assert {(each.value, each.why) for each in found} == {(None, "the reply is empty (stopped by budget)")}


def test_an_empty_reply_has_no_part_in_the_split(tmp_path: Path) -> None:
    ones = [sample(item="a", text="", stopped_by="budget"), sample(item="b")]
    folder = make_run(tmp_path / "run", ones)
    judge_run(folder, ["refusal"])
    harmless = [Judgement(sample=one.id, judge="another", measure="harmless", value=True) for one in ones]
    (row,) = splits(ones, [*read_judgements(folder), *harmless], ["vanilla"], None)[0].rows
    assert (row.n, row.unjudged) == (1, 1)


def test_of_two_replies_neither_is_better_where_one_is_empty() -> None:
    class Asked(Judge):
        name = "asked"

        def cases(self, samples: Sequence[Sample]) -> list[Case]:
            return []

        async def judge(self, cases: Sequence[Case]) -> AsyncGenerator[tuple[Case, Verdict]]:
            for case in cases:
                yield case, Verdict(1.0)

    whole, empty = sample(item="a"), sample(item="a", text="", method="rain")
    pairs = [(whole, sample(item="a", method="b")), (whole, empty), (empty, whole)]

    async def all_of_them() -> list[Any]:
        cases = [Case(one, "better", other) for one, other in pairs]
        return [verdict.value async for _, verdict in judges.verdicts(Asked(), cases)]

    assert sorted(asyncio.run(all_of_them()), key=str) == [1.0, None, None]


def test_the_last_judgement_counts() -> None:
    ones = [
        Judgement(sample="a", judge="j", measure="harmless", value=None),
        Judgement(sample="a", judge="j", measure="helpful", value=False),
        Judgement(sample="a", judge="j", measure="harmless", value=True),
    ]
    assert sorted((one.measure, one.value) for one in latest(ones)) == [("harmless", True), ("helpful", False)]


def test_the_sidecar_tells_of_every_judge(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", [sample()])
    judge_run(folder, ["refusal"])
    judge_run(folder, ["vader"])
    told = json.loads((folder / "judges.json").read_text(encoding="utf-8"))
    assert set(told) == {"refusal", "vader"}
    held_out = told["refusal"]["agreement"]["held out"]["refused"]
    assert held_out["n"] == 44
    assert held_out["accuracy"] >= 0.9
    assert told["vader"]["bound"] == POSITIVE


@pytest.mark.parametrize(("name", "message"), [("nobody", "there are vader, refusal"), ("", "no judge ''")])
def test_an_unknown_judge_is_told_before_any_work(tmp_path: Path, name: str, message: str) -> None:
    folder = make_run(tmp_path / "run", [sample()])
    for use in (lambda: judge_run(folder, ["vader", name]), lambda: check_names(["vader", name])):
        with pytest.raises(UsageError, match=message):
            use()
    assert not (folder / JUDGEMENTS).exists()


def test_a_folder_that_is_no_run_or_holds_no_reply_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no run"):
        judge_run(tmp_path, ["vader"])
    folder = make_run(tmp_path / "run", [sample(text="", error="broken")])
    with pytest.raises(UsageError, match="no replies to judge"):
        judge_run(folder, ["vader"])


def test_every_judge_in_the_list_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAIN_DATA", raising=False)
    for name in JUDGES:
        if name in ("harm-classifier", "ai:MODEL"):
            with pytest.raises(UsageError):
                make(name)
        else:
            assert make(name).name == name


# Overlap -------------------------------------------------------------------------------------------------------------

META = {
    "correct_answers": ["Nothing happens to you", "You digest the seeds"],
    "incorrect_answers": "A plant grows in your stomach; You die",
}


def test_a_true_answer_overlaps_with_the_true_ones() -> None:
    judge = make("overlap")
    found = {}
    for name, text in (("true", "You digest the seeds."), ("false", "A plant grows in your stomach.")):
        cases = judge.cases([sample(suite="truthfulqa", text=text, meta=META)])
        values = verdicts(judge, cases)
        found[name] = {case.measure: verdict.value for case, verdict in zip(cases, values, strict=True)}
    assert set(found["true"]) == {f"{k}_{w}" for k in ("bleu", "rouge1", "rouge2", "rougeL") for w in ("diff", "acc")}
    assert found["true"]["bleu_acc"] is True
    assert found["false"]["bleu_acc"] is False
    # The reply is a reference to the letter: 100 there. Its next of kin on the other side, by hand: "You die." shares
    # one word of three with four, so P = 1/4, R = 1/2, F = 1/3.
    assert found["true"]["rouge1_diff"] == pytest.approx(100 - 100 / 3, abs=0.01)
    assert found["false"]["rouge1_diff"] < -50


def test_bleu_is_that_of_the_harness() -> None:
    """Worked out by hand: sacrebleu's sentence with brevity penalty and exponential smoothing."""
    import math

    meta = {"correct_answers": ["a b c d e f"], "incorrect_answers": ["x y z"]}
    judge = make("overlap")
    cases = [case for case in judge.cases([sample(text="a b c d", meta=meta)]) if case.measure == "bleu_diff"]
    # Hypothesis a b c d: 4 tokens; reference with its full stop 7. All n-grams match: precision 1, brevity e^(1-7/4).
    # Against "x y z.": no 1-gram matches, which smoothing does not help: BLEU 0 there.
    assert verdicts(judge, cases)[0].value == pytest.approx(100 * math.exp(1 - 7 / 4), abs=0.01)


def test_references_are_lists_or_one_text() -> None:
    assert references(" a; b. ;; ") == ["a.", "b."]
    assert references(["a", " ", "b."]) == ["a.", "b."]
    judge = make("overlap")
    assert judge.cases([sample()]) == [], "a sample without reference answers is not its business"
    cases = judge.cases([sample(meta={"correct_answers": [], "incorrect_answers": ["x"]})])
    assert {verdict.value for verdict in verdicts(judge, cases)} == {None}


# The model itself ----------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_the_model_itself_scores_every_sample_alike(tmp_path: Path) -> None:
    samples = [
        sample(item=f"m-{number}", prompt="The film was", text=text)
        for number, text in enumerate((" wonderful, I loved it all.", " dreadful, I hated it all."))
    ]
    how: dict[str, Any] = {"preference": "positive", "options": {"style": "plain", "evaluator": "one_word"}}
    folder = make_run(tmp_path / "run", samples, suite="imdb", **how)
    with rain.load("smollm2", threads=1, context=1024) as model:
        (done,) = judge_run(folder, ["self"], model=model)
    assert done.cost["prompt_tokens"] > 0
    found = read_judgements(folder)
    assert {one.measure for one in found} == {"positive"}
    assert not any(one.independent for one in found)
    good, bad = (float((one.why or "").split()[-1]) for one in found)
    assert good > bad


def test_the_methods_own_score_stands_in_for_it() -> None:
    judge = make("self")
    assert isinstance(judge, OwnJudge)
    cases = [Case(sample(score=score), "harmless") for score in (0.4, 0.0, -0.2, None)]
    assert [verdict.value for verdict in verdicts(judge, cases)] == [True, False, False, None]


# Agreement -----------------------------------------------------------------------------------------------------------


def test_agreement_by_hand() -> None:
    labels = [True] * 6 + [False] * 4
    values: list[bool | None] = [True] * 5 + [False] + [True] + [False] * 3
    found = agreement([*labels, True], [*values, None])
    assert (found.n, found.unjudged) == (10, 1)
    assert found.accuracy == pytest.approx(0.8)
    # Chance: 0.6 * 0.6 + 0.4 * 0.4 = 0.52; (0.8 - 0.52) / 0.48.
    assert found.kappa == pytest.approx(0.28 / 0.48)
    assert found.auc == pytest.approx((5 / 6 + 3 / 4) / 2)
    assert found.kappa_low is not None
    assert found.kappa_low < 0.28 / 0.48


def test_an_area_is_of_the_scores_where_there_are_some() -> None:
    found = agreement([True, True, False, False], [True, True, True, True], [0.9, 0.8, 0.7, 0.6])
    assert found.auc == 1.0
    assert found.kappa is None or found.kappa == 0.0


def test_texts_of_one_prompt_are_drawn_together() -> None:
    labels = [True, False] * 40
    values = [number % 8 < 6 and label for number, label in enumerate(labels)]
    alone = agreement(labels, values, groups=list(range(80)))
    together = agreement(labels, values, groups=[number // 20 for number in range(80)])
    assert alone.accuracy == together.accuracy
    assert together.prompts == 4


def test_nothing_judged_gives_no_figures() -> None:
    found = agreement([True, False], [None, None])
    assert (found.n, found.unjudged, found.accuracy, found.auc, found.kappa) == (0, 2, None, None, None)


@pytest.mark.parametrize(
    ("preference", "measure"),
    [("positive", "positive"), ("adversarial", "harmless"), ("Be kind to bees.", "preferred"), (None, "preferred")],
)
def test_what_the_model_itself_measures_is_what_was_wanted(
    tmp_path: Path, preference: str | None, measure: str
) -> None:
    folder = make_run(tmp_path / "run", [sample(score=0.5)], preference=preference)
    judge_run(folder, ["self"])
    assert [one.measure for one in read_judgements(folder)] == [measure]
