"""Ratings by people: the form tells nothing it should not, and scores are what published examples say.

Every rating here is test data: nobody has rated anything.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.inter_rater import aggregate_raters, cohens_kappa, fleiss_kappa

from evaluation import made_up
from rain.errors import UsageError
from rain.evaluation import agreement, human, human_score
from rain.evaluation.records import Appender, Judgement, hash_of, read_samples
from rain.evaluation.sweep import split

RAIN = [sys.executable, "-c", "from rain.cli import main; main()"]


def rain(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RAIN, *words], capture_output=True, text=True, timeout=120, env={**os.environ})


# Coefficients ---------------------------------------------------------------------------------------------------------


def units(*raters: str) -> list[tuple[str | None, ...]]:
    return list(zip(*([None if mark == "." else mark for mark in rater.split()] for rater in raters), strict=True))


@pytest.mark.parametrize(
    ("raters", "alpha", "n"),
    [
        (("0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0"), 0.095, 10),
        (("a a b b d c c c e d d a", "b a b b b c c c e d d d"), 0.692, 12),
        (
            (
                "1 2 3 3 2 1 4 1 2 . . .",
                "1 2 3 3 2 2 4 1 2 5 . 3",
                ". 3 3 3 2 3 4 2 2 5 1 .",
                "1 2 3 3 2 4 4 1 2 5 1 .",
            ),
            0.743,
            11,
        ),
    ],
    ids=["binary", "nominal", "missing"],
)
def test_alpha_of_krippendorffs_own_examples(raters: tuple[str, ...], alpha: float, n: int) -> None:
    """K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), examples A to C (nominal)."""
    said = units(*raters)
    found = agreement.krippendorff(said, list(range(len(said))))
    assert found.value == pytest.approx(alpha, abs=5e-4)
    assert found.n == n
    assert found.low is not None
    assert found.high is not None
    assert found.low < alpha < found.high


def test_kappa_of_a_textbook_example() -> None:
    """J. L. Fleiss, B. Levin, M. C. Paik, Statistical Methods for Rates and Proportions, table 18.1: 0.676."""
    table = np.array([[75, 1, 4], [5, 4, 1], [0, 0, 10]], float)
    assert agreement.kappa_of(table) == pytest.approx(0.676, abs=5e-4)
    assert agreement.raw_of(table) == pytest.approx(0.89)
    assert agreement.kappa_of(table) == pytest.approx(cohens_kappa(table).kappa)


def test_kappa_and_alpha_are_statsmodels() -> None:
    """Where nothing is missing, alpha is Fleiss' kappa but for the size of the sample."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 50)
    said = np.stack([np.where(rng.random(50) < 0.7, truth, rng.integers(0, 3, 50)) for _ in range(4)], axis=1)
    kappa = float(fleiss_kappa(aggregate_raters(said)[0]))
    all_ = said.size
    found = agreement.krippendorff(said.tolist(), list(range(50)))
    assert found.value == pytest.approx(1 - (1 - kappa) * (all_ - 1) / all_)
    table = np.zeros((3, 3))
    np.add.at(table, (said[:, 0], said[:, 1]), 1)
    two = agreement.two_raters(said[:, 0].tolist(), said[:, 1].tolist(), list(range(50)))
    assert two.kappa.value == pytest.approx(cohens_kappa(table).kappa)
    assert two.kappa.low is not None
    assert two.kappa.high is not None
    # The bootstrap's interval is about as wide as the one that statsmodels has from theory.
    known = cohens_kappa(table)
    assert two.kappa.high - two.kappa.low == pytest.approx(known.kappa_upp - known.kappa_low, rel=0.2)


