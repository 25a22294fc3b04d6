"""Suites: what they make of their data, and what they say of data that is broken or not there."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rain.engines.scripted import WordTokenizer
from rain.errors import UsageError
from rain.evaluation import suites
from rain.evaluation.items import How
from rain.evaluation.suites import SUITES, load

TOKENIZER = WordTokenizer()
SHARED = Path(os.environ.get("RAIN_DATA") or Path(__file__).parents[3] / "shared" / "data")


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAIN_DATA", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A little data for every suite, made up."""
    lines(tmp_path / "hh_harmless_first_turns.jsonl", [{"prompt": f"May I ask about {n}?"} for n in range(8)])
    table(
        tmp_path / "advbench.csv",
        ["goal", "target"],
        [[f"Do bad deed {n}", f"Sure, here is bad deed {n}"] for n in range(9)],
    )
    attacks = [
        {"goal": f"Do worse {n}", "controls": f" =! suffix {n} ]", "category": "made up", "jailbroken": n % 2 == 0}
        for n in range(4)
    ]
    (tmp_path / "gcg_vicuna13b.json").write_text(json.dumps(attacks, indent=1), encoding="utf-8")
    table(
        tmp_path / "truthfulqa.csv",
        ["Type", "Category", "Question", "Best Answer", "Correct Answers", "Incorrect Answers", "Source"],
        [["Adversarial", "Made up", f"Is it {n}?", "No", "No; It is not", "Yes; Surely; ", "here"] for n in range(5)],
    )
    lines(
        tmp_path / "movie_sentences.jsonl",
        [{"text": f"We saw film {n} last night and it was fine", "positive": n % 3 == 0} for n in range(12)]
        + [{"text": "Too short a line.", "positive": True}],
    )
    table(
        tmp_path / "xstest.csv",
        ["id", "prompt", "type", "label", "focus", "note"],
        [[str(n + 100), f"How do I kill process {n}?", "t", "safe" if n < 20 else "unsafe", "", ""] for n in range(26)],
    )
    return tmp_path


def lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def table(path: Path, names: list[str], rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([names, *rows])


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_states_what_it_is(name: str, folder: Path) -> None:
    suite = SUITES[name]
    assert suite.name == name
    for source in (suite.source, suite.hub_source):
        assert source.name
        assert source.licence
        assert source.split
        assert source.rows > 0
    assert suite.measures
    assert suite.judges
    loaded = load(name, TOKENIZER, data=folder)
    assert loaded.items
    assert len({item.id for item in loaded.items}) == len(loaded.items)
    assert all(item.id.startswith(f"{name}-") and item.prompt for item in loaded.items)


@pytest.mark.parametrize("name", SUITES)
def test_a_part_is_the_beginning_of_the_whole(name: str, folder: Path) -> None:
    whole = load(name, TOKENIZER, data=folder)
    part = load(name, TOKENIZER, data=folder, limit=4)
    assert part.items == whole.items[:4]
    assert (part.found, part.digest) == (whole.found, whole.digest)


def test_a_part_has_as_many_of_each_group(folder: Path) -> None:
    labels = Counter(item.meta["label"] for item in load("xstest", TOKENIZER, data=folder, limit=12).items)
    assert labels == {"safe": 6, "unsafe": 6}
    attacks = Counter(item.meta["attack"] for item in load("advbench", TOKENIZER, data=folder, limit=9).items)
    assert attacks == {"none": 6, "GCG": 3}  # of the goals without a suffix half are those of the suffixes


def test_data_is_found_by_folder_file_and_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_folder = load("hh", TOKENIZER, data=folder)
    assert load("hh", TOKENIZER, data=folder / "hh_harmless_first_turns.jsonl") == by_folder
    monkeypatch.setenv("RAIN_DATA", str(folder))
    assert load("hh", TOKENIZER) == by_folder
    monkeypatch.setenv("RAIN_DATA", str(folder / "nowhere"))
    with pytest.raises(UsageError, match=r"RAIN_DATA.*no file and no folder"):
        load("hh", TOKENIZER)


@pytest.mark.parametrize("name", SUITES)
def test_a_file_of_other_bytes_is_not_called_the_known_data_set(name: str, folder: Path) -> None:
    found = load(name, TOKENIZER, data=folder, how=How(attacks=("plain",))).source
    assert found.name.startswith(f"own data: {SUITES[name].file}")
    assert found.licence == "licence not known here"
    assert SUITES[name].source.name not in found.name


def test_of_several_files_only_the_known_one_bears_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = How(attacks=("plain", "gcg"))
    assert (
        load("advbench", TOKENIZER, data=folder, how=both).source.name == "own data: advbench.csv, gcg_vicuna13b.json"
    )
    digest = hashlib.sha256((folder / "advbench.csv").read_bytes()).hexdigest()[:16]
    monkeypatch.setitem(suites.KNOWN, "advbench.csv", digest)
    mixed = load("advbench", TOKENIZER, data=folder, how=both).source
    assert mixed.name == f"own data: gcg_vicuna13b.json; the rest: {SUITES['advbench'].source.name}"
    assert mixed.rows == 13
    plain = load("advbench", TOKENIZER, data=folder, how=How(attacks=("plain",))).source
    assert plain == SUITES["advbench"].source
    digest = hashlib.sha256((folder / "gcg_vicuna13b.json").read_bytes()).hexdigest()[:16]
    monkeypatch.setitem(suites.KNOWN, "gcg_vicuna13b.json", digest)
    assert load("advbench", TOKENIZER, data=folder, how=both).source == SUITES["advbench"].source
    own = How(attacks=("unattacked", "gcg"))
    assert load("advbench", TOKENIZER, data=folder, how=own).source == suites.SUFFIXES  # no goal of AdvBench's own


def test_without_data_it_says_what_to_do() -> None:
    try:
        import datasets  # noqa: F401
    except ImportError:
        with pytest.raises(UsageError, match=r"--data with xstest\.csv.*RAIN_DATA.*pip install"):
            load("xstest", TOKENIZER)


def test_a_folder_without_the_file_is_named(folder: Path) -> None:
    (folder / "xstest.csv").unlink()
    with pytest.raises(UsageError, match=r"--data .* has no xstest\.csv"):
        load("xstest", TOKENIZER, data=folder)


@pytest.mark.parametrize(
    ("name", "file", "line", "text", "said"),
    [
        ("hh", "hh_harmless_first_turns.jsonl", 3, '{"prompt": ""}', "'prompt' is empty"),
        ("hh", "hh_harmless_first_turns.jsonl", 3, '{"prompt": 3}', "'prompt' is no text"),
        ("hh", "hh_harmless_first_turns.jsonl", 1, '{"question": "x"}', "no field 'prompt'"),
        ("hh", "hh_harmless_first_turns.jsonl", 8, '{"prompt": "x"', "no JSON"),
        ("hh", "hh_harmless_first_turns.jsonl", 2, '"x"', "no JSON object"),
        ("hh", "hh_harmless_first_turns.jsonl", 2, '{"prompt": "\\ud800"}', "no UTF-8"),
        ("hh", "hh_harmless_first_turns.jsonl", 2, '{"prompt": "\udcff"}', "no UTF-8"),
        ("imdb", "movie_sentences.jsonl", 5, '{"text": "a b c d e f g h", "positive": "maybe"}', "'maybe'"),
        ("imdb", "movie_sentences.jsonl", 5, '{"text": "a b c d e f g h"}', "no field 'label'"),
        ("xstest", "xstest.csv", 4, "1,Hello?,t,dangerous,,", "neither safe nor unsafe"),
        ("xstest", "xstest.csv", 4, "1,Hello?,t", "3 cells"),
        ("xstest", "xstest.csv", 4, "1,Hell\udcff,t,safe,,", "no UTF-8"),
        ("truthfulqa", "truthfulqa.csv", 3, "A,B,Is it?,No,;,Yes,here", "'Correct Answers' is empty"),
        ("advbench", "advbench.csv", 2, "Do it,", "'target' is empty"),
        ("prefill", "advbench.csv", 2, ",Sure", "'goal' is empty"),
    ],
)
def test_a_broken_row_is_named_by_its_line_and_skipped_if_asked(
    folder: Path, name: str, file: str, line: int, text: str, said: str
) -> None:
    how = How(attacks=("plain",))
    before = load(name, TOKENIZER, data=folder, how=how)
    path = folder / file
    found = path.read_text(encoding="utf-8").splitlines()
    found[line - 1] = text
    path.write_bytes(("\n".join(found) + "\n").encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=f"{file}, line {line}: ") as error:
        load(name, TOKENIZER, data=folder, how=how)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    after = load(name, TOKENIZER, data=folder, skip_broken=True, how=how)
    assert after.broken == 1
    assert after.found < before.found
    assert {item.id for item in after.items} < {item.id for item in before.items}  # the others keep their names


def test_a_row_of_several_lines_is_named_by_its_first(folder: Path) -> None:
    with (folder / "xstest.csv").open("a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["1", "In two\nlines?", "t", "safe", "", ""], ["2", "\n", "t", "safe", "", ""]])
    with pytest.raises(UsageError, match="line 30: 'prompt' is empty"):
        load("xstest", TOKENIZER, data=folder)


def test_a_list_that_breaks_off_is_named_by_its_line(folder: Path) -> None:
    path = folder / "gcg_vicuna13b.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index("Do worse 2")], encoding="utf-8")
    with pytest.raises(UsageError, match="line 15: no JSON"):
        load("advbench", TOKENIZER, data=folder)
    kept = load("advbench", TOKENIZER, data=folder, skip_broken=True, how=How(attacks=("gcg",)))
    assert (len(kept.items), kept.broken) == (2, 1)


def test_advbench_says_whether_a_suffix_survives(folder: Path) -> None:
    class Lossy(WordTokenizer):
        """Reads = as a space, as a tokenizer that normalises may."""

        def encode(self, text: str, *, special: bool = False, bos: bool = False) -> tuple[int, ...]:
            return super().encode(text.replace("=", " "), special=special, bos=bos)

    how = How(attacks=("gcg",))
    good = load("advbench", TOKENIZER, data=folder, how=how).items
    assert [item.meta["suffix_survives"] for item in good] == [True] * 4
    assert all(item.prompt == f"{item.meta['goal']} {item.meta['suffix']}" for item in good)
    assert all(item.meta["suffix_tokens"] > 5 for item in good)
    bad = load("advbench", Lossy(), data=folder, how=how).items
    assert [item.meta["suffix_survives"] for item in bad] == [False] * 4


def test_the_same_goals_can_be_had_without_their_suffixes(folder: Path) -> None:
    both = load("advbench", TOKENIZER, data=folder, how=How(attacks=("gcg", "unattacked")), limit=4).items
    goals = [item.meta["goal"] for item in both]
    assert goals[0] == goals[1]
    assert goals[2] == goals[3]
    assert both[1].prompt == goals[1]
    usual = load("advbench", TOKENIZER, data=folder).items
    attacked = {item.meta["goal"] for item in usual if item.meta["attack"] == "GCG"}
    assert attacked <= {item.meta["goal"] for item in usual if item.meta["attack"] == "none"}


@pytest.mark.parametrize(
    ("file", "attacks", "found"),
    [
        ("advbench.csv", None, {"none"}),
        ("gcg_vicuna13b.json", None, {"GCG", "none"}),
        ("gcg_vicuna13b.json", ("gcg",), {"GCG"}),
        ("gcg_vicuna13b.json", ("unattacked",), {"none"}),
        ("advbench.csv", ("gcg",), None),
        ("gcg_vicuna13b.json", ("plain",), None),
    ],
)
def test_one_file_of_advbench_is_taken_for_what_it_is(
    folder: Path, file: str, attacks: tuple[str, ...] | None, found: set[str] | None
) -> None:
    if found is None:
        with pytest.raises(UsageError, match="name a folder"):
            load("advbench", TOKENIZER, data=folder / file, how=How(attacks=attacks))
        return
    items = load("advbench", TOKENIZER, data=folder / file, how=How(attacks=attacks)).items
    assert {item.meta["attack"] for item in items} == found


def test_a_prefill_has_the_length_that_is_asked_for(folder: Path) -> None:
    how = How(prefill_tokens=(5, 25, 1000))
    items = load("prefill", TOKENIZER, data=folder, how=how).items
    assert len(items) == 27
    for item in items:
        k = int(item.id.rpartition("@")[2])
        assert item.meta["prefill_tokens"] == len(TOKENIZER.encode(item.prefix)) == k
        number = item.meta["goal"].split()[-1]
        assert f"Sure, here is bad deed {number}".startswith(item.prefix) or item.prefix.startswith("Sure, here is bad")
        assert item.prefix.split("\n\n")[0] in f"Sure, here is bad deed {number}"
    long = next(item for item in items if item.id.endswith("@1000"))
    assert "repeated" in long.meta["prefill_made_of"]


def test_any_part_of_prefill_has_the_same_goals_of_each_length(folder: Path) -> None:
    items = load("prefill", TOKENIZER, data=folder, limit=6, how=How(prefill_tokens=(5, 25, 50))).items
    assert [item.key for item in items] == [items[0].key] * 3 + [items[3].key] * 3
    assert [item.group for item in items] == ["5", "25", "50"] * 2


def test_truthfulqa_keeps_its_answers(folder: Path) -> None:
    item = load("truthfulqa", TOKENIZER, data=folder).items[0]
    assert (item.meta["best_answer"], item.meta["correct_answers"], item.meta["incorrect_answers"]) == (
        "No",
        ["No", "It is not"],
        ["Yes", "Surely"],
    )


def test_imdb_takes_the_first_words_and_leaves_short_reviews_out(folder: Path) -> None:
    loaded = load("imdb", TOKENIZER, data=folder)
    assert {len(item.prompt.split()) for item in loaded.items} == {5}
    assert loaded.left_out == 1
    # Two words are the same in all of them: one of each label is enough.
    assert load("imdb", TOKENIZER, data=folder, how=How(opening_words=2)).found == 2


def test_the_hubs_rows_are_read_as_well() -> None:
    from rain.evaluation import items

    talk = "\n\nHuman: Is it safe?\n\nAssistant: Yes.\n\nHuman: Sure?\n\nAssistant: Yes."
    assert items.hh("hh", 1, {"chosen": talk, "rejected": talk}, How()).prompt == "Is it safe?"
    row = {
        "question": "Is it?", "best_answer": "No", "correct_answers": ["No"], "incorrect_answers": ["Yes"],
        "category": "c", "type": "t",
    }  # fmt: skip
    assert items.truthfulqa("truthfulqa", 1, row, How()).meta["incorrect_answers"] == ["Yes"]
    review = items.imdb("imdb", 1, {"text": "We saw it<br />in the old cinema on Monday", "label": 1}, How())
    assert review
    assert (review.prompt, review.meta["review_positive"]) == ("We saw it in the", True)
    assert items.advbench("advbench", 1, {"prompt": "Do it", "target": "Sure"}, How()).prompt == "Do it"


@pytest.mark.parametrize(
    ("how", "limit", "said"),
    [
        (How(prefill_tokens=()), None, "1 to 1000"),
        (How(prefill_tokens=(1001,)), None, "1 to 1000"),
        (How(attacks=("dice",)), None, "none of plain"),
        (How(opening_words=0), None, "not between"),
        (How(), 0, "--limit: 0"),
    ],
)
def test_choices_that_cannot_be(how: How, limit: int | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        suites.check(how, limit)


def test_an_unknown_suite_is_told_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="hh, advbench, prefill"):
        load("dice", TOKENIZER)


@pytest.mark.skipif(not (SHARED / "advbench.csv").exists(), reason="the public data is not on this machine")
@pytest.mark.parametrize("name", SUITES)
def test_the_public_data_can_be_read(name: str) -> None:
    loaded = load(name, TOKENIZER, data=SHARED, limit=40)
    assert len(loaded.items) == 40
    assert loaded.source == SUITES[name].source
    assert loaded.broken == 0
    assert loaded.found >= 330
