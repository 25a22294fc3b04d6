"""The search that mends a draft: its first iteration is what failed."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from rain.search.asks import AnyResult, Ask, Prefix, Score
from rain.search.candidates import Asking
from rain.search.loop import Loop
from rain.search.tree import Node

End: TypeAlias = Literal["eos", "stop", "length"] | None
"""Why a draft ends, if it does."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A piece of a draft that failed: what the search tries first, with the score it got."""

    tokens: tuple[int, ...]
    pieces: tuple[bytes, ...]
    score: Score
    rest: tuple[tuple[int, ...], tuple[bytes, ...]]
    """Tokens and pieces of the draft behind it: not searched from, but better than nothing where the budget ends."""
    end: End
    """Of the draft."""
    whole: Score
    """Of the draft, the rest included, or of the clause where no more was judged."""


@dataclass(frozen=True, slots=True)
class Redraft:
    """A draw in place of what failed, judged."""

    node: Node
    held: Prefix
    """As it was drawn, which keeps its cells."""
    text: Prefix
    """Without end-of-sequence token or stop string."""
    score: Score


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole text that was judged, without its cells: given back where the reply does not pass and is judged worse."""

    tokens: tuple[int, ...]
    """Of the whole reply, as all of these."""
    text: bytes
    end: Literal["eos", "stop", "length"]
    score: Score
    kept: tuple[int, bytes]
    """Of its tokens and bytes: those that were committed before anything took its place."""


class Repair(Loop):
    """A search whose first iteration is the draft that failed: one visit to its first token, already judged."""

    bad: Branch

    def __init__(self, base: Prefix, before: bytes, prompt: Prefix, *args: Any, **named: Any) -> None:
        """A search behind ``base``, of which the bytes ``before`` are the reply's beginning, behind ``prompt``."""
        super().__init__(base, *args, **named)
        self.tree.root.reply, self.judged_behind = before, prompt
        self.ended: dict[tuple[tuple[int, ...], bool], tuple[tuple[int, ...], bytes, End]] = {}
        """Of look-aheads that reached the reply's end: tokens, bytes and end, by the key of their score."""

    def wholes(self) -> Iterator[tuple[tuple[int, ...], bytes, End, Score]]:
        """Whole replies that were judged on the way: tokens behind the base, bytes, why they end, their score."""
        return ((*what, self.scores[key]) for key, what in self.ended.items() if key in self.scores)

    def _select(self, path: list[Node], number: int) -> Generator[list[Ask], list[AnyResult], bool]:
        root = self.tree.root
        if number > 1 or root.expanded:
            return (yield from super()._select(path, number))
        root.in_flight += 1
        path.append(root)
        yield from self._expand(root, path)
        child = next((one for one in root.children if one.tokens == self.bad.tokens[:1]), None)
        if child is None:  # the draft began with a token that is no candidate
            child = self.tree.select_child(root)
            assert child is not None
        child.in_flight += 1
        path.append(child)
        return True

    def _look_ahead(self, leaf: Node, number: int) -> Asking:
        if number > 1 or leaf.tokens != self.bad.tokens[:1]:
            end = yield from super()._look_ahead(leaf, number)
            if end.end:
                key = self.candidates.without_end(end).path(self.prompt), end.end in ("eos", "stop")
                self.ended[key] = end.prefix.path(self.prompt), end.reply, end.end
            return end
        end = self.candidates.beyond(leaf, self.bad.tokens[1:], self.bad.pieces[1:])
        judged = self.candidates.without_end(end).path(self.prompt)
        self.scores[judged, end.end in ("eos", "stop")] = self.bad.score
        return end
