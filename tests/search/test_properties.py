"""What recordings cannot show: invariants of every search, on scripted worlds."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from world import World, play

from rain.engines.scripted import ScriptedEngine
from rain.search.asks import Judge, Prefix
from rain.search.budget import Budget
from rain.search.events import Added, BackedUp, Committed, Event, Expanded, Tried
from rain.search.loop import Loop
from rain.search.settings import Settings, changed
from rain.search.tree import Node, Tree

SMALL = {"iterations_per_set": 12, "fresh_iterations": 6, "minimum_visits": 2}
worlds = st.builds(
    World,
    engine=st.builds(ScriptedEngine, seed=st.integers(0, 50)),
    mood=st.sampled_from([-0.7, 0.0, 0.6]),
    clash=st.sampled_from([0.0, 0.6, 0.95]),
)
variants = st.fixed_dictionaries(
    {
        "variant": st.sampled_from(["released", "paper"]),
        "expansion": st.sampled_from(["lazy", "eager"]),
        "score": st.sampled_from(["hard", "soft"]),
        "similarity": st.booleans(),
        "node_addition": st.booleans(),
        "exploration": st.sampled_from([0.0, 2.0]),
        "temperature": st.sampled_from([1.0, 2.0]),
        "max_draws": st.sampled_from([9, 19]),
        "look_ahead": st.sampled_from(["clause", "answer", "none"]),
        "parallel_leaves": st.sampled_from([1, 2, 5]),
    }
)
few = examples(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def constants(values: dict[str, Any]) -> Settings:
    return changed(Settings(), {**SMALL, "similarity_threshold": 0.9, **values})


def all_nodes(node: Node) -> list[Node]:
    return [node] + [deeper for child in node.children for deeper in all_nodes(child)]


@few
@given(worlds, variants, st.integers(0, 3))
def test_visits_never_fall_and_values_stay_in_range(world: World, values: dict[str, Any], seed: int) -> None:
    seen: dict[int, tuple[Node, float, int]] = {}

    def watch(loop: Loop, events: list[Event]) -> None:
        for node in all_nodes(loop.tree.root):
            _, visits, real = seen.get(id(node), (node, 0.0, 0))
            assert node.visits >= visits
            assert node.real_visits >= real
            assert node.visits >= node.real_visits - 1e-9
            assert -1 - 1e-9 <= node.value <= 1 + 1e-9
            seen[id(node)] = (node, node.visits, node.real_visits)

    play(constants(values), Budget(max_tokens=12), world, seed=seed, watch=watch)


@few
@given(worlds, variants)
def test_priors_sum_to_one_when_made_and_when_mixed(world: World, values: dict[str, Any]) -> None:
    grown: set[int] = set()

    def watch(loop: Loop, events: list[Event]) -> None:
        if any(isinstance(event, Added) and event.added for event in events):
            grown.update(id(node) for node in all_nodes(loop.tree.root) if len(node.children) > 0)
        if any(isinstance(event, Committed) for event in events) and loop.tree.root.children:
            untouched = loop.tree.root.attempts == 0 and id(loop.tree.root) not in grown
            assert not untouched or sum(child.prior for child in loop.tree.root.children) == pytest.approx(1)
        for event in events:
            if isinstance(event, Expanded):
                assert sum(event.priors) == pytest.approx(1)
                assert all(prior >= 0 for prior in event.priors)

    play(constants(values), Budget(max_tokens=12), world, watch=watch)


@few
@given(worlds, variants, st.integers(0, 3))
def test_committed_text_is_never_taken_back(world: World, values: dict[str, Any], seed: int) -> None:
    committed: list[int] = []

    def watch(loop: Loop, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Committed):
                committed.extend(event.tokens)
        path = loop.tree.root.prefix.path(loop.prompt)
        assert tuple(committed[: len(path)]) == path

    run = play(constants(values), Budget(max_tokens=12), world, seed=seed, watch=watch)
    assert run.outcome.tokens == tuple(committed)
    assert len(run.outcome.tokens) <= 12


@few
@given(worlds, variants, st.integers(0, 1000))
def test_the_same_seed_gives_the_same_text(world: World, values: dict[str, Any], seed: int) -> None:
    first, second = (play(constants(values), Budget(max_tokens=10), world, seed=seed) for _ in range(2))
    assert first.events == second.events
    assert first.outcome == second.outcome


@few
@given(worlds, variants, st.integers(0, 1000))
def test_siblings_differ_whatever_the_order_of_answers(world: World, values: dict[str, Any], order: int) -> None:
    def watch(loop: Loop, events: list[Event]) -> None:
        for node in all_nodes(loop.tree.root):
            sets = [child.tokens for child in node.children]
            assert len(sets) == len(set(sets))

    world.mood, world.clash = -0.9, 0.95
    values = {**values, "parallel_leaves": 5, "node_addition": True, "candidates": 3, "variance_limit": 1}
    chance = random.Random(order)
    play(constants(values), Budget(max_tokens=6), world, choose=chance.randrange, watch=watch)


def test_another_seed_gives_another_text() -> None:
    texts = {play(constants({}), Budget(max_tokens=12), seed=seed).outcome.text for seed in range(6)}
    assert len(texts) > 1


@few
@given(worlds, variants, st.integers(0, 1000))
def test_answers_in_any_order_lose_nothing(world: World, values: dict[str, Any], order: int) -> None:
    values = {**values, "parallel_leaves": 6}
    chance = random.Random(order)
    run = play(constants(values), Budget(max_tokens=10), world, choose=chance.randrange)
    backed_up = [event for event in run.events if isinstance(event, BackedUp)]
    assert len(backed_up) == run.outcome.iterations
    assert len({event.iteration for event in backed_up}) == len(backed_up)
    # Each iteration that began was backed up, or its open asks were withdrawn.
    lost = {event.iteration for event in run.events if isinstance(event, Tried)} - {e.iteration for e in backed_up}
    assert len(lost) <= len(run.withdrawn)
    assert not run.loop.open
    assert all(node.in_flight == 0 and not node.busy for node in all_nodes(run.loop.tree.root))


@few
@given(worlds, variants, st.integers(0, 1000))
def test_leaves_in_flight_are_not_chosen_again(world: World, values: dict[str, Any], order: int) -> None:
    under_way: dict[int, tuple[tuple[int, ...], ...]] = {}

    def watch(loop: Loop, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Committed):
                under_way.clear()
            elif isinstance(event, Tried):
                assert event.path not in under_way.values()
                under_way[event.iteration] = event.path
            elif isinstance(event, BackedUp):
                under_way.pop(event.iteration, None)

    chance = random.Random(order)
    values = {**values, "parallel_leaves": 4}
    play(constants(values), Budget(max_tokens=8), world, choose=chance.randrange, watch=watch)


@few
@given(worlds, variants, st.integers(0, 3))
def test_lazy_and_eager_draw_the_same_candidates_and_search_alike(
    world: World, values: dict[str, Any], seed: int
) -> None:
    values = {**values, "parallel_leaves": 1}
    lazy, eager = (
        play(constants({**values, "expansion": expansion}), Budget(max_tokens=10), world, seed=seed)
        for expansion in ("lazy", "eager")
    )
    assert lazy.outcome.tokens == eager.outcome.tokens
    assert [e for e in lazy.events if isinstance(e, BackedUp)] == [e for e in eager.events if isinstance(e, BackedUp)]
    known = {(event.children, event.texts) for event in eager.events if isinstance(event, Expanded)}
    made = [(event.children, event.texts) for event in lazy.events if isinstance(event, Expanded)]
    assert set(made) <= known
    assert len(made) <= len([event for event in eager.events if isinstance(event, Expanded)])


@few
@given(worlds, variants, st.integers(1, 40), st.integers(1, 400))
def test_no_budget_is_overrun_and_the_best_known_text_comes_back(
    world: World, values: dict[str, Any], iterations: int, tokens: int
) -> None:
    budget = Budget(max_tokens=9, max_iterations=iterations)
    run = play(constants(values), budget, world)
    assert run.outcome.iterations <= iterations
    assert len(run.outcome.tokens) <= 9
    if run.outcome.stopped_by:
        assert run.outcome.stopped_by == "budget"
        assert run.outcome.score is not None, "the best known text is one that was judged"


@pytest.mark.parametrize("iterations", [1, 2, 7])
def test_a_spent_budget_commits_the_most_visited_path_and_its_look_ahead(iterations: int) -> None:
    run = play(constants({"minimum_visits": 1000}), Budget(max_iterations=iterations))
    commits = [event for event in run.events if isinstance(event, Committed)]
    assert [event.stop for event in commits] == ["stopped"] * len(commits)
    assert run.outcome.stopped_by == "budget"
    assert run.outcome.text == "".join(event.text for event in commits) != ""


@pytest.mark.parametrize("switch", ["similarity", "node_addition"])
def test_an_ablation_does_without(switch: str) -> None:
    world = World(mood=-0.9, clash=0.95)
    on, off = (
        play(constants({switch: state, "candidates": 3}), Budget(max_tokens=6), world) for state in ("on", "off")
    )

    def count(events: list[Event]) -> int:
        if switch == "node_addition":
            return sum(isinstance(event, Added) for event in events)
        return sum(len(event.similar) for event in events if isinstance(event, BackedUp))

    assert count(on.events) > 0
    assert count(off.events) == 0


def test_without_exploration_the_best_value_is_followed() -> None:
    run = play(constants({"exploration": 0, "score": "soft"}), Budget(max_tokens=6))
    tried = [event for event in run.events if isinstance(event, Tried)]
    free = play(constants({"exploration": 2, "score": "soft"}), Budget(max_tokens=6))
    assert len({event.path[:1] for event in tried}) < len(
        {event.path[:1] for event in free.events if isinstance(event, Tried)}
    )


def test_bounds_follow_unbounded_scores() -> None:
    world = World()
    plain = world.judge
    world.judge = lambda text: dataclasses.replace(plain(text), soft=5 * plain(text).soft)
    run = play(constants({"score": "soft"}), Budget(max_tokens=8), world)
    assert run.loop.tree.low < -1 < 1 < run.loop.tree.high


def test_a_stop_string_ends_the_reply_and_is_not_part_of_it() -> None:
    run = play(constants({}), Budget(max_tokens=60), stop=(" the",))
    assert run.outcome.finish == "stop"
    assert " the" not in run.outcome.text
    judged = [ask for ask in run.asked if type(ask).__name__ == "Judge"]
    decode = run.loop.candidates
    assert judged
    assert decode.stop == (" the",)
    for ask in judged:
        text = World().engine.tokenizer.decode(ask.reply.path(ask.prompt))
        assert " the" not in text


def test_a_stopped_search_says_whether_its_text_had_ended() -> None:
    ends = set()
    for seed in range(12):
        settings = constants({"look_ahead": "answer", "minimum_visits": 1000})
        run = play(settings, Budget(max_tokens=200, max_iterations=3), seed=seed)
        assert run.outcome.stopped_by == "budget"
        ended = 0 in run.outcome.tokens
        assert (run.outcome.finish == "stop") == ended
        ends.add(ended)
    assert True in ends


@pytest.mark.parametrize("iterations", [2, 5, 20, None])
def test_a_stop_string_across_token_sets_is_cut_from_text_and_judgement(iterations: int | None) -> None:
    stops = (" the movie", "he acting", " it was")
    for seed in range(6):
        run = play(constants({}), Budget(40, iterations), World(mood=-0.5), seed=seed, stop=stops)
        tokenizer = World().engine.tokenizer
        judged = [ask for ask in run.asked if isinstance(ask, Judge)]
        assert judged
        for text in [*(tokenizer.decode(ask.reply.path(ask.prompt)) for ask in judged), run.outcome.text]:
            assert not any(stop in text for stop in stops)


def test_the_same_text_is_judged_once() -> None:
    run = play(constants({}), Budget(max_tokens=12))
    judged = [ask.reply.path(ask.prompt) for ask in run.asked if type(ask).__name__ == "Judge"]
    assert len(judged) == len(set(judged))


def test_an_iteration_under_way_counts_as_a_visit_somewhat_below_the_childs_value() -> None:
    tree = Tree(Prefix((1,)), Settings(virtual_loss=0.5, exploration=0.0, first_play="parent"))
    parent, child = tree.root, Node(Prefix((2,)), visits=3.0, value=0.6)
    parent.children, parent.value = [child], 0.2

    def counted() -> float:
        return tree.selection_value(parent, child) * (tree.high - tree.low + 1e-5) + tree.low

    assert counted() == pytest.approx(0.6)
    child.in_flight = 1
    assert counted() == pytest.approx((3 * 0.6 + 0.1) / 4)
    child.visits, child.value = 0.0, 0.0
    assert counted() == pytest.approx(0.2 - 0.5)  # the parent's value stands in for the child's


def test_an_early_stop_changes_no_choice_and_saves_iterations() -> None:
    settings = Settings(iterations_per_set=30, score="soft", node_addition=False, threshold=1.0)
    saved = 0
    for seed in range(10):
        full = play(settings, Budget(max_tokens=1), seed=seed).outcome
        early = play(dataclasses.replace(settings, early_stop=True), Budget(max_tokens=1), seed=seed).outcome
        assert early.tokens == full.tokens
        assert early.iterations <= full.iterations
        saved += full.iterations - early.iterations
    assert saved > 0
