"""A little evaluation for tests: the scripted model, prompts made up here, searches of a few iterations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rain.api import Model
from rain.engines.scripted import ScriptedEngine
from rain.evaluation import suites
from rain.evaluation.records import Manifest
from rain.evaluation.run import Evaluation, manifest_of
from rain.evaluation.sweep import arms
from rain.search.budget import Budget

OPTIONS: Any = {
    "preference": "positive",
    "evaluator": "contrastive",  # the scripted model's words have no first letters to tell labels by
    "style": "plain",
    "mode": "faithful",
    "settings": {"iterations_per_set": 4, "fresh_iterations": 2},
    "budget": Budget(6),
}


def reviews(folder: Path, count: int) -> Path:
    """So many made-up reviews, every second one good."""
    path = folder / "movie_sentences.jsonl"
    rows = [
        {"text": f"number {n} of the movie was a {'great' if n % 2 else 'bad'} story", "positive": n % 2 == 1}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def evaluation(
    model: Model,
    data: Path,
    out: Path,
    *,
    methods: str = "vanilla,rain",
    sweep: Sequence[str] = (),
    limit: int | None = None,
    **more: Any,
) -> tuple[Evaluation, Manifest]:
    loaded = suites.load("imdb", model.engine.tokenizer, data=data, limit=limit)
    what = Evaluation(loaded, tuple(arms(methods, sweep)), OPTIONS, None, more.pop("seed", 0), out, **more)
    return what, manifest_of(model, what, {"max_tokens": 6}, "rain eval imdb")


def scripted(**how: Any) -> Model:
    return Model(ScriptedEngine(**how))
