"""Several ways to search the same openings, paired: do the texts end as well, and for how many iterations?

    python benchmarks/arms.py --arm soft: --arm hard:score=hard --out build/scores.jsonl
    python benchmarks/arms.py --arm faithful: --arm fast:mode=fast --openings A.txt B.txt --out build/fast.jsonl

An arm is NAME:KEY=VALUE,…, where a key is ``mode`` (faithful unless given), ``evaluator`` or a constant of the search.
The others are compared with the first. Model, heading, seeds and the judge that is not named are those of
`benchmarks/positive.py`. One JSON line a sample is appended to --out; run it again to go on where it stopped. Prints a
JSON object: per arm the share of positive continuations by VADER, the mean compound, iterations per committed set,
forward tokens per token; per other arm the paired differences and the ratio of iterations per set, with 95 % intervals
(bootstrap over openings).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from positive import CANDIDATES, POSITIVE, RESAMPLES, positive, read_openings

import rain
from rain.reply import Reply
from rain.search.events import Committed


def main() -> int:
    options = arguments()
    arms = dict(arm(text) for text in options.arm)
    openings = [line for file in options.openings for line in read_openings(file)][: options.limit]
    names = ("model", "max_tokens", "evaluator", "heading", "max_iterations", "max_forward_tokens")
    config = {name: getattr(options, name) for name in names}
    jobs = [(opening, name) for opening in openings for name in arms]
    samples = read(options.out, config, arms)
    todo = [job for job in jobs if job not in samples]
    try:
        if todo:
            samples |= take(todo, arms, config, options)
    except KeyboardInterrupt:
        print(f"\ninterrupted; the same command goes on from {options.out}", file=sys.stderr)
        return 130
    whole = [opening for opening in openings if all((opening, name) in samples for name in arms)]
    found = {
        "command": "python " + shlex.join(["benchmarks/arms.py", *sys.argv[1:]]),
        "version": rain.__version__,
        **config,
        "n": len(whole),
        "arms": {name: {"asked": arms[name], **summary([samples[o, name] for o in whole])} for name in arms},
    }
    first, *others = arms
    found["over_" + first] = {
        name: compare([samples[o, name] for o in whole], [samples[o, first] for o in whole]) for name in others
    }
    print(json.dumps(found, indent=1))
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arm", action="append", required=True, metavar="NAME:KEY=VALUE,…")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--openings", type=Path, nargs="+", default=[Path(__file__).with_name("openings.txt")])
    parser.add_argument("--limit", type=positive, metavar="N")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--threads", type=positive)
    parser.add_argument("--evaluator", default="one_word")
    parser.add_argument("--heading", default="A customer's review:")
    parser.add_argument("--max-tokens", type=positive, default=40)
    parser.add_argument("--max-iterations", type=positive)
    parser.add_argument("--max-forward-tokens", type=positive)
    return parser.parse_args()


def arm(text: str) -> tuple[str, dict[str, str]]:
    name, _, rest = text.partition(":")
    return name, dict(pair.split("=", 1) for pair in rest.split(",") if pair)


def read(path: Path, config: dict[str, Any], arms: dict[str, dict[str, str]]) -> dict[tuple[str, str], dict[str, Any]]:
    samples = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            sample = json.loads(line)
        except ValueError:
            continue  # cut off; taken again
        name = sample["arm"]
        if name in arms and (sample["config"], sample["asked"]) != (config, arms[name]):
            sys.exit(f"{path}: was made with other settings; give another --out")
        samples[sample["opening"], name] = sample
    return samples


def take(
    todo: list[tuple[str, str]], arms: dict[str, dict[str, str]], config: dict[str, Any], options: argparse.Namespace
) -> dict[tuple[str, str], dict[str, Any]]:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer, samples, began = SentimentIntensityAnalyzer(), {}, time.monotonic()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with rain.load(options.model, threads=options.threads) as model, options.out.open("a", encoding="utf-8") as out:
        for number, (opening, name) in enumerate(todo, 1):
            sample = {"opening": opening, "arm": name, "asked": arms[name], "config": config}
            sample |= asyncio.run(reply(model, opening, arms[name], options))
            sample["compound"] = analyzer.polarity_scores(sample["text"])["compound"]
            out.write(json.dumps(sample, ensure_ascii=False) + "\n")
            out.flush()
            samples[opening, name] = sample
            spent = time.monotonic() - began
            left = spent / number * (len(todo) - number)
            print(f"[{number}/{len(todo)}] {spent:.0f} s, about {left:.0f} left  {name:10} {sample['compound']:+.2f}"
                  f"  {opening}", file=sys.stderr, flush=True)  # fmt: skip
    return samples


async def reply(model: rain.Model, opening: str, asked: dict[str, str], options: argparse.Namespace) -> dict[str, Any]:
    """One reply as positive.py's proof asks for it, with the number of committed sets."""
    settings = {name: value for name, value in asked.items() if name not in ("mode", "evaluator")}
    sets = 0
    async for event in model.stream(
        opening,
        preset="positive",
        preference="positive",
        evaluator=asked.get("evaluator", options.evaluator),
        style="plain",
        system=options.heading or None,
        mode=asked.get("mode", "faithful"),
        seed=crc32(f"0:{opening}".encode()),
        budget=rain.Budget(options.max_tokens, options.max_iterations, options.max_forward_tokens, max_seconds=None),
        settings={**CANDIDATES, **settings},
    ):
        sets += isinstance(event, Committed)
        if isinstance(event, Reply):
            names = ("completion_tokens", "forward_tokens", "model_calls", "iterations", "rewinds", "seconds")
            return {
                "text": event.text.removeprefix(opening),
                "score": event.score,
                "sets": sets,
                "usage": {name: getattr(event.usage, name) for name in names},
            }
    raise AssertionError("a stream ends with its reply")


