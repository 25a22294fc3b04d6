"""Whole searches of the released program on a scripted model: the loop is fed its answers and must do the same.

Another recording of the same form: RAIN_GOLDEN_OUTER=/path/to/file.json pytest -k golden_outer
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rain.search.asks import (
    Answer,
    Ask,
    Asked,
    Continuation,
    Embed,
    Judge,
    Prefix,
    Sample,
    Score,
    Top,
    TopTokens,
)
from rain.search.budget import Budget
from rain.search.events import Added, BackedUp, Committed, Event, Tried
from rain.search.loop import Loop, Outcome
from rain.search.settings import Settings, changed
from rain.search.tree import Node

RECORDING = Path(os.environ.get("RAIN_GOLDEN_OUTER") or Path(__file__).parent.parent / "golden" / "outer_loop.json")
SCENARIOS = {scenario["name"]: scenario for scenario in json.loads(RECORDING.read_text())["scenarios"]}
Tokens = tuple[int, ...]


def close(value: float) -> Any:
    return pytest.approx(value, abs=1e-5)


def flat(*parts: list[list[int]]) -> Tokens:
    return tuple(token for part in parts for tokens in part for token in tokens)


class Recorded:
    """Answers every ask with what the recording holds for that place in the tree."""

    def __init__(self, scenario: dict[str, Any]) -> None:
        self.scenario = scenario
        self.vocabulary = {int(token): text for token, text in scenario["vocabulary"].items()}
        self.eos = scenario["settings"]["eos"]
        self.expansions: dict[Tokens, dict[str, Any]] = {}
        self.look_aheads: dict[Tokens, list[int]] = {}
        self.scores: dict[Tokens, float] = {}
        self.additions: dict[Tokens, list[dict[str, Any]]] = {}
        self.embeddings: list[list[float]] = []
        self.likely: dict[int, float] = {}
        for it in scenario["iterations"]:
            committed = scenario["roots"][it["root"]]["committed"]
            leaf = flat([committed], it["path"])
            if "expanded" in it:
                self.expansions[leaf] = it["expanded"]
            beyond = [] if it["lookahead"] == [self.eos] and it["terminal"] else it["lookahead"]
            self.look_aheads[leaf] = beyond
            self.scores[self.judged((*leaf, *beyond))] = it["score"]
            for addition in it.get("additions", []):
                if addition["kind"] == "sampled":
                    self.additions.setdefault(flat([committed], addition["at"]), []).append(addition)
                else:
                    first = self.expansions[()]["raw"][0]
                    self.likely[addition["tokens"][0]] = addition["ratio_to_first_child"] * first

    def judged(self, tokens: Tokens) -> Tokens:
        """What is judged holds neither end-of-sequence nor the stop string."""
        for end in (self.eos, self.scenario["settings"]["stop_token"]):
            tokens = tokens[: tokens.index(end)] if end in tokens else tokens
        return tokens

    def pieces(self, tokens: Tokens) -> tuple[bytes, ...]:
        return tuple(self.vocabulary[token].encode() for token in tokens)

    def continuation(self, parent: Prefix, tokens: list[int], probability: float = 1.0) -> Continuation:
        logprobs = (math.log(probability), *[0.0] * (len(tokens) - 1)) if tokens else ()
        end: Any = "eos" if self.eos in tokens else "clause"
        return Continuation(Prefix(tuple(tokens), parent), self.pieces(tuple(tokens)), logprobs, end)

    def answer(self, ask: Ask, prompt: Prefix) -> Any:
        if isinstance(ask, TopTokens):
            recorded = self.expansions[()]
            likely = {
                tokens[0]: raw for tokens, raw in zip(recorded["tokens"], recorded["raw"], strict=True)
            } | self.likely
            ranked = sorted(likely, key=lambda token: -likely[token])
            # Ten at first, in whatever order; the ones added later are less likely than all of them.
            first = [tokens[0] for tokens in recorded["tokens"]]
            ranked = sorted(first, key=lambda token: -likely[token]) + [token for token in ranked if token not in first]
            logprobs = tuple(math.log(likely[token]) for token in ranked)
            return Top(tuple(ranked), self.pieces(tuple(ranked)), logprobs, tuple(t == self.eos for t in ranked))
        if isinstance(ask, Sample):
            at = ask.prefix.path(prompt)
            if ask.until.clause:
                return (self.continuation(ask.prefix, self.look_aheads[at]),)
            if ask.greedy:
                recorded = self.expansions[at]
                raw = [recorded["greedy_raw"], *recorded["raw"][1:]]
                assert len(ask.seeds) == len(recorded["drawn"]) == 9
                assert ask.top_k == self.scenario["settings"]["top_k"]
                return tuple(
                    self.continuation(ask.prefix, recorded["tokens"][index], raw[index])
                    for index in (0, *recorded["drawn"])
                )
            addition = self.additions[at].pop(0)
            raw = addition["raw"][1] if len(addition["raw"]) > 1 else addition["raw"][0]
            return (self.continuation(ask.prefix, addition["tokens"], raw),)
        if isinstance(ask, Judge):
            score = self.scores[ask.reply.path(prompt)]
            return Score(score, score)
        if isinstance(ask, Embed):
            return np.array(self.embeddings[-len(ask.texts) :], dtype=np.float64)
        raise AssertionError(ask)


def replay(scenario: dict[str, Any], expansion: str) -> tuple[Loop, list[Event], Outcome, list[Any]]:
    """Drive the loop one answer at a time, taking down the root's children at every back-up."""
    names = {
        "c": "exploration",
        "T": "iterations_per_set",
        "T_extra": "fresh_iterations",
        "T_min": "minimum_visits",
        "V": "threshold",
        "similarity_threshold": "similarity_threshold",
        "similarity_discount": "similarity_discount",
        "variance_limit_per_token": "variance_limit",
        "max_children": "max_children",
        "q": "candidates",
        "top_k": "top_k",
        "temperature": "temperature",
        "set_lengths": "set_lengths",
        "root_prior_mixing": "root_mixing",
    }
    values = {ours: scenario["settings"][theirs] for theirs, ours in names.items()}
    settings = changed(Settings(), {**values, "expansion": expansion})
    # "Over when it has more tokens than the limit" is "over when it has as many as" one more.
    budget = Budget(max_tokens=scenario["settings"]["reply_length_limit"] + 1)
    prompt = Prefix((0, 1))
    recorded = Recorded(scenario)
    loop = Loop(prompt, settings, budget, stop=(recorded.vocabulary[scenario["settings"]["stop_token"]],))
    run, events, snapshots = loop.run(), [], []
    back_up = loop.tree.back_up

    def back_up_and_take_down(*args: Any) -> Any:
        similar = back_up(*args)
        leader = loop.tree.leader()
        best = leader and (leader.value, leader.real_visits, loop.tree.root.children.index(leader))
        snapshots.append((snapshot(loop.tree.root.children), best, (loop.tree.low, loop.tree.high)))
        return similar

    loop.tree.back_up = back_up_and_take_down
    tickets: list[Asked] = []
    answers: list[Answer] | None = None
    try:
        while True:
            for item in next(run) if answers is None else run.send(answers):
                if isinstance(item, Asked):
                    tickets.append(item)
                else:
                    events.append(item)
                if isinstance(item, Tried):
                    assert [list(t) for t in item.path] == scenario["iterations"][item.iteration - 1]["path"], item
                    recorded.embeddings = scenario["iterations"][item.iteration - 1]["embeddings"]
            ready, tickets = tickets[:1], tickets[1:]
            answers = [Answer(asked.ticket, recorded.answer(asked.ask, prompt)) for asked in ready]
    except StopIteration as end:
        return loop, events, end.value, snapshots


