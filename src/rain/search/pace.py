"""Under a budget of forward tokens: the iterations a token set may have, and the leaves that may be open (ours)."""

from __future__ import annotations

import math

from rain.search.settings import Settings

ITERATIONS_A_LEAF = 10
"""For so many iterations that a set may have, one leaf is open at once."""


class Pace:
    """Of one token set: it may cost an equal part of what is left for each set that is still to come."""

    def __init__(self, settings: Settings, depth: int, tokens: int, left: float, used: int) -> None:
        """depth: of the set. tokens: of the reply that are still to come. left, used: forward tokens."""
        self.settings = settings
        self.until = left / settings.sets(depth, tokens) + used if settings.pacing else math.inf
        """Forward tokens of the whole search at which this set should be committed."""
        self.part = self.until - used

    def allowed(self, most: int, spent: int, iterations: int, used: int) -> tuple[int, int]:
        """Iterations of this set, at most ``most``, and leaves open at once. spent: its iterations so far.

        iterations, used: of the whole search, which tell what one costs.
        """
        leaves = self.settings.parallel_leaves
        if self.until == math.inf:
            return most, leaves
        each = max(1.0, used / iterations if iterations else self.part)
        allowed = max(1, min(most, spent + int((self.until - used) / each)))
        # Leaves that are open at once know nothing of each other: of few iterations few may be.
        return allowed, min(leaves, max(1, allowed // ITERATIONS_A_LEAF))