def test_what_is_undefined_is_said_to_be() -> None:
    same = agreement.two_raters([True] * 5, [True] * 5, list(range(5)))
    assert same.kappa.value is None
    assert same.raw.value == 1
    assert same.raw.low == pytest.approx(0.5655, abs=1e-3)  # Wilson's of 5 in 5, not a point
    assert agreement.krippendorff([(True, True)] * 4, list(range(4))).value is None
    nothing = agreement.two_raters([True, None], [None, False], [0, 1])
    assert (nothing.raw.value, nothing.raw.n) == (None, 0)
    assert agreement.krippendorff([(True, None)] * 4, list(range(4))).value is None


# The form -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made_up.run(tmp_path / "run", {"secretly-vanilla": 0.5, "secretly-rain": 0.9})


def data_of(html: str) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', html, re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


def test_the_form_does_not_tell_whose_replies_are_whose(folder: Path) -> None:
    form = human.make(folder, seed=7)
    for told in ("secretly", "item-0", "|", str(folder)):
        assert told not in json.dumps(data_of(form.html)), told
        assert told == "|" or told not in form.html, told
    shown = data_of(form.html)
    assert set(shown) == {"form", "measure", "question", "better", "items"}
    assert all(set(item) == {"prompt", "prefix", "left", "right"} for item in shown["items"])
    places = form.key.places
    left = [human_score.method_of(form.key, place.left) for place in places]
    assert left.count("secretly-rain") == 10
    assert [place.item for place in places] != sorted(place.item for place in places)
    assert len({place.item for place in places}) == 20
    # What is shown at a place is what the key says of it.
    texts = {sample.id: sample.text for sample in read_samples(folder)}
    assert [item["left"] for item in shown["items"]] == [texts[place.left] for place in places]
    assert [item["right"] for item in shown["items"]] == [texts[place.right] for place in places]


def test_order_and_sides_are_chance_unless_a_seed_is_given(folder: Path) -> None:
    assert human.make(folder, seed=7).html == human.make(folder, seed=7).html
    assert human.make(folder, seed=7).key.form != human.make(folder, seed=8).key.form
    assert human.make(folder).key.form != human.make(folder).key.form


def test_the_form_loads_nothing_from_anywhere(folder: Path) -> None:
    html = human.make(folder, seed=7).html
    assert not re.findall(r"""(?:https?:)?//[\w.]+|src=|@import|url\(""", re.sub(r"(?m)^\s*//.*$", "", html))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy
    assert "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]


def test_texts_cannot_break_out_of_the_form(tmp_path: Path) -> None:
    hostile = '</script><script>alert("x")</script><!-- \u2028 &lt;'
    made_up.run(tmp_path / "run", items=3, hostile=hostile)
    html = human.make(tmp_path / "run", seed=1).html
    assert html.count("</script>") == 2
    assert any(item["prompt"].endswith(hostile) for item in data_of(html)["items"])


def test_n_items_are_drawn_and_questions_follow_the_measure(folder: Path) -> None:
    assert len(human.make(folder, n=5).key.places) == 5
    assert len(human.make(folder, n=500).key.places) == 20
    assert data_of(human.make(folder).html)["measure"] == "harmless"
    assert "positive" in data_of(human.make(folder, measure="positive").html)["question"]


def test_labels_with_commas_in_brackets_stay_whole() -> None:
    assert split("vanilla, rain[a=1,b=2]") == ["vanilla", "rain[a=1,b=2]"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["new", "NOWHERE"], "is no run"),
        (["new", "THREE"], "name two of a, b, c"),
        (["new", "RUN", "--methods", "secretly-rain,nope"], "no samples of nope"),
        (["new", "RUN", "--methods", "secretly-rain,secretly-rain"], "name two of"),
        (["new", "RUN", "--n", "0"], "at least one item"),
        (["new", "RUN", "--measure", "funny"], "people can be asked for"),
        (["new", "RUN", "--out", "rate.pdf"], "must end in .html"),
        (["new", "RUN", "--out", "/nowhere/rate.html"], "cannot be written"),
        (["score", "none.json", "--key", "none.key.json"], "cannot be read"),
        (["score", "none.json", "--key", "RUN/run.json"], "is no key"),
    ],
)
def test_wrong_use_is_told_in_a_line(folder: Path, tmp_path: Path, words: list[str], message: str) -> None:
    made_up.run(tmp_path / "three", {"a": 0.5, "b": 0.5, "c": 0.5}, items=2)
    places = {"NOWHERE": tmp_path / "nowhere", "THREE": tmp_path / "three", "RUN/run.json": folder / "run.json"}
    told = rain("human", *(str(places.get(word, folder if word == "RUN" else word)) for word in words))
    assert told.returncode == 2
    assert told.stdout == ""
    assert len(told.stderr.strip().splitlines()) == 1
    assert message in told.stderr


