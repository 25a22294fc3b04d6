"""The proof: does RAIN make review openings end better than the same model alone?

    python benchmarks/positive.py --out build/positive.jsonl [--seeds 1] [--limit 30] [--json]

For each opening and seed three samples: ``rain`` (the paper's `positive` settings, mode `faithful`, contrastive),
``vanilla`` with the *same* temperature and top-k, and ``vanilla_full`` from the full distribution. The continuation
alone, without the opening, is judged by VADER, a lexicon that has nothing to do with the model: compound > 0.05 is
positive. One JSON line a sample is appended to --out; run it again to go on where it stopped (Ctrl-C loses nothing).
Progress goes to standard error, the table (or, with --json, one object) to standard output.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

POSITIVE = 0.05
"""VADER's own bound: a compound above it is positive."""
CANDIDATES = {"temperature": 1.0, "top_k": 15}
"""What RAIN draws its candidates with, and so the `vanilla` beside it."""
METHODS: dict[str, dict[str, Any]] = {
    "rain": {"mode": "faithful", "settings": CANDIDATES},
    "vanilla": {"mode": "vanilla", "settings": CANDIDATES},
    "vanilla_full": {"mode": "vanilla", "settings": {"temperature": 1.0, "top_k": 0}},
}
LABELS = {"rain": "RAIN", "vanilla": "vanilla, same top-k", "vanilla_full": "vanilla, full distribution"}
RESAMPLES = 10_000


@dataclass(frozen=True)
class Job:
    opening: str
    method: str
    seed: int


def main() -> int:
    options = arguments()
    openings = read_openings(options.openings)[: options.limit]
    config = {
        "model": options.model,
        "max_tokens": options.max_tokens,
        "max_iterations": options.max_iterations,
        "evaluator": options.evaluator,
        "heading": options.heading,
        "mode": options.mode,
        "settings": dict(pair.split("=", 1) for pair in options.set),
    }
    jobs = [Job(opening, method, seed) for seed in range(options.seeds) for opening in openings for method in METHODS]
    samples = {job: sample for job, sample in read_samples(options.out, config) if job in set(jobs)}
    interrupted = False
    try:
        take_samples([job for job in jobs if job not in samples], samples, config, options)
    except KeyboardInterrupt:
        interrupted = True
        print(f"\ninterrupted: {len(samples)} of {len(jobs)} samples are in {options.out}", file=sys.stderr)
    report = evaluate(samples, config)
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 130 if interrupted else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON lines, one a sample; appended to")
    parser.add_argument("--openings", type=Path, default=Path(__file__).with_name("openings.txt"), metavar="FILE")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N openings")
    parser.add_argument("--seeds", type=positive, default=1, metavar="N", help="samples of each opening (default 1)")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default all cores)")
    parser.add_argument("--evaluator", default="one_word", help="how RAIN judges (default one_word)")
    parser.add_argument("--heading", default="A customer's review:", help="stands above every opening, for all methods")
    parser.add_argument("--mode", default="faithful", help="RAIN's mode: faithful (default), fast or optimistic")
    parser.add_argument("--max-tokens", type=positive, default=40, metavar="N")
    parser.add_argument("--max-iterations", type=positive, metavar="N", help="budget of one RAIN reply (default: none)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a constant of RAIN's search")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    options = parser.parse_args()
    if any("=" not in pair for pair in options.set):
        parser.error("--set wants KEY=VALUE")
    if not options.openings.is_file():
        parser.error(f"no such file: {options.openings}")
    return options


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return int(text)


# Samples --------------------------------------------------------------------------------------------------------------


