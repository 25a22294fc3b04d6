"""Which methods are compared, and what is changed in them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from rain.errors import UsageError
from rain.evaluation.sweep import PAPER, arms, options_of, parse, settings_of, swept
from rain.preferences import Preference
from rain.request import check_options
from rain.search.settings import Settings

BASE: Any = {"preference": "positive", "settings": {"threshold": "0.9"}}


def test_methods_and_sweeps_make_arms_each_once() -> None:
    found = arms("vanilla, rain,rain", ["threshold=0.6,0.8", "similarity=off", "threshold=0.8"])
    assert [arm.label for arm in found] == [
        "vanilla",
        "rain",
        "rain[threshold=0.6]",
        "rain[threshold=0.8]",
        "rain[similarity=off]",
    ]
    assert [arm.method for arm in found] == ["vanilla", "rain", "rain", "rain", "rain"]


def test_values_with_commas_are_separated_by_semicolons() -> None:
    assert swept("set-lengths=1,2,4,10;1,1") == ["rain[set_lengths=1,2,4,10]", "rain[set_lengths=1,1]"]
    assert swept("set_lengths=1,2") == ["rain[set_lengths=1]", "rain[set_lengths=2]"]
    (arm,) = arms("rain[set_lengths=1,2,4,10,similarity=off]")
    assert arm.changes == (("set_lengths", "1,2,4,10"), ("similarity", "off"))
    assert arm.label == "rain[set_lengths=1,2,4,10,similarity=off]"


def test_the_papers_symbols_stand_for_our_names() -> None:
    assert swept("T=10,20") == ["rain[iterations_per_set=10]", "rain[iterations_per_set=20]"]
    (arm,) = arms("rain[T_min=3,V=0.7,c=0]")
    assert arm.label == "rain[minimum_visits=3,threshold=0.7,exploration=0]"
    assert settings_of({"V": "0.7", "top_k": "5"}) == {"threshold": "0.7", "top_k": "5"}
    fields = {field.name for field in dataclasses.fields(Settings)}
    assert set(PAPER.values()) <= fields
    assert not fields & set(PAPER)
    with pytest.raises(UsageError, match=r"unknown 'luck'.*T \(iterations_per_set\)"):
        arms("rain", ["luck=1"])


def test_the_papers_cumulative_ablation() -> None:
    labels = "rain,rain[similarity=off],rain[similarity=off,node_addition=off],best-of-16"
    found = arms(labels)
    assert [arm.label for arm in found] == [
        "rain",
        "rain[similarity=off]",
        "rain[similarity=off,node_addition=off]",
        "best-of-16",
    ]
    assert options_of(found[2], BASE)["settings"] == {"threshold": "0.9", "similarity": "off", "node_addition": "off"}


def test_a_change_reaches_the_options_and_the_base_stays_as_it_is() -> None:
    assert options_of(parse("rain[threshold=0.5]"), BASE)["settings"] == {"threshold": "0.5"}
    assert options_of(parse("rain[evaluator=yes_no]"), BASE)["evaluator"] == "yes_no"
    assert options_of(parse("rain[mode=fast]"), BASE)["mode"] == "fast"
    assert parse("rain[encoder=minilm]").encoder == "minilm"
    assert "encoder" not in options_of(parse("rain[encoder=minilm]"), BASE)
    other = options_of(parse("rain[wording=voice]"), {**BASE, "preference": "harmless"})
    preference, *_ = check_options(other)
    assert isinstance(preference, Preference)
    assert (preference.name, preference.wording) == ("harmless", "voice")
    wished, *_ = check_options(options_of(parse("rain[wording=writer]"), {"prefer": "be brief"}))
    assert isinstance(wished, Preference)
    assert (wished.name, wished.wording) == ("sentence", "writer")
    assert BASE == {"preference": "positive", "settings": {"threshold": "0.9"}}


@pytest.mark.parametrize(
    ("methods", "sweeps", "said"),
    [
        ("", [], "name at least one"),
        ("dice", [], "unknown method 'dice'"),
        ("rain[", [], "is no method"),
        ("rain[similarity]", [], "expected KEY=VALUE"),
        ("rain[luck=1]", [], "unknown 'luck'"),
        ("rain", ["threshold"], "expected KEY=V1,V2"),
        ("rain", ["threshold="], "expected KEY=V1,V2"),
        ("rain", ["threshold=high"], "not a number"),
        ("rain", ["luck=1,2"], "unknown 'luck'"),
        ("rain", ["set_lengths=0"], "not between"),
    ],
)
def test_what_cannot_be_is_told(methods: str, sweeps: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        arms(methods, sweeps)


@pytest.mark.parametrize(
    ("label", "base", "said"),
    [
        ("rain[wording=nope]", BASE, "no wording 'nope'"),
        ("rain[wording=voice]", {"preset": "harmless"}, "brings its own questions"),
        ("rain[evaluator=nope]", BASE, r"'rain\[evaluator=nope\]': .*it supports"),
        ("rain[mode=nope]", BASE, "none of optimistic"),
    ],
)
def test_a_change_that_the_preference_does_not_allow_is_told_with_its_label(label: str, base: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        options_of(parse(label), base)
