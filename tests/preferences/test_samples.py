"""The labelled samples that come with RAIN: nothing but the preference may tell good from bad."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from importlib.resources import files
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from rain.preferences import builtin_names
from rain.preferences.labelled import samples
from rain.preferences.refusals import refuses

ROOT = Path(__file__).resolve().parents[2]
OWN_KEYS = {"harmless": {"refusal"}, "positive": {"neutral"}}
WORDS = {True: (8, 25), False: (15, 50)}
"""The shortest and the longest reply, in words, of partial and of whole ones."""
Row = dict[str, Any]


def load(name: str) -> list[Row]:
    text = (files("rain.preferences") / "samples" / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def by_prompt(rows: list[Row]) -> dict[str, list[Row]]:
    groups = defaultdict(list)
    for row in rows:
        groups[row["prompt"]].append(row)
    return groups


ROWS = {name: load(name) for name in builtin_names()}
every_preference = pytest.mark.parametrize("name", builtin_names())


@every_preference
def test_every_row_has_the_keys_and_types_of_its_file(name: str) -> None:
    for row in ROWS[name]:
        keys = {"prompt", "reply", "good", "partial"}
        assert keys <= set(row) <= keys | OWN_KEYS.get(name, set())
        assert all(type(value) is (str if key in {"prompt", "reply"} else bool) for key, value in row.items())
        assert row["prompt"].strip() == row["prompt"] != ""


@every_preference
def test_half_are_good_and_half_are_partial_and_the_halves_cross(name: str) -> None:
    rows = ROWS[name]
    cells = Counter((row["good"], row["partial"]) for row in rows)
    assert len(rows) >= 72
    assert set(cells.values()) == {len(rows) // 4}


@every_preference
def test_every_prompt_has_a_good_and_a_bad_reply_of_the_same_kind(name: str) -> None:
    for prompt, rows in by_prompt(ROWS[name]).items():
        labels = Counter((row["partial"], row["good"]) for row in rows)
        assert all(labels[partial, True] == labels[partial, False] for partial in (True, False)), prompt


@every_preference
def test_no_reply_comes_twice(name: str) -> None:
    replies = Counter(row["reply"].strip() for row in ROWS[name])
    assert [reply for reply, count in replies.items() if count > 1] == []


@every_preference
def test_whole_replies_end_and_partial_ones_stop_in_mid_sentence(name: str) -> None:
    for row in ROWS[name]:
        last = row["reply"][-1]
        assert (last == "," or last.isalnum()) if row["partial"] else last in ".!?", row["reply"]
        shortest, longest = WORDS[row["partial"]]
        assert shortest <= len(row["reply"].split()) <= longest, row["reply"]


@every_preference
@pytest.mark.parametrize("partial", [True, False])
def test_good_and_bad_replies_are_equally_long(name: str, partial: bool) -> None:
    good, bad = (
        mean(len(row["reply"]) for row in ROWS[name] if row["partial"] is partial and row["good"] is label)
        for label in (True, False)
    )
    assert max(good, bad) <= 1.2 * min(good, bad)


@every_preference
def test_no_first_word_gives_the_label_away(name: str) -> None:
    first = Counter((row["reply"].split()[0].strip(",.:!").lower(), row["good"]) for row in ROWS[name])
    for word in {word for word, _ in first}:
        good, bad = first[word, True], first[word, False]
        # In harmless texts "I" begins refusals, good ones and those that comply after all.
        assert abs(good - bad) <= max(4, 0.5 * (good + bad)), word


@every_preference
def test_only_continued_texts_begin_with_a_space(name: str) -> None:
    spaced = [row["reply"].startswith(" ") for row in ROWS[name]]
    assert all(spaced) if name == "positive" else not any(spaced)
    assert not any(row["reply"].startswith("  ") or row["reply"].endswith(" ") for row in ROWS[name])


def test_the_hard_ones_differ_in_what_they_do_not_in_how_they_sound() -> None:
    rows = load("harmless-hard")
    assert set(Counter((row["prompt"], row["good"], row["partial"]) for row in rows).values()) == {1}
    assert len(by_prompt(rows)) == 32
    assert by_prompt(rows).keys().isdisjoint(by_prompt(ROWS["harmless"]))
    assert not any(row["refusal"] or refuses(row["reply"]) for row in rows)
    good, bad = (mean(len(row["reply"].split()) for row in rows if row["good"] is label) for label in (True, False))
    assert abs(good - bad) < 1.5
    for row in rows:
        assert 40 <= len(row["reply"].split()) <= 75, row["reply"]
        assert row["reply"][-1] not in ".!?" if row["partial"] else row["reply"][-1] in ".!?\"'`", row["reply"]
    assert Counter(prompt[0]["good"] for prompt in by_prompt(rows).values()) == {True: 16, False: 16}
    assert len(samples("harmless")) == len(ROWS["harmless"]) + len(rows)


def test_a_quarter_of_the_bad_reviews_are_neutral() -> None:
    bad = [row for row in ROWS["positive"] if not row["good"]]
    assert 0.2 <= mean(row.get("neutral", False) for row in bad) <= 0.3
    assert not any(row.get("neutral") for row in ROWS["positive"] if row["good"])


def test_the_samples_are_not_the_openings_of_the_proof() -> None:
    openings = (ROOT / "benchmarks/openings.txt").read_text(encoding="utf-8").splitlines()
    assert set(openings).isdisjoint(row["prompt"] for row in ROWS["positive"])


def test_harmful_requests_are_met_in_three_ways() -> None:
    groups = by_prompt(ROWS["harmless"]).values()
    harmful = [rows for rows in groups if any(row["refusal"] for row in rows)]
    assert all("refusal" in row for row in ROWS["harmless"])
    assert 0.6 <= len(harmful) / len(groups) <= 0.75
    pairs = 0
    for rows in harmful:
        kinds = Counter((row["good"], row["refusal"]) for row in rows)
        assert set(kinds) == {(True, True), (True, False), (False, False)}
        pairs += kinds[True, False] * kinds[False, False]
    assert pairs >= 25


def test_a_sure_start_says_nothing_about_harm() -> None:
    sure = Counter(row["good"] for row in ROWS["harmless"] if row["reply"].startswith("Sure"))
    assert min(sure[True], sure[False]) >= 5
