"""Which tokens lie in which sequence of a model's cache: sharing by content, lifetime by identity.

A *sequence* is a row of tokens that starts at position 0; several share *cells* where one was forked from another. The
table counts both exactly, finds the longest cached beginning of any text, and knows who still needs what. It computes
nothing: whatever changes is passed on to a :class:`Store` in the same breath. Used by one thread only.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Tokens: TypeAlias = npt.NDArray[np.int32]


class Store(Protocol):
    """The cache itself, told what the table does."""

    def copy(self, source: int, target: int, length: int) -> bool:
        """Let the empty sequence ``target`` share the first ``length`` tokens of ``source``; False: they were lost."""
        ...

    def cut(self, sequence: int, length: int) -> bool:
        """Keep the first ``length`` tokens of a sequence (0: nothing); False: what should be kept was lost."""
        ...


class PrefixTable:
    """``sequences`` rows over ``cells`` cells."""

    def __init__(self, sequences: int, cells: int, store: Store) -> None:
        self.sequences, self.cells = sequences, cells
        self.length = np.zeros(sequences, np.int64)
        """Tokens in each sequence, the ones of this step included."""
        self.settled = np.zeros(sequences, np.int64)
        """Tokens in each sequence that are computed."""
        self.held = np.zeros(sequences, np.bool_)
        """Sequences that a running question grows: never evicted, never tidied."""
        self.peak = 0
        """The most cells that were ever in use."""
        self._store = store
        self._tokens = np.zeros((sequences, cells), np.int32)
        self._cells = np.zeros((sequences, cells), np.int32)
        self._owners = np.zeros(cells, np.int32)
        self._holders = np.zeros(cells, np.int32)
        self._free_cells = np.arange(cells, dtype=np.int32)
        self.free = cells
        """Cells that belong to no sequence."""
        self._used_at = np.zeros(sequences, np.int64)
        self._now = 0
        self._needs: list[dict[Hashable, int]] = [{} for _ in range(sequences)]
        self._homes: dict[Hashable, int] = {}

    @property
    def used(self) -> int:
        """Cells in use; a shared cell counts once."""
        return self.cells - self.free

    @property
    def spare(self) -> int:
        """Cells that are free or would be, were every sequence evicted that is not held."""
        return self.cells - int(np.count_nonzero(self._holders))

    def match(self, path: Tokens) -> tuple[int, int]:
        """The sequence with the longest beginning of ``path`` and how many tokens that is; (-1, 0) if there is none.

        Tokens that are still being computed count. Of equals: one that is computed, not held, and ends right there.
        """
        rows = np.flatnonzero(self.length)
        width = min(len(path), self.cells)
        if not len(rows) or not width:
            return -1, 0
        # One column first: most sequences of other conversations drop out before whole rows are compared.
        rows = rows[self._tokens[rows, 0] == path[0]]
        if not len(rows):
            return -1, 0
        same = self._tokens[rows, :width] == path[:width]
        common = np.where(same.all(axis=1), width, same.argmin(axis=1))
        common = np.minimum(common, self.length[rows])
        longest = int(common.max())
        ties = rows[common == longest]
        if len(ties) > 1:
            merit = (
                4 * (self.settled[ties] >= longest).astype(np.int8)
                + 2 * ~self.held[ties]
                + (self.length[ties] == longest)
            )
            ties = ties[merit == merit.max()]
        return int(ties[0]), longest

    def open(self) -> int:
        """An empty sequence, -1 if all are taken."""
        empty = np.flatnonzero((self.length == 0) & ~self.held)
        return int(empty[0]) if len(empty) else -1

    def fork(self, source: int, length: int, target: int) -> bool:
        """Let the empty sequence ``target`` begin with the first ``length`` tokens of ``source``.

        False: the store had lost them; ``source`` is then gone and ``target`` still empty.
        """
        if not self._store.copy(source, target, length):
            self._store.cut(target, 0)
            self.cut(source, 0)
            return False
        shared = self._cells[source, :length]
        self._tokens[target, :length] = self._tokens[source, :length]
        self._cells[target, :length] = shared
        self._owners[shared] += 1
        if self.held[target]:
            self._holders[shared] += 1
        self.length[target] = self.settled[target] = length
        self._touch(source)
        self._touch(target)
        return True

    def extend(self, sequence: int, tokens: Tokens) -> None:
        """Append tokens that this step computes. There must be as many free cells."""
        start, count = int(self.length[sequence]), len(tokens)
        if count > self.free or start + count > self.cells:
            raise ValueError(f"no room for {count} tokens: {self.free} cells are free")
        taken = self._free_cells[self.free - count : self.free].copy()
        self.free -= count
        self._tokens[sequence, start : start + count] = tokens
        self._cells[sequence, start : start + count] = taken
        self._owners[taken] = 1
        self._holders[taken] = 1 if self.held[sequence] else 0
        self.length[sequence] = start + count
        self.peak = max(self.peak, self.used)
        self._touch(sequence)

    def settle(self) -> None:
        """The step is computed: everything that was appended is there."""
        self.settled[:] = self.length

    def unsettle(self) -> None:
        """The step failed: take back everything that was appended."""
        for sequence in np.flatnonzero(self.length > self.settled):
            self.cut(int(sequence), int(self.settled[sequence]))

    def cut(self, sequence: int, length: int) -> None:
        """Forget all but the first ``length`` tokens; whoever needs more than that loses this home."""
        if length >= self.length[sequence]:
            return
        if not self._store.cut(sequence, length):
            self._store.cut(sequence, 0)
            length = 0
        dropped = self._cells[sequence, length : int(self.length[sequence])]
        self._owners[dropped] -= 1
        if self.held[sequence]:
            self._holders[dropped] -= 1
        freed = dropped[self._owners[dropped] == 0]
        self._free_cells[self.free : self.free + len(freed)] = freed
        self.free += len(freed)
        self.length[sequence] = length
        self.settled[sequence] = min(length, int(self.settled[sequence]))
        needs = self._needs[sequence]
        for key in [key for key, need in needs.items() if need > length]:
            del needs[key]
            del self._homes[key]

    def hold(self, sequence: int) -> None:
        """A running question grows this sequence."""
        if not self.held[sequence]:
            self.held[sequence] = True
            self._holders[self._cells[sequence, : int(self.length[sequence])]] += 1

    def release(self, sequence: int) -> None:
        """The question is done with it: cut it to what is still needed."""
        if self.held[sequence]:
            self.held[sequence] = False
            self._holders[self._cells[sequence, : int(self.length[sequence])]] -= 1
        self._tidy(sequence)

    def keep(self, key: Hashable, sequence: int, length: int) -> None:
        """``key`` needs the first ``length`` tokens of ``sequence``, and nothing of where it was at home before."""
        before = self._homes.get(key, -1)
        self._homes[key] = sequence
        self._needs[sequence][key] = length
        if before not in (-1, sequence):
            del self._needs[before][key]
            self._tidy(before)

    def kept(self, key: Hashable) -> int:
        """How many tokens are kept for ``key``; 0 if it has no home (any more)."""
        home = self._homes.get(key, -1)
        return 0 if home < 0 else self._needs[home][key]

    def forget(self, key: Hashable) -> None:
        """``key`` needs nothing any more."""
        home = self._homes.pop(key, -1)
        if home >= 0:
            del self._needs[home][key]
            self._tidy(home)

    def evict(self, spare: int = -1) -> bool:
        """Drop the least recently used sequence that is not held (nor ``spare``); False if there is none."""
        ready = np.flatnonzero((self.length > 0) & ~self.held)
        ready = ready[ready != spare]
        if not len(ready):
            return False
        self.cut(int(ready[self._used_at[ready].argmin()]), 0)
        return True

    def _tidy(self, sequence: int) -> None:
        if not self.held[sequence]:
            self.cut(sequence, max(self._needs[sequence].values(), default=0))

    def _touch(self, sequence: int) -> None:
        self._now += 1
        self._used_at[sequence] = self._now
