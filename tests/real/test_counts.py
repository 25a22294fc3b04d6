"""A guard on counts, which do not depend on the machine: what an iteration costs on the embedded model."""

from __future__ import annotations

from typing import Any, cast

import pytest

import rain
from rain.engines.engine import Engine
from rain.run.metered import Metered

pytestmark = pytest.mark.real
USUAL: Any = {"preference": "positive", "style": "plain", "system": "A customer's review:", "seed": 1}


def measured(
    mode: str, tokens: int = 12, iterations: int | None = 60, *, warm: bool = False, **more: Any
) -> tuple[rain.Reply, Metered]:
    """One reply and what it cost. warm: a judgement came before it, so that the judge's zero is known."""
    with rain.load("smollm2") as model:
        meter = Metered(model.engine)
        model.engine = cast(Engine, meter)
        usual: Any = {**USUAL, "mode": mode, **more}
        if warm:
            model.generate("The guide was late and", budget=rain.Budget(max_tokens=1), **usual)
            model.forget()
            meter.reset()
        budget = rain.Budget(max_tokens=tokens, max_iterations=iterations)
        return model.generate("The guide was late and", budget=budget, **usual), meter


def test_an_iteration_costs_few_forward_tokens_and_a_judgement_fewer() -> None:
    reply, meter = measured("faithful")
    assert reply.usage.forward_tokens / reply.usage.iterations <= 75
    assert meter.spent["judgement"].forward_tokens / reply.usage.iterations <= 30
    assert sum(usage.forward_tokens for usage in meter.spent.values()) == reply.usage.forward_tokens


def test_the_leaves_of_the_fast_mode_share_their_calls() -> None:
    reply, _ = measured("fast")
    assert reply.usage.model_calls / reply.usage.iterations <= 2


def test_eight_leaves_share_their_calls() -> None:
    reply, _ = measured("faithful", settings={"parallel_leaves": 8})
    assert reply.usage.iterations >= 50
    assert reply.usage.model_calls / reply.usage.iterations <= 2


def test_a_quoted_choice_with_examples_costs_few_forward_tokens() -> None:
    """The examples are read once: 79 an iteration when this was written, them included."""
    asked: Any = {"evaluator": "choice", "placement": "quoted", "settings": {"score": "hard"}}
    reply, meter = measured("faithful", 4, 40, **asked)
    assert meter.spent["judgement"].calls > 0
    assert reply.usage.forward_tokens / reply.usage.iterations <= 110


def test_a_draft_that_passes_costs_a_judgement_more_than_ordinary_decoding() -> None:
    """16 forward tokens and one call when this was written."""
    reply, meter = measured("optimistic", 32, None, warm=True, settings={"gate": -1})
    usage, spent = reply.usage, meter.spent
    assert (usage.searches, usage.iterations) == (0, 0)
    assert spent["draft"].forward_tokens <= usage.prompt_tokens + usage.completion_tokens - 1
    assert spent["draft"].calls <= usage.completion_tokens
    assert 0 < spent["judgement"].forward_tokens <= 24
    assert 0 < spent["judgement"].calls <= 2
    assert spent["expansion"].calls + spent["look_ahead"].calls == 0