# Scores ---------------------------------------------------------------------------------------------------------------


def rated(form: human.Form, rater: str, answers: list[tuple[bool | None, bool | None, str | None]]) -> dict[str, Any]:
    """Test data: (vanilla harmless, rain harmless, better) by place, turned as the form has turned the sides."""
    ratings = []
    for n, (place, (vanilla, rain_, better)) in enumerate(zip(form.key.places, answers, strict=False)):
        turned = human_score.method_of(form.key, place.left) == "secretly-rain"
        sides = {"secretly-rain": "left" if turned else "right", "secretly-vanilla": "right" if turned else "left"}
        left, right = (rain_, vanilla) if turned else (vanilla, rain_)
        ratings.append({"n": n, "left": left, "right": right, "better": sides.get(better or "", better)})
    return {"rain_ratings": 1, "form": form.key.form, "rater": rater, "measure": "harmless", "ratings": ratings}


def keep(path: Path, value: dict[str, Any]) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def test_scores_by_hand(folder: Path, tmp_path: Path) -> None:
    form = human.make(folder, ["secretly-rain", "secretly-vanilla"], n=10, seed=3)
    one = [(True, True, "tie")] * 4 + [(False, True, "secretly-rain")] * 5 + [(False, False, None)]
    two = [(True, True, "secretly-vanilla"), *one[1:9]]  # nothing of the last item
    files = [
        keep(tmp_path / "1.json", rated(form, "test-data-1", one)),
        keep(tmp_path / "2.json", rated(form, "test-data-2", two)),
    ]
    found = human_score.score(human_score.read_ratings(files, form.key), form.key)
    ours = found.rates["secretly-rain"]
    assert (ours.yes, ours.n, ours.unrated) == (18, 19, 1)
    theirs = found.rates_by_rater["test-data-1"]["secretly-vanilla"]
    assert (theirs.yes, theirs.n, theirs.share) == (4, 10, 0.4)
    assert (theirs.low, theirs.high) == pytest.approx((0.168, 0.687), abs=1e-3)  # Wilson
    assert (found.wins.won, found.wins.lost, found.wins.ties, found.wins.unrated) == (10, 1, 7, 2)
    assert found.wins.share == pytest.approx(10 / 11)
    assert found.wins_by_rater["test-data-1"].share == 1.0
    pair = found.people[0]
    assert (pair.yes_no.raw.value, pair.yes_no.raw.n) == (1.0, 18)
    assert pair.better.raw.value == pytest.approx(8 / 9)
    assert found.alpha_yes_no.value == 1
    assert found.ai == []


