"""The inner and the outer loop as a generator without I/O. Each iteration (select, look ahead, judge, back up) is a
small generator of its own; up to ``parallel_leaves`` of them are open, and answers are applied as they come."""

from __future__ import annotations

import weakref
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from rain.search import choice, events
from rain.search.asks import (
    Answer,
    AnyResult,
    Ask,
    Embed,
    Judge,
    Prefix,
    Score,
    Stopped,
    Withdrawn,
    shown,
)
from rain.search.budget import Budget
from rain.search.candidates import Asking, Candidates
from rain.search.desk import Desk
from rain.search.events import Out, Outcome, Search, TokenSets
from rain.search.pace import Pace
from rain.search.settings import Settings
from rain.search.stops import before_stop
from rain.search.tree import TOLERANCE, Node, Tree


def search(prompt: Prefix, settings: Settings, budget: Budget, *, seed: int = 0, stop: Sequence[str] = ()) -> Search:
    """Search a reply behind ``prompt``. ``stop``: strings that end it."""
    return Loop(prompt, settings, budget, seed=seed, stop=stop).run()


@dataclass(slots=True, eq=False)
class _Open:
    """An open iteration: its steps, the asks it waits for, the path it is on (root first)."""

    number: int
    steps: Generator[list[Ask], list[AnyResult], bool]
    path: list[Node]
    waiting: dict[int, AnyResult | None] = field(default_factory=dict)


