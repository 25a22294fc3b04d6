"""The tree: the equations of the paper, one method each. It asks nothing and knows no model.

Symbols of the paper stand in the docstrings: prior p, visits n, real visits m, value v, score s, embedding e.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from rain.search import choice
from rain.search.asks import Prefix, shown
from rain.search.settings import Settings

TOLERANCE = 1e-9
"""Of strict comparisons with 0 and V: means that are exactly 0 or 0.8 come out a hair off."""

Vector = npt.NDArray[np.float64]


@dataclass(slots=True, eq=False, weakref_slot=True)
class Node:
    """A token set in its context."""

    prefix: Prefix
    pieces: tuple[bytes, ...] = ()
    """The bytes of each token of the set."""
    reply: bytes = b""
    """The bytes of the whole reply up to the end of this set."""
    up: weakref.ref[Node] | None = None
    """The parent; weak, so that a branch is gone, and its cells free, as soon as it is dropped."""
    depth: int = 0
    """Token sets from the start of the reply."""
    raw: float = 1.0
    """The model's probability of the set, before normalising; the greedy one's is bounded."""
    prior: float = 0.0
    visits: float = 0.0
    real_visits: int = 0
    value: float = 0.0
    embedding: Vector | None = None
    end: Literal["eos", "stop", "length"] | None = None
    """Why the text ends here: such a leaf is terminal, judged but never expanded."""
    children: list[Node] = field(default_factory=list)
    expanded: bool = False
    greedy_raw: float | None = None
    """Unbounded probability of the greedy set below this node."""
    raw_list: list[float] = field(default_factory=list)
    """The released program's list of raw candidates below this node, see :meth:`Tree.sampled_addition_prior`."""
    attempts: int = 0
    """Draws made for node additions below this node."""
    in_flight: int = 0
    """Iterations under way whose path goes through here."""
    busy: bool = False
    """Is being judged or expanded right now."""
    beyond: Node | None = None
    """The leaf with the look-ahead it was judged with; stripped of its prefix, so that its cells are free."""

    @property
    def parent(self) -> Node | None:
        return self.up() if self.up else None

    @property
    def tokens(self) -> tuple[int, ...]:
        return self.prefix.tokens

    @property
    def text(self) -> str:
        """What this token set adds to the text; a character that it only begins is left to the next."""
        return shown(self.reply[: len(self.reply) - len(b"".join(self.pieces))], self.reply)


