"""The modes as a library user meets them; a classifier of one line stands in for the model's own judgement."""

from __future__ import annotations

from typing import Any

import pytest

import rain
from rain.api import Model
from rain.engines.scripted import ScriptedEngine
from rain.search.events import Committed, Drafted, Outcome
from rain.trace import Trace

USUAL: Any = {"preference": "positive", "style": "plain", "budget": rain.Budget(max_tokens=24), "seed": 3}


@pytest.fixture
def model() -> Model:
    return Model(ScriptedEngine(seed=32))


def test_a_good_draft_is_the_reply_and_costs_no_iteration(model: Model) -> None:
    reply = model.generate(" the movie was", evaluator=lambda text: 1.0, **USUAL)
    alone = model.generate(" the movie was", **{**USUAL, "mode": "vanilla", "preference": None})
    assert reply.mode == "optimistic"
    assert reply.text == alone.text
    assert (reply.usage.iterations, reply.usage.searches) == (0, 0)
    assert reply.usage.drafted_tokens == reply.usage.completion_tokens
    assert reply.usage.forward_tokens == alone.usage.forward_tokens


def test_a_bad_draft_is_searched_from_its_first_bad_clause(model: Model) -> None:
    alone = model.generate(" the movie was", **{**USUAL, "mode": "vanilla", "preference": None}).text
    start = alone[:6]
    quick = {"iterations_per_set": 8, "fresh_iterations": 3}
    reply = model.generate(
        " the movie was", evaluator=lambda text: 0.0 if start in text else 1.0, settings=quick, **USUAL
    )
    assert not reply.text.startswith(start)
    assert reply.usage.searches >= 1
    assert reply.usage.iterations > 0


def test_a_clause_at_a_time_is_sent_once_it_is_judged(model: Model) -> None:
    async def events() -> list[Any]:
        return [
            event
            async for event in model.stream(" the movie was", evaluator=lambda text: 1.0, hold_back="clause", **USUAL)
        ]

    seen = rain.api.run(events())
    kinds = [type(event) for event in seen if isinstance(event, (Drafted, Committed))]
    assert kinds.count(Committed) >= 2
    assert kinds[::2] == [Drafted] * kinds.count(Drafted)


def test_a_preset_is_searched_faithfully_unless_asked_otherwise(model: Model) -> None:
    options: Any = {**USUAL, "preset": "positive", "evaluator": lambda text: 0.9}
    assert model.generate(" the movie was", **options).mode == "faithful"
    assert model.generate(" the movie was", **{**options, "mode": "optimistic"}).mode == "optimistic"


def test_fast_mode_looks_ahead_from_twelve_leaves_at_once(model: Model) -> None:
    plan = model.plan(" the movie was", mode="fast", **USUAL)
    assert (plan.settings.parallel_leaves, plan.settings.early_stop) == (12, True)
    told = model.plan(" the movie was", mode="fast", settings={"parallel_leaves": 2}, **USUAL)
    assert told.settings.parallel_leaves == 2
    assert model.generate(" the movie was", mode="fast", evaluator=lambda text: 0.5, **USUAL).usage.iterations > 0


def test_under_a_budget_a_reply_reaches_its_end() -> None:
    model = Model(ScriptedEngine(seed=3))
    for limit in range(60, 700, 80):
        reply = model.generate(
            " the movie was", preference="positive", evaluator="contrastive", style="plain", settings={"gate": 0.99},
            budget=rain.Budget(24, max_forward_tokens=limit),
        )  # fmt: skip
        assert reply.usage.completion_tokens == 24 or reply.finish_reason == "stop"
        assert reply.stopped_by == "budget"
        assert reply.usage.forward_tokens <= limit


def test_a_draft_below_the_gate_fails_as_asked(model: Model) -> None:
    hopeless: Any = {**USUAL, "evaluator": lambda text: 0.1, "budget": rain.Budget(max_tokens=8, max_iterations=4)}
    assert model.generate(" the movie was", on_failure="refuse", **hopeless).finish_reason == "content_filter"
    with pytest.raises(rain.NothingPassed):
        model.generate(" the movie was", on_failure="raise", **hopeless)


def test_an_optimistic_search_replays_from_its_trace(model: Model, tmp_path: Any) -> None:
    trace = tmp_path / "t.jsonl"
    reply = model.generate(" the movie was", evaluator=lambda text: len(text) % 2, trace=trace, **USUAL)
    *_, last = Trace(trace).replay()
    assert isinstance(last, Outcome)
    assert last.text == reply.text
