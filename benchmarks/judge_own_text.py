"""Does the model's judgement of its own continuations agree with an independent lexicon? What a search is led by.

    .venv/bin/python benchmarks/judge_own_text.py [--model smollm2] [--seeds 5]

Ordinary continuations (20 tokens, half of them with top-k 15, half from the full distribution) of eight openings that
are not among the thirty of `make proof`; each evaluator's soft score against VADER: rank correlation, and the area
under the curve for VADER's compound > 0.05.
"""

from __future__ import annotations

import argparse
import asyncio

import numpy as np
from scipy.stats import rankdata, spearmanr
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

import rain
from rain.chat import Conversation, Message, prompt_tokens
from rain.preferences import load, make_evaluator
from rain.run.drive import Resources, judge
from rain.search.asks import Prefix, Score

OPENINGS = (
    "The bakery on our street changed owners, and now",
    "I went to the premiere with two friends, and we",
    "This is the third game in the series, and it",
    "The lecture was about old maps, and",
    "My seat was in the back row, but",
    "The novel begins with a train journey, and",
    "For lunch we tried the new place, which",
    "The concert lasted three hours, and",
)
JUDGES = (
    ("contrastive", None),
    ("one_word", "in_place"),
    ("one_word", "quoted"),
    ("yes_no", "in_place"),
    ("choice", "quoted"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    model, lexicon, texts = rain.load(options.model), SentimentIntensityAnalyzer(), []
    for opening in OPENINGS:
        for seed in range(options.seeds):
            settings = {"top_k": 0 if seed % 2 else 15}
            reply = model.generate(
                opening, style="plain", mode="vanilla", seed=seed, settings=settings, budget=rain.Budget(20)
            )
            texts.append((opening, reply.text))
    compound = np.array([lexicon.polarity_scores(text)["compound"] for _, text in texts])
    good = compound > 0.05
    for kind, placement in JUDGES:
        scores = np.array(asyncio.run(judged(model, texts, kind, placement)))
        ranks, n, m = rankdata(scores), good.sum(), (~good).sum()
        area = (ranks[good].sum() - n * (n + 1) / 2) / (n * m)
        correlation = spearmanr(scores, compound).statistic
        print(f"{kind:12} {placement or '':9} area {area:.2f}  rank correlation {correlation:+.2f}  N {len(texts)}")


async def judged(model: rain.Model, texts: list[tuple[str, str]], kind: str, placement: str | None) -> list[float]:
    found = []
    for opening, text in texts:
        conversation = Conversation((Message("user", opening),), "plain")
        prompt = Prefix(prompt_tokens(model.engine, conversation))
        evaluator = make_evaluator(load("positive"), model.engine, conversation, prompt, kind=kind, placement=placement)
        reply = Prefix(model.engine.tokenizer.encode(text), prompt)
        score, _ = await judge(Resources(model.engine, evaluator), reply, False)
        assert isinstance(score, Score)
        found.append(score.soft)
    return found


if __name__ == "__main__":
    main()
