"""Ways to search compared in a made-up world, in minutes and without a model: to choose among them before one is asked.

    python benchmarks/simulated.py --arm faithful: --arm fast:mode=fast --set threshold=1,iterations_per_set=24

The scripted engine writes; a text is worth the sum of a fixed value for each pair of neighbouring tokens, over the
root of their number, squashed, plus noise that is fixed for the text. Each seed is another such world. An arm is
NAME:KEY=VALUE,… as in `benchmarks/arms.py`, changed against --set. Everything that is asked together is answered
together, as an engine with a batch does. Prints a JSON object: per arm the mean score of the replies, iterations, and
rounds of answers; over the first arm the paired difference with a 95 % interval (normal). What is found here must be
shown on a real model.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import sys
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from rain.engines.scripted import ScriptedEngine
from rain.search.asks import Answer, AnyResult, Ask, Asked, Embed, Judge, Prefix, Score, Usage, Withdrawn
from rain.search.budget import Budget
from rain.search.events import Outcome
from rain.search.loop import search
from rain.search.settings import FAST, SOFT, Settings, changed

LENGTH, PAIRS, NOISE, BIAS = 40, 60, 0.35, 0.3
ENGINE = ScriptedEngine(seed=5)


class World:
    """Engine, judge and encoder in one."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.worth = np.random.default_rng(seed).normal(size=(PAIRS, PAIRS))

    def score(self, text: str) -> Score:
        tokens = ENGINE.tokenizer.encode(text)
        worths = [self.worth[a % PAIRS, b % PAIRS] for a, b in pairwise(tokens)]
        if not worths:
            return Score(0.0, 0.0)
        digest = hashlib.blake2b(f"{self.seed}|{text}".encode(), digest_size=6).digest()
        noise = NOISE * (2 * int.from_bytes(digest, "big") / 2**48 - 1)
        soft = float(np.tanh(0.9 * (sum(worths) / np.sqrt(len(worths) + 6) - BIAS) + noise))
        return Score(soft, float(np.sign(soft)))

    def answer(self, asked: Asked) -> Answer:
        return Answer(asked.ticket, self._result(asked.ask), Usage(1, 0, 1))

    def _result(self, ask: Ask) -> AnyResult:
        if isinstance(ask, Judge):
            return self.score(ENGINE.tokenizer.decode(ask.reply.path(ask.prompt)))
        if isinstance(ask, Embed):
            rows = [np.random.default_rng(list(text.encode())).normal(size=8) for text in ask.texts]
            return np.array([row / np.linalg.norm(row) for row in rows], dtype=np.float32)
        try:
            ENGINE.answer(ask).send(None)
        except StopIteration as end:
            result: AnyResult = end.value[0]
            return result
        raise AssertionError("the scripted engine answers without waiting")


def reply(settings: Settings, seed: int) -> tuple[Outcome, int]:
    """One search, and how many rounds of answers it took."""
    world = World(seed)
    running = search(Prefix((1, *ENGINE.tokenizer.encode(" the movie was"))), settings, Budget(LENGTH), seed=seed)
    rounds, out = 0, next(running)
    while True:
        gone = {item.ticket for item in out if isinstance(item, Withdrawn)}
        asked = [item for item in out if isinstance(item, Asked) and item.ticket not in gone]
        rounds += bool(asked)
        try:
            out = running.send([world.answer(one) for one in asked])
        except StopIteration as end:
            return end.value, rounds


def settings_of(text: str, usual: str) -> tuple[str, Settings]:
    name, _, rest = text.partition(":")
    values = dict(pair.split("=", 1) for pair in f"{usual},{rest}".split(",") if pair)
    mode = FAST if values.pop("mode", "faithful") == "fast" else {}
    return name, changed(replace(Settings(score="soft"), **SOFT, **mode), values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arm", action="append", required=True, metavar="NAME:KEY=VALUE,…")
    parser.add_argument("--set", default="", metavar="KEY=VALUE,…", help="of every arm")
    parser.add_argument("--worlds", type=int, default=100, metavar="N")
    options = parser.parse_args()
    found: dict[str, Any] = {"command": "python " + shlex.join(["benchmarks/simulated.py", *sys.argv[1:]])}
    first = None
    for name, settings in (settings_of(text, options.set) for text in options.arm):
        played = [reply(settings, seed) for seed in range(options.worlds)]
        scores = np.array([outcome.score.soft if outcome.score else 0.0 for outcome, _ in played])
        first = scores if first is None else first
        apart = scores - first
        half = 1.96 * apart.std(ddof=1) / np.sqrt(len(apart))
        found[name] = {
            "score": round(float(scores.mean()), 3),
            "over_first": [round(float(x), 3) for x in (apart.mean(), apart.mean() - half, apart.mean() + half)],
            "iterations": round(float(np.mean([outcome.iterations for outcome, _ in played])), 1),
            "rounds": round(float(np.mean([rounds for _, rounds in played])), 1),
        }
        print(name, found[name], file=sys.stderr, flush=True)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
