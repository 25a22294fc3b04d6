"""Fair shares of a step: while steps are full, those go first that had the fewest forward tokens.

Start-time fair queueing (Goyal, Vin, Cheng 1996), with a step's tokens for packets: everybody has an account of forward
tokens, and the smallest comes first. Accounts matter only as long as somebody is left wanting: a step that served
everybody settles them all, and who was served all he wanted, or is new, starts where the poorest of those stands who
were not. So nobody saves up claims by asking for little, and no newcomer makes the old wait until he has caught up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from contextvars import ContextVar
from heapq import heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")


class Owner:
    """For whom questions are asked: one search, or one client of a server."""

    __slots__ = ()


OWNER: ContextVar[Owner | None] = ContextVar("owner", default=None)
"""Whose questions are asked from here; None: nobody's in particular, which counts as one owner."""


class Shares(Generic[T]):
    """One line for each step: :meth:`line_up`, then :meth:`next` and :meth:`charge` in turn, then :meth:`settle`."""

    def __init__(self) -> None:
        self._account: dict[Owner | None, int] = {}
        """Forward tokens, counted from where an owner started."""
        self._floor = 0
        """Where who is new, or was served all he wanted, starts."""
        self._wishes: dict[Owner | None, deque[T]] = {}
        self._line: list[tuple[int, int, Owner | None]] = []
        self._order: dict[Owner | None, int] = {}
        self._served: Owner | None = None
        self._turns = 0

    def line_up(self, wishes: Iterable[tuple[Owner | None, T]]) -> None:
        """What a step is wanted for, the oldest first. The very first is served first, whoever's it is."""
        self._wishes, self._line, self._turns = {}, [], 0
        for owner, wish in wishes:
            self._wishes.setdefault(owner, deque()).append(wish)
        self._order = {owner: place for place, owner in enumerate(self._wishes)}
        for owner, place in self._order.items():
            account = self._account.setdefault(owner, self._floor)
            heappush(self._line, (account if place else -1, place, owner))

    def next(self) -> T | None:
        """The next wish: of the smallest account, of equals the one that asked first. None: all were served."""
        if not self._line:
            return None
        self._turns += 1
        _, _, self._served = heappop(self._line)
        return self._wishes[self._served].popleft()

    def most(self, tokens: int) -> int:
        """How many of the ``tokens`` (or rows of logits) that are left the last wish may take: the first, out of turn,
        an equal share."""
        return tokens if self._turns > 1 else max(1, tokens // len(self._wishes))

    def charge(self, tokens: int, again: T | None = None) -> None:
        """The last wish took so many tokens; ``again``: and wants more, if there is room when all had their turn."""
        owner = self._served
        self._account[owner] += tokens
        if again is not None:
            self._wishes[owner].append(again)
        if self._wishes[owner]:
            heappush(self._line, (self._account[owner], self._order[owner], owner))

    def settle(self) -> None:
        """The step is over. Whose wishes were not reached is owed; if nobody is, all accounts are closed."""
        owed = [self._account[owner] for owner, wishes in self._wishes.items() if wishes]
        self._wishes, self._line = {}, []  # what nobody wants any more must not be held here
        if not owed:
            self._account, self._floor = {}, 0
            return
        self._floor = min(owed)
        self._account = {owner: spent for owner, spent in self._account.items() if spent > self._floor}
