"""Every method: one signature, one budget, the same seed the same text, a forced beginning, plain texts and chat."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

import rain
from methods.script import ENCODER, TOKENS, USUAL, ask, following, goods, scripted
from rain import methods
from rain.api import Model
from rain.trace import Trace

NAMES = tuple(methods.METHODS)
STYLES = ("plain", "turns", "chat")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", NAMES)
def test_a_method_counts_every_token_and_keeps_to_the_reply_s_length(name: str, style: str) -> None:
    engine = scripted()
    reply = ask(engine, name, style=style)
    assert reply.text
    assert reply.usage.forward_tokens == engine.totals.forward_tokens > 0
    assert reply.usage.cached_tokens == engine.totals.cached_tokens
    assert 0 < reply.usage.completion_tokens <= TOKENS
    assert (reply.score is not None) == methods.METHODS[name].judged
    assert (reply.judge is not None) == methods.METHODS[name].judged


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides(name: str, style: str) -> None:
    def texts(seed: int) -> tuple[str, int]:
        reply = ask(scripted(), name, style=style, seed=seed)
        return reply.text, reply.usage.forward_tokens

    assert texts(3) == texts(3)
    assert len({texts(seed) for seed in range(6)}) > 1


@examples(max_examples=150, deadline=None)
@example("rain", "plain", 168, False, False)  # its search commits while other iterations are being answered
@given(st.sampled_from(NAMES), st.sampled_from(STYLES), st.integers(1, 900), st.booleans(), st.booleans())
def test_no_limit_is_ever_exceeded(name: str, style: str, limit: int, remembers: bool, judge: bool) -> None:
    engine, other = scripted(remembers=remembers), scripted(5, remembers=remembers) if judge else None
    reply = ask(
        engine, name, limit=limit, prefix=" a", judge=other, style=style, evaluator="contrastive", preference="harmless"
    )
    spent = engine.totals.forward_tokens + (other.totals.forward_tokens if other else 0)
    assert spent <= limit
    assert reply.usage.forward_tokens + reply.usage.judge_forward_tokens == spent
    assert reply.stopped_by in (None, "budget")


@pytest.mark.parametrize("name", NAMES)
def test_the_tighter_of_limit_and_budget_counts(name: str) -> None:
    engine = scripted()
    ask(engine, name, limit=10_000, budget=rain.Budget(TOKENS, max_forward_tokens=30), evaluator="contrastive")
    assert engine.totals.forward_tokens <= 30


@pytest.mark.parametrize("name", ["vanilla", "rain", "best-of-n", "system-prompt", "self-examine"])
@pytest.mark.parametrize("style", STYLES)
def test_a_forced_beginning_is_continued_from_but_not_in_the_text(name: str, style: str) -> None:
    seen: list[str] = []

    def judge(prompt: str, reply: str) -> float:
        seen.append(reply)
        return goods(reply)

    engine = scripted()
    reply = ask(engine, name, prefix=" I hate it,", style=style, evaluator=judge, seed=1)
    tokens = len(engine.tokenizer.encode(" I hate it,"))
    plan = Model(engine, encoder=ENCODER).plan(" the movie was", **{**USUAL, "style": style})
    if name != "system-prompt":
        assert reply.usage.prompt_tokens == plan.prompt.length + tokens
    if reply.finish_reason != "content_filter":
        assert not reply.text.startswith(" I hate it,")
    assert 0 < reply.usage.completion_tokens <= TOKENS
    if methods.METHODS[name].judged:
        assert seen
        assert all(text.startswith(" I hate it,") for text in seen)
        assert seen[0] != " I hate it,"
    else:
        assert not seen


def test_a_forced_beginning_is_what_the_prompt_would_be_with_it() -> None:
    """In a plain text nobody can tell a prompt's end from a reply's beginning."""
    forced = ask(scripted(), "vanilla", prefix=" good and")
    assert forced.text == ask(scripted(), "vanilla", " the movie was good and").text
    assert forced.text != ask(scripted(), "vanilla").text


@pytest.mark.parametrize("prefix", [" I hate it", "I hate it"])
def test_in_turns_a_forced_beginning_has_the_space_that_a_reply_would_begin_with(prefix: str) -> None:
    plan = Model(scripted(), encoder=ENCODER).plan(" the movie was", **{**USUAL, "style": "turns", "prefix": prefix})
    assert scripted().tokenizer.decode(plan.begun(plan.prompt).path()).endswith("Assistant: I hate it")


def test_a_trace_of_rain_with_a_forced_beginning_replays(tmp_path: Path) -> None:
    reply = ask(scripted(), "rain", prefix=" bad,", trace=tmp_path / "t.jsonl", mode="faithful")
    *_, outcome = Trace(tmp_path / "t.jsonl").replay()
    assert outcome.text == reply.text


def test_a_beginning_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(rain.UsageError, match="leaves no room"):
        ask(scripted(context=64), "vanilla", prefix=" good and" * 40)


@pytest.mark.parametrize("name", NAMES)
def test_what_only_a_search_knows_of_does_not_disturb_the_others(name: str, tmp_path: Path) -> None:
    trace = tmp_path / "t.jsonl"
    reply = ask(scripted(), name, mode="fast", trace=trace, hold_back="clause")
    assert reply.mode == ("fast" if name == "rain" else "vanilla")
    assert trace.exists() == (name == "rain")


@pytest.mark.parametrize("name", NAMES)
def test_methods_that_need_a_preference_say_so(name: str) -> None:
    options: Any = {**USUAL, "preference": None, "evaluator": None}
    if methods.METHODS[name].preference:
        with pytest.raises(rain.UsageError, match="Give --preference"):
            ask(scripted(), name, **options)
    else:
        assert ask(scripted(), name, **options).preference is None


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_s_style_and_settings_hold_for_every_method(name: str) -> None:
    options: Any = {"preference": None, "preset": "positive", "evaluator": lambda text: 0.9}
    texts = [ask(scripted(), name, **options, style=style).text for style in (None, "plain", "chat")]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("name", NAMES)
def test_cancelling_stops_a_method(name: str) -> None:
    async def work() -> rain.Reply:
        cancel = asyncio.Event()
        options: Any = {**USUAL, "cancel": cancel, "budget": rain.Budget(2000), "style": "turns"}
        endless = scripted(delay=0.005, following=following([], [" good", " and", " it", ","]))
        asyncio.get_running_loop().call_later(0.05, cancel.set)
        return await methods.run(Model(endless, encoder=ENCODER), name, " the movie was", options=options)

    reply = asyncio.run(work())
    assert reply.stopped_by == "cancelled"
    assert reply.usage.completion_tokens < 2000


def test_a_deadline_stops_a_method() -> None:
    budget = rain.Budget(2000, max_seconds=0.1)
    assert ask(scripted(delay=0.02), "best-of-500", budget=budget).stopped_by == "deadline"


def test_an_earlier_method_does_not_make_a_later_one_cheaper() -> None:
    async def work() -> None:
        model = Model(scripted(), encoder=ENCODER)
        options: Any = dict(USUAL)
        await methods.run(model, "rain", " the movie was", options=options)
        await methods.run(model, "vanilla", " the movie was", options=options)
        assert not model._recent

    asyncio.run(work())


@pytest.mark.parametrize("name", ["", "Vanilla", "best-of-0", "best-of-n2", "beam-search", "best-of-9999999"])
def test_an_unknown_method_is_told(name: str) -> None:
    with pytest.raises(rain.UsageError, match="there are: vanilla, rain, best-of-n") as error:
        ask(scripted(), name)
    assert "\n" not in str(error.value)


def test_names_are_known_without_loading_anything() -> None:
    assert methods.find("best-of-7").settings == {"most": 7}
    assert all(method.about and name == method.name for name, method in methods.METHODS.items())
    code = "import sys; from rain import methods; methods.find('best-of-7'); print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert {name for name in shown.split() if name.startswith("rain.")} == {"rain.errors", "rain.methods"}
