"""A guard on counts, which do not depend on the machine: what an iteration costs on the embedded model."""

from __future__ import annotations

from typing import Any, cast

import pytest

import rain
from rain.engines.engine import Engine
from rain.run.metered import Metered

pytestmark = pytest.mark.real
USUAL: Any = {"preference": "positive", "style": "plain", "system": "A customer's review:", "seed": 1}


def measured(mode: str) -> tuple[rain.Reply, Metered]:
    with rain.load("smollm2") as model:
        meter = Metered(model.engine)
        model.engine = cast(Engine, meter)
        budget = rain.Budget(max_tokens=12, max_iterations=60)
        return model.generate("The guide was late and", mode=mode, budget=budget, **USUAL), meter


def test_an_iteration_costs_few_forward_tokens_and_a_judgement_fewer() -> None:
    reply, meter = measured("faithful")
    assert reply.usage.forward_tokens / reply.usage.iterations <= 75
    assert meter.spent["judgement"].forward_tokens / reply.usage.iterations <= 30
    assert sum(usage.forward_tokens for usage in meter.spent.values()) == reply.usage.forward_tokens


def test_eight_leaves_share_their_calls() -> None:
    reply, _ = measured("fast")
    assert reply.usage.model_calls / reply.usage.iterations <= 2
