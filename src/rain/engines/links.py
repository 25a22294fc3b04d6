"""What an engine remembers with each live prefix: its tokens, its last row of logits, its log-probabilities.

Prefixes are held weakly. Their deaths, which happen in any thread at any moment, are only noted; the one thread that
uses this collects them when it suits it.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict, deque

import numpy as np

from rain.engines.prefixes import Tokens
from rain.engines.sampling import Row
from rain.search.asks import Prefix


class Link:
    """One live prefix's memory. Hashed by identity: it is the key under which the cache keeps its cells."""

    __slots__ = ("logprobs", "number", "path", "ref")

    def __init__(self, prefix: Prefix, dead: deque[Link]) -> None:
        self.number = id(prefix)
        self.ref = weakref.ref(prefix, lambda _: dead.append(self))
        self.path: Tokens | None = None
        """All tokens of the chain."""
        self.logprobs: tuple[float, ...] | None = None
        """Of the prefix's own tokens, full distribution, temperature 1."""


class Links:
    """The links of every live prefix that was asked about. ``row_bytes`` bounds the rows that are remembered."""

    def __init__(self, row_bytes: int) -> None:
        self._links: dict[int, Link] = {}
        self._dead: deque[Link] = deque()
        self._rows: OrderedDict[Link, Row] = OrderedDict()
        self._row_bytes = row_bytes

    def of(self, prefix: Prefix) -> Link:
        """The link of ``prefix``, made if there is none."""
        link = self._links.get(id(prefix))
        # A dead prefix's number may be in use again before its death was collected.
        if link is None or link.ref() is not prefix:
            link = self._links[id(prefix)] = Link(prefix, self._dead)
        return link

    def path(self, prefix: Prefix) -> Tokens:
        """All tokens of the chain down to ``prefix``."""
        link = self.of(prefix)
        if link.path is None:
            behind: list[Prefix] = []
            here: Prefix | None = prefix
            base: Tokens = np.empty(0, np.int32)
            while here is not None:
                known = self._links.get(id(here))
                if known is not None and known.path is not None and known.ref() is here:
                    base = known.path
                    break
                behind.append(here)
                here = here.parent
            fresh = [token for link_ in reversed(behind) for token in link_.tokens]
            link.path = np.concatenate([base, np.array(fresh, np.int32)])
        return link.path

    def row(self, prefix: Prefix) -> Row | None:
        """The logits behind ``prefix``, if remembered."""
        link = self.of(prefix)
        row = self._rows.get(link)
        if row is not None:
            self._rows.move_to_end(link)
        return row

    def remember(self, prefix: Prefix, row: Row) -> None:
        """Keep a copy of the logits behind ``prefix``; the ones used longest ago make room."""
        self._rows[self.of(prefix)] = row.copy()
        while len(self._rows) > max(1, self._row_bytes // row.nbytes):
            self._rows.popitem(last=False)

    def collect(self) -> list[Link]:
        """The links that died since; whatever was remembered with them is gone."""
        died: list[Link] = []
        while self._dead:
            link = self._dead.popleft()
            if self._links.get(link.number) is link:
                del self._links[link.number]
            self._rows.pop(link, None)
            died.append(link)
        return died
