"""A draft that passes is vanilla's text to the letter, whatever was computed before."""

import gc
import importlib.util

import pytest

import rain
from rain.errors import UsageError

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(importlib.util.find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"),
]


def loaded() -> rain.Model:
    try:
        return rain.load("smollm2", context=2048)
    except UsageError as error:
        pytest.skip(str(error))


def test_a_passing_draft_is_vanillas_text_in_a_used_cache():
    with loaded() as model:
        # Leaves a prompt in the cache, and room of many sizes behind it.
        warm = rain.Budget(max_tokens=1, max_iterations=3)
        model.generate(
            "A first sentence, to be searched", preference="positive", mode="faithful", style="plain", budget=warm
        )
        for seed, opening in enumerate(("The popcorn was stale, and the film", "The air conditioning rattled, so")):
            wanted = {"style": "plain", "seed": seed, "budget": rain.Budget(max_tokens=40)}
            alone = model.generate(opening, mode="vanilla", **wanted)
            judged = model.generate(opening, preference="positive", settings={"gate": -1}, **wanted)
            assert judged.usage.searches == 0
            assert judged.text == alone.text


def test_a_search_whose_iterations_were_dropped_leaves_only_its_prompt_in_the_cache():
    with loaded() as model:
        gc.collect()
        gc.disable()  # what dies must not wait for it
        try:
            wanted = {"preference": "positive", "mode": "fast", "style": "plain", "budget": rain.Budget(max_tokens=6)}
            usage = model.generate("We waited, and the soup", **wanted).usage
            assert usage.iterations > 0
            assert model.engine.cells_used == usage.prompt_tokens
        finally:
            gc.enable()
