"""The library: what a request is checked for, and what comes back."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest

import rain
from rain import methods
from rain.api import Model
from rain.engines.scripted import ScriptedEngine
from rain.errors import UsageError
from rain.run.scheduler import Scheduler, Want
from rain.search.asks import Prefix
from rain.search.events import Committed
from rain.trace import Trace

QUICK = {"iterations_per_set": 6, "fresh_iterations": 3}
USUAL: dict[str, Any] = {
    "preference": "positive",
    "evaluator": "contrastive",  # the scripted model's words have no first letters to tell labels by
    "style": "plain",
    "settings": QUICK,
    "budget": rain.Budget(12),
}
BY_CHOICE: Any = {"preference": "helpful", "evaluator": "choice", "settings": {**QUICK, "score": "soft"}}
PIECES = (b" the", b" movie", b" was", b" good", b" bad", b".", b",", b"A", b"B")


def lettered(seed: int = 0) -> ScriptedEngine:
    """A model that looks at the whole text and has letters to choose by."""
    return ScriptedEngine(pieces=PIECES, order=10_000, seed=seed)


@pytest.fixture
def model() -> Model:
    return Model(ScriptedEngine())


def ask(model: Model, prompt: Any = " the movie was", **options: Any) -> rain.Reply:
    options = {**USUAL, **options}
    return model.generate(prompt, **{"mode": "faithful", **options})


def test_a_reply_says_what_it_cost(model: Model) -> None:
    reply = ask(model, seed=4)
    assert reply.text
    assert (reply.preference, reply.mode, reply.model, reply.seed) == ("positive", "faithful", "scripted", 4)
    assert reply.judge
    told = {"evaluator": "contrastive", "placement": "quoted", "model": "scripted", "self_evaluation": True}
    unknown = {"auc": None, "checked": False, "disagreement": None}
    assert {**reply.judge, **told, **unknown} == reply.judge
    assert (reply.usage.judge_forward_tokens, reply.usage.judge_calls) == (0, 0)
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
        "passed",
        "stopped_by",
        "judge",
        "usage",
        "segments",
    }


def test_the_async_twin_yields_events_and_then_the_reply(model: Model) -> None:
    async def work() -> list[Any]:
        return [event async for event in model.stream(" the movie was", **USUAL)]

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
    ask(model, preference=None, evaluator=None, preset="adversarial", style="turns", trace=tmp_path / "t.jsonl")
    header = Trace(tmp_path / "t.jsonl").header
    assert (header.settings.temperature, header.settings.minimum_visits, header.settings.score) == (2.0, 5, "hard")
    assert header.judge is not None
    assert (header.preference, header.judge["evaluator"]) == ("harmless", "choice")
    reply = ask(model, preference="positive", preset="truthful")
    assert reply.judge is not None
    assert reply.judge["evaluator"] == "contrastive"


def test_another_model_judges_and_its_cost_is_shown(tmp_path: Path) -> None:
    writer, judge = ScriptedEngine(), ScriptedEngine(seed=5)
    judge.name = "scripted judge"
    reply = ask(Model(writer, judge=judge), trace=tmp_path / "t.jsonl")
    assert reply.judge is not None
    assert (reply.judge["model"], reply.judge["evaluator"]) == ("scripted judge", "contrastive")
    assert not writer.asked["TextLogprobs"]
    assert set(judge.asked) == {"TextLogprobs"}
    assert reply.usage.judge_forward_tokens == judge.totals.forward_tokens > 0
    assert reply.usage.judge_calls == pytest.approx(judge.totals.calls, abs=1e-3)
    assert reply.usage.forward_tokens == writer.totals.forward_tokens
    assert ask(Model(lettered(), judge=lettered(5)), **BY_CHOICE).score != ask(Model(lettered()), **BY_CHOICE).score
    *_, outcome = Trace(tmp_path / "t.jsonl").replay()
    assert outcome.text == reply.text


def test_the_same_weights_as_judge_write_the_same_text() -> None:
    models = Model(lettered()), Model(lettered(), judge=lettered())
    one, two = (ask(model, **BY_CHOICE) for model in models)
    assert one.score
    assert (one.text, one.score) == (two.text, two.score)
    assert one.usage.forward_tokens > two.usage.forward_tokens


def test_closing_a_model_closes_its_judge() -> None:
    judge = ScriptedEngine()
    Model(ScriptedEngine(), judge=judge).close()
    assert judge._closed


@pytest.mark.parametrize("name", ["nope", "", "/no/such/file.gguf", "vllm:x", "hf:owner"])
def test_a_judge_model_that_cannot_be_loaded_is_told_before_the_writer_is(name: str) -> None:
    with pytest.raises(rain.UsageError, match=r"^--judge-model: ") as error:
        rain.load("/no/such/writer.gguf", judge_model=name)
    assert "\n" not in str(error.value)
    assert "writer" not in str(error.value)


def test_a_callable_judges_without_a_model(model: Model) -> None:
    reply = ask(model, evaluator=lambda text: 0.9 if "good" in text else 0.1)
    assert reply.judge is not None
    assert (reply.judge["evaluator"], reply.judge["placement"], reply.judge["self_evaluation"]) == (
        "classifier",
        None,
        False,
    )
    assert "lambda" in reply.judge["model"]
    assert reply.usage.judge_forward_tokens == 0


def test_several_preferences_are_one(model: Model, tmp_path: Path) -> None:
    file = tmp_path / "both.toml"
    file.write_text(
        'combine = "min"\n[[parts]]\npreference = "positive"\nevaluator = "contrastive"\n'
        '[[parts]]\npreference = "helpful"\n'
    )
    reply = ask(model, preference=file, evaluator=None)
    assert reply.judge is not None
    assert (reply.preference, reply.judge["evaluator"]) == ("positive and helpful", "weighted")


def test_disagreement_of_wordings_is_reported(model: Model, tmp_path: Path) -> None:
    reply = ask(model, preference="helpful", evaluator="choice", trace=tmp_path / "t.jsonl")
    assert reply.judge is not None
    assert 0 <= reply.judge["disagreement"] <= 1
    *_, outcome = Trace(tmp_path / "t.jsonl").replay()
    assert outcome.score.disagreement == reply.judge["disagreement"]


def test_a_sentence_is_a_preference(model: Model) -> None:
    assert ask(model, preference=None, prefer="Answer like a patient teacher").preference == "sentence"


def test_a_trace_replays_without_a_model(model: Model, tmp_path: Path) -> None:
    reply = ask(model, trace=tmp_path / "t.jsonl")
    *_, outcome = Trace(tmp_path / "t.jsonl").replay()
    assert outcome.text == reply.text


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
        ({"mode": "dice"}, "none of optimistic"),
        ({"style": "loud"}, "none of chat"),
        ({"style": "chat"}, "template"),
        ({"evaluator": "nope"}, "it supports"),
        ({"evaluator": "no_such_module:f"}, "No module named"),
        ({"evaluator": "transformers:/no/such/folder"}, "no folder"),
        ({"evaluator": lambda: 1}, "should take"),
        ({"preference": "harmless", "evaluator": "openings"}, "use contrastive"),
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
        rain.Budget(max_tokens=1.5)


@pytest.mark.parametrize("prompt", ["", "  ", []])
def test_an_empty_prompt_is_refused(model: Model, prompt: Any) -> None:
    with pytest.raises(rain.UsageError, match="empty"):
        ask(model, prompt)


def test_a_prompt_longer_than_the_context_is_refused() -> None:
    with pytest.raises(rain.UsageError, match="leaves no room"):
        ask(Model(ScriptedEngine(context=32)), " the movie was" * 20)


@pytest.mark.parametrize("prompt", [" the movie was.", " the movie was"])
def test_a_prompt_that_ends_a_clause_is_no_clause_of_the_reply(model: Model, prompt: str) -> None:
    passing = {"mode": "optimistic", "seed": 1}
    whole = ask(model, prompt, **passing, settings={**QUICK, "gate": -1.0})
    clauses = ask(model, prompt, **passing, settings={**QUICK, "gate": -1.0, "hold_back": "clause"})
    assert clauses.text == whole.text
    assert clauses.text
    assert clauses.stopped_by is None


@pytest.mark.parametrize("mode", ["vanilla", "optimistic", "faithful", "fast"])
def test_a_finished_search_is_gone_without_the_garbage_collector(mode: str, model: Model) -> None:
    def prefixes() -> int:
        return sum(isinstance(each, Prefix) for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = prefixes()
        reply = ask(model, mode=mode, settings={**QUICK, "gate": 1.0})
        assert reply.usage.completion_tokens > 0
        model.forget()
        assert prefixes() == before
    finally:
        gc.enable()


def test_what_must_be_refused_does_not_wait_in_line() -> None:
    engine = ScriptedEngine()
    model = Model(engine, scheduler=Scheduler(engine, waiting=0))

    async def refused() -> None:
        async with model.scheduler.admit(Want(engine.can.context, 1), deadline=None, cancel=None):
            await model.agenerate(" the movie was", **{**USUAL, "require_check": True})

    with pytest.raises(UsageError, match="check"):
        asyncio.run(refused())


def test_a_forced_beginning_may_stand_among_a_methods_options(model: Model) -> None:
    begun: Any = {**USUAL, "mode": "faithful", "prefix": " good."}
    for name in ("vanilla", "rain"):
        reply = asyncio.run(methods.run(model, name, " the movie was", options=begun))
        assert reply.usage.prompt_tokens == model.generate(" the movie was", **begun).usage.prompt_tokens
