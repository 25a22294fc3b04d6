"""The library: what a request is checked for, and what comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import rain
from rain.api import Model
from rain.engines.scripted import ScriptedEngine
from rain.search.events import Committed
from rain.trace import Trace

QUICK = {"iterations_per_set": 6, "fresh_iterations": 3}


@pytest.fixture
def model() -> Model:
    return Model(ScriptedEngine())


def ask(model: Model, prompt: Any = " the movie was", **options: Any) -> rain.Reply:
    options = {"preference": "positive", "style": "plain", "settings": QUICK, "budget": rain.Budget(12), **options}
    return model.generate(prompt, **options)


def test_a_reply_says_what_it_cost(model: Model) -> None:
    reply = ask(model, seed=4)
    assert reply.text
    assert (reply.preference, reply.mode, reply.model, reply.seed) == ("positive", "faithful", "scripted", 4)
    assert reply.judge == {"evaluator": "contrastive", "placement": "quoted", "auc": None, "checked": False}
    assert reply.usage.iterations > 0
    assert reply.usage.forward_tokens > 0
    assert 0 < reply.usage.completion_tokens <= 12
    assert set(reply.as_dict()) == {
        "text",
        "finish_reason",
        "preference",
        "mode",
        "model",
        "seed",
        "score",
        "stopped_by",
        "judge",
        "usage",
    }


def test_the_async_twin_yields_events_and_then_the_reply(model: Model) -> None:
    async def work() -> list[Any]:
        options: Any = {"preference": "positive", "style": "plain", "settings": QUICK, "budget": rain.Budget(12)}
        return [event async for event in model.stream(" the movie was", **options)]

    *events, reply = asyncio.run(work())
    assert isinstance(reply, rain.Reply)
    assert "".join(event.text for event in events if isinstance(event, Committed)) == reply.text


def test_it_works_inside_a_running_event_loop(model: Model) -> None:
    async def notebook() -> rain.Reply:
        return ask(model)

    assert asyncio.run(notebook()).text == ask(model).text


def test_vanilla_needs_no_preference(model: Model) -> None:
    reply = ask(model, preference=None, mode="vanilla")
    assert reply.score is None
    assert reply.usage.iterations == 0


def test_a_preset_brings_the_papers_evaluator_and_settings(model: Model, tmp_path: Path) -> None:
    ask(model, preference=None, preset="adversarial", style="turns", trace=tmp_path / "t.jsonl")
    header = Trace(tmp_path / "t.jsonl").header
    assert (header.settings.temperature, header.settings.minimum_visits, header.settings.score) == (2.0, 5, "hard")
    assert header.judge is not None
    assert (header.preference, header.judge["evaluator"]) == ("harmless", "choice")
    reply = ask(model, preference="positive", preset="truthful")
    assert reply.judge is not None
    assert reply.judge["evaluator"] == "contrastive"


def test_a_sentence_is_a_preference(model: Model) -> None:
    assert ask(model, preference=None, prefer="Answer like a patient teacher").preference == "sentence"


def test_a_trace_replays_without_a_model(model: Model, tmp_path: Path) -> None:
    reply = ask(model, trace=tmp_path / "t.jsonl")
    *_, outcome = Trace(tmp_path / "t.jsonl").replay()
    assert outcome.text == reply.text  # type: ignore[union-attr]


def test_when_nothing_passes(model: Model) -> None:
    never = {**QUICK, "threshold": 100}
    assert ask(model, settings=never).finish_reason != "content_filter"
    refused = ask(model, settings=never, on_failure="refuse")
    assert refused.finish_reason == "content_filter"
    assert refused.text != ask(model, settings=never).text
    with pytest.raises(rain.NothingPassed) as error:
        ask(model, settings=never, on_failure="raise")
    assert error.value.reply.text == ask(model, settings=never).text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preference": None}, "Give --preference"),
        ({"preference": "nope"}, "built in are"),
        ({"preference": "positive", "prefer": "x"}, "not both"),
        ({"preference": None, "prefer": "  "}, "empty"),
        ({"preset": "nope"}, "none of harmless"),
        ({"mode": "fast"}, "none of faithful"),
        ({"style": "loud"}, "none of chat"),
        ({"style": "chat"}, "template"),
        ({"evaluator": "nope"}, "it supports"),
        ({"placement": "above"}, "none of in_place"),
        ({"on_failure": "cry"}, "none of best"),
        ({"settings": {"nope": 1}}, "unknown setting"),
        ({"settings": {"candidates": 0}}, "not between"),
        ({"settings": {"candidates": "many"}}, "not a whole number"),
        ({"settings": {"threshold": "nan"}}, "not between"),
        ({"settings": {"similarity": "maybe"}}, "neither on nor off"),
        ({"settings": {"set_lengths": ""}}, "separated by commas"),
        ({"settings": {"variant": "mine"}}, "none of released"),
        ({"trace": "/no/such/folder/t.jsonl"}, "cannot write the trace"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(model: Model, options: dict[str, Any], message: str) -> None:
    with pytest.raises((rain.UsageError, rain.SettingsError), match=message) as error:
        ask(model, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("limits", [{"max_tokens": 0}, {"max_iterations": -1}, {"max_seconds": float("nan")}])
def test_a_budget_is_above_zero(limits: dict[str, Any]) -> None:
    with pytest.raises(rain.SettingsError, match="must be above zero"):
        rain.Budget(**limits)
    with pytest.raises(rain.SettingsError, match="not a whole number"):
        rain.Budget(max_tokens=1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("prompt", ["", "  ", []])
def test_an_empty_prompt_is_refused(model: Model, prompt: Any) -> None:
    with pytest.raises(rain.UsageError, match="empty"):
        ask(model, prompt)


def test_a_prompt_longer_than_the_context_is_refused() -> None:
    with pytest.raises(rain.UsageError, match="leaves no room"):
        ask(Model(ScriptedEngine(context=32)), " the movie was" * 20)