class Loop(Desk):
    """One search; :meth:`run` is the generator, the rest is open for tests and viewers to look at."""

    def __init__(
        self, prompt: Prefix, settings: Settings, budget: Budget, *, seed: int = 0, stop: Sequence[str] = ()
    ) -> None:
        super().__init__(budget)
        self.prompt, self.settings = prompt, settings
        self.judged_behind = prompt
        """What stands in front of the reply, all of which is judged; a search that mends begins in its middle."""
        self.tree = Tree(prompt, settings)
        limit = min(settings.length_limit - prompt.length, budget.max_tokens or settings.length_limit)
        self.reply_limit = max(0, limit)
        me = weakref.proxy(self)  # in a cycle, a finished search and its cells would wait for the garbage collector
        self.candidates = Candidates(
            prompt, settings, seed=seed, stop=stop, reply_limit=self.reply_limit, forward_left=lambda: me.forward_left()
        )
        self.scores: dict[tuple[tuple[int, ...], bool], Score] = {}
        """Of judged texts, by their tokens and whether they ended there: the same text is judged once (C)."""
        self.started = 0
        self.open: list[_Open] = []
        self.last_leaf: Node | None = None

    # Outer loop -------------------------------------------------------------------------------------------------------

    def run(self) -> Search:
        """Commit token sets to the end of the reply, judge it once more, and tell."""
        last = yield from self.commit_sets()
        score = yield from self._final_score(last)
        yield from self.settle()
        return Outcome(
            tokens=last.prefix.path(self.prompt),
            text=before_stop(last.reply, self.candidates.stop).decode("utf-8", "ignore"),
            finish="stop" if last.end in ("eos", "stop") else "length",
            stopped_by=self.stopped,
            score=score,
            passed=self.passed and not self.stopped,
            iterations=self.iterations,
            rewinds=self.rewinds,
            usage=self.usage,
        )

    def commit_sets(self, until_passed: bool = False) -> Generator[Out, list[Answer], Node]:
        """Commit token sets until end-of-sequence, a stop string, the length limit, a stop from outside or, if asked
        for, one that passes. Returns the last node that was committed."""
        while self.tree.root.end is None and self.reply_limit:
            reason = yield from self._inner_loop()
            leader = self.tree.leader()
            if reason == "stopped" or leader is None:
                break
            self._commit(leader, reason)
            self._drop_lost_iterations()
            if until_passed and reason == "threshold":
                break
        for iteration in list(self.open):
            self._close(iteration)
        return self._commit_best_known() if self.stopped and self.stopped != "cancelled" else self.tree.root

    def _inner_loop(self) -> Generator[Out, list[Answer], Literal["threshold", "iterations", "stopped"]]:
        """Iterate below the root until a child is good enough, T iterations are spent, or the search is stopped."""
        self.spent = 0
        self.inherited = self.tree.root.real_visits
        per_set, fresh = self.settings.iterations_per_set, self.settings.fresh_iterations
        most = max(per_set, self.inherited + fresh) - self.inherited if self.tree.root.depth else per_set
        root, used = self.tree.root, self.usage.forward_tokens
        room = self.reply_limit - (root.prefix.length - self.prompt.length)
        pace = Pace(self.settings, root.depth, room, self.forward_left(), used)
        while True:
            self.allowed, self.leaves = pace.allowed(most, self.spent, self.iterations, self.usage.forward_tokens)
            while self._may_start():
                self._start()
                if reason := self._stop_reason():
                    return reason
            if not self.open:
                self.stopped = self.stopped or "budget"
                return "stopped"
            for answer in (yield self.take_outbox()):
                self._receive(answer)
            if reason := self._stop_reason():
                return reason

    def _stop_reason(self) -> Literal["threshold", "iterations", "stopped"] | None:
        """*Released*: ``m > T_min and v > V``. *Paper* (Algorithm 1): ``iterations >= T_min and v >= V``."""
        if self.stopped:
            return "stopped"
        leader = self.tree.leader()
        if leader is None or not leader.real_visits:
            return None
        if self.settings.variant == "paper":
            enough = self.spent + self.inherited >= self.settings.minimum_visits
            good = leader.value >= self.settings.threshold - TOLERANCE
        else:
            enough = leader.real_visits > self.settings.minimum_visits
            good = leader.value > self.settings.threshold + TOLERANCE
        if enough and good and self.spent:
            return "threshold"
        left = self.allowed - self.spent
        decided = self.settings.early_stop and choice.is_decided(self.tree.root.children, self.settings, left)
        return "iterations" if left <= 0 or decided else None

    def _may_start(self) -> bool:
        """T is kept to, except that a set is never committed unvisited."""
        in_budget = self.budget.max_iterations is None or self.iterations + len(self.open) < self.budget.max_iterations
        wanted = self.spent + len(self.open) < self.allowed or not self.open
        room = len(self.open) < self.leaves
        return not self.stopped and in_budget and wanted and room and self.tree.available(self.tree.root)

    def _commit(self, child: Node, stop: Literal["threshold", "iterations", "stopped"]) -> None:
        numbers = (child.visits, child.real_visits, child.value)
        self.outbox.append(events.Committed(child.tokens, child.text, *numbers, iterations=self.spent, stop=stop))
        self.passed &= stop == "threshold"
        self.tree.advance(child)

    def _commit_best_known(self) -> Node:
        """Stopped: commit down the most visited children, then the look-ahead that the last was judged with."""
        while (leader := self.tree.leader()) is not None and leader.real_visits:
            self._commit(leader, "stopped")
        root = self.tree.root
        last = root.beyond
        if last is None:
            return root
        last.prefix, last.up = Prefix(last.tokens, root.prefix), weakref.ref(root)
        numbers = (root.visits, root.real_visits, root.value)
        self.outbox.append(events.Committed(last.tokens, last.text, *numbers, iterations=0, stop="stopped"))
        return last

    def _final_score(self, last: Node) -> Generator[Out, list[Answer], Score | None]:
        """The score of a reply: one judgement of its final text, remembered where that was judged already."""
        reply, complete = self.candidates.without_end(last), last.end in ("eos", "stop")
        key = (reply.path(self.prompt), complete)
        if key[0] and key not in self.scores and not self.stopped and self.forward_left() > 0:
            (score,) = yield from self.answers([Judge(reply, self.judged_behind, complete)])
            if isinstance(score, Score):
                self.scores[key] = score
        yield from self.flush()
        return self.scores.get(key)

    # Open iterations --------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self.started += 1
        path: list[Node] = []
        iteration = _Open(self.started, self._iterate(self.started, path), path)
        self.open.append(iteration)
        self._step(iteration, None)

    def _step(self, iteration: _Open, results: list[AnyResult] | None) -> None:
        """Let one iteration go on with its answers; count it when it was backed up."""
        try:
            asks = next(iteration.steps) if results is None else iteration.steps.send(results)
        except StopIteration as end:
            self.iterations += bool(end.value)
            self.spent += bool(end.value)
            self._close(iteration)
            return
        if self.forward_left() <= 0:
            self.stopped = "budget"
        iteration.waiting = {} if self.stopped else {self.ask(ask): None for ask in asks}

    def _receive(self, answer: Answer) -> None:
        self.heed(answer)
        iteration = next((one for one in self.open if answer.ticket in one.waiting), None)
        if iteration is None or isinstance(answer.result, Stopped):
            return
        iteration.waiting[answer.ticket] = answer.result
        results = [result for result in iteration.waiting.values() if result is not None]
        if len(results) == len(iteration.waiting):
            self._step(iteration, results)

    def _close(self, iteration: _Open) -> None:
        """Forget an iteration, done or not: its nodes are free again, its open asks withdrawn."""
        iteration.steps.close()
        self.open.remove(iteration)
        self.outbox += [Withdrawn(ticket) for ticket, result in iteration.waiting.items() if result is None]
        for node in iteration.path:
            node.in_flight -= 1
        if iteration.path:  # only the last may be busy with this one, the others with somebody else's
            iteration.path[-1].busy = False

    def _drop_lost_iterations(self) -> None:
        """After a commit: iterations under way below the new root go on there, the others are dropped."""
        for iteration in list(self.open):
            if self.tree.root in iteration.path:
                gone = iteration.path.index(self.tree.root)
                for node in iteration.path[:gone]:
                    node.in_flight -= 1
                del iteration.path[:gone]
            else:
                self._close(iteration)

    # Inner loop, one iteration ----------------------------------------------------------------------------------------

    def _iterate(self, number: int, path: list[Node]) -> Generator[list[Ask], list[AnyResult], bool]:
        """Section 2 of the specification, step by step; ``path`` is filled on the way. False: no leaf was free."""
        if not (yield from self._select(path, number)):
            return False
        leaf = path[-1]
        leaf.busy = True
        rewind = self.last_leaf is not None and self.last_leaf not in path
        self.rewinds += rewind
        self.last_leaf = leaf
        self.outbox.append(events.Tried(number, _sets(path), shown(self.tree.root.reply, leaf.reply), rewind))

        end = yield from self._look_ahead(leaf, number)
        if end is not leaf:
            self.outbox.append(events.LookedAhead(number, end.text))
            leaf.beyond = replace(end, prefix=Prefix(end.tokens), up=None)
        judged, complete = self.candidates.without_end(end), end.end in ("eos", "stop")
        key = (judged.path(self.prompt), complete)
        known = self.scores.get(key)
        asks: list[Ask] = [] if known else [Judge(judged, self.judged_behind, complete)]
        starts = [len(node.parent.reply) for node in path[1:] if node.parent]
        if starts and (self.settings.similarity or self.settings.node_addition):
            asks.append(Embed(tuple(end.reply[start:].decode("utf-8", "replace") for start in starts)))
        results = (yield asks) if asks else []
        score = known or next(result for result in results if isinstance(result, Score))
        self.scores[key] = score
        vectors = next((list(result) for result in results if isinstance(result, np.ndarray)), [])

        if self.settings.expansion == "eager" and not leaf.end and not leaf.expanded:
            yield from self._expand(leaf, path)
        # A commit in the meantime may have taken nodes off the top of the path.
        vectors = vectors[len(starts) - (len(path) - 1) :]
        value = score.hard if self.settings.score == "hard" else score.soft
        similar = self.tree.back_up(path, value, vectors)
        nodes = tuple((node.visits, node.real_visits, node.value, node.prior) for node in path)
        self.outbox.append(events.BackedUp(number, _sets(path), value, known is not None, nodes, tuple(similar)))
        return True

    def _look_ahead(self, leaf: Node, number: int) -> Asking:
        return (yield from self.candidates.look_ahead(leaf))

    def _select(self, path: list[Node], number: int) -> Generator[list[Ask], list[AnyResult], bool]:
        """Go down to a leaf, expanding (lazily) and adding nodes on the way."""
        node: Node | None = self.tree.root
        while node is not None:
            node.in_flight += 1
            path.append(node)
            if not node.expanded:
                if not node.real_visits or node.end:
                    return True
                yield from self._expand(node, path)
            if self.tree.wants_addition(node):
                yield from self._try_addition(node, path)
            node = self.tree.select_child(node)
        return False

    def _expand(self, node: Node, path: list[Node]) -> Generator[list[Ask], list[AnyResult], None]:
        """Give a leaf its children; no other iteration may come here meanwhile."""
        node.busy = True
        children, greedy_raw = yield from self.candidates.children(node)
        self.tree.attach(node, children, greedy_raw)
        node.busy = False
        columns = zip(*((child.tokens, child.text, child.prior) for child in children), strict=True)
        self.outbox.append(events.Expanded(_sets(path), *columns))

    def _try_addition(self, node: Node, path: list[Node]) -> Generator[list[Ask], list[AnyResult], None]:
        """Dynamic node addition: the next most likely token at depth 0, a newly drawn set below."""
        node.busy = True
        variance, known = self.tree.variance(node), {child.tokens for child in node.children}
        if node.depth == 0:
            likely = yield from self.candidates.most_likely(node)
            new = next((child for child in likely if child.tokens not in known), node.children[0])
            prior = self.tree.likely_addition_prior(node, new.raw)
        else:
            for _ in range(self.settings.addition_draws):
                new = yield from self.candidates.one_more(node)
                prior = self.tree.sampled_addition_prior(node, new.raw, new.tokens == node.children[0].tokens)
                if new.tokens not in known:
                    break
        node.busy = False
        if added := new.tokens not in known:
            self.tree.add(node, new, prior)
            prior = new.prior
        limit = self.tree.variance_limit(node)
        self.outbox.append(events.Added(_sets(path), new.tokens, new.text, prior, added, variance, limit))


def _sets(path: list[Node]) -> TokenSets:
    return tuple(node.tokens for node in path[1:])