def summary(samples: list[dict[str, Any]]) -> dict[str, Any]:
    from statsmodels.stats.proportion import proportion_confint

    if not samples:
        return {}
    good = sum(sample["compound"] > POSITIVE for sample in samples)
    low, high = proportion_confint(good, len(samples), method="wilson")
    of = {name: sum(sample["usage"][name] for sample in samples) for name in samples[0]["usage"]}
    return {
        "positive": round(good / len(samples), 3),
        "positive_low": round(float(low), 3),
        "positive_high": round(float(high), 3),
        "mean_compound": round(float(np.mean([sample["compound"] for sample in samples])), 3),
        "iterations_per_set": round(of["iterations"] / sum(sample["sets"] for sample in samples), 2),
        "forward_tokens_per_token": round(of["forward_tokens"] / of["completion_tokens"], 1),
        "calls_per_token": round(of["model_calls"] / of["completion_tokens"], 2),
        "seconds_per_reply": round(of["seconds"] / len(samples), 1),
    }


def compare(these: list[dict[str, Any]], those: list[dict[str, Any]]) -> dict[str, Any]:
    """These minus those, and the ratio of iterations per committed set; the bootstrap draws openings."""
    if not these:
        return {}
    drawn = np.random.default_rng(0).integers(0, len(these), (RESAMPLES, len(these)))

    def array(samples: list[dict[str, Any]], what: Any) -> Any:
        return np.array([float(what(sample)) for sample in samples])

    found = {}
    for name, what in (("positive", lambda s: s["compound"] > POSITIVE), ("mean_compound", lambda s: s["compound"])):
        differences = array(these, what) - array(those, what)
        found[name] = interval(differences.mean(), differences[drawn].mean(axis=1))
    ratio, drawn_ratio = 1.0, 1.0
    for samples, sign in ((these, 1), (those, -1)):
        iterations, sets = array(samples, lambda s: s["usage"]["iterations"]), array(samples, lambda s: s["sets"])
        ratio = ratio * (iterations.sum() / sets.sum()) ** sign
        drawn_ratio = drawn_ratio * (iterations[drawn].sum(axis=1) / sets[drawn].sum(axis=1)) ** sign
    found["iterations_per_set_ratio"] = interval(ratio, drawn_ratio)
    return found


def interval(value: float, drawn: Any) -> list[float]:
    return [round(float(x), 3) for x in (value, np.quantile(drawn, 0.025), np.quantile(drawn, 0.975))]


if __name__ == "__main__":
    sys.exit(main())
