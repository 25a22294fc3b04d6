"""Which evaluator can judge, on which model? Every evaluator, quoted against in place, beside what judges nothing.

    .venv/bin/python benchmarks/judging.py [--models smollm2-135m gemma3-270m qwen2.5-coder-0.5b] [--sets ...] [--n 200]
    .venv/bin/python benchmarks/judging.py --report

Four sets of public texts (`../shared/data`, or the folder that RAIN_DATA names): *sentiment*, movie sentences, of which
the half that nobody looks at while choosing is reported; *replies*, labelled replies of other models to harmful
requests, good where not harmful; *cut*, the same cut to 20 tokens; *pairs*, those of them that do not refuse and have
another with the other label for the same prompt. A cell is one model on one set: its scores are in
`build/judging/MODEL-SET.jsonl`, so that an interrupted run goes on, its figures in `benchmarks/judging/MODEL-SET.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shlex
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import rain
from rain.engines.engine import Engine
from rain.models import open_engine
from rain.preferences import calibration, load
from rain.preferences.asked import style_of
from rain.preferences.check import collect
from rain.preferences.evaluators import REFUSALS, parts_of
from rain.preferences.labelled import Row, pick, read
from rain.preferences.ledger import Ledger
from rain.preferences.reading import report
from rain.preferences.refusals import refuses

HERE = Path(__file__).resolve().parent
RAW, FIGURES = HERE.parent / "build" / "judging", HERE / "judging"
SHARED = HERE.parents[1] / "shared"
MODELS = ("smollm2-135m", "gemma3-270m", "qwen2.5-coder-0.5b")
SETS = {"sentiment": "positive", "replies": "harmless", "cut": "harmless", "pairs": "harmless"}
"""And the preference each is about."""
CUT = 20
"""Tokens."""
HALVES_SEED = 20260


def texts(name: str, part: str, engine: Engine) -> list[Row]:
    """The rows of a set. part, of sentiment only: ``apart`` (reported) or ``look`` (to look at while choosing)."""
    folder = Path(os.environ.get("RAIN_DATA", SHARED / "data"))
    if name == "sentiment":
        rows = read(folder / "movie_sentences.jsonl", "positive")
        random.Random(HALVES_SEED).shuffle(rows)
        half = len(rows) // 2
        return rows[half:] if part == "apart" else rows[:half]
    rows = read(folder / "labelled_replies.jsonl", "harmful=false")
    if name == "pairs":
        rows = [row for row in rows if not refuses(row.reply)]
        kinds = defaultdict(set)
        for row in rows:
            kinds[row.prompt].add(row.good)
        rows = [row for row in rows if len(kinds[row.prompt]) == 2]
    if name == "cut":
        encode, decode = engine.tokenizer.encode, engine.tokenizer.decode
        rows = [Row(row.prompt, decode(encode(row.reply)[:CUT]), row.good, True) for row in rows]
        rows = [row for row in rows if row.reply.strip()]
    return rows


def cell(engine: Engine, model: str, name: str, options: argparse.Namespace) -> None:
    """Judge one set with one model, and write down the figures."""
    preference, started = load(SETS[name]), time.monotonic()
    rows = pick(texts(name, options.part, engine), options.n, options.seed)
    stem = f"{model}-{name}" + ("" if options.part == "apart" else f"-{options.part}")
    header = {
        "model": engine.fingerprint,
        "preference": preference.name,
        "digest": calibration.digest(preference),
        "style": style_of(engine, rows),
    }
    ledger = Ledger(RAW / f"{stem}.jsonl", header)
    # Not every preference has every evaluator.
    named = [name for name in options.evaluators or () if set(parts_of(name)) <= set(preference.kinds)]
    if options.evaluators and not named:
        print(f"{stem}: {preference.name} has none of {', '.join(options.evaluators)}", file=sys.stderr)
        return
    asked = {"evaluators": named, "placements": options.placements, "wordings": options.wordings}
    said = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said > 20 or done == total:
            said = time.monotonic()
            print(f"{stem}: {done} of {total} judgements, {said - started:.0f} s", file=sys.stderr, flush=True)

    try:
        scores = asyncio.run(
            collect(
                engine, preference, rows, fractions=(1.0,), ledger=ledger, progress=progress,
                **{key: value for key, value in asked.items() if value},
            )
        )  # fmt: skip
    finally:
        ledger.close()
        spent(stem, time.monotonic() - started)
    found = {
        "model": model,
        "fingerprint": engine.fingerprint,
        "set": name,
        "part": options.part if name == "sentiment" else "all",
        "preference": preference.name,
        "digest": header["digest"],
        "style": scores.style,
        "seed": options.seed,
        "asked": asked,
        **report(scores).as_dict(),
        "seconds": round(sum(spent(stem)), 1),
        "forward_tokens": sum(one.forward_tokens for values in scores.of.values() for one in values if one),
        "command": "python " + shlex.join(["benchmarks/judging.py", *sys.argv[1:]]),
        "version": rain.__version__,
    }
    FIGURES.mkdir(exist_ok=True)
    (FIGURES / f"{stem}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{stem}: {found['verdict']} ({found['reason']})", flush=True)


def spent(stem: str, seconds: float | None = None) -> list[float]:
    """The seconds of all runs of a cell, interrupted ones too; with ``seconds`` another is added."""
    file = RAW / "seconds.jsonl"
    if seconds is not None:
        with file.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"cell": stem, "seconds": round(seconds, 1)}) + "\n")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    return [row["seconds"] for row in rows if row["cell"] == stem]


def path_of(model: str) -> str:
    """What ``open_engine`` takes for a model of this name."""
    if model == "smollm2-135m":
        return "smollm2"
    here = Path.home() / ".cache" / "rain-models" / f"{model}.gguf"
    if here.exists() or model.endswith(".gguf"):
        return str(here if here.exists() else model)
    made = subprocess.run([str(SHARED / "tools" / "get-model"), model], capture_output=True, text=True, check=True)
    return made.stdout.strip().splitlines()[-1]


def table(models: list[str]) -> None:
    """The figures of all cells as Markdown."""
    hours, commands = 0.0, {}
    for model in models:
        cells = {name: figures(model, name) for name in SETS}
        if not any(cells.values()):
            continue
        print(f"\n**{model}**\n")
        columns = [f"{name}, N = {found['n']}" + pairs_of(found) for name, found in cells.items() if found]
        print("| judge | " + " | ".join(columns) + " | tokens | verdict on pairs |")
        print("| --- |" + " --- |" * (len(columns) + 2))
        judges = {judge: None for found in cells.values() if found for judge in found["evaluators"]}
        idle = {judge: None for found in cells.values() if found for judge in found["baselines"]}
        for judge in [*sorted(judges), *idle]:
            rows = {
                name: (found["evaluators"] | found["baselines"]).get(judge) for name, found in cells.items() if found
            }
            if judge.split()[0].endswith(REFUSALS) and "sentiment" in rows:  # of reviews nothing refuses
                rows["sentiment"] = None
            if not any(rows.values()):
                continue
            # Of the longest texts there are, the same for every judge.
            known = [row for row in map(rows.get, ("replies", "pairs", "cut", "sentiment")) if row]
            cost = next((row["forward_tokens"] for row in known if "forward_tokens" in row), 0)
            verdict = (rows.get("pairs") or {}).get("verdict", "")
            shown = [figure(row, name) for name, row in rows.items()]
            print(f"| {judge} | " + " | ".join(shown) + f" | {cost:.0f} | {verdict} |")
        for found in cells.values():
            if found:
                hours += found["seconds"] / 3600
                commands[found["command"]] = None
                for name, why in found["impossible"].items():
                    print(f"\n{model}, {found['set']}: {name} cannot be asked: {why}")
    print(f"\n{hours:.1f} hours in all. Commands: " + "; ".join(f"`{command}`" for command in commands))


def figures(model: str, name: str) -> dict[str, Any] | None:
    file = FIGURES / f"{model}-{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def pairs_of(found: dict[str, Any]) -> str:
    if found["set"] != "pairs":
        return " (area)"
    some = next(iter(found["evaluators"].values()))
    return f", {some['pairs']} pairs of {some['prompts']} prompts (ranked right)"


def figure(row: dict[str, Any] | None, name: str) -> str:
    if row is None:
        return ""
    value, low, high = ("pair_accuracy", "pair_low", "pair_high") if name == "pairs" else ("auc", "auc_low", "auc_high")
    return f"{row[value]:.2f} [{row[low]:.2f}, {row[high]:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="names that get-model knows, or paths")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--n", type=int, default=200, help="texts of a cell")
    parser.add_argument("--evaluators", nargs="+")
    parser.add_argument("--placements", nargs="+", choices=("in_place", "quoted"))
    parser.add_argument("--wordings", nargs="+", default=["default"])
    parser.add_argument("--part", choices=("apart", "look"), default="apart", help="of the sentiment sentences")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--report", action="store_true", help="print what was measured; nothing is judged")
    options = parser.parse_args()
    RAW.mkdir(parents=True, exist_ok=True)
    if options.report:
        table(options.models)
        return
    for model in options.models:
        engine = open_engine(path_of(model), threads=options.threads)
        try:
            for name in options.sets:
                cell(engine, Path(model).stem if model.endswith(".gguf") else model, name, options)
        finally:
            engine.close()


if __name__ == "__main__":
    main()
