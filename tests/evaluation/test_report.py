"""The report: every figure is what it is called, text of models cannot break out, what is missing is said."""

from __future__ import annotations

import base64
import json
import math
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from evaluation import made_up
from evaluation.little import OPTIONS, scripted
from rain.errors import UsageError
from rain.evaluation import report, report_tables
from rain.evaluation.records import (
    Appender,
    Judgement,
    Sample,
    read_manifest,
    read_samples,
    sample_id,
    write_manifest,
)
from rain.evaluation.statistics import compare, holm, wilson
from rain.evaluation.summary import summary
from rain.evaluation.summary import table as summary_table

RAIN = [sys.executable, "-c", "from rain.cli import main; main()"]
HOSTILE = " </pre></div><script>alert(1)</script><img src=x onerror=alert(2)> ``` | [x](javascript:alert(3)) \x1b[2J"


def rain(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RAIN, *words], capture_output=True, text=True, timeout=120, env={**os.environ})


def section(folder: Path, **how: Any) -> report.Section:
    return report.build([folder], **how).sections[0]


def table_of(found: report.Section, measure: str = "harmless", part: str = "") -> report_tables.Table:
    return next(table for table in found.tables if table.measure == measure and table.part == part)


def judge(folder: Path, *judgements: Judgement) -> None:
    with Appender(folder / "judgements.jsonl") as out:
        out.write_all(judgements)


def sample(item: str, method: str, **more: Any) -> Sample:
    about = {"suite": "advbench", "item": item, "method": method, "prompt": "made up for a test", "seed": 1}
    plain = {"text": "made up for a test", "usage": made_up.usage(100)}
    return Sample(id=sample_id(item, method, 0), **{**about, **plain, **more})


def options(folder: Path, **changes: Any) -> None:
    """Change what a run was asked with."""
    manifest = read_manifest(folder)
    write_manifest(folder, manifest.model_copy(update={"options": {**manifest.options, **changes}}))


# Figures --------------------------------------------------------------------------------------------------------------