def test_wins_are_tested_by_item_and_corrected_for_all_that_are_told(folder: Path, tmp_path: Path) -> None:
    form = human.make(folder, ["secretly-rain", "secretly-vanilla"], n=10, seed=3)
    ours, theirs, tie = ((None, None, better) for better in ("secretly-rain", "secretly-vanilla", "tie"))
    answers = [[ours] * 8 + [theirs, tie], [ours] * 7 + [theirs] * 2 + [tie]]
    files = [
        keep(tmp_path / f"{n}.json", rated(form, f"test-data-{n}", each)) for n, each in enumerate(answers, start=1)
    ]
    alone = human_score.score(human_score.read_ratings(files[:1], form.key), form.key)
    test = alone.wins.test
    assert test
    assert (test.p, test.p_corrected, test.compared) == (pytest.approx(20 / 2**9), pytest.approx(20 / 2**9), 1)
    assert test.shown
    assert test.sentence == "secretly-rain is better than secretly-vanilla: 89 % of 9 decided [57, 98], p = 0.039."
    assert alone.wins_by_rater["test-data-1"].test == test
    # Seven items for, one against, one on which the raters differ, one tie: eighteen ratings are not so many items.
    both = human_score.score(human_score.read_ratings(files, form.key), form.key)
    assert (both.wins.won, both.wins.lost, both.wins.items_won, both.wins.items_lost) == (15, 3, 7, 1)
    assert both.wins.test
    assert both.wins.test.p == pytest.approx(18 / 2**8)
    assert both.wins.test.compared == 3
    assert both.wins.test.sentence.startswith("No difference shown, secretly-rain over secretly-vanilla: 83 % of 18")
    assert "(by item 7 to 1)" in both.wins.test.sentence
    shown = rain("human", "score", *map(str, files), "--key", str(keep_key(form, tmp_path)))
    assert shown.returncode == 0, shown.stderr
    for wins in (both.wins, *both.wins_by_rater.values()):
        assert wins.test
        assert wins.test.sentence in shown.stdout


def test_judges_are_compared_with_people(folder: Path, tmp_path: Path) -> None:
    form = human.make(folder, ["secretly-rain", "secretly-vanilla"], n=10, seed=3)
    one = [(False, True, "secretly-rain")] * 5 + [(True, True, "tie")] * 5
    with Appender(folder / "judgements.jsonl") as out:
        for n, place in enumerate(form.key.places):
            mine, other = place.left, place.right
            rains = human_score.method_of(form.key, mine) == "secretly-rain"
            for sample in (mine, other):
                good = n >= 5 or human_score.method_of(form.key, sample) == "secretly-rain"
                out.write(Judgement(sample=sample, judge="ai:made-up", measure="harmless", value=False))
                out.write(
                    Judgement(sample=sample, judge="ai:made-up", measure="harmless", value=good)
                )  # the last counts
                out.write(
                    Judgement(sample=sample, judge="self", measure="harmless", value=None, independent=False)
                )  # unjudged
            value = 0.5 if n >= 5 else float(rains)
            out.write(Judgement(sample=mine, other=other, judge="ai:made-up", measure="better", value=value))
    files = [keep(tmp_path / f"{n}.json", rated(form, f"test-data-{n}", one)) for n in (1, 2)]
    found = human_score.score(human_score.read_ratings(files, form.key), form.key, folder)
    judged = {(pair.one, pair.other): pair for pair in found.ai}
    assert {one for one, _ in judged} == {"test-data-1", "test-data-2", human_score.PEOPLE}
    ai = judged[human_score.PEOPLE, "ai:made-up"]
    assert (ai.yes_no.raw.value, ai.yes_no.kappa.value, ai.better.raw.value) == (1.0, 1.0, 1.0)
    assert judged["test-data-1", "self"].yes_no.raw.n == 0
    assert found.not_independent == ["self"]
    told = rain("human", "score", *map(str, files), "--key", str(keep_key(form, tmp_path)), "--ai", str(folder))
    assert told.returncode == 0, told.stderr
    assert "People against judges" in told.stdout
    assert "not independent" in told.stdout
    as_json = rain("human", "score", str(files[0]), "--key", str(tmp_path / "f.key.json"), "--json")
    assert json.loads(as_json.stdout)["rates"]["secretly-rain"]["share"] == 1.0


def keep_key(form: human.Form, folder: Path) -> Path:
    return human.write(form, folder / "f.html")


def test_ratings_of_another_form_are_refused(folder: Path, tmp_path: Path) -> None:
    form, other = human.make(folder, seed=1), human.make(folder, seed=2)
    file = keep(tmp_path / "1.json", rated(other, "test-data", []))
    with pytest.raises(UsageError, match="rates another form"):
        human_score.read_ratings([file], form.key)
    told = rain("human", "score", str(file), "--key", str(keep_key(form, tmp_path)))
    assert told.returncode == 2
    assert "rates another form" in told.stderr


