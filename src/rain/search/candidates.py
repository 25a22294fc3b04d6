"""Where nodes come from: the asks that look ahead and that give a node its children, and nodes made of the answers."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Generator, Sequence
from hashlib import blake2b
from typing import TypeAlias

from rain.search.asks import CLAUSE_ENDS, AnyResult, Ask, Continuation, Prefix, Sample, Top, TopTokens, Until
from rain.search.settings import Settings
from rain.search.stops import before_stop, stops
from rain.search.tree import Node

Asking: TypeAlias = Generator[list[Ask], list[AnyResult], Node]
AskingMany: TypeAlias = Generator[list[Ask], list[AnyResult], list[Node]]
Draws: TypeAlias = Generator[list[Ask], list[AnyResult], list[tuple[Node, Prefix]]]


class Candidates:
    """Asks for token sets below a node. ``forward_left`` tells how many forward tokens the budget leaves."""

    def __init__(
        self,
        prompt: Prefix,
        settings: Settings,
        *,
        seed: int,
        stop: Sequence[str],
        reply_limit: int,
        forward_left: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self.prompt, self.settings, self.seed = prompt, settings, seed
        self.stop = tuple(stop)
        self.reply_limit = reply_limit
        self.forward_left = forward_left

    def look_ahead(self, leaf: Node) -> Asking:
        """The leaf with what is sampled beyond it, to the end of the clause (or answer); it is judged, never attached.

        The leaf itself where its text has ended, where it ends a clause already, or without look-ahead.
        """
        clause = self.settings.look_ahead == "clause"
        if leaf.end or self.settings.look_ahead == "none" or (clause and leaf.reply.endswith(CLAUSE_ENDS)):
            return leaf
        # Half of what the budget leaves: where something was evicted, the leaf itself must be read again.
        room = min(self.settings.look_ahead_tokens, self._room(leaf), self.forward_left() // 2)
        until = Until(int(max(0, room)), clause=clause, stop=self.stop)
        ask = Sample(leaf.prefix, (self._seed(leaf, "look ahead"),), until, purpose="look_ahead")
        (found,) = _continuations((yield [ask]))
        return self._node(leaf, found.prefix, found.pieces, 0.0, found.end == "eos") if found.tokens else leaf

    def children(self, node: Node) -> Generator[list[Ask], list[AnyResult], tuple[list[Node], float | None]]:
        """Expansion: q children. Depth 0: the most likely tokens. Below: a greedy set (and its raw), then draws."""
        if node.depth:
            drawn = yield from self.drawn(node)
            return drawn, drawn[0].raw
        likely = yield from self.most_likely(node)
        return sorted(likely[: self.settings.candidates], key=lambda child: child.tokens), None

    def most_likely(self, node: Node) -> AskingMany:
        """Depth 0: the most likely next tokens, most likely first, with their raw probability under the temperature."""
        (top,) = yield [TopTokens(node.prefix, max(self.settings.max_children, self.settings.candidates))]
        assert isinstance(top, Top)
        return [
            self._node(node, Prefix((token,), node.prefix), (piece,), logprob / self.settings.temperature, ends)
            for token, piece, logprob, ends in zip(top.tokens, top.pieces, top.logprobs, top.ends, strict=True)
        ]

    def drawn(self, node: Node) -> AskingMany:
        """Below depth 0: the greedy set first, then up to q - 1 different draws; a duplicate is dropped (C)."""
        children: dict[tuple[int, ...], Node] = {}
        used = 0
        while not children or (len(children) < self.settings.candidates and used < self.settings.max_draws):
            count = min(self.settings.candidates - max(1, len(children)), self.settings.max_draws - used)
            results = yield [self._sets(node, range(used, used + count), greedy=not children)]
            for found in _continuations(results):
                if found.tokens not in children:
                    children[found.tokens] = self._drawn_node(node, found)
            used += count
        return list(children.values())

    def one_more(self, node: Node) -> Asking:
        """Below depth 0: one newly drawn set, for a node addition; it may be a child already."""
        node.attempts += 1
        number = self.settings.max_draws + node.attempts
        (found,) = _continuations((yield [self._sets(node, range(number, number + 1), greedy=False)]))
        return self._drawn_node(node, found)

    def draws(self, node: Node, numbers: range, length: int, *, clause: bool) -> Draws:
        """Draws of at most ``length`` tokens, to the end of a clause or text (ours); a duplicate is dropped.

        Each comes with the prefix that it was drawn as, which keeps its cells. A question never goes past the end of a
        clause, and the node may end one: the first token is asked for alone.
        """
        seeds = [self._seed(node, "draft", number) for number in numbers]
        first = _continuations((yield [self._draft(node.prefix, tuple(seeds), Until(1, stop=self.stop))]))
        until = Until(length - 1, clause=clause, stop=self.stop)
        going = [number for number, one in enumerate(first) if one.end == "length" and length > 1]
        asks: list[Ask] = [self._draft(first[number].prefix, (seeds[number],), until) for number in going]
        results = (yield asks) if asks else []
        rest = {number: _continuations([result])[0] for number, result in zip(going, results, strict=True)}
        drawn: dict[tuple[int, ...], tuple[Node, Prefix]] = {}
        for number, one in enumerate(first):
            tokens, pieces, last = one.tokens, one.pieces, rest.get(number, one)
            if last is not one:
                tokens, pieces = tokens + last.tokens, pieces + last.pieces
            whole = self._node(node, Prefix(tokens, node.prefix), pieces, 0.0, last.end == "eos")
            drawn.setdefault(tokens, (whole, last.prefix))
        return list(drawn.values())

    def beyond(self, leaf: Node, tokens: tuple[int, ...], pieces: tuple[bytes, ...]) -> Node:
        """The leaf with a look-ahead that was drawn elsewhere; an end-of-sequence token has an empty piece."""
        if not tokens:
            return leaf
        return self._node(leaf, Prefix(tokens, leaf.prefix), pieces, 0.0, pieces[-1] == b"")

    def without_end(self, node: Node) -> Prefix:
        """The node's prefix without end-of-sequence token or stop string: what is judged holds neither."""
        kept, size = len(node.tokens) - (node.end == "eos"), len(node.reply)
        cut = len(before_stop(node.reply, self.stop))
        while size > cut:
            if not kept:  # a stop string may begin in the token set before
                if node.parent is None or not node.parent.pieces:
                    break  # it begins in what was committed before, which stays
                node = node.parent
                kept = len(node.tokens)
                continue
            kept -= 1
            size -= len(node.pieces[kept])
        if kept == len(node.tokens):
            return node.prefix
        if not kept and node.prefix.parent:
            return node.prefix.parent
        return Prefix(node.tokens[:kept], node.prefix.parent)

    def _draft(self, prefix: Prefix, seeds: tuple[int, ...], until: Until) -> Sample:
        return Sample(prefix, seeds, until, self.settings.temperature, self.settings.top_k, purpose="draft")

    def _sets(self, node: Node, numbers: range, *, greedy: bool) -> Sample:
        """Ask for token sets below ``node``, numbered for their seeds."""
        left = self.forward_left() // (len(numbers) + greedy)
        length = int(max(1, min(self.settings.set_length(node.depth), self._room(node), left)))
        seeds = tuple(self._seed(node, "candidate", number) for number in numbers)
        return Sample(node.prefix, seeds, Until(length), self.settings.temperature, self.settings.top_k, greedy)

    def _room(self, node: Node) -> int:
        return self.reply_limit - (node.prefix.length - self.prompt.length)

    def _drawn_node(self, parent: Node, found: Continuation) -> Node:
        return self._node(parent, found.prefix, found.pieces, sum(found.logprobs), found.end == "eos")

    def _node(self, parent: Node, prefix: Prefix, pieces: tuple[bytes, ...], logprob: float, eos: bool) -> Node:
        """A node below ``parent``, terminal if its text ends: end-of-sequence, a stop string, or all tokens allowed."""
        node = Node(
            prefix,
            pieces,
            parent.reply + b"".join(pieces),
            weakref.ref(parent),
            parent.depth + 1,
            raw=math.exp(logprob),
        )
        if eos:
            node.end = "eos"
        elif stops(node.reply, self.stop):
            node.end = "stop"
        elif self._room(node) <= 0:
            node.end = "length"
        return node

    def _seed(self, node: Node, purpose: str, number: int = 0) -> int:
        """Derived from the reply's seed and the place in the tree, so that the order of answers changes nothing."""
        place = ",".join(map(str, node.prefix.path(self.prompt)))
        digest = blake2b(f"{self.seed}|{purpose}|{number}|{place}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") >> 1


def _continuations(results: list[AnyResult]) -> tuple[Continuation, ...]:
    (result,) = results
    assert isinstance(result, tuple)
    return tuple(item for item in result if isinstance(item, Continuation))
