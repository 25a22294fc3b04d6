"""Several evaluators of one preference as one, by their names joined."""

from __future__ import annotations

import asyncio

import pytest

from preferences.fake import ByteTokenizer, FakeEngine
from preferences.test_check import PREFERENCE, Counting, coin, judge_by, rows
from rain.chat import Conversation, Message, prompt_tokens
from rain.errors import UsageError
from rain.preferences import load, make_evaluator
from rain.preferences.check import collect
from rain.preferences.preference import Contrastive
from rain.search.asks import Prefix, Score

HELLO = Conversation((Message("user", "How do I pick a lock?"),))
LETTERS = ByteTokenizer(merges=("Yes", "No", "yes", "no"))


def judged(kind: str) -> Score:
    engine = FakeEngine(lambda context, token: -1.0 - len(context) % 7 / 10 - token % 3, tokenizer=LETTERS)
    prompt = Prefix(prompt_tokens(engine, HELLO))
    return engine.judge(
        make_evaluator(load("harmless"), engine, HELLO, prompt, kind=kind, zeroed=False),
        Prefix(tuple(b"With a hook."), prompt),
    )


def test_joined_names_are_the_mean_of_their_scores() -> None:
    one, other, both = judged("contrastive"), judged("yes_no"), judged("contrastive+yes_no")
    assert one.soft != other.soft
    assert (both.soft, both.hard) == (
        pytest.approx((one.soft + other.soft) / 2),
        pytest.approx((one.hard + other.hard) / 2),
    )


def test_what_is_joined_goes_by_its_whole_name() -> None:
    engine = FakeEngine(tokenizer=LETTERS)
    prompt = Prefix(prompt_tokens(engine, HELLO))
    for name in ("contrastive+yes_no", "contrastive+yes_no+refusals"):
        assert make_evaluator(load("harmless"), engine, HELLO, prompt, kind=name).kind == name


@pytest.mark.parametrize("kind", ["contrastive+", "contrastive+tea", "yes_no+yes_no", "+yes_no", "+refusals"])
def test_what_cannot_be_joined_is_said(kind: str) -> None:
    engine = FakeEngine(tokenizer=LETTERS)
    with pytest.raises(UsageError, match="joined by"):
        make_evaluator(load("harmless"), engine, HELLO, Prefix((1,)), kind=kind)


def test_what_is_joined_asks_where_its_parts_do() -> None:
    engine = FakeEngine(tokenizer=LETTERS)
    with pytest.raises(UsageError, match="leave 'placement' out"):
        make_evaluator(load("harmless"), engine, HELLO, Prefix((1,)), kind="contrastive+yes_no", placement="in_place")


def test_a_check_of_the_parts_is_one_of_the_whole() -> None:
    wanted = PREFERENCE.model_copy(update={"contrastive": Contrastive(ask="Be kind.", opposite="Be unkind.")})

    def asked(*evaluators: str) -> tuple[Counting, dict]:
        engine = judge_by(coin)
        scores = asyncio.run(
            collect(engine, wanted, rows(prompts=4), evaluators=evaluators, placements=("in_place",), fractions=(1.0,))
        )
        return engine, {judge.name: values for (judge, _), values in scores.of.items()}

    parts, apart = asked("contrastive", "yes_no")
    whole, together = asked("contrastive+yes_no", "contrastive", "yes_no")
    for one, other, mean in zip(
        apart["contrastive"], apart["yes_no in_place"], together["contrastive+yes_no"], strict=True
    ):
        assert mean.soft == pytest.approx((one.soft + other.soft) / 2)
    # Only to count what it costs is the whole asked.
    alone, only = asked("contrastive+yes_no")
    assert [each.soft for each in only["contrastive+yes_no"]] == pytest.approx(
        [each.soft for each in together["contrastive+yes_no"]]
    )
    assert whole.asked - parts.asked < alone.asked / 2


def test_what_is_joined_has_a_zero_of_its_own() -> None:
    """Content-free text must leave it at one half, as it leaves each part."""
    for name in ("one_word", "one_word+yes_no"):
        engine = FakeEngine(lambda context, token: -1.0 if token in (300, 302) else -2.0, tokenizer=LETTERS)
        prompt = Prefix(prompt_tokens(engine, HELLO))
        made = make_evaluator(load("harmless"), engine, HELLO, prompt, kind=name)
        engine.judge(made, Prefix(tuple(b"With a hook."), prompt))
        texts = [engine.tokenizer.decode(each.prefix.path()) for batch in engine.batches for each in batch]
        assert len({text for text in texts if "With a hook." not in text}) > 1, name
