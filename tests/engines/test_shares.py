"""Whose turn it is in a step: everybody's fair share, nobody's saved-up claims. Simulated, without any model."""

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from rain.engines.shares import Owner, Shares


def steps(capacity: int, wanted: dict[Owner, list[int]], count: int, shares: Shares[int]) -> Counter[Owner]:
    """``count`` steps in each of which every owner wants chunks of these sizes; what everybody got."""
    got: Counter[Owner] = Counter()
    for _ in range(count):
        left = capacity
        owners = [owner for owner, sizes in wanted.items() for _ in sizes]
        shares.line_up(zip(owners, [size for sizes in wanted.values() for size in sizes], strict=True))
        while left and (size := shares.next()):
            owner = shares._served
            assert isinstance(owner, Owner)
            taken = min(size, shares.most(left))
            again = size - taken if taken < min(size, left) else None
            left -= taken
            got[owner] += taken
            shares.charge(taken, again)
        shares.settle()
    return got


def test_eight_leaves_and_long_questions_get_no_more_than_one_who_asks_for_as_much_as_his_share() -> None:
    greedy, modest = Owner(), Owner()
    got = steps(64, {greedy: [60] * 8, modest: [4] * 8}, 100, Shares())
    assert got[modest] == 100 * 32
    got = steps(64, {greedy: [60] * 8, modest: [10] * 8}, 300, Shares())
    assert 0.8 < got[modest] / got[greedy] < 1.25


def test_who_asks_for_little_gets_it_in_every_step() -> None:
    greedy, small = Owner(), Owner()
    got = steps(64, {greedy: [30] * 8, small: [5]}, 100, Shares())
    assert got[small] == 5 * 100
    assert got[greedy] == 59 * 100


def test_a_newcomer_starts_where_the_poorest_of_those_left_wanting_stands() -> None:
    old, small, new = Owner(), Owner(), Owner()
    shares: Shares[int] = Shares()
    steps(64, {old: [64, 64], small: [1]}, 1000, shares)
    got = steps(64, {old: [16] * 4, small: [1], new: [16] * 4}, 20, shares)
    assert 0.8 < got[old] / got[new] < 1.25


def test_who_asked_for_little_has_saved_up_nothing_when_he_asks_for_much() -> None:
    old, small = Owner(), Owner()
    shares: Shares[int] = Shares()
    steps(64, {old: [64, 64], small: [1]}, 1000, shares)
    got = steps(64, {old: [16] * 4, small: [16] * 4}, 20, shares)
    assert 0.8 < got[old] / got[small] < 1.25


def test_what_was_had_while_there_was_enough_for_all_is_forgotten() -> None:
    first, second = Owner(), Owner()
    shares: Shares[int] = Shares()
    steps(64, {first: [50]}, 1000, shares)
    got = steps(64, {first: [16] * 4, second: [16] * 4}, 20, shares)
    assert 0.8 < got[first] / got[second] < 1.25


def test_the_oldest_wish_comes_first_and_one_owner_is_served_in_order() -> None:
    shares: Shares[int] = Shares()
    shares.line_up((None, size) for size in (3, 1, 2))
    served = []
    while (size := shares.next()) is not None:
        served.append(size)
        shares.charge(size)
    assert served == [3, 1, 2]


def test_what_was_cut_short_comes_again_when_all_had_their_turn() -> None:
    long, short = Owner(), Owner()
    shares: Shares[str] = Shares()
    shares.line_up([(long, "long"), (short, "short")])
    served = []
    while (wish := shares.next()) is not None:
        served.append(wish)
        shares.charge(9, again="the rest" if wish == "long" else None)
    assert served == ["long", "short", "the rest"]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), owners=st.integers(2, 8), capacity=st.integers(20, 200))
def test_who_always_wants_more_than_his_share_gets_it_whatever_the_others_do(
    seed: int, owners: int, capacity: int
) -> None:
    """Others come, go, and ask for anything; one asks for the whole step every time, in chunks."""
    chance = random.Random(seed)
    steady, *others = [Owner() for _ in range(owners)]
    shares: Shares[int] = Shares()
    largest, count, got, fair = 20, 200, 0, 0.0
    for _ in range(count):
        here = {other: [chance.randint(1, largest) for _ in range(chance.randint(1, 20))] for other in others
                if chance.random() < 0.7}  # fmt: skip
        wanted = {**here, steady: [10] * (capacity // 10 + 1)}
        got += steps(capacity, wanted, 1, shares)[steady]
        fair += capacity / len(wanted)
    assert got >= 0.8 * fair - owners * largest
