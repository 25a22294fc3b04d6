"""What every search keeps: the asks on their way out, what the answers cost, and what the budget leaves."""

from __future__ import annotations

import math

from rain.search.asks import Ask, Asked, Usage
from rain.search.budget import Budget
from rain.search.events import Out, StopReason


class Desk:
    """The outbox of a search, its ticket numbers and its costs."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.usage = Usage()
        self.stopped: StopReason | None = None
        self.passed = True
        self.iterations = self.rewinds = self.tickets = 0
        self.outbox: Out = []

    def ask(self, ask: Ask) -> int:
        """Put ``ask`` into the outbox; its ticket."""
        self.tickets += 1
        self.outbox.append(Asked(self.tickets, ask))
        return self.tickets

    def take_outbox(self) -> Out:
        """What is to be yielded now; the outbox is empty then."""
        taken, self.outbox = self.outbox, []
        return taken

    def forward_left(self) -> float:
        """Forward tokens that the budget leaves; infinite without a limit."""
        limit = self.budget.max_forward_tokens
        return math.inf if limit is None else limit - self.usage.forward_tokens