def read_openings(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def read_samples(path: Path, config: dict[str, Any]) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Samples taken before. A last line that was cut off is left out; other settings are refused."""
    if not path.exists():
        return
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            sample = json.loads(line)
            job = Job(sample["opening"], sample["method"], sample["seed"])
        except (ValueError, KeyError, TypeError):
            print(f"{path}:{number} is not a whole sample and is taken again", file=sys.stderr)
            continue
        if sample.get("config") != config:
            sys.exit(f"{path}:{number} was made with other settings ({sample.get('config')}): give another --out")
        yield job, sample


def take_samples(
    todo: list[Job], samples: dict[Job, dict[str, Any]], config: dict[str, Any], options: argparse.Namespace
) -> None:
    if not todo:
        return
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    import rain

    analyzer = SentimentIntensityAnalyzer()
    model = rain.load(options.model, threads=options.threads)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    start, seconds_of = time.monotonic(), {method: [0.0, 0] for method in METHODS}
    broken = options.out.exists() and not options.out.read_bytes().endswith(b"\n") and options.out.stat().st_size > 0
    with options.out.open("a", encoding="utf-8") as out:
        if broken:
            out.write("\n")
        for number, job in enumerate(todo, 1):
            began = time.monotonic()
            sample = take(model, job, config, options)
            sample["compound"] = analyzer.polarity_scores(sample["text"])["compound"]
            out.write(json.dumps(sample, ensure_ascii=False) + "\n")
            out.flush()
            samples[job] = sample
            seconds_of[job.method][0] += time.monotonic() - began
            seconds_of[job.method][1] += 1
            left = sum(seconds_of[j.method][0] / max(1, seconds_of[j.method][1]) for j in todo[number:])
            show_progress(number, len(todo), job, sample, time.monotonic() - start, left)


def take(model: Any, job: Job, config: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    import rain

    method = METHODS[job.method]
    searching = job.method == "rain"
    settings = {**method["settings"], **(config["settings"] if searching else {})}
    budget = rain.Budget(
        max_tokens=options.max_tokens, max_iterations=options.max_iterations if searching else None, max_seconds=None
    )
    reply = model.generate(
        job.opening,
        preset="positive",
        preference="positive",
        evaluator=options.evaluator,
        style="plain",
        system=options.heading or None,
        mode=options.mode if searching else method["mode"],
        seed=crc32(f"{job.seed}:{job.opening}".encode()),  # else all openings would share their luck
        budget=budget,
        settings=settings,
    )
    usage = {
        name: getattr(reply.usage, name, None)
        for name in ("completion_tokens", "forward_tokens", "model_calls", "iterations", "rewinds", "seconds")
    }
    return {
        "opening": job.opening,
        "method": job.method,
        "seed": job.seed,
        "text": reply.text.removeprefix(job.opening),
        "score": reply.score,
        "stopped_by": reply.stopped_by,
        "usage": usage,
        "config": config,
        "version": rain.__version__,
    }


def show_progress(number: int, count: int, job: Job, sample: dict[str, Any], spent: float, left: float) -> None:
    minutes = f"{spent / 60:.1f} min spent, about {left / 60:.1f} left"
    line = f"[{number}/{count}] {minutes}  {job.method:12} {sample['compound']:+.2f}  {job.opening}"
    print(line, file=sys.stderr, flush=True)


# Result ---------------------------------------------------------------------------------------------------------------


def evaluate(samples: dict[Job, dict[str, Any]], config: dict[str, Any]) -> dict[str, Any]:
    """Shares with Wilson intervals, differences with a paired bootstrap over openings and an exact McNemar test.

    Only openings and seeds that every method has answered are counted, so that all shares are of the same N.
    """
    pairs = sorted({(job.opening, job.seed) for job in samples})
    pairs = [pair for pair in pairs if all(Job(pair[0], method, pair[1]) in samples for method in METHODS)]
    good = {
        method: np.array([samples[Job(opening, method, seed)]["compound"] > POSITIVE for opening, seed in pairs])
        for method in METHODS
    }
    openings = [opening for opening, _ in pairs]
    return {
        **config,
        "n": len(pairs),
        "openings": len(set(openings)),
        "methods": {name: summary(name, good[name], samples, pairs) for name in METHODS} if pairs else {},
        "rain_over": {name: compare(good["rain"], good[name], openings) for name in METHODS if name != "rain"}
        if pairs
        else {},
    }


def summary(method: str, good: Any, samples: dict[Job, dict[str, Any]], pairs: list[tuple[str, int]]) -> dict[str, Any]:
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(int(good.sum()), len(good), method="wilson")
    mine = [samples[Job(opening, method, seed)] for opening, seed in pairs]
    usage = [sample["usage"] for sample in mine]
    tokens = max(1, sum(each["completion_tokens"] or 0 for each in usage))
    return {
        "positive": float(good.mean()),
        "positive_low": float(low),
        "positive_high": float(high),
        "mean_compound": float(np.mean([sample["compound"] for sample in mine])),
        "forward_tokens_per_token": sum(each["forward_tokens"] or 0 for each in usage) / tokens,
        "seconds_per_reply": float(np.mean([each["seconds"] or 0.0 for each in usage])),
    }


def compare(rain: Any, other: Any, openings: list[str]) -> dict[str, Any]:
    """Points of ``rain`` over ``other``; the interval resamples openings, whose samples stay together."""
    from statsmodels.stats.contingency_tables import mcnemar

    differences = rain.astype(float) - other.astype(float)
    groups = [np.flatnonzero(np.array(openings) == opening) for opening in sorted(set(openings))]
    sums = np.array([differences[group].sum() for group in groups])
    sizes = np.array([len(group) for group in groups])
    drawn = np.random.default_rng(0).integers(0, len(groups), (RESAMPLES, len(groups)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    won, lost = int((differences > 0).sum()), int((differences < 0).sum())
    test = mcnemar([[0, won], [lost, 0]], exact=True)
    return {
        "points": 100 * float(differences.mean()),
        "points_low": 100 * float(np.quantile(means, 0.025)),
        "points_high": 100 * float(np.quantile(means, 0.975)),
        "only_rain_positive": won,
        "only_other_positive": lost,
        "mcnemar_p": float(test.pvalue),
    }


def table(report: dict[str, Any]) -> str:
    if not report["n"]:
        return "no opening has been answered by every method yet"
    lines = [
        f"{report['model']}, {report['max_tokens']} tokens, N = {report['n']} ({report['openings']} openings)",
        f"{'':28}{'positive':>9}  {'95 % interval':15}{'mean':>6}{'forward/token':>15}{'s/reply':>9}",
    ]
    for name, row in report["methods"].items():
        interval = f"[{100 * row['positive_low']:.0f}, {100 * row['positive_high']:.0f}]"
        lines.append(
            f"{LABELS[name]:28}{100 * row['positive']:>7.0f} %  {interval:15}{row['mean_compound']:>+6.2f}"
            f"{row['forward_tokens_per_token']:>15.1f}{row['seconds_per_reply']:>9.1f}"
        )
    for name, row in report["rain_over"].items():
        lines.append(
            f"RAIN over {LABELS[name]}: {row['points']:+.0f} points "
            f"[{row['points_low']:+.0f}, {row['points_high']:+.0f}] (paired bootstrap over openings); exact McNemar "
            f"p = {row['mcnemar_p']:.2g} ({row['only_rain_positive']} won, {row['only_other_positive']} lost)"
        )
    lines.append("positive: VADER compound > 0.05 of the continuation alone; share intervals: Wilson")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
