"""The modes as a library user meets them; a classifier of one line stands in for the model's own judgement."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

import rain
from rain.api import Model
from rain.engines.scripted import ScriptedEngine
from rain.reply import Reply
from rain.search.events import Committed, Drafted, Outcome, Tried
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


@pytest.mark.parametrize(("limit", "draws"), [(700, 1), (1000, 2), (2000, 6)])
def test_a_budget_that_pays_for_no_search_is_spent_on_draws(limit: int, draws: int) -> None:
    """The first judgement reads the judge's prompts; the next ones cost less, and so do the draws."""
    model = Model(ScriptedEngine(seed=0))
    reply = model.generate(
        " the movie was" * 6, preference="positive", evaluator="contrastive", style="plain", settings={"gate": 0.999},
        budget=rain.Budget(24, max_forward_tokens=limit),
    )  # fmt: skip
    assert reply.usage.iterations == draws
    assert reply.usage.forward_tokens <= limit
    assert (reply.usage.completion_tokens, reply.stopped_by, reply.passed) == (24, "budget", False)


def test_a_draft_below_the_gate_fails_as_asked(model: Model) -> None:
    hopeless: Any = {**USUAL, "evaluator": lambda text: 0.1, "budget": rain.Budget(max_tokens=8, max_iterations=4)}
    assert model.generate(" the movie was", on_failure="refuse", **hopeless).finish_reason == "content_filter"
    with pytest.raises(rain.NothingPassed):
        model.generate(" the movie was", on_failure="raise", **hopeless)


@pytest.mark.parametrize("hold_back", ["reply", "clause"])
@pytest.mark.parametrize("on_failure", ["refuse", "raise"])
def test_nothing_is_committed_before_a_reply_that_may_fail_has_passed(
    model: Model, hold_back: Any, on_failure: Any
) -> None:
    async def events(score: float) -> list[Any]:
        wanted: Any = {**USUAL, "evaluator": lambda text: score, "hold_back": hold_back, "on_failure": on_failure}
        wanted |= {"budget": rain.Budget(24, max_iterations=4), "settings": {"gate": 0.5}}
        seen: list[Any] = []
        with contextlib.suppress(rain.NothingPassed):
            async for event in model.stream(" the movie was", **wanted):
                seen.append(event)
        return seen

    good, bad = (rain.api.run(events(score)) for score in (0.99, 0.5))
    sent = "".join(event.text for event in good if isinstance(event, Committed))
    assert sent == good[-1].text != ""
    assert not any(isinstance(event, Tried | Drafted | Committed) for event in bad)
    if on_failure == "raise":
        assert not any(isinstance(event, Reply) for event in bad)
    else:
        assert (bad[-1].finish_reason, bad[-1].passed, bad[-1].segments) == ("content_filter", False, ())


@pytest.mark.parametrize("mode", ["optimistic", "fast"])
def test_segments_end_where_the_reply_ends(mode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop string, and what was committed behind it, is no part of either, nor of what is sent once it has passed."""
    monkeypatch.setattr("rain.chat.stop_strings", lambda conversation: (" and",))
    stopped = 0
    for seed in range(12):
        model = Model(ScriptedEngine(seed=seed))
        wanted: Any = {**USUAL, "seed": seed, "mode": mode, "budget": rain.Budget(60), "on_failure": "refuse"}
        *events, reply = rain.api.run(_events(model, " the movie was", evaluator=lambda text: 0.99, **wanted))
        assert "".join(each.text for each in reply.segments) == reply.text
        assert "".join(event.text for event in events) == reply.text
        stopped += reply.finish_reason == "stop"
    assert stopped


async def _events(model: Model, prompt: str, **wanted: Any) -> list[Any]:
    return [event async for event in model.stream(prompt, **wanted)]


def test_a_limit_of_iterations_that_pays_for_no_search_is_spent_on_draws(model: Model) -> None:
    for limit in (1, 4, 6):
        budget = rain.Budget(24, max_iterations=limit)
        reply = model.generate(" the movie was", **{**USUAL, "budget": budget, "evaluator": lambda text: 0.2})
        assert reply.usage.iterations == limit


def test_a_reply_says_what_it_is_made_of_and_whether_it_passed(model: Model) -> None:
    good = model.generate(" the movie was", evaluator=lambda text: 1.0, **USUAL)
    assert good.passed
    assert [(each.text, each.stop, each.value) for each in good.segments] == [(good.text, "draft", 1.0)]
    start = good.text[:6]
    again = model.generate(" the movie was", evaluator=lambda text: 0.0 if start in text else 1.0, **USUAL)
    assert again.passed
    assert [each.stop for each in again.segments] == ["threshold", "draft"], "searched, then drafted"
    anew = model.generate(" the movie was", evaluator=lambda text: 0.0 if good.text in text else 1.0, **USUAL)
    assert anew.passed
    assert anew.segments[-1].stop == "redraft"
    assert {each.stop for each in anew.segments[:-1]} <= {"draft"}
    searched = model.generate(
        " the movie was", evaluator=lambda text: 0.2, **{**USUAL, "budget": rain.Budget(24, max_iterations=60)}
    )
    assert searched.passed is False
    assert searched.judge
    assert searched.judge["threshold"] == 0
    assert "".join(each.text for each in searched.segments) == searched.text
    assert {"iterations"} <= {each.stop for each in searched.segments}
    vanilla = model.generate(" the movie was", **{**USUAL, "mode": "vanilla", "preference": None})
    assert vanilla.passed is None
    assert {each.stop for each in vanilla.segments} == {"draft"}


def test_an_optimistic_search_replays_from_its_trace(model: Model, tmp_path: Any) -> None:
    trace = tmp_path / "t.jsonl"
    reply = model.generate(" the movie was", evaluator=lambda text: len(text) % 2, trace=trace, **USUAL)
    *_, last = Trace(trace).replay()
    assert isinstance(last, Outcome)
    assert last.text == reply.text
