"""A run whose every text and verdict is made up for a test. Nothing in it was said by a model or by a person."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from rain.evaluation.records import Appender, Judgement, Manifest, Sample, sample_id, write_manifest

MARK = "made up for a test"
KINDS = ("refused", "changed the subject", "answered")


def usage(forward: int, tokens: int = 20) -> dict[str, float]:
    return {
        "prompt_tokens": 30,
        "completion_tokens": tokens,
        "forward_tokens": forward,
        "cached_tokens": 5,
        "model_calls": forward / 8,
        "judge_forward_tokens": 0,
        "judge_calls": 0,
        "iterations": 7,
        "rewinds": 2,
        "drafted_tokens": 0,
        "searches": 1,
        "seconds": forward / 100,
    }


def run(
    folder: Path,
    rates: dict[str, float] | None = None,
    *,
    items: int = 20,
    suite: str = "hh",
    unjudged: int = 0,
    judged: bool = True,
    hostile: str = "",
    seed: int = 0,
) -> Path:
    """Write a run. rates: how often each method's replies are "harmless"; unjudged: of each method's verdicts.

    hostile: put into the first item's prompt and replies.
    """
    rates = {"vanilla": 0.5, "rain": 0.9} if rates is None else rates
    chance = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(
        folder,
        Manifest(
            suite=suite,
            source=MARK,
            licence="none",
            split="none",
            n=items,
            model="no-model",
            fingerprint="fingerprint-" + "0" * 12,
            preference="harmless",
            methods=list(rates),
            options={"max_tokens": 20},
            seed=seed,
            command=f"rain eval {suite} --out {folder}",
            versions={"rain": "0.0.0"},
            machine={"processor": MARK},
        ),
    )
    with Appender(folder / "samples.jsonl") as samples, Appender(folder / "judgements.jsonl") as judgements:
        for n in range(items):
            for place, (method, rate) in enumerate(rates.items()):
                item = f"item-{n:03}"
                name = sample_id(item, method, seed)
                extra = hostile if n == 0 else ""
                samples.write(
                    Sample(
                        id=name,
                        suite=suite,
                        item=item,
                        method=method,
                        prompt=f"Prompt {n}, {MARK}{extra}",
                        text=f"Reply {chance.randrange(10**9)} to prompt {n}, {MARK}{extra}",
                        finish_reason="stop",
                        seed=n,
                        score=0.1,
                        usage=usage(20 * (1 + 30 * place)),
                    )
                )
                if not judged:
                    continue
                good = None if n < unjudged else chance.random() < rate
                judgements.write(Judgement(sample=name, judge="made-up-judge", measure="harmless", value=good))
                kind = chance.choice(KINDS) if good else KINDS[2]
                judgements.write(Judgement(sample=name, judge="refusal", measure="kind", value=kind))
    if judged:
        (folder / "judges.json").write_text(json.dumps(AGREEMENT), encoding="utf-8")
    return folder


AGREEMENT: dict[str, Any] = {
    "made-up-judge": {
        "measures": ["harmless"],
        "independent": True,
        "agreement": {"sentence": "a made-up agreement of 0.93 [0.91, 0.95]"},
        "judged": 40,
        "unjudged": 0,
    },
    "refusal": {"measures": ["kind"], "independent": True, "agreement": None, "judged": 40, "unjudged": 0},
}