def test_rates_differences_and_costs_are_what_they_are_called(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run", {"vanilla": 0.4, "rain": 0.95, "best-of-n": 0.6}, items=40)
    found = section(folder)
    table = table_of(found)
    lines = [json.loads(line) for line in (folder / "judgements.jsonl").read_text().splitlines()]
    said = {line["sample"]: line["value"] for line in lines if line["measure"] == "harmless"}
    values = {m: [said[f"item-{n:03}|{m}|0"] for n in range(40)] for m in ("vanilla", "rain", "best-of-n")}
    assert [row.method for row in table.rows] == ["vanilla", "rain", "best-of-n"]
    ps = holm([compare(values[m], values["vanilla"]).p for m in ("rain", "best-of-n")])
    for row in table.rows:
        assert row.value == sum(values[row.method]) / 40
        assert (row.low, row.high) == wilson(sum(values[row.method]), 40)
        assert (row.n, row.unjudged, row.errors) == (40, 0, 0)
        if row.method != "vanilla":
            assert row.comparison
            assert row.comparison.difference == pytest.approx(row.value - table.rows[0].value)
            assert row.comparison.p_corrected == pytest.approx(ps[row.method != "rain"])
            assert row.comparison.compared == 2
    assert table.rows[0].comparison is None
    assert [row.cost.per_token for row in table.rows] == [1, 31, 61]
    assert [row.cost.per_reply for row in table.rows] == [20, 620, 1220]
    assert [each["forward_tokens_per_reply"] for each in summary(folder)["methods"].values()] == [20, 620, 1220]
    made = report.build([folder])
    assert "| forward tokens a reply | per token |" in report.markdown(made)
    assert "| 620 | 31 |" in report.markdown(made)
    page = report.html(made)
    assert '<td class="n">620</td><td class="n">31</td>' in page
    drawing = base64.b64decode(page.split("base64,")[1].partition('"')[0]).decode()
    assert "forward tokens a reply" in drawing
    assert "without the encoder of similar siblings" in drawing
    assert table.rows[1].cost.seconds == pytest.approx(6.2)


def test_what_was_not_judged_is_neither_good_nor_bad(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run", {"vanilla": 1.0, "rain": 1.0}, unjudged=5)
    with Appender(folder / "samples.jsonl") as out:
        out.write(sample("item-901", "rain"))  # nobody has judged this one
        out.write(sample("item-902", "rain", text="", error="the engine fell over", usage=None))
    table = table_of(section(folder))
    vanilla, ours = table.rows
    assert (vanilla.value, vanilla.n, vanilla.unjudged, vanilla.errors) == (1.0, 15, 5, 0)
    assert (ours.value, ours.n, ours.unjudged, ours.errors) == (1.0, 15, 6, 1)
    assert ours.comparison
    assert ours.comparison.n == 15
    missing = section(folder).missing
    assert missing
    assert missing.startswith("11 verdicts are missing")
    assert "the engine fell over" in report.markdown(report.build([folder]))


def test_a_comparison_says_where_prompts_are_left_out_for_errors(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run", {"vanilla": 0.3, "rain": 0.9, "best-of-n": 0.6}, items=20)
    with Appender(folder / "samples.jsonl") as out:  # the last of an id counts
        for n in (1, 2, 3):
            out.write(sample(f"item-00{n}", "rain", text="", error="nothing passed", usage=None))
        out.write(sample("item-003", "vanilla", text="", error="the engine fell over", usage=None))
    found = report.build([folder])
    sentences = {row.method: row.comparison.sentence for row in table_of(found.sections[0]).rows if row.comparison}
    said = "Of those prompts alone where both succeeded: 3 left out for errors (3 and 1)."
    assert sentences["rain"].endswith(said)
    assert sentences["best-of-n"].endswith("1 left out for errors (0 and 1).")
    assert all(gain.sentence.endswith(said) for gain in found.sections[0].splits[0].rows[1].gains.values())
    assert said in report.html(found)
    assert "left out for errors" not in report.markdown(report.build([made_up.run(tmp_path / "whole")]))


def test_what_rain_alone_may_do_is_told_in_bold(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run")
    said = "With --on-failure refuse RAIN alone gives a canned refusal where no reply passes"
    assert said not in report.markdown(report.build([folder]))
    options(folder, on_failure="refuse")
    assert f"**{said}" in report.markdown(report.build([folder]))
    assert f'<p class="warn">{said}' in report.html(report.build([folder]))
    options(folder, on_failure="raise")
    assert "errors: its rates are of those that did" in report.markdown(report.build([folder]))
    others = made_up.run(tmp_path / "others", {"vanilla": 0.5, "best-of-n": 0.9})
    options(others, on_failure="refuse")
    assert said not in report.markdown(report.build([others]))


def test_methods_without_a_limit_are_not_said_to_cost_the_same(tmp_path: Path) -> None:
    said = "Methods ran without a limit on forward tokens; costs differ: compare with --max-forward-tokens."
    folder = made_up.run(tmp_path / "run")
    assert f"**{said}**" in report.markdown(report.build([folder])).replace("\\", "")
    assert said in report.html(report.build([folder]))
    options(folder, max_forward_tokens=900)
    assert said not in report.html(report.build([folder]))
    assert said not in report.html(report.build([made_up.run(tmp_path / "alone", {"rain": 0.5})]))


def test_where_encoders_differ_seconds_are_to_be_compared(tmp_path: Path) -> None:
    said = "differ in the encoder, which is not among the forward tokens"
    swept = made_up.run(tmp_path / "run", {"rain[encoder=wordllama]": 0.5, "rain[encoder=minilm]": 0.9})
    assert said in report.markdown(report.build([swept]))
    assert said not in report.markdown(report.build([made_up.run(tmp_path / "other")]))


def test_the_last_verdict_counts(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run", {"vanilla": 1.0, "rain": 1.0}, unjudged=20)
    judge(folder, Judgement(sample="item-000|rain|0", judge="made-up-judge", measure="harmless", value=False))
    judge(folder, Judgement(sample="item-000|rain|0", judge="made-up-judge", measure="harmless", value=True))
    ours = table_of(section(folder)).rows[1]
    assert (ours.value, ours.n, ours.unjudged) == (1.0, 1, 19)


def test_kinds_of_harmless_replies_add_up_to_them(tmp_path: Path) -> None:
    found = section(made_up.run(tmp_path / "run", items=50))
    split = found.splits[0]
    rates = {row.method: row.value for row in table_of(found).rows}
    for row in split.rows:
        assert row.harmless == pytest.approx(rates[row.method])
        assert sum(share or 0 for share in row.shares.values()) == pytest.approx(rates[row.method])
        for kind, share in row.shares.items():
            assert row.intervals[kind] == wilson(round(row.n * (share or 0)), row.n)
    gains = split.rows[1].gains
    assert set(gains) == set(report_tables.KINDS)
    assert sum(gain.difference for gain in gains.values()) == pytest.approx(rates["rain"] - rates["vanilla"])
    assert all(gain.compared == 3 for gain in gains.values())
    # A reply that is refused and yet judged harmful is no part of a gain.
    assert split.rows[0].gains == {}


def test_parts_of_a_suite_are_not_mixed(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run", items=1, suite="advbench", judged=False)
    (folder / "samples.jsonl").unlink()
    with Appender(folder / "samples.jsonl") as out:
        for n in range(6):
            attack = "GCG" if n % 2 else "none"
            for method in ("vanilla", "rain"):
                out.write(sample(f"advbench-{n}", method, meta={"attack": attack}))
                good = attack == "none" or method == "rain"
                judge(
                    folder,
                    Judgement(sample=f"advbench-{n}|{method}|0", judge="made-up", measure="harmless", value=good),
                )
    found = section(folder)
    assert [table.part for table in found.tables] == ["attack: GCG", "no attack"]
    assert [row.value for row in table_of(found, part="attack: GCG").rows] == [0.0, 1.0]
    assert [row.n for row in table_of(found, part="no attack").rows] == [3, 3]
    lengths = {k: report_tables.parts([sample("x", "rain", meta={"prefill_tokens_wanted": k})]) for k in (25,)}
    assert list(lengths[25]) == [""]
    three = [sample(f"x@{k}", "rain", meta={"prefill_tokens_wanted": k}) for k in (1000, 25, 100)]
    assert [part.split()[2] for part in report_tables.parts(three)] == ["25", "100", "1000"]
    both = [sample(label, "rain", meta={"label": label}) for label in ("unsafe", "safe")]
    assert list(report_tables.parts(both)) == ["safe prompts", "unsafe prompts"]


def test_an_attack_is_compared_with_the_same_goals_without_it(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run", items=1, suite="advbench", judged=False)
    (folder / "samples.jsonl").unlink()
    with Appender(folder / "samples.jsonl") as out:
        for n in range(12):
            goal = {"goal": f"goal {n}, made up"}
            metas = {"gcg": {"attack": "GCG", **goal}, "unattacked": {"attack": "none", **goal}}
            metas["plain"] = {"attack": "none", "goal": f"another {n}", "target": "Sure"}
            for kind, meta in metas.items():
                for method in ("vanilla", "rain"):
                    failed = {"text": "", "error": "nothing passed"} if (kind, method, n) == ("gcg", "rain", 0) else {}
                    out.write(one := sample(f"advbench-{kind}-{n}", method, meta=meta, **failed))
                    good = kind == "unattacked" or (kind == "gcg" and method == "rain")
                    judge(folder, Judgement(sample=one.id, judge="made-up", measure="harmless", value=good))
    found = report.build([folder])
    parts = ["attack: GCG", "no attack (AdvBench)", "no attack (the attacked goals)"]
    assert [table.part for table in found.sections[0].tables] == parts
    assert [table.rows[0].value for table in found.sections[0].tables] == [0.0, 0.0, 1.0]
    (only,) = found.sections[0].attacks
    rows = dict(only.rows)
    assert (only.attack, only.judge, only.measure) == ("GCG", "made-up", "harmless")
    assert (rows["vanilla"].n, rows["vanilla"].lost, rows["vanilla"].compared) == (12, 12, 2)
    assert rows["vanilla"].p == pytest.approx(2 / 2**12)
    assert rows["vanilla"].sentence.startswith("vanilla under GCG is lower than vanilla without it: -100 points")
    assert (rows["rain"].n, rows["rain"].shown) == (11, False)
    assert rows["rain"].sentence.endswith("1 left out for errors (1 and 0).")
    for text in (report.markdown(found), report.html(found)):
        assert "What the attack changes: harmless under GCG" in text
        assert "vanilla under GCG is lower" in text
    assert section(made_up.run(tmp_path / "other")).attacks == ()


def test_numbers_have_means_and_no_points(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run", items=20)
    for n in range(20):
        for method, gain in (("vanilla", 0.0), ("rain", 5.0)):
            value = gain + n % 3
            judge(folder, Judgement(sample=f"item-{n:03}|{method}|0", judge="o", measure="bleu_diff", value=value))
    table = table_of(section(folder), "bleu_diff")
    assert not table.rates
    ours = table.rows[1]
    assert ours.value == pytest.approx(5.95)
    assert ours.low is not None
    assert ours.low < 5.95 < (ours.high or 0)
    assert ours.comparison
    assert ours.comparison.shown
    assert "points" not in ours.comparison.sentence


def test_true_and_informative_is_both(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run", items=3, judged=False)
    for n, (true, informs) in enumerate([(True, True), (True, False), (True, None)]):
        for measure, value in (("truthful", true), ("informative", informs)):
            judge(folder, Judgement(sample=f"item-{n:03}|rain|0", judge="ai:x", measure=measure, value=value))
    ours = next(row for row in table_of(section(folder), "truthful and informative").rows if row.method == "rain")
    assert (ours.value, ours.n, ours.unjudged) == (0.5, 2, 1)


def test_wins_leave_ties_out(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run", items=10)
    for n, value in enumerate([1.0] * 4 + [0.0] * 2 + [0.5] * 3 + [None]):
        sides = {"sample": f"item-{n:03}|rain|0", "other": f"item-{n:03}|vanilla|0"}
        judge(folder, Judgement(**sides, judge="ai:x", measure="better", value=value))
    duel = section(folder).duels[0]
    assert (duel.method, duel.other) == ("rain", "vanilla")
    assert (duel.won, duel.lost, duel.ties, duel.unjudged) == (4, 2, 3, 1)
    assert duel.share == pytest.approx(4 / 6)
    assert (duel.low, duel.high) == wilson(4, 6)


def beside(folder: Path, values: dict[tuple[str, str], list[float | None]], judge_: str = "ai:x") -> None:
    """Verdicts on pairs of replies, by (method, other), one an item."""
    for (method, other), each in values.items():
        for n, value in enumerate(each):
            sides = {"sample": f"item-{n:03}|{method}|0", "other": f"item-{n:03}|{other}|0"}
            judge(folder, Judgement(**sides, judge=judge_, measure="better", value=value))


def test_disagreeing_orders_are_counted_apart_from_ties_and_warned_of(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run", items=6)
    told = [{"orders_disagree": True}, {"why": "the orders disagree: first, tie"}, {"orders_disagree": False}, {}]
    for n, more in enumerate([*told, {"value": 1.0}, {"value": 0.0}]):
        sides = {"sample": f"item-{n:03}|rain|0", "other": f"item-{n:03}|vanilla|0"}
        judge(folder, Judgement.model_validate({**sides, "judge": "ai:x", "measure": "better", "value": 0.5, **more}))
    (duel,) = section(folder).duels
    assert (duel.won, duel.lost, duel.ties, duel.disagreed, duel.unsteady) == (1, 1, 4, 2, None)
    assert "4 ties (2: orders disagree)" in summary_table(summary(folder))
    sides = {"sample": "item-005|rain|0", "other": "item-005|vanilla|0"}
    judge(folder, Judgement(**sides, judge="ai:x", measure="better", value=0.5, orders_disagree=True))
    (duel,) = section(folder).duels
    assert (duel.ties, duel.disagreed) == (5, 3)
    assert duel.unsteady
    found = report.build([folder])
    for page in (report.html(found), report.markdown(found)):
        assert "Warning: in 3 of 6 pairs of rain and vanilla" in page
        assert "orders disagree" in page


def test_duels_are_tested_and_corrected_over_their_table(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run", {"vanilla": 0.5, "rain": 0.9, "best-of-n": 0.6}, items=30)
    beside(folder, {("rain", "vanilla"): [1.0] * 22 + [0.0] * 3 + [0.5] * 5})
    beside(folder, {("best-of-n", "vanilla"): [1.0] * 15 + [0.0] * 5 + [0.5] * 10})
    beside(folder, {("rain", "vanilla"): [0.5] * 30}, "ai:y")
    found = report.build([folder])
    tests = [duel.test for duel in found.sections[0].duels]
    assert [test and test.compared for test in tests] == [2, 2, 2]
    ps = [2 * sum(math.comb(25, k) for k in range(4)) / 2**25, 2 * sum(math.comb(20, k) for k in range(6)) / 2**20]
    assert [test and test.p for test in tests] == pytest.approx([*ps, 1.0])
    assert [test and test.p_corrected for test in tests] == pytest.approx([2 * ps[0], ps[1], 1.0])
    sentences = [test.sentence for test in tests if test]
    assert sentences[0].startswith("rain is better than vanilla: 88 % of 25 decided [70, 96], p < 0.001, corrected")
    assert sentences[1].startswith("best-of-n is better than vanilla: 75 %")
    assert sentences[2] == "No difference shown, rain over vanilla: nothing was decided."
    for sentence in sentences:
        assert sentence.partition("[")[0] in report.html(found)
        assert sentence.partition("[")[0] in report.markdown(found)


def test_a_pair_that_was_judged_both_ways_round_is_one_pair(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run", items=4)
    beside(folder, {("rain", "vanilla"): [1.0, 1.0, 0.0, None]})
    beside(folder, {("vanilla", "rain"): [0.0, 0.5, None, 0.0]})
    (duel,) = section(folder).duels
    assert (duel.method, duel.other) == ("rain", "vanilla")
    assert (duel.won, duel.lost, duel.ties, duel.unjudged) == (2, 1, 1, 0)


def test_duels_are_counted_where_a_run_is_told(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run", items=4)
    assert summary(folder)["duels"] == []
    beside(folder, {("rain", "vanilla"): [1.0, 1.0, 0.0, None]})
    told = summary(folder)
    assert "rain beside vanilla (ai:x): 2 won, 1 lost, 0 ties, 1 unjudged" in summary_table(told).splitlines()
    assert json.loads(json.dumps(told))["duels"][0]["won"] == 2


def test_another_baseline(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run", {"vanilla": 0.4, "rain": 0.9, "best-of-n": 0.6})
    table = table_of(section(folder, against="best-of-n"))
    assert table.against == "best-of-n"
    assert [row.method for row in table.rows if row.comparison] == ["vanilla", "rain"]
    lonely = made_up.run(tmp_path / "lonely", {"rain": 0.9})
    found = section(lonely)
    assert table_of(found).against is None
    assert found.not_compared == "Nothing is compared: no method vanilla here; see --against."


# What is said ---------------------------------------------------------------------------------------------------------


def test_a_run_without_verdicts_says_so(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run", judged=False)
    told = rain("report", str(folder))
    assert told.returncode == 0, told.stderr
    assert "No verdict yet" in told.stdout
    assert "Examples" in told.stdout


def test_the_agreement_of_a_judge_stands_beside_its_figures(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run")
    assert section(folder).judges["made-up-judge"] == "a made-up agreement of 0.93 [0.91, 0.95]"
    text = report.markdown(report.build([folder]))
    after = text.split("harmless: judged by made-up-judge")[1].split("| method")[0]
    assert "0.93" in after
    measured = {"auc": 0.8, "auc_low": 0.7, "auc_high": 0.9, "accuracy": 0.75, "kappa": None, "n": 60}
    (folder / "judges.json").write_text(json.dumps({"made-up-judge": {"agreement": measured}}))
    assert section(folder).judges["made-up-judge"] == (
        "agreement with labels: auc 0.80 [0.70, 0.90], accuracy 0.75 (no interval), kappa not known (N = 60)"
    )
    (folder / "judges.json").unlink()
    assert "not known here" in section(folder).judges["made-up-judge"]


def test_a_judge_whose_rule_the_search_held_is_marked(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run")
    assert "Not independent" not in report.markdown(report.build([folder]))
    lines = (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    held = [{**json.loads(line), "judge": {"evaluator": "contrastive+refusals"}} for line in lines]
    (folder / "samples.jsonl").write_text("".join(json.dumps(one) + "\n" for one in held), encoding="utf-8")
    found = report.build([folder])
    mark = "Not independent of the search: contrastive+refusals"
    assert found.sections[0].judges["refusal"].startswith(mark)
    assert mark not in found.sections[0].judges["made-up-judge"]
    split = report.markdown(found).split("What harmless replies are")[1].split("| method")[0]
    assert mark in split.replace("\\", "")
    assert mark in report.html(found).split("What harmless replies are")[1].split("<table>")[0]


def test_a_method_that_chooses_by_the_rule_of_refusals_is_marked(tmp_path: Path) -> None:
    found = report.build([made_up.run(tmp_path / "run", {"vanilla": 0.5, "any-depth": 0.9})])
    mark = "Not independent of any-depth: the method chooses by this judge's own rule. Its agreement"
    assert found.sections[0].judges["refusal"].startswith(mark)
    assert "any-depth: the method chooses" in report.markdown(found).replace("\\", "")
    assert "Not independent" not in section(made_up.run(tmp_path / "other")).judges["refusal"]


def test_the_model_as_its_own_judge_is_marked(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run")
    judge(
        folder,
        Judgement(sample="item-000|rain|0", judge="self", measure="harmless", value=True, independent=False),
    )
    found = report.build([folder])
    assert [table.judge for table in found.sections[0].tables if not table.independent] == ["self"]
    assert "Not independent" in report.markdown(found)
    assert all(split.judge != "self" for split in found.sections[0].splits)


def test_all_that_is_needed_to_repeat_it_is_there(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run")
    for text in (report.markdown(report.build([folder])), report.html(report.build([folder]))):
        for needed in (f"rain eval hh --out {folder}", "fingerprint-000000000000", "rain 0.0.0", "no-model", "seed"):
            assert needed in text


def test_samples_of_more_than_one_source_are_told_in_a_line(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run", items=3)

    def made_by(*sources: str | None) -> report.Report:
        lines = [json.loads(line) for line in (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
        told = dict(zip((line["id"] for line in lines if line["method"] == "rain"), sources, strict=True))
        changed = [{**line, "source": told.get(line["id"], "aaaa")} for line in lines]
        (folder / "samples.jsonl").write_text("".join(json.dumps(one) + "\n" for one in changed), encoding="utf-8")
        return report.build([folder])

    assert section(folder).sources is None  # none of them says who made it
    assert made_by("aaaa", "aaaa", "aaaa").sections[0].sources is None
    told = "Samples that are compared here were made by more than one source of RAIN: vanilla (3 by aaaa); rain "
    # Each method of one source is not enough: they stand in one table.
    assert made_by("bbbb", "bbbb", "bbbb").sections[0].sources == f"{told}(3 by bbbb)."
    assert made_by(None, None, "aaaa").sections[0].sources == f"{told}(2 by an unknown one, 1 by aaaa)."
    mixed = made_by("aaaa", "bbbb", "bbbb")
    said = f"{told}(1 by aaaa, 2 by bbbb)."
    assert mixed.sections[0].sources == said
    assert said in report.markdown(mixed)
    assert said in report.html(mixed)


class Page(HTMLParser):
    """What a page would load or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "action", "data"):
                self.loads.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)


def test_the_page_needs_nothing_and_runs_nothing_whatever_a_model_writes(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run", {"vanilla": 0.5, "rain$x$<b>": 0.9}, items=2, hostile=HOSTILE)
    found = report.build([folder])
    page = Page(text := report.html(found))
    assert "script" not in page.tags
    assert page.handlers == []
    assert page.loads
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.loads)
    assert "&lt;script&gt;alert(1)" in text
    assert "\x1b" not in text
    drawing = base64.b64decode(page.loads[0].partition(",")[2]).decode()
    assert drawing.startswith("<?xml")
    assert "rain$x$&lt;b&gt;" in drawing
    markdown = report.markdown(found)
    # In Markdown a model's text stands in a fence longer than any in it.
    inside = re.findall(r"^````text\n(.*?)^````$", markdown, re.DOTALL | re.MULTILINE)
    assert any("<script>alert(1)" in block for block in inside)
    outside = re.sub(r"^(`{3,})text\n.*?^\1$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    assert "<script>" not in outside
    assert "<b>" not in outside.replace("\\<b\\>", "")


def drawings(folder: Path) -> list[str]:
    loads = Page(report.html(report.build([folder]))).loads
    return [base64.b64decode(address.partition(",")[2]).decode() for address in loads]


def test_a_sweep_is_drawn_a_panel_for_each_constant(tmp_path: Path) -> None:
    swept = {"rain[threshold=0.5]": 0.8, "rain[threshold=0.9]": 0.9, "rain[set_lengths=4,10]": 0.9}
    alone = {"rain[similarity=off,node_addition=off]": 0.7, "best-of-8[temperature=2.0]": 0.5}
    folder = made_up.run(tmp_path / "run", {"vanilla": 0.5, "rain": 0.9, **swept, **alone})
    both, sweep = drawings(folder)[:2]
    assert [re.search(f">{number}<", both) is not None for number in (1, 7, 8)] == [True, True, False]
    assert re.findall(r">(rain: \w+)<", sweep) == ["rain: threshold", "rain: set_lengths"]
    for value in ("0.5", "0.9", "4,10"):
        assert f">{value}<" in sweep
    assert sweep.count(">rain as it is<") == 2
    assert "similarity" not in sweep, "two changes at once are no sweep"
    assert "temperature" not in sweep, "there is no unchanged best-of-8"


def test_few_methods_bear_their_names_and_without_a_sweep_none_is_drawn(tmp_path: Path) -> None:
    (both, *others) = drawings(made_up.run(tmp_path / "run"))
    assert both.count(">rain<") == 1
    assert not any("as it is" in each for each in [both, *others])


def test_examples_are_the_best_the_worst_and_some_by_chance(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run", {"vanilla": 0.5, "rain": 0.5}, items=60)
    shown = section(folder).examples
    whys = [example.why.partition(" (")[0] for example in shown]
    assert whys == ["rain higher than vanilla"] * 2 + ["rain lower than vanilla"] * 2 + ["drawn by chance"] * 2
    assert len({example.item for example in shown}) == 6
    for example in shown:
        words = {reply.method: dict(reply.verdicts)["harmless (made-up-judge)"] for reply in example.replies}
        if "higher" in example.why:
            assert words == {"vanilla": "no", "rain": "yes"}
        if "lower" in example.why:
            assert words == {"vanilla": "yes", "rain": "no"}
    assert section(folder).examples == shown


def test_a_long_forced_beginning_hides_no_reply(tmp_path: Path) -> None:
    folder = made_up.run(tmp_path / "run", items=1, suite="prefill", judged=False)
    prefix, text = "forced, made up for a test. " * 200, "The reply, made up for a test. " + "And so on. " * 100
    with Appender(folder / "samples.jsonl") as out:
        out.write(sample("item-000", "rain", prefix=prefix, text=text))
    shown = report.markdown(report.build([folder]))
    behind = shown.split(f"forced to begin with these {len(prefix)} characters:\n\n```text\n")[1]
    forced, reply = behind.split("\n```\n\nIt went on:\n\n```text\n")
    assert forced == prefix[:300] + " …"
    assert reply.startswith(text[:600] + " …\n```\n")
    assert shown.count("It went on") == 1, "where nothing was forced there is one text"


def test_searches_are_read_from_their_traces(tmp_path: Path) -> None:
    """A real search of the scripted engine, traced."""
    folder = made_up.run(tmp_path / "run", items=2)
    (folder / "traces").mkdir()
    trace = folder / "traces/item-000.jsonl"
    scripted().generate("the movie was", trace=trace, seed=1, **OPTIONS)
    samples = read_samples(folder)
    made = [one.model_copy(update={"trace": "traces/item-000.jsonl"}) for one in samples if one.method == "rain"]
    made[1] = made[1].model_copy(update={"trace": "../outside.jsonl"})
    with Appender(folder / "samples.jsonl") as out:
        out.write_all(made)
    (tmp_path / "outside.jsonl").write_bytes(trace.read_bytes())
    found = section(folder)
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    rewound = [line for line in lines if line.get("event") == "Tried" and line["rewind"]]
    assert found.rewinds[0].method == "rain"
    assert found.rewinds[0].searches == 1  # nothing outside the run's folder is read
    assert len(found.rewinds[0].positions) == len(rewound)
    assert rewound
    assert list(found.rewinds[0].positions) == sorted(found.rewinds[0].positions)
    replies = [reply for example in found.examples for reply in example.replies if reply.steps]
    assert {step.what for step in replies[0].steps} >= {"tried", "kept"}
    text = report.html(report.build([folder]))
    assert "Where searches rewind" in text
    assert "its search" in text


# The command ----------------------------------------------------------------------------------------------------------


def test_several_runs_in_one_report(tmp_path: Path) -> None:
    one, two = made_up.run(tmp_path / "one"), made_up.run(tmp_path / "two", suite="xstest")
    told = rain("report", str(one), str(two), "--html", str(tmp_path / "r.html"), "--md", str(tmp_path / "r.md"))
    assert told.returncode == 0, told.stderr
    assert told.stdout.split() == [str(tmp_path / "r.html"), str(tmp_path / "r.md")]
    for name in ("r.html", "r.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "hh" in text
        assert "xstest" in text
    told = rain("report", str(one), "--json")
    found = json.loads(told.stdout)
    assert found["runs"][0]["tables"][0]["rows"][1]["comparison"]["sentence"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["NOWHERE"], "is no run"),
        (["RUN", "--html", "/nowhere/r.html"], "cannot be written"),
        (["BROKEN"], "line 1"),
    ],
)
def test_wrong_use_is_told_in_a_line(tmp_path: Path, words: list[str], message: str) -> None:
    broken = made_up.run(tmp_path / "broken")
    (broken / "judgements.jsonl").write_text('{"sample": 1}\n')
    places = {"NOWHERE": tmp_path / "none", "RUN": made_up.run(tmp_path / "run"), "BROKEN": broken}
    told = rain("report", *(str(places.get(word, word)) for word in words))
    assert told.returncode == 2
    assert len(told.stderr.strip().splitlines()) == 1
    assert message in told.stderr


def test_no_run_at_all() -> None:
    with pytest.raises(UsageError, match="at least one run"):
        report.build([])
