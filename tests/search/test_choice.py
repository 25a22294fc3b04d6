"""Which child is committed, and from when on nothing can change that."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rain.search.asks import Prefix
from rain.search.choice import is_decided, leader
from rain.search.settings import Settings
from rain.search.tree import Node

VISITS = Settings(commit="visits", node_addition=False)
BOUND = Settings(commit="bound", doubt=0.5, node_addition=False)


def child(visits: float, value: float) -> Node:
    return Node(Prefix((1,)), visits=visits, real_visits=int(visits), value=value)


def first(children: list[Node], settings: Settings) -> int:
    """The place of the one that would be committed."""
    found = leader(children, settings)
    assert found
    return next(place for place, one in enumerate(children) if one is found)


def test_the_most_visited_is_committed_ties_by_value_then_the_first() -> None:
    assert first([child(2, 0.9), child(3, 0.1)], VISITS) == 1
    assert first([child(3, 0.1), child(3, 0.2)], VISITS) == 1
    assert first([child(3, 0.2), child(3, 0.2)], VISITS) == 0
    assert leader([], VISITS) is None


def test_by_its_bound_a_good_child_beats_one_that_was_visited_more_but_not_one_that_is_well_known() -> None:
    assert first([child(9, 0.1), child(3, 0.8)], BOUND) == 1
    assert first([child(9, 0.7), child(1, 0.9)], BOUND) == 0
    assert first([child(0, 0.0), child(1, -0.9)], BOUND) == 1


@pytest.mark.parametrize("commit", ["visits", "bound"])
@given(
    known=st.lists(st.tuples(st.integers(0, 12), st.floats(-1, 1)), min_size=1, max_size=3),
    left=st.integers(0, 3),
    doubt=st.floats(0, 1),
)
def test_what_is_decided_no_iteration_that_is_left_can_change(
    commit: Literal["visits", "bound"], known: list[tuple[int, float]], left: int, doubt: float
) -> None:
    settings = replace(BOUND, commit=commit, doubt=doubt)
    children = [child(visits, value if visits else 0.0) for visits, value in known]
    if not is_decided(children, settings, left):
        return
    now = first(children, settings)
    for course in product(product(range(len(children)), (-1.0, 1.0)), repeat=left):
        after = [child(one.visits, one.value) for one in children]
        for place, score in course:
            one = after[place]
            one.value = (one.value * one.visits + score) / (one.visits + 1)
            one.visits += 1
        assert first(after, settings) == now


@pytest.mark.parametrize("settings", [VISITS, BOUND])
def test_a_clear_lead_is_decided_and_a_narrow_one_is_not(settings: Settings) -> None:
    assert is_decided([child(9, 0.9), child(2, -0.9)], settings, 1)
    assert not is_decided([child(4, 0.3), child(3, 0.3)], settings, 2)
    assert not is_decided([], settings, 1)
    alone = [child(20, -0.3), child(10, -0.9)]
    may_be_added = replace(settings, node_addition=True)
    assert not is_decided(alone, may_be_added, 1) or settings.commit == "visits"
    assert is_decided([child(4, 0.3), child(1, 0.1)], settings, -3), "a paced budget may be overspent"