def snapshot(children: list[Node]) -> list[tuple[float, int, float, float]]:
    return [(child.visits, child.real_visits, child.value, child.prior) for child in children]


@pytest.mark.parametrize("expansion", ["lazy", "eager"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_golden_outer_loop_does_what_the_released_program_did(name: str, expansion: str) -> None:
    scenario = SCENARIOS[name]
    _loop, events, _outcome, snapshots = replay(scenario, expansion)
    tried = [event for event in events if isinstance(event, Tried)]
    backed_up = [event for event in events if isinstance(event, BackedUp)]
    assert len(tried) == len(backed_up) == len(snapshots) == len(scenario["iterations"])
    for event, it in zip(tried, scenario["iterations"], strict=True):
        assert [list(tokens) for tokens in event.path] == it["path"]
    for event, it in zip(backed_up, scenario["iterations"], strict=True):
        assert event.score == it["score"]
        recorded = it["after_path"] if it["path"] else [it["after_path"][0]]
        priors = [0.0 if index == 0 else prior for index, (*_, prior) in enumerate(event.nodes)]
        ours = [(n, m, v, p) for (n, m, v, _), p in zip(event.nodes, priors, strict=True)]
        theirs = [(close(n), m, close(v), close(0 if i == 0 else p)) for i, (n, m, v, p) in enumerate(recorded)]
        assert ours == theirs
        assert [tuple(update) for update in event.similar] == [
            (level, index, close(cosine), close(n), close(v)) for level, index, cosine, n, v in it["similarity_updates"]
        ]


@pytest.mark.parametrize("expansion", ["lazy", "eager"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_golden_outer_loop_root_children_bounds_and_leader(name: str, expansion: str) -> None:
    scenario = SCENARIOS[name]
    *_, snapshots = replay(scenario, expansion)
    for (children, leader, bounds), it in zip(snapshots, scenario["iterations"], strict=True):
        assert bounds == (close(it["min_max"][0]), close(it["min_max"][1]))
        if not children:  # lazy: the root's children are not made before they are needed
            assert all(child[0] == 0 for child in it["after_root_children"])
            continue
        assert children == [(close(n), m, close(v), close(p)) for n, m, v, p in it["after_root_children"]]
        index, value, visits, _stops = it["leader"]
        assert leader == (close(value), visits, index)


@pytest.mark.parametrize("expansion", ["lazy", "eager"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_golden_outer_loop_additions(name: str, expansion: str) -> None:
    scenario = SCENARIOS[name]
    _loop, events, *_ = replay(scenario, expansion)
    added = [event for event in events if isinstance(event, Added)]
    recorded = [addition for it in scenario["iterations"] for addition in it.get("additions", [])]
    assert len(added) == len(recorded)
    for event, addition in zip(added, recorded, strict=True):
        assert [list(tokens) for tokens in event.path] == addition["at"]
        assert (list(event.tokens), event.added) == (addition["tokens"], addition["added"])
        assert (event.variance, event.limit) == (close(addition["variance_norm"]), close(addition["limit"]))
        if event.added:
            assert event.prior == close(addition["prior"])


@pytest.mark.parametrize("expansion", ["lazy", "eager"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_golden_outer_loop_commits_and_ends(name: str, expansion: str) -> None:
    scenario = SCENARIOS[name]
    loop, events, outcome, _ = replay(scenario, expansion)
    commits = [event for event in events if isinstance(event, Committed)]
    assert len(commits) == len(scenario["commits"])
    for event, commit in zip(commits, scenario["commits"], strict=True):
        chosen = commit["chosen"]
        assert list(event.tokens) == chosen["tokens"]
        assert (event.visits, event.real_visits, event.value) == (close(chosen["n"]), chosen["m"], close(chosen["v"]))
        assert (event.iterations, event.stop) == (
            commit["iterations"],
            {"threshold": "threshold", "budget": "iterations"}[commit["stop"]],
        )
    ends = {"end_of_sequence": "eos", "stop_string": "stop", "length": "length"}
    assert loop.tree.root.end == ends[scenario["end"][0]]
    assert outcome.tokens == flat([commit["chosen"]["tokens"] for commit in scenario["commits"]])
