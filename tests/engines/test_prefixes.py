"""The table of prefixes counts cells exactly and never loses what somebody needs."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rain.engines.prefixes import PrefixTable, Tokens

SEQUENCES, CELLS = 5, 24


class Mirror:
    """A store that really keeps the tokens, to compare the table with."""

    def __init__(self) -> None:
        self.kept: dict[int, list[int]] = {}
        self.loses = False

    def copy(self, source: int, target: int, length: int) -> bool:
        assert not self.kept.get(target)
        self.kept[target] = self.kept[source][:length]
        return not self.loses

    def cut(self, sequence: int, length: int) -> bool:
        self.kept[sequence] = self.kept.get(sequence, [])[:length]
        return not (self.loses and length)


def path(*tokens: int) -> Tokens:
    return np.array(tokens, np.int32)


def grown(table: PrefixTable, mirror: Mirror, *tokens: int) -> int:
    sequence = table.open()
    table.extend(sequence, path(*tokens))
    table.settle()
    mirror.kept[sequence] = list(tokens)
    return sequence


@pytest.fixture
def mirror() -> Mirror:
    return Mirror()


@pytest.fixture
def table(mirror: Mirror) -> PrefixTable:
    return PrefixTable(SEQUENCES, CELLS, mirror)


def test_the_longest_common_beginning_is_found(table: PrefixTable, mirror: Mirror) -> None:
    grown(table, mirror, 1, 2, 3)
    longer = grown(table, mirror, 1, 2, 4, 5)
    assert table.match(path(1, 2, 4, 9)) == (longer, 3)
    assert table.match(path(7)) == (-1, 0)


def test_a_fork_shares_its_cells(table: PrefixTable, mirror: Mirror) -> None:
    first = grown(table, mirror, 1, 2, 3, 4)
    second = table.open()
    assert table.fork(first, 3, second)
    assert table.used == 4
    table.cut(first, 0)
    assert table.used == 3
    table.cut(second, 0)
    assert table.used == 0


def test_a_sequence_is_cut_to_the_longest_need(table: PrefixTable, mirror: Mirror) -> None:
    sequence = grown(table, mirror, *range(8))
    table.keep("short", sequence, 3)
    table.keep("long", sequence, 6)
    table.release(sequence)
    assert table.used == 6
    table.forget("long")
    assert table.used == 3
    table.forget("short")
    assert table.used == 0


def test_who_moves_leaves_nothing_behind(table: PrefixTable, mirror: Mirror) -> None:
    one, two = grown(table, mirror, 1, 2), grown(table, mirror, 1, 2)
    table.keep("key", one, 2)
    table.keep("key", two, 2)
    assert table.length[one] == 0
    assert table.kept("key") == 2


def test_the_one_used_longest_ago_goes_first_and_held_ones_stay(table: PrefixTable, mirror: Mirror) -> None:
    held, old, new = (grown(table, mirror, n) for n in (1, 2, 3))
    for name, sequence in (("h", held), ("o", old), ("n", new)):
        table.keep(name, sequence, 1)
    table.hold(held)
    assert table.evict()
    assert (table.kept("o"), table.kept("n")) == (0, 1)
    assert table.evict()
    assert not table.evict()
    assert table.length[held] == 1


def test_a_failed_step_is_taken_back(table: PrefixTable, mirror: Mirror) -> None:
    sequence = grown(table, mirror, 1, 2)
    table.extend(sequence, path(3))
    mirror.kept[sequence].append(3)
    table.unsettle()
    assert table.used == table.length[sequence] == 2


def test_what_the_store_lost_is_forgotten(table: PrefixTable, mirror: Mirror) -> None:
    sequence = grown(table, mirror, 1, 2, 3)
    table.keep("key", sequence, 3)
    mirror.loses = True
    assert not table.fork(sequence, 2, table.open())
    assert (table.used, table.kept("key")) == (0, 0)


def test_spare_counts_what_is_not_held(table: PrefixTable, mirror: Mirror) -> None:
    first = grown(table, mirror, 1, 2, 3)
    table.hold(first)
    second = table.open()
    table.fork(first, 2, second)
    table.extend(second, path(9, 9))
    assert table.spare == CELLS - 3
    table.hold(second)
    assert table.spare == CELLS - 5
    table.release(first)
    assert table.spare == CELLS - 4


class Machine(RuleBasedStateMachine):
    """Any order of operations; afterwards the table, a naive model of it, and the store agree."""

    def __init__(self) -> None:
        super().__init__()
        self.mirror = Mirror()
        self.table = PrefixTable(SEQUENCES, CELLS, self.mirror)
        self.keys: dict[int, tuple[int, ...]] = {}
        self.next = 0

    @rule(tokens=st.lists(st.integers(0, 2), min_size=1, max_size=8), hold=st.booleans())
    def compute(self, tokens: list[int], hold: bool) -> None:
        wanted = path(*tokens)
        source, common = self.table.match(wanted)
        while (target := self.table.open()) < 0:
            if not self.table.evict(spare=source):
                return
        if hold:
            self.table.hold(target)
        if common:
            assert self.table.fork(source, common, target)
        rest = wanted[common:]
        while len(rest) > self.table.free:
            if not self.table.evict(spare=target):
                self.table.release(target)
                return
        if len(rest):
            self.table.extend(target, rest)
            self.mirror.kept[target] = tokens
            self.table.settle()
        self.table.keep(self.next, target, len(tokens))
        self.keys[self.next] = tuple(tokens)
        self.next += 1

    @precondition(lambda self: self.keys)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.keys)))
        del self.keys[key]
        self.table.forget(key)

    @rule(sequence=st.integers(0, SEQUENCES - 1))
    def release(self, sequence: int) -> None:
        self.table.release(sequence)

    @rule()
    def evict(self) -> None:
        self.table.evict()

    @invariant()
    def kept_keys_find_their_tokens(self) -> None:
        for key, tokens in self.keys.items():
            if kept := self.table.kept(key):
                assert kept == len(tokens)
                assert self.table.match(path(*tokens))[1] == len(tokens)

    @invariant()
    def cells_are_counted_exactly(self) -> None:
        used = {
            int(cell)
            for sequence in range(SEQUENCES)
            for cell in self.table._cells[sequence, : int(self.table.length[sequence])]
        }
        held = {
            int(cell)
            for sequence in np.flatnonzero(self.table.held)
            for cell in self.table._cells[sequence, : int(self.table.length[sequence])]
        }
        assert self.table.used == len(used)
        assert self.table.spare == CELLS - len(held)
        free = self.table._free_cells[: self.table.free].tolist()
        assert len(set(free)) == len(free)
        assert not used & set(free)

    @invariant()
    def the_store_holds_the_same(self) -> None:
        for sequence in range(SEQUENCES):
            length = int(self.table.length[sequence])
            assert self.mirror.kept.get(sequence, []) == self.table._tokens[sequence, :length].tolist()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
