"""Which child is committed, and from when on nothing can change that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rain.search.settings import Settings

if TYPE_CHECKING:
    from rain.search.tree import Node


def leader(children: Sequence[Node], settings: Settings) -> Node | None:
    """The child that would be committed now, by ``commit``: most visits n, or the highest lower bound of its value."""
    return max(children, key=lambda child: _promise(child, settings), default=None)


def is_decided(children: Sequence[Node], settings: Settings, left: int) -> bool:
    """Whether ``left`` more iterations, wherever they go and however they score, leave the leader what it is.

    An iteration adds at most one visit to any child: its own, or a part of one where it is similar.
    """
    left = max(0, left)
    first = leader(children, settings)
    others = [child for child in children if child is not first]
    if first is None or settings.commit == "visits":
        return first is not None and first.visits - max((child.visits for child in others), default=0.0) > left
    if not first.visits:
        return False
    worst = _mean(first, left, -1.0) - settings.doubt / math.sqrt(first.visits)
    rivals = [(child.visits, _mean(child, left, 1.0)) for child in others]
    if left and settings.node_addition and len(children) < settings.max_children:
        rivals.append((0.0, 1.0))  # one that may yet be added
    return worst > max(
        (mean - settings.doubt / math.sqrt(visits + left or 1) for visits, mean in rivals), default=-math.inf
    )


def _promise(child: Node, settings: Settings) -> tuple[float, float]:
    if settings.commit == "visits":
        return child.visits, child.value
    return child.value - settings.doubt / math.sqrt(child.visits) if child.visits else -math.inf, child.prior


def _mean(child: Node, more: int, score: float) -> float:
    """The child's value after so many more visits that score so."""
    visits = child.visits + more
    return (child.value * child.visits + score * more) / visits if visits else -math.inf
