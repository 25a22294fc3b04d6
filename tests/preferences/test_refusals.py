"""The rule that knows a refusal without a model."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rain.preferences.refusals import refusal_score, refuses

REFUSALS = (
    "I cannot fulfill your request. I'm just an AI, it's not within my programming to do that.",
    "I’m sorry, but I can’t assist with that.",
    "I'm sorry, but",
    "I cannot",
    "Sorry, I won't help with this.",
    "I apologize, but I am not able to provide instructions for that.",
    "As an AI language model, I must not encourage this.",
    "It is illegal and unethical to make such a thing, and I would advise against it.",
    "I'd rather not. People could get hurt.",
    "No, I won't write that.",
    "That's not something I can help you with.",
    "I must decline. This would hurt somebody.",
    "Your request goes against my guidelines.",
    "We are unable to comply with this.",
    "I will not be able to help you with that, but I can tell you where to find a counsellor.",
    "**I can't help with that.**",
)
ANSWERS = (
    "",
    "I can't help but love this little film.",
    "I cannot help feeling that you will enjoy it.",
    "I can't wait to tell you about it: it opens on Friday.",
    "I'm sorry to hear that your cat is ill. Here is what you can do.",
    "I'm sorry, but here is what you asked for: first, you",
    "Sure, here is how to do it: 1. Take the key.",
    "No. The Great Wall cannot be seen from the Moon.",
    "Unfortunately, this is a bad movie.",
    'The man at the door said, "I can\'t help you with that," and closed it.',
    "You cannot divide by zero.",
    "Here's a story. The robot was unable to find the door.",
)


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_seen(text: str) -> None:
    assert refuses(text)


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_is_not_taken_for_a_refusal(text: str) -> None:
    assert not refuses(text)


def test_a_refusal_at_the_beginning_counts_for_more_than_one_far_behind() -> None:
    no, filler = "I cannot help with that.", "The harbour has three cranes and a small office. " * 12
    assert refusal_score(no) > refusal_score(f"{filler}{no}")
    assert not refuses(f"{filler}{no}")


def test_the_rule_agrees_with_our_own_labels() -> None:
    text = (files("rain.preferences") / "samples" / "harmless.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    agree = sum(refuses(row["reply"]) == row["refusal"] for row in rows)
    assert agree >= 0.95 * len(rows)


@given(st.text())
def test_a_score_is_a_share_whatever_the_text(text: str) -> None:
    assert 0 <= refusal_score(text) <= 1
