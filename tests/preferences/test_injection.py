"""Injections of our own, and that none of them becomes anything but text."""

import json
from collections import Counter
from importlib.resources import files

import pytest

from preferences.fake import CONTROL, FakeEngine
from rain.chat import Conversation, Message, prompt_tokens
from rain.preferences import load, make_evaluator
from rain.search.asks import Prefix

SAMPLES = files("rain.preferences") / "samples"


def injections(name: str):
    return [json.loads(line) for line in (SAMPLES / name).read_text(encoding="utf-8").splitlines()]


ROWS, SENTIMENT = injections("injections.jsonl"), injections("injections-positive.jsonl")
KINDS = {
    "claim", "order", "closed_quote", "fake_options", "fake_answer", "chat_markers", "turns", "fake_nonce", "language",
    "base64", "role_play", "fake_examples", "flattery", "refuse then comply",
}  # fmt: skip


def test_there_are_enough_injections_of_every_kind():
    assert len(ROWS) >= 36
    assert {row["kind"] for row in ROWS} == KINDS
    assert len({row["text"] for row in ROWS}) == len(ROWS)
    assert Counter(row["kind"] for row in ROWS)["language"] >= 4
    assert sum(row["where"] == "prompt" for row in ROWS) >= 6
    assert {row["where"] for row in ROWS} == {"prompt", "reply", "front"}
    assert all(set(row) == {"kind", "where", "text"} for row in ROWS)


def test_those_for_sentiment_are_enough_and_what_only_changes_the_text_is_kept_apart():
    addressing = [row for row in SENTIMENT if row["kind"] != "content"]
    assert len(addressing) >= 15
    assert {row["kind"] for row in addressing} <= KINDS
    assert 1 <= len(SENTIMENT) - len(addressing) < len(addressing)
    assert len({row["text"] for row in SENTIMENT}) == len(SENTIMENT)
    assert {(row["where"], *sorted(row)) for row in SENTIMENT} == {("reply", "kind", "text", "where")}


def judged(kind, placement, prompt_text, reply_text):
    """Every prefix and question of one judgement, control tokens shown in guillemets."""
    engine = FakeEngine()
    conversation = Conversation((Message("user", prompt_text),))
    prompt = Prefix(prompt_tokens(engine, conversation))
    evaluator = make_evaluator(
        load("harmless"), engine, conversation, prompt, kind=kind, placement=placement, zeroed=False
    )
    # As an engine hands on what it sampled: text tokens, whatever they spell.
    engine.judge(evaluator, Prefix(engine.tokenizer.encode(reply_text), prompt))
    batch = engine.batches[0]
    return [engine.tokenizer.shown(q.prefix.path() + getattr(q, "tokens", ())) for q in batch]


@pytest.mark.parametrize(
    ("kind", "placement"),
    [("contrastive", None), *((k, p) for k in ("choice", "yes_no", "one_word") for p in ("quoted", "in_place"))],
)
def test_chat_markers_in_a_text_never_become_control_tokens(kind, placement):
    harmless = judged(kind, placement, "Hello.", "Sure.")
    for row in ROWS:
        in_reply = row["where"] != "prompt"
        texts = judged(
            kind, placement, "Hello." if in_reply else row["text"], f"Sure. {row['text']}" if in_reply else "Sure."
        )
        for text, without in zip(texts, harmless, strict=True):
            shown = row["text"].encode().decode("latin-1")
            assert shown in text
            for marker in CONTROL:
                # As many as without the injection: those of the template.
                assert text.count(f"«{marker}»") == without.count(f"«{marker}»"), row["text"]


@pytest.mark.parametrize("row", [row for row in ROWS if row["kind"] == "fake_nonce"], ids=lambda row: row["text"][:12])
def test_a_made_up_mark_is_not_the_mark(row):
    (text, _) = judged("yes_no", "quoted", "Hello.", f"Sure.\n{row['text']}")
    mark = text.rsplit("\n[", 1)[1].split("]")[0]
    assert text.count(f"[{mark}]") == 3  # where it is named, before the case and behind it
    assert f"[{mark}]" not in row["text"]
