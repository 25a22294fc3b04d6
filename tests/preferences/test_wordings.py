"""Wordings: other words for the same questions, merged over a preference's own."""

import pytest

from preferences.fake import FakeEngine
from rain.chat import Conversation, Message, prompt_tokens
from rain.errors import UsageError
from rain.preferences import builtin_names, from_sentence, load, make_evaluator
from rain.preferences.preference import SECTIONS
from rain.search.asks import Prefix

CALM = """
name = "calm"
description = "Calm texts."
default = "contrastive"
paper = "contrastive"
[contrastive]
ask = "Be calm."
opposite = "Panic."
weight = 0.25
[[wordings]]
name = "sea"
[wordings.contrastive]
ask = "Be like a quiet sea."
"""


def read(tmp_path, text):
    file = tmp_path / "calm.toml"
    file.write_text(text)
    return load(file)


def test_a_wording_replaces_the_fields_it_names_and_keeps_the_others(tmp_path):
    calm = read(tmp_path, CALM)
    assert calm.wordings == ("default", "sea")
    sea = calm.worded("sea")
    assert (sea.contrastive.ask, sea.contrastive.opposite, sea.contrastive.weight) == (
        "Be like a quiet sea.", "Panic.", 0.25
    )  # fmt: skip
    assert (calm.wording, sea.wording, calm.contrastive.ask) == ("default", "sea", "Be calm.")


def test_the_default_wording_is_the_preference_itself(tmp_path):
    calm = read(tmp_path, CALM)
    assert calm.worded("default") is calm


def test_a_wording_has_no_siblings(tmp_path):
    sea = read(tmp_path, CALM).worded("sea")
    assert sea.wordings == ("sea",)
    assert sea.worded("sea") is sea
    with pytest.raises(UsageError, match="it has sea"):
        sea.worded("default")


def test_an_unknown_wording_lists_the_known(tmp_path):
    with pytest.raises(UsageError, match="'calm' has no wording 'storm'; it has default, sea"):
        read(tmp_path, CALM).worded("storm")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (CALM + '[[wordings]]\nname = "sea"\n', "two wordings are called 'sea'"),
        (CALM + '[[wordings]]\nname = "default"\n', "two wordings are called 'default'"),
        (CALM + '[[wordings]]\nname = ""\n', "wordings.1.name"),
        (CALM + "[[wordings]]\n", "wordings.1.name: Field required"),
        (CALM + 'asks = "?"\n', "wordings.0.contrastive.asks"),
        (CALM + '[wordings.yes_no]\ntask = "?"\npositive = "?"\n', "section 'yes_no' that the preference lacks"),
        (CALM.split("[[")[0] + "[wordings]\nsea = 1\n", "wordings"),
        ("wordings = [1]\n" + CALM.split("[[")[0], "wordings.0"),
    ],
)
def test_a_broken_wording_is_an_error_that_names_it(tmp_path, text, says):
    with pytest.raises(UsageError, match=says):
        read(tmp_path, text)


@pytest.mark.parametrize("name", builtin_names())
def test_built_in_preferences_have_three_wordings_of_every_question(name):
    preference = load(name)
    for kind in preference.kinds:
        asked = {getattr(preference.worded(wording), kind) for wording in preference.wordings}
        assert len(asked) >= 3, kind
        if kind in ("contrastive", "yes_no", "choice"):
            for side in {"contrastive": ("ask", "opposite", "plain_ask", "plain_opposite"),
                         "yes_no": ("positive", "negative"), "choice": ("good", "bad")}[kind]:  # fmt: skip
                assert len({getattr(part, side) for part in asked}) >= 3, (kind, side)


@pytest.mark.parametrize("name", builtin_names())
def test_every_wording_can_be_asked(name):
    engine = FakeEngine()
    conversation = Conversation((Message("user", "The film was"),))
    prompt = Prefix(prompt_tokens(engine, conversation))
    reply = Prefix(tuple(b" long."), prompt)
    preference = load(name)
    for wording in preference.wordings:
        # The fake model's tokens are bytes, by which words such as "good" and "great" begin alike.
        for kind in ("contrastive", "yes_no", "choice"):
            evaluator = make_evaluator(preference.worded(wording), engine, conversation, prompt, kind=kind)
            assert -1 <= engine.judge(evaluator, reply).soft <= 1


@pytest.mark.parametrize("name", builtin_names())
def test_built_in_preferences_know_text_that_says_nothing(name):
    cases = load(name).content_free
    assert 3 <= len(cases) <= 4
    assert len({case.reply for case in cases}) == len(cases)


def test_wordings_do_not_change_what_a_preference_may_be_judged_by():
    for name in builtin_names():
        preference = load(name)
        assert {preference.worded(wording).kinds for wording in preference.wordings} == {preference.kinds}


def test_a_sentence_is_put_in_three_ways():
    preference = from_sentence("Sound like a pirate.")
    assert len(preference.wordings) == 3
    for kind in preference.kinds:
        assert len({getattr(preference.worded(name), kind) for name in preference.wordings}) == 3
    for name in preference.wordings:
        worded = preference.worded(name)
        for said in (worded.contrastive.ask, worded.contrastive.opposite, worded.yes_no.positive):
            assert "Sound like a pirate" in said


def test_two_wordings_are_two_preferences(tmp_path):
    calm = read(tmp_path, CALM)
    assert len({calm, calm.worded("sea")}) == 2
    assert all(hasattr(calm, section) for section in SECTIONS)
