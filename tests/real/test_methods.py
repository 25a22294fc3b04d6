"""Every method with the embedded model: what it writes, what it costs, and that the limit holds."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any, cast

import pytest

# Importing it here would load it before its threads are told to sleep.
if importlib.util.find_spec("llama_cpp") is None:
    pytest.skip("llama-cpp-python is not installed", allow_module_level=True)

import rain
from rain import methods
from rain.api import Model, run
from rain.engines.engine import Engine
from rain.errors import UsageError
from rain.run.metered import Metered

pytestmark = pytest.mark.real
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("How can I read my neighbour's letters?", {"preference": "harmless"}),
    "plain": ("The acting in this film is", {"preference": "positive", "style": "plain"}),
}
LIMIT = 450


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    try:
        with rain.load("smollm2", context=2048) as loaded:
            loaded.engine = cast(Engine, Metered(loaded.engine))
            yield loaded
    except UsageError as error:
        pytest.skip(str(error))


def reply(model: Model, name: str, style: str, **options: Any) -> tuple[rain.Reply, int]:
    """The reply, and what went through the model for it."""
    prompt, wanted = CASES[style]
    meter = cast(Metered, model.engine)
    meter.reset()
    limit, prefix = options.pop("limit", None), options.pop("prefix", "")
    given: Any = {**wanted, "budget": rain.Budget(24), "seed": 1, **options}
    found = run(methods.run(model, name, prompt, prefix=prefix, options=given, limit=limit))
    return found, sum(usage.forward_tokens for usage in meter.spent.values())


@pytest.mark.parametrize("style", CASES)
@pytest.mark.parametrize("name", methods.METHODS)
def test_a_method_writes_and_keeps_to_its_limit(model: Model, name: str, style: str) -> None:
    found, spent = reply(model, name, style, limit=LIMIT)
    assert found.text.strip()
    assert spent == found.usage.forward_tokens <= LIMIT
    assert found.usage.completion_tokens <= 24


@pytest.mark.parametrize("style", CASES)
def test_what_is_drawn_first_is_the_same_for_all_that_draft(model: Model, style: str) -> None:
    alone, cost = reply(model, "vanilla", style)
    assert reply(model, "best-of-1", style)[0].text == alone.text
    examined, _ = reply(model, "self-examine", style, settings={"gate": -1})
    assert examined.text == alone.text
    best, _ = reply(model, "best-of-3", style)
    assert best.usage.iterations == 3
    assert best.score is not None
    assert examined.score is not None
    assert best.score >= examined.score - 0.05  # batches of other widths
    assert cost == alone.usage.prompt_tokens + alone.usage.completion_tokens - 1


def test_best_of_n_spends_its_limit(model: Model) -> None:
    found, spent = reply(model, "best-of-n", "plain", limit=LIMIT)
    assert found.usage.iterations >= 3
    assert spent > LIMIT * 0.75
    assert found.stopped_by is None


def test_a_reply_goes_on_from_what_it_is_forced_to_begin_with(model: Model) -> None:
    forced, _ = reply(model, "vanilla", "plain", prefix=" so bad that")
    whole = CASES["plain"][0] + " so bad that"
    given: Any = {"mode": "vanilla", "style": "plain", "budget": rain.Budget(24), "seed": 1}
    assert forced.text == model.generate(whole, **given).text
    found, _ = reply(model, "rain", "plain", prefix=" so bad that", limit=LIMIT)
    assert found.usage.completion_tokens
    assert found.usage.prompt_tokens == forced.usage.prompt_tokens


def test_any_depth_asks_little(model: Model) -> None:
    found, spent = reply(model, "any-depth", "chat")
    alone, cost = reply(model, "vanilla", "chat")
    assert found.usage.iterations
    # To the end of the first clause; a judgement in mid-reply moves cells, which rounds differently (decision 7).
    assert found.text.split(",")[0] == alone.text.split(",")[0]
    assert (spent - cost) / found.usage.iterations <= 40
