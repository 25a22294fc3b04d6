"""What every search keeps: the asks on their way out, what the answers cost, and what the budget leaves."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence

from rain.search.asks import Answer, AnyResult, Ask, Asked, Stopped, Usage
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
        self.unanswered: set[int] = set()
        """Tickets of asks that no answer came to yet, those withdrawn among them."""

    def ask(self, ask: Ask) -> int:
        """Put ``ask`` into the outbox; its ticket."""
        self.tickets += 1
        self.unanswered.add(self.tickets)
        self.outbox.append(Asked(self.tickets, ask))
        return self.tickets

    def note(self, answer: Answer) -> None:
        """Count what ``answer`` cost."""
        self.unanswered.discard(answer.ticket)
        self.usage += answer.usage

    def heed(self, answer: Answer) -> None:
        """Count what ``answer`` cost; a search that was told to stop does."""
        self.note(answer)
        if isinstance(answer.result, Stopped):
            self.stopped = self.stopped or answer.result.why

    def answers(self, asks: Sequence[Ask]) -> Generator[Out, list[Answer], list[AnyResult | None]]:
        """Ask together and wait for all; None for what was stopped."""
        if self.forward_left() <= 0:
            self.stopped = self.stopped or "budget"
        if self.stopped:
            return [None for _ in asks]
        tickets = [self.ask(ask) for ask in asks]
        results: dict[int, AnyResult] = {}
        while len(results) < len(tickets):
            for answer in (yield self.take_outbox()):
                self.heed(answer)
                if answer.ticket in tickets:
                    results[answer.ticket] = answer.result
        return [None if isinstance(results[ticket], Stopped) else results[ticket] for ticket in tickets]

    def flush(self) -> Generator[Out, list[Answer], None]:
        """Yield what is in the outbox, if anything is; count what comes back meanwhile."""
        if self.outbox:
            for answer in (yield self.take_outbox()):
                self.note(answer)

    def settle(self) -> Generator[Out, list[Answer], None]:
        """Under a budget of forward tokens what was withdrawn is answered all the same: wait for it and count it."""
        while self.unanswered and self.budget.max_forward_tokens is not None:
            for answer in (yield self.take_outbox()):
                self.note(answer)

    def take_outbox(self) -> Out:
        """What is to be yielded now; the outbox is empty then."""
        taken, self.outbox = self.outbox, []
        return taken

    def forward_left(self) -> float:
        """Forward tokens that the budget leaves; infinite without a limit."""
        limit = self.budget.max_forward_tokens
        return math.inf if limit is None else limit - self.usage.forward_tokens
