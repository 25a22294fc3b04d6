"""Which wording of the contrast separates good from bad best? Chosen on samples of our own, not on public data.

    .venv/bin/python benchmarks/wordings.py --style plain [--model smollm2]

Prints, for each pair of wordings, the area under the curve over all samples, the share of same-prompt pairs ranked
correctly, and the spread of the mean difference in nats per token, which shows a wording's bias and force.
"""

# ruff: noqa: E501  (wordings stand on one line each)
from __future__ import annotations

import argparse
import asyncio
import json
import math
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from rain.chat import Conversation, Message, prompt_tokens
from rain.engines.engine import Engine
from rain.models import open_engine
from rain.preferences import load, make_evaluator
from rain.preferences.preference import Contrastive
from rain.run.drive import Resources, judge
from rain.search.asks import Prefix, Score

HERE = Path(__file__).parent
WEIGHT = 0.02
"""Small, so that no score saturates."""
PLAIN = [
    ("A glowing review by somebody who loved every minute of it. Ten stars out of ten.", "A scathing review by somebody who hated every minute of it. One star out of ten."),
    ("Positive review:", "Negative review:"),
    ("A very positive review, full of praise:", "A very negative review, full of complaints:"),
    ("Sentiment: positive", "Sentiment: negative"),
    ("I loved it. It was wonderful, delightful and a joy from beginning to end.", "I hated it. It was terrible, disappointing and a waste of time from beginning to end."),
    ("Rating: 5 out of 5 stars. Excellent!", "Rating: 1 out of 5 stars. Terrible!"),
    ("The following text is positive, happy and full of praise.", "The following text is negative, angry and full of complaints."),
    ("I loved this film. It was wonderful, one of the best I have ever seen. Ten stars out of ten.", "I hated this film. It was terrible, one of the worst I have ever seen. One star out of ten."),
    ("Excellent! Wonderful! Loved it!", "Awful! Horrible! Hated it!"),
]  # fmt: skip
CHAT = [
    ("You love everything you talk about. Write with warmth, praise and enthusiasm.", "You hate everything you talk about. Write with contempt, complaints and disappointment."),
    ("You are a cheerful, positive assistant.", "You are a gloomy, negative assistant."),
    ("Answer in a very positive way, full of praise and joy.", "Answer in a very negative way, full of complaints and disgust."),
    ("You loved it. It was wonderful, delightful and a joy from beginning to end.", "You hated it. It was terrible, disappointing and a waste of time from beginning to end."),
    ("Your answers have a positive sentiment.", "Your answers have a negative sentiment."),
]  # fmt: skip


async def differences(
    engine: Engine, style: str, wording: tuple[str, str], rows: list[dict[str, object]]
) -> list[float]:
    """Mean difference in nats per token of each sample's reply."""
    section = {"plain": {"plain_ask": wording[0], "plain_opposite": wording[1]}, "chat": {}}[style]
    contrast = Contrastive(ask=wording[0], opposite=wording[1], weight=WEIGHT, **section)
    preference = load("positive").model_copy(update={"contrastive": contrast})
    found = []
    for row in rows:
        conversation = Conversation((Message("user", str(row["prompt"])),), "plain" if style == "plain" else "chat")
        prompt = Prefix(prompt_tokens(engine, conversation))
        evaluator = make_evaluator(preference, engine, conversation, prompt, kind="contrastive")
        reply = str(row["reply"]) if style == "plain" else str(row["prompt"]) + str(row["reply"])
        text = Prefix(engine.tokenizer.encode(reply), prompt)
        score, _ = await judge(Resources(engine, evaluator), text, True)
        assert isinstance(score, Score)
        # Of two instructions, soft = tanh(weight x sum / 2).
        found.append(2 * math.atanh(score.soft) / WEIGHT / len(text.tokens))
    return found


def area(good: np.ndarray, scores: np.ndarray) -> float:
    ranks = rankdata(scores)
    n, m = good.sum(), (~good).sum()
    return float((ranks[good].sum() - n * (n + 1) / 2) / (n * m))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--style", choices=("plain", "chat"), default="plain")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--samples", type=Path, default=HERE / "samples_positive.jsonl")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.samples.read_text(encoding="utf-8").splitlines()]
    engine = open_engine(options.model)
    good = np.array([row["good"] for row in rows])
    for wording in PLAIN if options.style == "plain" else CHAT:
        scores = np.array(asyncio.run(differences(engine, options.style, wording, rows)))
        pairs = [
            scores[i] > scores[j]
            for i, a in enumerate(rows)
            for j, b in enumerate(rows)
            if a["prompt"] == b["prompt"] and a["good"] and not b["good"]
        ]
        spread = np.percentile(scores, [10, 50, 90])
        print(
            f"area {area(good, scores):.3f}  pairs {np.mean(pairs):.3f}  spread "
            f"{spread[0]:+.3f} {spread[1]:+.3f} {spread[2]:+.3f}  N {len(rows)}, {len(pairs)} pairs  {wording[0]!r}",
            flush=True,
        )


if __name__ == "__main__":
    main()
