"""A scripted model for methods: words, a chat template, and (where a test needs it) a script of what follows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import rain
from rain import encoders, methods
from rain.api import Model
from rain.engines.scripted import UNLIKELY, ScriptedEngine, WordTokenizer

TEMPLATE = (
    "{% for message in messages %}<start>{{ message.role }}\n{{ message.content }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<start>assistant\n{% endif %}"
)
PIECES = tuple(
    word.encode()
    for word in (
        *(" the", " a", " movie", " was", " good", " bad", " and", ".", ",", "\n"),
        *("Sorry", "Sure", " I", " like", " hate", " it", "Human", "Assistant", ":", "user", "assistant"),
    )
)
QUICK = {"iterations_per_set": 6, "fresh_iterations": 3}
TOKENS = 12
ENCODER = encoders.load("wordllama")


def goods(text: str) -> float:
    """How much a text likes good and minds bad, in [0, 1]."""
    return 0.5 + 0.5 * (text.count(" good") - text.count(" bad")) / (1 + len(text.split()))


def by_goods(prompt: str, reply: str) -> float:
    """The judge that says so of a reply."""
    return goods(reply)


USUAL: dict[str, Any] = {
    "preference": "positive",
    "evaluator": by_goods,
    "style": "plain",
    "settings": QUICK,
    "budget": rain.Budget(TOKENS),
}


def scripted(seed: int = 0, **options: Any) -> ScriptedEngine:
    return ScriptedEngine(**{"pieces": PIECES, "seed": seed, "template": TEMPLATE, "remembers": True, **options})


def following(rules: Sequence[tuple[str, str]], usual: Sequence[str]) -> Any:
    """Logits by rule: the first rule whose text the context ends with (or holds, with … behind it) names what follows.

    Without a rule the words of ``usual`` follow one after the other, by how many tokens there are.
    """
    tokenizer = WordTokenizer(PIECES)

    def logits(tokens: tuple[int, ...]) -> list[float]:
        text = tokenizer.decode(tokens)
        row = [UNLIKELY] * len(tokenizer.pieces)
        for when, then in rules:
            held, _, end = when.rpartition("…")
            if held in text and text.endswith(end):
                row[tokenizer.encode(then, special=True)[0]] = 20.0
                return row
        row[tokenizer.encode(usual[len(tokens) % len(usual)])[0]] = 20.0
        return row

    return logits


def ask(
    engine: ScriptedEngine, name: str, prompt: Any = " the movie was", *, limit: int | None = None, prefix: str = "",
    judge: ScriptedEngine | None = None, **options: Any,
) -> rain.Reply:  # fmt: skip
    given: Any = {**USUAL, **options}
    model = Model(engine, encoder=ENCODER, judge=judge)
    return asyncio.run(methods.run(model, name, prompt, prefix=prefix, options=given, limit=limit))
