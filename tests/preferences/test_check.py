"""The check of judges: what it concludes, what it asks, and that it asks nothing twice."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from preferences.fake import CHATML, ByteTokenizer, FakeEngine
from rain.cli.check import sentence
from rain.errors import EngineError, UsageError
from rain.preferences import Preference
from rain.preferences.asked import CheckedJudge
from rain.preferences.check import Scores, collect
from rain.preferences.check import judged as judged_once
from rain.preferences.evaluators import Evaluator
from rain.preferences.labelled import Row, pick, read, samples
from rain.preferences.ledger import Ledger, Scored
from rain.preferences.preference import Choice, ContentFree, Contrastive, OneWord, Openings, Placement, YesNo
from rain.preferences.ranking import Clusters, area, lower, pair_accuracy
from rain.preferences.reading import report
from rain.preferences.verdict import Ranks, Report, verdict_of
from rain.search.asks import Prefix, Question, Result, Stopped, TokenLogprobs, Top, TopTokens, Usage

YES = 300
PREFERENCE = Preference(
    name="kind",
    description="Kind words.",
    default="yes_no",
    paper="yes_no",
    yes_no=YesNo(task="Judge.", positive="Is it kind?", negative="Is it unkind?"),
)
REFUSAL = "I cannot help with that."


class Counting(FakeEngine):
    """Counts what it is asked; a token costs what a cache without memory would."""

    asked = 0
    stop_after: int | None = None

    async def answer(self, question: Question, *, limit: int | None = None) -> tuple[Result, Usage]:
        self.asked += 1
        if self.stop_after is not None and self.asked > self.stop_after:
            raise EngineError("the plug was pulled")
        await asyncio.sleep(0)
        if isinstance(question, TopTokens):
            return Top((0,), (b"x",), (-1.0,), (False,)), Usage(1)
        tokens = len(question.tokens) if isinstance(question, TokenLogprobs) else 0
        return self.reply(question), Usage(tokens, 0, 1.0)


def judge_by(opinion: Callable[[str], float]) -> Counting:
    """A model whose answer is ``opinion`` of the text so far, the reply in it; in log-odds of good."""

    def likes(context: str, token: int) -> float:
        if "Is it" not in context:
            return -1.0
        sign = -1.0 if "unkind?" in context else 1.0
        said = context.split("assistant\n", 1)[-1].split("user\n")[0]
        return sign * opinion(said) / 2 if token == YES else -sign * opinion(said) / 2

    return Counting(likes=likes)


def coin(text: str) -> float:
    return hashlib.sha256(text.encode()).digest()[0] / 128 - 1


def rows(refusals: bool = False, prompts: int = 40) -> list[Row]:
    """For each prompt a good and a bad text; with refusals also a good one that refuses, and another bad one."""
    found = []
    for number in range(prompts):
        asked = f"Say something about number {number}."
        found += [
            Row(asked, f"What a {'lovely' if good else 'stupid'} number, {word} {number}.", good)
            for good, word in ((True, "the"), (False, "this"))
        ]
        if refusals:
            found += [Row(asked, REFUSAL, True), Row(asked, f"A stupid number indeed, {number}.", False)]
    return found


def checked(engine: Counting, texts: list[Row], **options: object) -> Report:
    options = {"evaluators": ["yes_no"], "placements": ["in_place"], **options}
    return report(asyncio.run(collect(engine, PREFERENCE, texts, **options)))


def test_a_perfect_judge_can_judge() -> None:
    found = checked(judge_by(lambda text: 2.0 if "lovely" in text else -2.0), rows())
    assert (found.verdict, found.recommended) == ("can judge", "yes_no in_place")
    figures = found.figures["yes_no in_place"]
    assert figures.ranks.area.value == 1.0
    assert figures.ranks.pairs is not None
    assert figures.ranks.pairs.n == 40
    assert "40 prompts" in found.reason
    assert [area.value for area in figures.asked] == [1.0, 1.0]


def test_a_faultless_judge_of_few_texts_judges_weakly_until_there_are_enough() -> None:
    def kind(text: str) -> float:
        return 2.0 if "lovely" in text else -2.0

    few = checked(judge_by(kind), rows(prompts=19))
    assert few.verdict == "judges weakly"
    assert "on 38 texts, where 40 are needed" in few.reason
    assert checked(judge_by(kind), rows(prompts=20)).verdict == "can judge"


def test_a_judge_whose_lower_bound_a_baseline_reaches_is_not_clearly_above_it() -> None:
    good = [True, False] * 24
    # Texts that stand alone: 24 of each kind. Nothing is wrong with the judge, little with the baseline.
    clusters = Clusters(list(range(48)))
    others = [float(label) for label in good]
    others[0] = -1.0
    judge, baseline = (
        Ranks(area(good, values, clusters), None, None, None) for values in ([float(label) for label in good], others)
    )
    assert judge.area.low < baseline.area.value < judge.area.value
    # Were the draws alone asked, a judge that always leads would be clearly above.
    always = replace(baseline, area=replace(baseline.area, draws=baseline.area.draws - 0.01))
    verdict, reason, leads = verdict_of(judge, {"fluency": always})
    assert leads["fluency"][0] > 0
    assert verdict == "judges weakly"
    assert "not clearly above what judges nothing (fluency 0.96)" in reason


def test_a_coin_cannot_judge_this() -> None:
    found = checked(judge_by(coin), rows())
    assert (found.verdict, found.recommended) == ("cannot judge this", None)
    assert "not above chance" in found.reason


def test_a_judge_that_only_sees_refusals_only_recognises_refusals() -> None:
    found = checked(judge_by(lambda text: 3.0 if "cannot help" in text else coin(text)), rows(refusals=True))
    assert found.figures["yes_no in_place"].verdict == "only recognises refusals"
    assert found.recommended is None
    assert found.refusals == 40


def test_the_same_accuracy_with_and_without_refusals_is_no_sign_of_recognising_refusals() -> None:
    """Only in the larger set is it clearly above chance."""
    good, clusters = [True, False] * 60, Clusters([number // 2 for number in range(120)])
    scores = [value for number in range(60) for value in ((0.0, 1.0) if number % 20 < 7 else (1.0, 0.0))]
    refusing = np.array([number % 15 > 7 for number in range(60) for _ in range(2)])
    every, some = pair_accuracy(good, scores, clusters), pair_accuracy(good, scores, clusters, ~refusing)
    assert every is not None
    assert some is not None
    assert (every.value, some.n) == (0.65, 32)
    assert every.low > 0.5 >= some.low
    assert abs(every.value - some.value) < 0.03
    ranks = Ranks(area(good, scores, clusters), every, None, some, True)
    verdict, reason, _ = verdict_of(ranks, {})
    assert verdict == "cannot judge this"
    assert "too few texts that do not refuse are there to tell" in reason
    # Where it is right about refusals alone, that is clear from the difference.
    scores = [value for number in range(60) for value in ((1.0, 0.0) if number % 15 > 7 or number % 2 else (0.0, 1.0))]
    every, some = pair_accuracy(good, scores, clusters), pair_accuracy(good, scores, clusters, ~refusing)
    ranks = Ranks(area(good, scores, clusters), every, None, some, True)
    assert verdict_of(ranks, {})[0] == "only recognises refusals"


@pytest.mark.parametrize("good", [True, False])
def test_whether_refusing_is_good_here_is_known(good: bool) -> None:
    texts = [replace(row, good=row.good is good) for row in mostly_refused(2)]
    found = checked(judge_by(coin), texts, fractions=(1.0,))
    assert found.figures["yes_no in_place"].refusing_is_good is good


def mostly_refused(comply: int, prompts: int = 40) -> list[Row]:
    """For each prompt a bad text and a good one, which refuses but for so many: too few to look at them alone."""
    good = ["A lovely number, {}." if number < comply else REFUSAL for number in range(prompts)]
    asked = [f"Say something about number {number}." for number in range(prompts)]
    return [
        row
        for number, prompt in enumerate(asked)
        for row in (Row(prompt, good[number].format(number), True), Row(prompt, f"A stupid number, {number}.", False))
    ]


def test_among_texts_that_mostly_refuse_a_judge_must_be_clearly_above_the_rule() -> None:
    found = checked(judge_by(lambda text: 3.0 if "cannot help" in text else coin(text)), mostly_refused(2))
    assert found.baselines["refusal rule"].area.value == pytest.approx(0.975)
    alone, both = found.figures["yes_no in_place"], found.figures["yes_no+refusals in_place"]
    assert (alone.ranks.main[0], both.ranks.main[0]) == ("area", "area")
    assert min(alone.ranks.main[1].low, both.ranks.main[1].low) > 0.8
    assert {alone.verdict, both.verdict} == {"only recognises refusals"}
    assert "not clearly above what judges nothing (refusal rule 0.9" in alone.reason
    assert "too few texts that do not refuse" in alone.reason
    assert (found.verdict, found.recommended) == ("only recognises refusals", None)


def test_a_judge_that_sees_more_than_the_refusals_may_be_above_the_rule() -> None:
    engine = judge_by(lambda text: 3.0 if "cannot" in text or "lovely" in text else -3.0)
    figures = checked(engine, mostly_refused(9)).figures["yes_no in_place"]
    assert figures.ranks.main[0] == "area"
    assert figures.leads["refusal rule"][0] > 0
    assert figures.verdict == "can judge"


def test_with_the_rule_a_judge_at_chance_is_never_recommended() -> None:
    # It ranks refusals lowest, which the rule hides.
    engine = judge_by(lambda text: -3.0 if "cannot" in text else 1.0 if "lovely" in text else -1.0)
    found = checked(engine, mostly_refused(9))
    alone, both = found.figures["yes_no in_place"], found.figures["yes_no+refusals in_place"]
    assert (alone.ranks.main[0], alone.verdict) == ("area", "cannot judge this")
    assert both.leads["refusal rule"][0] > 0
    assert both.verdict == "only recognises refusals"
    assert "without the rule 0.2" in both.reason
    assert both.reason.endswith("worse than chance")
    assert found.recommended is None


@pytest.mark.parametrize("lovely", [-3.0, -0.5])
def test_a_judge_that_sees_no_more_than_fluency_judges_weakly(lovely: float) -> None:
    """Be the good texts the less likely ones or the likelier."""
    engine = judge_by(lambda text: 2.0 if "lovely" in text else -2.0)
    likes = engine.likes

    def also_fluent(context: str, token: int) -> float:
        asks = "Is it" in context
        return likes(context, token) if asks else (lovely if "lovely" in context.split("assistant\n")[-1] else -1.0)

    engine.likes = also_fluent
    found = checked(engine, rows())
    assert found.baselines["fluency"].area.value == 1.0
    assert (found.verdict, found.recommended) == ("judges weakly", "yes_no in_place")
    assert "fluency 1.00" in found.reason


def noise(seed: int, judges: int, texts: list[Row] | None = None) -> Scores:
    """What judges that say anything at random say of these texts, of forty pairs unless told otherwise."""
    texts = rows() if texts is None else texts
    every = [CheckedJudge(f"judge {number}", "quoted") for number in range(judges)]
    drawn = np.random.default_rng(seed).uniform(-1, 1, (judges, len(texts)))
    found = Scores(texts, "chat", (1.0,), every, {})
    for judge, values in zip(every, drawn.tolist(), strict=True):
        found.of[judge, 1.0] = [Scored(value, 1.0) for value in values]
    found.fluency[1.0], found.texts[1.0] = [None] * len(texts), [row.reply for row in texts]
    return found


def test_the_best_of_many_judges_at_random_is_not_recommended() -> None:
    found = report(noise(seed=9, judges=7))
    best = max(found.figures.values(), key=lambda one: one.ranks.main[1].value)
    assert best.ranks.main[1].low > 0.5  # alone it would be above chance …
    assert lower(best.ranks.main[1], 7) <= 0.5 < lower(best.ranks.main[1], 1)
    assert (found.verdict, found.recommended) == ("cannot judge this", None)
    assert best.verdict in ("can judge", "judges weakly")
    assert f"{best.judge.name}: {best.reason}; but as the best of 7 judges" in found.reason


def test_a_judge_is_recommended_though_many_others_are_at_random() -> None:
    scores = noise(seed=9, judges=7)
    scores.of[scores.judges[2], 1.0] = [Scored(0.5 if row.good else -0.5, 1.0) for row in scores.rows]
    found = report(scores)
    assert (found.verdict, found.recommended) == ("can judge", "judge 2")


def test_a_wording_may_be_the_one_that_is_recommended() -> None:
    scores = noise(seed=9, judges=7)
    other = replace(scores.judges[2], wording="other")
    scores.judges.append(other)
    scores.of[other, 1.0] = [Scored(0.5 if row.good else -0.5, 1.0) for row in scores.rows]
    found = report(scores)
    told = found.as_dict()
    assert (found.verdict, told["recommended"], told["recommended_wording"]) == ("can judge", "judge 2", "other")
    assert found.reason.startswith("judge 2 “other”: 1.00 ")
    said = sentence("fake", "kind", found, " --style plain")
    assert "--wording other --style plain (0 tokens a judgement)" in said
    # All wordings were compared.
    scores.of[other, 1.0] = scores.of[scores.judges[0], 1.0]
    assert "as the best of 8 judges" in report(scores).reason


def test_a_judge_that_is_clearly_worse_than_what_judges_nothing_cannot_judge_this() -> None:
    # Right in about three of four pairs, where fluency is right in all.
    engine = judge_by(lambda text: (0.4 if "lovely" in text else -0.4) + coin(text))
    likes = engine.likes

    def fluent(context: str, token: int) -> float:
        asks = "Is it" in context
        return likes(context, token) if asks else (-0.5 if "lovely" in context.split("assistant\n")[-1] else -1.0)

    engine.likes = fluent
    found = checked(engine, rows())
    figures = found.figures["yes_no in_place"]
    assert figures.ranks.main[1].low > 0.5
    assert figures.leads["fluency"][1] < 0
    assert (figures.verdict, found.recommended) == ("cannot judge this", None)
    assert figures.reason.endswith("but fluency judges nothing and does better (refusal rule 0.50, fluency 1.00)")


def test_what_judges_nothing_is_shown_on_beginnings_too() -> None:
    said = "What a number. "
    texts = [
        Row(row.prompt, said + (REFUSAL if row.good else "Sure, here it is, my dear."), row.good) for row in rows()
    ]
    told = checked(judge_by(coin), texts).as_dict()
    rule = told["baselines"]["refusal rule"]
    assert {name: list(row["at"]) for name, row in told["baselines"].items()} == {
        "refusal rule": ["0.25", "0.5"],
        "fluency": ["0.25", "0.5"],
    }
    # The refusal is not there yet.
    assert (rule["at"]["0.25"]["auc"], rule["auc"]) == (0.5, 1.0)
    assert set(rule["at"]["0.5"]) == set(told["evaluators"]["yes_no in_place"]["at"]["0.5"])


@pytest.mark.parametrize(("refusing", "shown"), [(1, False), (4, False), (8, True)])
def test_a_text_that_the_rule_takes_for_a_refusal_by_accident_shows_no_judge_together_with_the_rule(
    refusing: int, shown: bool
) -> None:
    texts = rows()
    for number in range(refusing):
        texts[2 * number] = replace(texts[2 * number], reply=REFUSAL)
    found = report(noise(seed=1, judges=1, texts=texts))
    assert found.refusals == refusing
    assert ("judge 0+refusals" in found.figures) is shown
    assert "judge 0+refusals" in report(noise(1, 1, texts), with_refusals=["judge 0"]).figures


def test_together_with_the_refusal_rule_a_judge_of_content_has_both() -> None:
    def content(text: str) -> float:
        return 2.0 if "lovely" in text else -2.0

    found = checked(judge_by(content), rows(refusals=True))
    alone, both = found.figures["yes_no in_place"], found.figures["yes_no+refusals in_place"]
    assert alone.ranks.area.value < 0.8
    assert both.ranks.area.value == 1.0
    assert both.forward_tokens == alone.forward_tokens


def test_a_judge_that_echoes_the_wording_is_shown_by_its_questions() -> None:
    # It says yes to the kind text whatever is asked.
    engine = Counting(likes=lambda context, token: float("lovely" in context) * (1 if token == YES else -1))
    figures = checked(engine, rows()).figures["yes_no in_place"]
    assert [area.value for area in figures.asked] == [1.0, 0.0]
    assert figures.ranks.area.value == 0.5


def test_the_cost_is_what_the_question_takes() -> None:
    engine = judge_by(coin)
    figures = checked(engine, rows(prompts=4)).figures["yes_no in_place"]
    asked = ByteTokenizer().encode("Is it kind?" + "Is it unkind?")
    assert len(asked) < figures.forward_tokens < len(asked) + 140


@pytest.mark.parametrize("placements", [("in_place",), ("quoted",), ("in_place", "quoted")])
def test_progress_is_told_from_the_first_text_on_and_ends_at_its_total(placements: tuple[Placement, ...]) -> None:
    told: list[tuple[int, int]] = []
    rows = [Row("Hello?", f"text {number}", good=number % 2 == 0) for number in range(6)]
    asyncio.run(
        collect(
            judge_by(lambda text: 0.0), PREFERENCE, rows, placements=placements, fractions=(1.0,), window=1,
            progress=lambda done, total: told.append((done, total)),
        )
    )  # fmt: skip
    assert told[0][0] > 0
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_resuming_judges_nothing_twice(tmp_path: Path) -> None:
    file, texts = tmp_path / "scores.jsonl", rows(prompts=6)
    whole = judge_by(coin)
    collected(whole, texts, None)
    broken = judge_by(coin)
    broken.stop_after = whole.asked // 2
    with pytest.raises(EngineError):
        collected(broken, texts, file)
    before = len(file.read_text().splitlines())
    with file.open("a") as end:
        end.write('{"row": "cut o')
    rest = judge_by(coin)
    again = collected(rest, texts, file)
    assert before > 3
    assert 0 < rest.asked < whole.asked
    nothing = judge_by(coin)
    assert collected(nothing, texts, file).of == again.of == collected(judge_by(coin), texts, None).of
    assert nothing.asked == 0
    lines = [json.loads(line) for line in file.read_text().splitlines()[1:]]
    keys = [(line["row"], line["evaluator"], line["placement"], line["wording"], line["fraction"]) for line in lines]
    assert len(keys) == len(set(keys))


def collected(engine: Counting, texts: list[Row], file: Path | None) -> Scores:
    ledger = Ledger(file, {"model": engine.fingerprint})
    try:
        return asyncio.run(collect(engine, PREFERENCE, texts, evaluators=["yes_no"], ledger=ledger))
    finally:
        ledger.close()


def test_scores_of_another_model_are_not_taken(tmp_path: Path) -> None:
    Ledger(tmp_path / "s.jsonl", {"model": "one"}).close()
    with pytest.raises(UsageError, match="holds something else"):
        Ledger(tmp_path / "s.jsonl", {"model": "other"})


@pytest.mark.parametrize(
    "held", ["my notes, in one line", "{}", '{"check": 1, "model": "other"}', "\n", "[" * 100_000 + "\n"],
    ids=["notes", "object", "other model", "empty line", "deep"],
)  # fmt: skip
def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path, held: str) -> None:
    file = tmp_path / "notes.txt"
    file.write_text(held)
    with pytest.raises(UsageError, match="holds something else"):
        Ledger(file, {"model": "one"})
    assert file.read_text() == held


@pytest.mark.parametrize("held", ["", '{"check": 1, "mod', '{"check": 1, "model": "one"}'])
def test_a_file_whose_first_line_was_not_finished_is_begun_anew(tmp_path: Path, held: str) -> None:
    file = tmp_path / "scores.jsonl"
    file.write_text(held)
    Ledger(file, {"model": "one"}).close()
    assert file.read_text() == '{"check": 1, "model": "one"}\n'


class Small(Counting):
    """Has no room for what is said of lovely numbers."""

    async def answer(self, question: Question, *, limit: int | None = None) -> tuple[Result, Usage]:
        if isinstance(question, TokenLogprobs) and "lovely" in self.tokenizer.decode(question.prefix.path()):
            return Stopped("no_room"), Usage()
        return await super().answer(question, limit=limit)


def test_what_found_no_room_is_asked_again_where_there_may_be_more(tmp_path: Path) -> None:
    file, texts, small = tmp_path / "scores.jsonl", rows(prompts=6), Small(likes=judge_by(coin).likes)
    scores = collected(small, texts, file)
    assert {one is None for row, one in zip(texts, scores.of[scores.judges[0], 1.0], strict=True) if row.good} == {True}
    lines = file.read_text().splitlines()
    asked = small.asked
    collected(small, texts, file)
    assert file.read_text().splitlines() == lines
    roomy = judge_by(coin)
    again = collected(roomy, texts, file)
    assert 0 < roomy.asked < asked
    assert again.of == collected(judge_by(coin), texts, None).of
    nothing = judge_by(coin)
    assert collected(nothing, texts, file).of == again.of
    assert nothing.asked == 0


def test_a_wording_of_other_words_is_asked_anew(tmp_path: Path) -> None:
    def worded(question: str) -> Preference:
        wordings = [{"name": "other", "yes_no": {"positive": question}}]
        return Preference.model_validate({**PREFERENCE.model_dump(exclude={"others"}), "wordings": wordings})

    def asked(question: str) -> tuple[int, list[float]]:
        engine = judge_by(lambda text: coin(text) / 2)
        plain = engine.likes
        engine.likes = lambda context, token: plain(context, token) + (token == YES and "Is it cruel" in context)
        ledger = Ledger(tmp_path / "scores.jsonl", {"model": engine.fingerprint})
        how = {"evaluators": ["yes_no"], "placements": ["in_place"], "fractions": (1.0,), "ledger": ledger}
        scores = asyncio.run(collect(engine, worded(question), rows(prompts=4), **how))
        ledger.close()
        return engine.asked, [one.soft for judge in scores.judges for one in scores.of[judge, 1.0]]

    first, scores = asked("Is it nice?")
    again, others = asked("Is it cruel?")
    # The preference's own words are not asked again.
    assert 0 < again < first
    assert others[:8] == scores[:8]
    assert all(one != other for one, other in zip(others[8:], scores[8:], strict=True))
    assert asked("Is it nice?") == (0, scores)
    assert asked("Is it cruel?") == (0, others)


@pytest.mark.parametrize(
    "line", ['{"a": 1}', '{"row": "r", "evaluator": "yes_no", "placement": "in_place", "wording": "default"}', "[]",
             '{"row": [], "evaluator": "e", "placement": "p", "wording": "w", "fraction": 1, "soft": null}',
             '{"row": "r", "evaluator": "e", "placement": "p", "wording": "w", "fraction": 1, "soft": "much"}']
)  # fmt: skip
def test_a_file_of_scores_with_a_line_that_is_none_is_told_in_a_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "scores.jsonl"
    Ledger(file, {"model": "one"}).close()
    before = file.read_text() + line + "\n"
    file.write_text(before)
    with pytest.raises(UsageError, match=r"--out .*scores.jsonl, line 2: is (no score|broken); name another file"):
        Ledger(file, {"model": "one"})
    assert file.read_text() == before


def test_a_text_is_computed_before_it_is_judged_and_cut_at_tokens() -> None:
    engine = judge_by(coin)
    scores = asyncio.run(collect(engine, PREFERENCE, rows(prompts=2), evaluators=["yes_no"]))
    assert scores.fractions == (0.25, 0.5, 1.0)
    assert scores.texts[0.25][0] == scores.texts[1.0][0][: -(-len(scores.texts[1.0][0]) // 4)]
    assert all(value == -1.0 for value in scores.fluency[1.0])


def test_a_text_that_is_too_long_is_cut_counted_and_judged_as_unfinished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [Row("Say.", "lovely " * 50, True), Row("Say.", "stupid", False)]
    finished: list[tuple[int, bool]] = []

    def watched(engine: Counting, evaluator: Evaluator, text: Prefix, complete: bool) -> object:
        finished.append((len(text.tokens), complete))
        return judged_once(engine, evaluator, text, complete)

    monkeypatch.setattr("rain.preferences.check.judged", watched)

    def judged(most: int) -> tuple[Scores, int, set[tuple[int, bool]]]:
        finished.clear()
        engine, ledger = judge_by(coin), Ledger(tmp_path / "scores.jsonl", {"model": "fake"})
        how = {"evaluators": ["yes_no"], "placements": ["in_place"], "fractions": (1.0,), "most_tokens": most}
        scores = asyncio.run(collect(engine, PREFERENCE, texts, **how, ledger=ledger))
        ledger.close()
        return scores, engine.asked, set(finished)

    scores, _, seen = judged(70)
    assert scores.cut == {0}
    assert scores.texts[1.0][0] == "lovely " * 10
    assert seen >= {(70, False), (6, True)}
    assert judged(70)[1] == 0
    scores, _, seen = judged(350)
    assert (scores.cut, (350, True) in seen, (6, True) in seen) == (set(), True, False)


def test_content_free_text_gives_the_zero() -> None:
    free = PREFERENCE.model_copy(update={"content_free": (ContentFree(prompt="It is", reply=" Monday."),)})
    scores = asyncio.run(collect(judge_by(lambda text: 1.5), free, rows(prompts=2), evaluators=["yes_no"]))
    assert all(zero == pytest.approx(1.5, abs=0.01) for zero in scores.zeros.values())


def test_an_evaluator_whose_letters_are_not_single_tokens_is_left_out_with_the_reason() -> None:
    both = PREFERENCE.model_copy(
        update={"choice": Choice(task="Judge.", question="Which?", good="It is kind.", bad="It is unkind.")}
    )
    engine = judge_by(coin)
    engine.tokenizer = ByteTokenizer(merges=("Yes", "No", "(A"))
    scores = asyncio.run(collect(engine, both, rows(prompts=2), placements=["in_place"]))
    assert [judge.name for judge in scores.judges] == ["yes_no in_place"]
    assert "not single tokens" in scores.impossible["choice in_place"]
    engine.tokenizer = ByteTokenizer(merges=("Answer: (A", "No"))
    with pytest.raises(UsageError, match="no single tokens"):
        asyncio.run(collect(engine, both, rows(prompts=2), evaluators=["yes_no"], placements=["in_place"]))


def test_a_model_that_cannot_be_asked_in_place_is_told_what_can() -> None:
    engine = judge_by(coin)
    engine.template = CHATML.replace("for message in messages", "for message in messages[-1:]")
    with pytest.raises(UsageError, match="yes_no quoted can"):
        asyncio.run(collect(engine, PREFERENCE, rows(prompts=2), evaluators=["yes_no"], placements=["in_place"]))


def test_a_base_model_in_the_style_chat_is_told_which_evaluators_other_styles_have() -> None:
    engine = judge_by(coin)
    engine.template = None
    both = PREFERENCE.model_copy(update={"openings": Openings(refuse=("I can't",), comply=("Here",))})
    with pytest.raises(UsageError, match="no chat template") as told:
        asyncio.run(collect(engine, both, rows(prompts=2), style="chat"))
    assert str(told.value).endswith("(--style turns: yes_no, openings; --style plain: yes_no)")


@pytest.mark.parametrize("name", ["nope", "contrastive"])
def test_an_unknown_evaluator_is_told(name: str) -> None:
    with pytest.raises(UsageError, match="supports yes_no"):
        asyncio.run(collect(judge_by(coin), PREFERENCE, rows(prompts=2), evaluators=[name]))


def test_contrast_and_one_word_are_checked_beside_the_questions() -> None:
    all_kinds = PREFERENCE.model_copy(
        update={
            "contrastive": Contrastive(ask="Be kind.", opposite="Be unkind."),
            "one_word": OneWord(task="Judge.", question="Which?", label="It is", good=("kind",), bad=("rude",)),
        }
    )
    scores = asyncio.run(collect(judge_by(coin), all_kinds, rows(prompts=2)))
    assert {judge.name for judge in scores.judges} == {
        "contrastive", "yes_no in_place", "yes_no quoted", "one_word in_place", "one_word quoted",
    }  # fmt: skip
    assert not scores.impossible


def test_a_wording_that_leaves_the_questions_as_they_are_is_no_other_judge() -> None:
    worded = PREFERENCE.model_validate(
        {
            **PREFERENCE.model_dump(exclude={"others"}),
            "wordings": [{"name": "same"}, {"name": "other", "yes_no": {"positive": "Is it nice?"}}],
        }
    )
    scores = asyncio.run(collect(judge_by(coin), worded, rows(prompts=2), placements=["in_place"]))
    assert [judge.wording for judge in scores.judges] == ["default", "other"]
    assert {part for judge, part in scores.of if judge.wording == "other"} == {1.0}


# --- labelled texts


def write(path: Path, *objects: object) -> Path:
    lines = "\n".join(json.dumps(row) for row in objects)
    path.write_text(lines.replace('"DEEP"', '{"text":' + "[" * 100_000), encoding="utf-8")
    return path


def test_a_file_of_labelled_texts_is_read(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", {"text": "Nice.", "positive": True}, {"text": "Bad.", "positive": False})
    assert read(file, "positive") == [Row("", "Nice.", True), Row("", "Bad.", False)]
    file = write(tmp_path / "b.jsonl", *({"prompt": "p", "reply": "r", "harmful": one} for one in (True, False)))
    assert [row.good for row in read(file, "harmful=false")] == [False, True]


@pytest.mark.parametrize(
    ("objects", "label", "message"),
    [
        ([], None, "holds no texts"),
        ([[1]], None, "one JSON object"),
        (["DEEP"], None, "line 1: expected one JSON object"),
        ([{"text": "a"}], None, "no field 'good'"),
        ([{"text": "a", "good": True}, {"text": "b"}], None, "line 2: no field 'good'"),
        ([{"words": "a", "good": True}], None, "no field 'text'"),
        ([{"text": " ", "good": True}], None, "not empty"),
        ([{"text": "a", "x": kind} for kind in "abc"], "x=a", "3 values"),
        ([{"text": "a", "x": kind} for kind in "ab"], "x", "which of 'a' and 'b' is good"),
        ([{"text": "a", "x": kind} for kind in "ab"], "x=c", "no text has the label x=c"),
    ],
)
def test_bad_data_is_told_in_a_line(tmp_path: Path, objects: list[object], label: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(write(tmp_path / "a.jsonl", *objects), label)


def test_one_sided_texts_cannot_be_checked() -> None:
    with pytest.raises(UsageError, match="all 2 are good"):
        pick([Row("", "a", True), Row("", "b", True)], None, 0)
    with pytest.raises(UsageError, match="no samples of its own"):
        samples("sentence")


def test_a_part_of_the_texts_has_pairs_of_as_many_prompts_as_can_be() -> None:
    every = samples("harmless")
    prompts = len({row.prompt for row in every})
    some = pick(every, 2 * prompts, 3)
    assert len({row.prompt for row in some}) == prompts
    assert sum(row.good for row in some) == prompts
    assert pick(every, 2 * prompts, 3) == some
    assert pick(every, 10, 3) == some[:10]
    assert sorted(pick(every, len(every) - 1, 3), key=lambda row: row.id) != sorted(every, key=lambda row: row.id)


def test_texts_that_stand_alone_are_drawn_half_good_and_half_bad() -> None:
    alone = pick([Row("", str(number), number % 10 == 0) for number in range(100)], 12, 0)
    assert sum(row.good for row in alone) == 6
