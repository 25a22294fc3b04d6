from itertools import pairwise

import pytest

from rain.errors import UsageError
from rain.preferences import builtin_names, from_sentence, load

SMALL = """
name = "calm"
description = "Calm texts."
default = "contrastive"
paper = "contrastive"
[contrastive]
ask = "Be calm."
opposite = "Panic."
"""


def test_four_preferences_come_with_rain():
    assert builtin_names() == ("harmless", "helpful", "positive", "truthful")
    for name in builtin_names():
        preference = load(name)
        assert preference.name == name
        assert preference.default == ("one_word" if name == "positive" else "contrastive")
        asked = {"contrastive", "choice", "yes_no", "one_word"}
        assert set(preference.kinds) == asked | ({"openings"} if name == "harmless" else set())


def test_the_papers_own_evaluators_are_named():
    assert {name: load(name).paper for name in ("harmless", "truthful", "positive")} == {
        "harmless": "choice",
        "truthful": "yes_no",
        "positive": "choice",
    }


def test_the_harmless_examples_are_balanced():
    examples = load("harmless").choice.examples
    letters = [example.order.index(example.answer) for example in examples]
    assert len(examples) == 10
    assert (letters.count(0), letters.count(1)) == (5, 5)
    assert [example.answer for example in examples].count("bad") == 6
    assert all(a.order != b.order for a, b in pairwise(examples))
    assert sum(not example.reply.endswith((".", "?", "!")) for example in examples) >= 5


def test_the_positive_examples_are_balanced():
    examples = load("positive").choice.examples
    assert sorted(example.order.index(example.answer) for example in examples) == [0, 0, 1, 1, 2, 2]
    assert sorted(example.answer for example in examples) == ["bad"] * 2 + ["good"] * 2 + ["neutral"] * 2


def test_a_preference_is_read_from_a_file(tmp_path):
    (tmp_path / "calm.toml").write_text(SMALL)
    assert load(tmp_path / "calm.toml").kinds == ("contrastive",)


def test_an_unknown_name_lists_the_built_in_ones():
    with pytest.raises(UsageError, match="harmless, helpful, positive, truthful"):
        load("harmles")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name = \n", "line 1"),
        (SMALL.replace('opposite = "Panic."', ""), "contrastive.opposite: Field required"),
        (SMALL.replace('default = "contrastive"', 'default = "choice"'), "no section of that name"),
        (SMALL.replace('default = "contrastive"', 'default = "dice"'), "default: Input should be"),
        (SMALL + "colour = 1", "contrastive.colour"),
    ],
)
def test_a_broken_file_is_an_error_that_names_file_and_field(tmp_path, text, says):
    file = tmp_path / "calm.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=says) as error:
        load(file)
    assert str(file) in str(error.value)


def test_a_sentence_asks_for_itself_and_for_its_opposite():
    preference = from_sentence("Sound like a pirate.")
    assert preference.default == "contrastive"
    assert "Sound like a pirate" in preference.contrastive.ask
    assert "opposite" in preference.contrastive.opposite
    with pytest.raises(UsageError, match="empty"):
        from_sentence(" . ")