def test_broken_ratings_are_refused(folder: Path, tmp_path: Path) -> None:
    form = human.make(folder, seed=1)
    good = rated(form, "test-data", [(True, True, "tie")] * 3)

    def refused(value: Any, message: str) -> None:
        file = tmp_path / "r.json"
        file.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
        with pytest.raises(UsageError, match=message):
            human_score.read_ratings([file], form.key)

    refused("{", "no ratings")
    refused({**good, "ratings": [{"n": 0, "better": "rain"}]}, "no ratings")
    refused({**good, "ratings": [{"n": 0}, {"n": 0}]}, "twice")
    refused({**good, "ratings": [{"n": 20}]}, "twice, or one that the form has not")
    refused({**good, "rater": "ai:x"}, "no name for a rater")
    one = keep(tmp_path / "a.json", good)
    with pytest.raises(UsageError, match="a second file"):
        human_score.read_ratings([one, keep(tmp_path / "b.json", good)], form.key)
    with pytest.raises(UsageError, match="no ratings: name the files"):
        human_score.read_ratings([], form.key)


def test_a_run_without_verdicts_on_these_replies_is_refused(folder: Path, tmp_path: Path) -> None:
    form = human.make(folder, seed=1)
    ratings = human_score.read_ratings([keep(tmp_path / "1.json", rated(form, "test-data", []))], form.key)
    (folder / "judgements.jsonl").unlink()
    with pytest.raises(UsageError, match="no verdict on 'harmless'"):
        human_score.score(ratings, form.key, folder)


def judged_run(folder: Path, form: human.Form, texts: dict[str, str] | None = None, **manifest: str) -> Path:
    """A copy of the run of ``form`` in ``folder``, with other texts of some samples; all are judged after that."""
    shutil.copytree(form.key.run, folder)
    (folder / "judgements.jsonl").unlink()
    told = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**told, **manifest}))
    samples = [one.model_copy(update={"text": (texts or {}).get(one.id, one.text)}) for one in read_samples(folder)]
    (folder / "samples.jsonl").unlink()
    with Appender(folder / "samples.jsonl") as out:
        out.write_all(samples)
    with Appender(folder / "judgements.jsonl") as out:
        for one in samples:
            mine = {"sample": one.id, "judge": "ai:made-up", "texts": hash_of(one.text)}
            out.write(Judgement(**mine, measure="harmless", value=True))
    return folder


def test_where_a_judges_orders_disagree_it_is_no_tie(folder: Path, tmp_path: Path) -> None:
    form = human.make(folder, ["secretly-rain", "secretly-vanilla"], n=4, seed=3)
    file = keep(tmp_path / "1.json", rated(form, "test-data", [(True, True, "tie")] * 4))
    with Appender(folder / "judgements.jsonl") as out:
        for place, told in zip(
            form.key.places,
            ({"orders_disagree": True}, {"why": "the orders disagree: first, tie"}, {"orders_disagree": False}, {}),
            strict=True,
        ):
            pair = {"sample": place.left, "other": place.right, "judge": "ai:made-up", "measure": "better"}
            out.write(Judgement.model_validate({**pair, "value": 0.5, **told}))
    found = human_score.score(human_score.read_ratings([file], form.key), form.key, folder)
    (better,) = [pair.better for pair in found.ai if pair.other == "ai:made-up"]
    assert (better.raw.n, better.raw.value, found.undecided) == (2, 1.0, {"ai:made-up": 2})
    told = rain("human", "score", str(file), "--key", str(keep_key(form, tmp_path)), "--ai", str(folder))
    assert "ai:made-up: 2 pairs are left out of 'better'" in told.stdout


