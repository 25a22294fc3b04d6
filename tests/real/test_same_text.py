"""A draft that passes is vanilla's text to the letter, whatever was computed before."""

import importlib.util

import pytest

import rain
from rain.errors import UsageError

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(importlib.util.find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"),
]


def test_a_passing_draft_is_vanillas_text_in_a_used_cache():
    try:
        model = rain.load("smollm2", context=2048)
    except UsageError as error:
        pytest.skip(str(error))
    with model:
        for seed, opening in enumerate(("The soup was cold, and", "My sister's band played, and", "He parked badly, so")):
            wanted = {"style": "plain", "seed": seed, "budget": rain.Budget(max_tokens=48)}
            alone = model.generate(opening, mode="vanilla", **wanted)
            judged = model.generate(opening, preference="positive", settings={"gate": -1}, **wanted)
            assert judged.usage.searches == 0
            assert judged.text == alone.text
            # Leaves a cache in which nothing lies in order.
            model.generate(opening, preference="positive", mode="fast", style="plain", budget=rain.Budget(max_tokens=4))