class Tree:
    """Statistics below the committed text, whose last token set is the root."""

    def __init__(self, prompt: Prefix, settings: Settings) -> None:
        self.settings = settings
        self.root = Node(prompt)
        self.low = -1.0
        self.high = 1.0

    # Selection ------------------------------------------------------------------------------------------------------

    def selection_value(self, parent: Node, child: Node) -> float:
        """P eq. 1, ``v + c·u`` with ``u = p·sqrt(N)/(1 + n)``; iterations in flight count as visits (virtual loss)."""
        visits = child.visits + child.in_flight
        known = visits or self.settings.first_play == "parent"
        value = child.value if child.visits else parent.value if known else 0.0
        value -= self.settings.virtual_loss * child.in_flight / visits if visits else 0.0
        if self.settings.variant == "released":
            total = parent.visits + sum(sibling.in_flight for sibling in parent.children)
            value = (value - self.low) / (self.high - self.low + 1e-5) if known else 0.0
        else:
            total = sum(sibling.visits + sibling.in_flight for sibling in parent.children)
        return value + self.settings.exploration * child.prior * float(np.sqrt(total)) / (1.0 + visits)

    def select_child(self, node: Node) -> Node | None:
        """The child to go down to: largest selection value, ties to the first attached (C).

        Where every term is 0 (*paper*, all children unvisited) the largest prior wins. None: all are under way.
        """
        free = [child for child in node.children if self.available(child)]
        if not free:
            return None
        if self.settings.variant == "paper" and not any(child.visits or child.in_flight for child in node.children):
            return max(free, key=lambda child: child.prior)
        return max(free, key=lambda child: self.selection_value(node, child))

    def available(self, node: Node) -> bool:
        """Whether a descent into ``node`` would find a leaf that no other iteration is busy with."""
        if node.busy:
            return False
        if not node.in_flight or not node.expanded:
            return True
        return any(self.available(child) for child in node.children)

    # Expansion ------------------------------------------------------------------------------------------------------

    def attach(self, node: Node, children: Sequence[Node], greedy_raw: float | None = None) -> None:
        """Expansion: give ``node`` its children and their priors, p = raw over the siblings' sum.

        ``greedy_raw``: the first child is the greedy set and this its unbounded probability.
        """
        if greedy_raw is not None:
            node.greedy_raw = greedy_raw
            children[0].raw = bound_greedy(greedy_raw, [child.raw for child in children[1:]])
        total = sum(child.raw for child in children)
        for child in children:
            child.prior = child.raw / total if total > 0 else 1 / len(children)
        node.children = list(children)
        node.raw_list = [child.raw for child in children]
        node.expanded = True
        if node is self.root:
            self.mix_priors(node)

    def mix_priors(self, node: Node) -> None:
        """The root's children: p becomes ``0.75·p + 0.25/count``, then divided by its sum (C)."""
        share = self.settings.root_mixing
        mixed = [(1 - share) * child.prior + share / len(node.children) for child in node.children]
        for child, prior in zip(node.children, mixed, strict=True):
            child.prior = prior / sum(mixed)

    # Back-up --------------------------------------------------------------------------------------------------------

    def back_up(
        self, path: Sequence[Node], score: float, embeddings: Sequence[npt.NDArray[np.floating]]
    ) -> list[tuple[int, int, float, float, float]]:
        """Update the statistics along ``path`` (root first), leaf to root, with the score s of its text.

        ``embeddings[i]``: of the text from the first token of ``path[i + 1]`` to the end; may be empty.
        Returns the siblings that were updated, as in :class:`~rain.search.events.BackedUp`.
        """
        similar: list[tuple[int, int, float, float, float]] = []
        for level in range(len(path) - 1, -1, -1):
            node = path[level]
            node.visits += 1
            node.real_visits += 1
            if level and embeddings:
                latest = np.asarray(embeddings[level - 1], dtype=np.float64)
                if node.embedding is None:
                    node.embedding = np.zeros_like(latest)
                node.embedding = node.embedding + (latest - node.embedding) / node.real_visits
                if self.settings.similarity:
                    similar += [(level - 1, *update) for update in self.update_siblings(node, score)]
            node.value += (score - node.value) / node.visits
            self.low = min(self.low, node.value)
            self.high = max(self.high, node.value)
        return similar

    def update_siblings(self, node: Node, score: float) -> list[tuple[int, float, float, float]]:
        """P eq. 2, similar siblings share the score: ``v = (v·n + w·s)/(n + w)``, ``n += w`` with ``w = gamma·cos``."""
        parent = node.parent
        assert parent is not None
        assert node.embedding is not None
        updates: list[tuple[int, float, float, float]] = []
        for index, sibling in enumerate(parent.children):
            if sibling is node or sibling.embedding is None:
                continue
            cosine = cosine_similarity(node.embedding, sibling.embedding)
            if cosine < self.settings.similarity_threshold:
                continue
            weight = self.settings.similarity_discount * cosine
            sibling.value = (sibling.value * sibling.visits + weight * score) / (sibling.visits + weight)
            sibling.visits += weight
            updates.append((index, cosine, sibling.visits, sibling.value))
        return updates

    # Dynamic node addition --------------------------------------------------------------------------------------------

    def variance_limit(self, node: Node) -> float:
        """What the variance of the children must stay below, by the sets' nominal length at that depth (C)."""
        return self.settings.variance_limit * self.settings.set_length(node.depth)

    def variance(self, node: Node) -> float:
        """L2 norm of the unbiased per-dimension variance of the children's embeddings (C)."""
        vectors = np.stack([child.embedding for child in node.children if child.embedding is not None])
        return float(np.linalg.norm(vectors.var(axis=0, ddof=1)))

    def wants_addition(self, node: Node) -> bool:
        """Dynamic node addition (P): all children are known, alike and bad, and there is room for one more."""
        children = node.children
        if not self.settings.node_addition or not 2 <= len(children) < self.settings.max_children:
            return False
        if any(child.embedding is None for child in children) or max(c.value for c in children) >= -TOLERANCE:
            return False
        return self.variance(node) < self.variance_limit(node)

    def add(self, node: Node, child: Node, prior: float) -> None:
        """Attach one more child; at the root its prior is mixed, the others' stay as they are (C)."""
        if node is self.root:
            share = self.settings.root_mixing
            prior = (1 - share) * prior + share / (len(node.children) + 1)
        child.prior = prior
        node.children.append(child)

    def likely_addition_prior(self, node: Node, raw: float) -> float:
        """Depth 0: the next most likely token's share among the (count + 1) most likely (C)."""
        return raw / (raw + sum(child.raw for child in node.children))

    def sampled_addition_prior(self, node: Node, raw: float, is_greedy: bool) -> float:
        """Below depth 0: the prior of a newly drawn set with probability ``raw``.

        *Released* (an accident of the program, reproduced): the bounded greedy set and the drawn one are put before
        the raw candidates, also when nothing is added, and the drawn one's share is taken of the first (count + 1).
        *Paper*: its share among its siblings and itself.
        """
        if self.settings.variant == "paper":
            return self.likely_addition_prior(node, raw)
        assert node.greedy_raw is not None
        new = [node.greedy_raw] if is_greedy else [bound_greedy(node.greedy_raw, [raw]), raw]
        node.raw_list = new + node.raw_list
        first = node.raw_list[: len(node.children) + 1]
        return raw / sum(first) if sum(first) > 0 else 1 / len(first)

    # Commit -----------------------------------------------------------------------------------------------------------

    def leader(self) -> Node | None:
        """The child that would be committed now (P, C: most visits n, ties by value, then the first attached)."""
        return choice.leader(self.root.children, self.settings)

    def advance(self, child: Node) -> None:
        """Commit: ``child`` becomes the root and keeps its subtree; its children's priors are mixed (C)."""
        self.root = child
        child.up = None
        if child.expanded:
            self.mix_priors(child)


def bound_greedy(greedy: float, sampled: Sequence[float]) -> float:
    """The greedy set's raw: at most the sampled ones' sum, at least their largest + smallest, which wins (C)."""
    if not sampled:
        return greedy
    return max(min(greedy, sum(sampled)), max(sampled) + min(sampled))


def cosine_similarity(a: Vector, b: Vector) -> float:
    """Of two vectors of any length; 0 where one is zero."""
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norms if norms else 0.0