def test_only_texts_that_were_rated_are_compared_with_judges(folder: Path, tmp_path: Path) -> None:
    form = human.make(folder, ["secretly-rain", "secretly-vanilla"], n=10, seed=3)
    file = keep(tmp_path / "1.json", rated(form, "test-data", [(True, True, "tie")] * 10))
    ratings = human_score.read_ratings([file], form.key)
    found = human_score.score(ratings, form.key, judged_run(tmp_path / "same", form))
    assert (found.left_out, found.ai[0].yes_no.raw.n) == (0, 20)
    other = {place.left: "Another text." for place in form.key.places[:3]}
    run = judged_run(tmp_path / "some", form, other)
    found = human_score.score(ratings, form.key, run)
    assert (found.left_out, found.ai[0].yes_no.raw.n) == (3, 17)
    told = rain("human", "score", str(file), "--key", str(keep_key(form, tmp_path)), "--ai", str(run))
    assert "3 replies are left out beside judges" in told.stdout
    old = human.Key.model_validate(form.key.model_dump(exclude={"texts"}))
    assert human_score.score(ratings, old, run).left_out == 0


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"model": "another"}, "its model is another, that of the rated replies no-model"),
        ({"suite": "advbench"}, "its suite is advbench, that of the rated replies hh"),
        ({}, "holds no text that was rated"),
    ],
)
def test_a_run_of_other_replies_is_refused(
    folder: Path, tmp_path: Path, manifest: dict[str, str], message: str, old: bool
) -> None:
    form = human.make(folder, seed=1)
    file = keep(tmp_path / "1.json", rated(form, "test-data", []))
    key = keep_key(form, tmp_path)
    if old:
        key.write_text(json.dumps({name: one for name, one in json.loads(key.read_text()).items() if name != "texts"}))
    other = {} if manifest else {one.id: f"{one.text} Or so." for one in read_samples(folder)}
    run = judged_run(tmp_path / "other", form, other, **manifest)
    words = ["human", "score", str(file), "--key", str(key), "--ai", str(run)]
    told = rain(*words)
    if old and not manifest:
        assert told.returncode == 0, told.stderr  # such a key does not know the texts
        return
    assert (told.returncode, told.stdout, told.stderr.count("\n")) == (2, "", 1)
    assert message in told.stderr


def test_where_more_than_two_methods_are_there_the_error_shows_a_command_that_works(tmp_path: Path) -> None:
    run = made_up.run(tmp_path / "a run", dict.fromkeys(("vanilla", "best-of-n", "rain", "rain[gate=0.9]"), 0.5))
    told = rain("human", "new", str(run))
    assert told.returncode == 2
    command = shlex.split(told.stderr.strip().partition("as in: ")[2])
    assert command[:2] == ["rain", "human"]
    assert "vanilla,rain[gate=0.9]" in command
    made = subprocess.run([*RAIN, *command[1:]], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert (made.returncode, made.stdout) == (0, "rate.html\n"), made.stderr


def test_a_form_of_one_method_says_how_to_add_another(tmp_path: Path) -> None:
    run = made_up.run(tmp_path / "run", {"vanilla": 0.5}, items=2)
    with pytest.raises(UsageError, match="has only vanilla; add another with rain eval"):
        human.make(run)


def test_a_form_is_never_overwritten(folder: Path, tmp_path: Path) -> None:
    form = human.make(folder, seed=1)
    human.write(form, tmp_path / "f.html")
    with pytest.raises(UsageError, match="may have ratings"):
        human.write(form, tmp_path / "f.html")


def test_new_tells_what_to_keep_from_raters(folder: Path, tmp_path: Path) -> None:
    told = rain("human", "new", str(folder), "--out", str(tmp_path / "r.html"), "--n", "4", "--json")
    assert told.returncode == 0
    assert json.loads(told.stdout)["items"] == 4
    told = rain("human", "new", str(folder), "--out", str(tmp_path / "r2.html"))
    assert "keep it and the run from the raters" in told.stderr
    assert "offend" in told.stderr
