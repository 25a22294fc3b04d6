"""Optimistic mode: what is drafted, what is judged, what is sent, and where a search begins."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from world import World

from rain.engines.scripted import ScriptedEngine
from rain.search.asks import (
    CLAUSE_ENDS,
    Answer,
    AnyResult,
    Ask,
    Asked,
    Judge,
    Prefix,
    Sample,
    Score,
    Stopped,
    Usage,
    Withdrawn,
)
from rain.search.budget import Budget
from rain.search.events import BackedUp, Committed, Drafted, Event, LookedAhead, Outcome, Search, TakenBack, Tried
from rain.search.optimistic import Optimist, optimistic
from rain.search.settings import Settings
from rain.search.vanilla import vanilla

SETTINGS = Settings(
    score="soft", iterations_per_set=12, fresh_iterations=4, minimum_visits=2, threshold=0.3, redrafts=0
)


@dataclass
class Verdicts(World):
    """Texts with a bad word are bad, all others good."""

    engine: ScriptedEngine = field(default_factory=lambda: ScriptedEngine(seed=32))
    bad: Callable[[str], bool] = lambda text: False

    def judge(self, text: str) -> Score:
        return Score(-0.9, -1.0) if self.bad(text) else Score(0.9, 1.0)


@dataclass
class Seen:
    outcome: Outcome | None = None
    events: list[Event] = field(default_factory=list)
    asked: list[Ask] = field(default_factory=list)
    withdrawn: list[int] = field(default_factory=list)
    sent_unjudged: list[str] = field(default_factory=list)

    def of(self, kind: type) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def text(self) -> str:
        assert self.outcome
        return self.outcome.text


def prompt(world: World) -> Prefix:
    return Prefix((1, *world.engine.tokenizer.encode(" the movie was")))


def follow(running: Search, world: World, choose: Callable[[int], int] = lambda count: 0) -> Seen:
    seen, open_, gone = Seen(), [], []
    judged: set[str] = set()
    sent = ""
    answers: list[Answer] | None = None
    while True:
        try:
            out = next(running) if answers is None else running.send(answers)
        except StopIteration as end:
            seen.outcome = end.value
            return seen
        for item in out:
            if isinstance(item, Asked):
                open_.append(item)
                seen.asked.append(item.ask)
            elif isinstance(item, Withdrawn):
                seen.withdrawn.append(item.ticket)
                gone += [one for one in open_ if one.ticket == item.ticket]
                open_ = [one for one in open_ if one.ticket != item.ticket]
            else:
                seen.events.append(item)
                if isinstance(item, Committed):
                    sent += item.text
                    searched = item.stop not in ("draft", "redraft", "iterations") or item.iterations
                    if not searched and sent not in judged:
                        seen.sent_unjudged.append(sent)
                elif isinstance(item, TakenBack):
                    sent = sent.removesuffix(item.text)
        if not open_:  # what was withdrawn costs something all the same
            answers = [world.answer(one) for one in gone]
            gone = []
            continue
        asked = open_.pop(choose(len(open_)) % len(open_))
        if isinstance(asked.ask, Judge):
            judged.add(world.engine.tokenizer.decode(asked.ask.reply.path(asked.ask.prompt)))
        answers = [world.answer(asked)]


def together(running: Search, answer: Callable[[list[Asked], list[object]], list[Answer]]) -> Outcome:
    """All that is asked at once is answered at once, by ``answer``, which is shown all that came out."""
    out = next(running)
    while True:
        asked = [item for item in out if isinstance(item, Asked)]
        try:
            out = running.send(answer(asked, list(out)))
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome


def draft(world: World, hold_back: str = "reply", tokens: int = 40, seed: int = 0, **changes: object) -> Seen:
    settings = replace(SETTINGS, hold_back=hold_back, **changes)
    return follow(optimistic(prompt(world), settings, Budget(max_tokens=tokens), seed=seed), world)


def alone(world: World, tokens: int = 40, seed: int = 0) -> str:
    return follow(vanilla(prompt(world), SETTINGS, Budget(max_tokens=tokens), seed=seed), world).text


@pytest.mark.parametrize("hold_back", ["reply", "clause"])
@pytest.mark.parametrize("seed", range(5))
def test_a_draft_that_passes_is_vanillas_text_to_the_letter(hold_back: str, seed: int) -> None:
    world = Verdicts()
    seen = draft(world, hold_back, seed=seed)
    assert seen.text == alone(world, seed=seed)
    assert seen.outcome
    assert (seen.outcome.searches, seen.outcome.iterations) == (0, 0)
    assert seen.outcome.drafted == len(seen.outcome.tokens)
    assert seen.outcome.passed
    assert seen.outcome.score == Score(0.9, 1.0)


def test_a_good_draft_is_judged_once() -> None:
    seen = draft(Verdicts())
    assert sum(isinstance(ask, Judge) for ask in seen.asked) == 1


def test_only_what_stands_before_the_first_bad_clause_is_kept() -> None:
    world = Verdicts()
    text = alone(world)
    marks = [place + 1 for place, letter in enumerate(text) if letter.encode() in CLAUSE_ENDS]
    assert len(marks) > 2
    wrong = text[: marks[1]]
    world.bad = lambda judged: judged.startswith(wrong)
    for hold_back in ("reply", "clause"):
        seen = draft(world, hold_back)
        first = next(event for event in seen.events if isinstance(event, Committed))
        assert first.text == text[: marks[0]]
        failed = next(event for event in seen.of(Drafted) if not event.passed)
        assert failed.text == text[marks[0] : marks[1]]
        assert not seen.text.startswith(wrong)
        assert seen.text.startswith(text[: marks[0]])
        assert seen.outcome
        assert seen.outcome.searches == 1


def test_the_failed_clause_is_the_searchs_first_branch_and_not_judged_again() -> None:
    world = Verdicts()
    text = alone(world)
    world.bad = lambda judged: judged.startswith(text[: text.index("?") + 1])
    seen = draft(world)
    first, ahead = seen.of(Tried)[0], seen.of(LookedAhead)[0]
    failed = next(event for event in seen.of(Drafted) if not event.passed)
    assert first.text + ahead.text == failed.text
    backed = seen.of(BackedUp)[0]
    assert backed.judged_before
    assert backed.score == -0.9


def test_drafting_goes_on_behind_the_first_set_that_passes() -> None:
    world = Verdicts()
    text = alone(world)
    world.bad = lambda judged: judged.startswith(text[:12])
    seen = draft(world)
    kinds = [event.stop for event in seen.events if isinstance(event, Committed)]
    assert "threshold" in kinds
    assert kinds[kinds.index("threshold") + 1] == "draft"


def test_when_nothing_passes_the_limit_on_searches_ends_it() -> None:
    world = Verdicts(bad=lambda text: True)
    seen = draft(world, tokens=20, max_searches=2)
    assert seen.outcome
    assert not seen.outcome.passed
    assert seen.outcome.searches <= 2
    assert len(seen.outcome.tokens) <= 20
    assert seen.outcome.score == Score(-0.9, -1.0)


def whole_texts(seen: Seen, world: World) -> list[float]:
    """What whole texts were judged as: those of 40 tokens, and those that ended."""
    asks = [ask for ask in seen.asked if isinstance(ask, Judge)]
    texts = [world.engine.tokenizer.decode(ask.reply.path(ask.prompt)) for ask in asks if ask.complete]
    texts += [
        world.engine.tokenizer.decode(ask.reply.path(ask.prompt))
        for ask in asks
        if ask.reply.length - ask.prompt.length == 40
    ]
    return [world.judge(text).soft for text in texts]


@pytest.mark.parametrize("look_ahead", ["none", "answer"])
@pytest.mark.parametrize("redrafts", [0, 4])
@pytest.mark.parametrize("seed", range(12))
def test_a_reply_worse_than_the_best_whole_text_is_taken_back_for_it(seed: int, redrafts: int, look_ahead: str) -> None:
    world = World(engine=ScriptedEngine(seed=32))
    changes = {"gate": 0.99, "threshold": -1.0, "look_ahead": look_ahead, "redrafts": redrafts, "max_searches": 1}
    seen = draft(world, seed=seed, **changes)
    assert seen.outcome
    assert seen.outcome.score
    assert seen.outcome.score.soft == world.judge(seen.text).soft
    assert seen.outcome.score.soft >= max(whole_texts(seen, world))


def sent_at_the_end(seen: Seen) -> tuple[str, tuple[int, ...]]:
    """Text and tokens of all that was committed and not taken back."""
    text: str = ""
    tokens: tuple[int, ...] = ()
    for event in seen.events:
        if isinstance(event, Committed):
            text, tokens = text + event.text, tokens + event.tokens
        elif isinstance(event, TakenBack):
            assert event.tokens
            assert text.endswith(event.text)
            assert tokens[-len(event.tokens) :] == event.tokens
            text, tokens = text.removesuffix(event.text), tokens[: -len(event.tokens)]
    return text, tokens


def test_what_is_taken_back_and_given_instead_adds_up_to_the_reply() -> None:
    world = World(engine=ScriptedEngine(seed=32))
    taken = 0
    for seed in range(12):
        seen = draft(world, seed=seed, gate=0.99, threshold=-1.0, look_ahead="none", redrafts=4, max_searches=2)
        assert seen.outcome
        assert sent_at_the_end(seen) == (seen.text, seen.outcome.tokens)
        taken += len(seen.of(TakenBack))
    assert taken >= 3


PARTS = (b" the", b" a", b"?", b".", b"\n", *(bytes([one]) for one in sorted(set("é€😀".encode()))))
"""Of characters that several tokens make together."""


@hypothesis_settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10_000), st.sampled_from([0.6, 0.99]), st.sampled_from([-1.0, 0.3]), st.sampled_from([0, 3]),
    st.sampled_from(["none", "answer", "clause"]), st.sampled_from([None, 300, 800]),
)  # fmt: skip
def test_where_tokens_split_characters_what_was_sent_is_the_reply_all_the_same(
    seed: int, gate: float, threshold: float, redrafts: int, look_ahead: str, forward_tokens: int | None
) -> None:
    world = World(engine=ScriptedEngine(seed=seed % 7, pieces=PARTS))
    changes = {"gate": gate, "threshold": threshold, "redrafts": redrafts, "look_ahead": look_ahead}
    settings = replace(SETTINGS, **changes, minimum_visits=1, iterations_per_set=6, max_searches=3)
    seen = follow(optimistic(prompt(world), settings, Budget(20, None, forward_tokens), seed=seed), world)
    assert seen.outcome
    assert sent_at_the_end(seen) == (seen.text, seen.outcome.tokens)


def test_stopped_by_the_clock_it_takes_nothing_back_for_a_worse_text_or_the_same() -> None:
    world, gate, taken = World(engine=ScriptedEngine(seed=32)), 0.5, 0
    for seed, last, look_ahead in itertools.product(range(4), range(5, 300, 20), ("clause", "answer")):
        count, events = itertools.count(), []

        def answer(
            asked: list[Asked],
            out: list[object],
            *,
            count: Iterator[int] = count,
            events: list[Event] = events,
            last: int = last,
        ) -> list[Answer]:
            events.extend(item for item in out if isinstance(item, Committed | TakenBack))
            return [Answer(a.ticket, Stopped("deadline")) if next(count) > last else world.answer(a) for a in asked]

        settings = replace(SETTINGS, gate=gate, threshold=0.5, look_ahead=look_ahead)
        outcome = together(optimistic(prompt(world), settings, Budget(40), seed=seed), answer)
        if any(isinstance(event, TakenBack) for event in events):
            taken += 1
            before = committed_first(Seen(events=events))
            assert outcome.text != before
            assert outcome.score
            assert outcome.score.soft == world.judge(outcome.text).soft
            assert outcome.score.soft > min(gate, world.judge(before).soft)
    assert taken


def test_a_reply_that_passes_is_kept_though_another_text_was_judged_better() -> None:
    world = World(engine=ScriptedEngine(seed=32))
    better = 0
    for seed in range(40):
        seen = draft(world, seed=seed, gate=0.0, threshold=0.0, look_ahead="answer", max_searches=1)
        assert seen.outcome
        assert seen.outcome.score
        if seen.outcome.score.soft > 0:
            better += max(whole_texts(seen, world), default=-1) > seen.outcome.score.soft
            assert not seen.of(TakenBack) or world.judge(committed_first(seen)).soft <= 0
    assert better


def committed_first(seen: Seen) -> str:
    """All that was committed before anything was taken back."""
    events = seen.events[: next(i for i, event in enumerate(seen.events) if isinstance(event, TakenBack))]
    return "".join(event.text for event in events if isinstance(event, Committed))


def test_by_clause_nothing_is_taken_back_nor_where_it_was_cancelled() -> None:
    world = World(engine=ScriptedEngine(seed=32))
    for seed in range(12):
        assert not draft(world, "clause", seed=seed, gate=0.99, threshold=-1.0, redrafts=2).of(TakenBack)

    def answer(asked: list[Asked], out: list[object]) -> list[Answer]:
        events.extend(item for item in out if isinstance(item, Committed | TakenBack))
        stop = any(isinstance(item, Committed) for item in events)
        return [Answer(one.ticket, Stopped("cancelled")) if stop else world.answer(one) for one in asked]

    for seed in range(12):
        events: list[object] = []
        settings = replace(SETTINGS, gate=0.99, threshold=-1.0)
        assert together(optimistic(prompt(world), settings, Budget(40), seed=seed), answer).stopped_by == "cancelled"
        assert not any(isinstance(event, TakenBack) for event in events)


def test_nothing_is_sent_before_its_judgement() -> None:
    for seed in range(20):
        world = World(mood=0.5)
        for hold_back in ("reply", "clause"):
            assert draft(world, hold_back, seed=seed).sent_unjudged == []


@hypothesis_settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 10_000), st.sampled_from(["reply", "clause"]), st.integers(1, 30), st.integers(1, 4),
    st.sampled_from([0, 3]),
)  # fmt: skip
def test_answers_in_any_order_lose_nothing(seed: int, hold_back: str, tokens: int, leaves: int, redrafts: int) -> None:
    world, order = World(mood=0.3), random.Random(seed)
    settings = replace(SETTINGS, hold_back=hold_back, parallel_leaves=leaves, redrafts=redrafts)
    running = optimistic(prompt(world), settings, Budget(max_tokens=tokens), seed=seed)
    seen = follow(running, world, lambda count: order.randrange(count))
    assert seen.outcome
    assert len(seen.outcome.tokens) <= tokens
    committed, _ = sent_at_the_end(seen)
    assert committed.startswith(seen.text)
    assert seen.sent_unjudged == []


@hypothesis_settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 1000), st.integers(1, 30), st.sampled_from(["reply", "clause"]), st.sampled_from([-0.2, 0.4]),
    st.sampled_from([0, 1, 5]),
)  # fmt: skip
def test_no_budget_of_iterations_is_overrun(
    seed: int, iterations: int, hold_back: str, mood: float, redrafts: int
) -> None:
    world = World(mood=mood)
    # Sets pass easily and drafts hardly, so that a reply is searched for several times.
    settings = replace(SETTINGS, hold_back=hold_back, gate=0.5, threshold=0.1, minimum_visits=1, redrafts=redrafts)
    seen = follow(optimistic(prompt(world), settings, Budget(20, max_iterations=iterations), seed=seed), world)
    assert seen.outcome
    assert seen.outcome.iterations <= iterations
    assert seen.text


@pytest.mark.parametrize("hold_back", ["reply", "clause"])
def test_a_clause_drawn_anew_that_passes_takes_the_place_of_the_bad_one(hold_back: str) -> None:
    world = Verdicts()
    text = alone(world)
    marks = [place + 1 for place, letter in enumerate(text) if letter.encode() in CLAUSE_ENDS]
    world.bad = lambda judged: judged.startswith(text[: marks[1]])
    seen = draft(world, hold_back, redrafts=6)
    assert seen.outcome
    assert seen.outcome.searches == 1
    assert not seen.of(Tried)  # nothing was searched
    kept, new, *_ = seen.of(Committed)
    assert isinstance(kept, Committed)
    assert isinstance(new, Committed)
    assert kept.text == text[: marks[0]]
    assert new.text != text[marks[0] : marks[1]]
    assert new.stop == "redraft"
    assert new.text.encode().endswith(CLAUSE_ENDS) or seen.text.endswith(new.text)
    assert seen.outcome.passed
    assert seen.outcome.score == Score(0.9, 1.0)
    assert seen.sent_unjudged == []
    assert "".join(event.text for event in seen.of(Committed) if isinstance(event, Committed)) == seen.text


def test_clauses_drawn_anew_share_their_asks() -> None:
    world = Verdicts()
    text = alone(world)
    world.bad = lambda judged: judged.startswith(text[:12])
    settings = replace(SETTINGS, redrafts=6)
    running, rounds = optimistic(prompt(world), settings, Budget(40)), []
    out = next(running)
    try:
        while True:
            asked = [item for item in out if isinstance(item, Asked)]
            rounds.append([item.ask for item in asked])
            out = running.send([world.answer(one) for one in asked])
    except StopIteration:
        pass
    first = next(
        number for number, asks in enumerate(rounds)
        if any(isinstance(ask, Sample) and len(ask.seeds) == 2 for ask in asks)
    )  # fmt: skip
    # One question for the first tokens, then all the rest together, then all the judgements together.
    assert len(rounds[first]) == 1
    assert [type(ask) for ask in rounds[first + 1]] == [Sample, Sample]
    assert [type(ask) for ask in rounds[first + 2]] == [Judge, Judge]
    assert not any(isinstance(ask, Sample) and len(ask.seeds) == 4 for asks in rounds for ask in asks)


def test_where_the_first_few_fail_the_others_are_drawn_too() -> None:
    world = Verdicts()
    text = alone(world)
    drawn: list[str] = []

    def bad(judged: str) -> bool:
        drawn.append(judged)
        return judged.startswith(text[:12]) or len({one for one in drawn if not one.startswith(text[:12])}) < 3

    world.bad = bad
    seen = draft(world, redrafts=6)
    assert [len(ask.seeds) for ask in seen.asked if isinstance(ask, Sample) and len(ask.seeds) > 1] == [2, 4]
    assert seen.outcome
    assert seen.outcome.passed
    assert not seen.of(Tried)


@pytest.mark.parametrize("hold_back", ["reply", "clause"])
def test_where_none_of_them_passes_the_bad_clause_of_the_best_is_the_searchs_first_branch(hold_back: str) -> None:
    scores: dict[str, float] = {}

    class Ranked(Verdicts):
        def judge(self, text: str) -> Score:
            scores[text] = -0.9 + 0.1 * (len(text) % 7) / 7
            return Score(scores[text], -1.0)

    world = Ranked()
    seen = draft(world, hold_back, redrafts=6, tokens=12)
    first, ahead, backed = seen.of(Tried)[0], seen.of(LookedAhead)[0], seen.of(BackedUp)[0]
    assert isinstance(first, Tried)
    assert isinstance(ahead, LookedAhead)
    assert isinstance(backed, BackedUp)
    branch = first.text + ahead.text
    assert backed.judged_before
    assert backed.score == scores[branch]
    if hold_back == "clause":
        failed = [event for event in seen.of(Drafted) if isinstance(event, Drafted)]
        assert backed.score == max(event.score for event in failed[:2])
    else:  # the beginning of the best of the whole drafts
        wholes = [
            world.engine.tokenizer.decode(ask.reply.path(ask.prompt))
            for ask in seen.asked
            if isinstance(ask, Judge) and len(ask.reply.path(ask.prompt)) == 12
        ]
        best = max(wholes[1:7], key=lambda text: scores[text])
        assert best.startswith(branch)


def test_clauses_drawn_anew_do_not_use_up_the_searches() -> None:
    world = Verdicts()
    seen_before: set[int] = set()

    def bad(judged: str) -> bool:  # every clause fails when it is first drafted, and passes as soon as it is drawn anew
        clause = sum(judged.encode().count(mark) for mark in CLAUSE_ENDS)
        fails = clause not in seen_before
        seen_before.add(clause)
        return fails

    world.bad = bad
    seen = draft(world, "clause", redrafts=4, max_searches=1)
    assert seen.outcome
    assert seen.outcome.searches > 2
    assert not seen.of(Tried)
    assert seen.outcome.passed


@pytest.mark.parametrize("hold_back", ["reply", "clause"])
@pytest.mark.parametrize("seed", [0, 3, 4, 5])  # texts of several clauses
def test_a_stop_string_may_begin_in_what_is_committed(hold_back: str, seed: int) -> None:
    world = Verdicts()
    text = alone(world, seed=seed)
    marks = [place + 1 for place, letter in enumerate(text) if letter.encode() in CLAUSE_ENDS]
    world.bad = lambda judged: judged.startswith(text[: marks[1]])
    for following in sorted({text[mark : mark + 2] for mark in marks} | {" a", " I", " t"}):
        stop = text[marks[0] - 1 : marks[0]] + following
        settings = replace(SETTINGS, hold_back=hold_back, redrafts=8)
        seen = follow(optimistic(prompt(world), settings, Budget(40), seed=seed, stop=(stop,)), world)
        assert seen.outcome
        assert stop not in seen.text


def test_cancelled_while_it_draws_anew_it_has_not_ended() -> None:
    for seed in range(40):
        world = Verdicts()
        first = follow(vanilla(prompt(world), SETTINGS, Budget(200), seed=seed), world).outcome
        if first and first.finish == "stop":
            break
    text = first.text if first else ""
    world.bad = lambda judged: judged == text
    running = optimistic(prompt(world), replace(SETTINGS, redrafts=4), Budget(200), seed=seed)
    out, outcome = next(running), None
    while outcome is None:
        asked = [item for item in out if isinstance(item, Asked)]
        anew = any(isinstance(item, Drafted) and not item.passed for item in out)
        try:
            out = running.send(
                [Answer(one.ticket, Stopped("cancelled")) if anew else world.answer(one) for one in asked]
            )
        except StopIteration as end:
            outcome = end.value
    assert outcome.stopped_by == "cancelled"
    assert len(outcome.text) < len(text)
    assert outcome.finish == "length"


@pytest.mark.parametrize("why", ["cancelled", "deadline"])
def test_what_stops_the_last_draft_is_told(why: Literal["cancelled", "deadline"]) -> None:
    world = World(mood=-0.6)
    settings = replace(SETTINGS, gate=0.9, redrafts=0, iterations_per_set=4)
    tried = 0

    def answer(asked: list[Asked], out: list[object]) -> list[Answer]:
        nonlocal tried
        tried += sum(isinstance(item, Tried) for item in out)
        last = tried > 0 and any(isinstance(one.ask, Sample) and one.ask.purpose == "draft" for one in asked)
        return [Answer(one.ticket, Stopped(why)) if last else world.answer(one) for one in asked]

    outcome = together(optimistic(prompt(world), settings, Budget(40, max_iterations=6), seed=1), answer)
    assert outcome.stopped_by == why


def test_a_short_draft_is_not_taken_for_a_long_one() -> None:
    model = ScriptedEngine(seed=32)
    world = Verdicts(model)
    text = alone(world, tokens=400)
    first = follow(vanilla(prompt(world), SETTINGS, Budget(400)), world).outcome
    assert first
    assert first.finish == "stop"  # it ends by itself, long before it must
    assert len(first.tokens) < 200
    world.bad = lambda judged: judged.startswith(text[:10])
    budget = Budget(max_tokens=2000, max_forward_tokens=3000)
    seen = follow(optimistic(prompt(world), replace(SETTINGS, redrafts=8), budget), world)
    assert seen.outcome
    assert seen.outcome.passed
    assert seen.outcome.searches


@pytest.mark.parametrize("redrafts", [0, 3])
def test_where_the_iterations_end_the_rest_is_drafted(redrafts: int) -> None:
    for seed in range(8):
        world = World(mood=-0.6)
        settings = replace(SETTINGS, gate=0.9, redrafts=redrafts)
        seen = follow(optimistic(prompt(world), settings, Budget(24, max_iterations=9), seed=seed), world)
        outcome = seen.outcome
        assert outcome
        assert outcome.stopped_by == "budget"
        assert len(outcome.tokens) == 24 or outcome.finish == "stop"
        assert outcome.score is not None
        assert not outcome.passed
        assert outcome.iterations <= 9


@dataclass
class Dear(Verdicts):
    """The first judgement reads the judge's prompts."""

    asked: int = 0

    def _result(self, ask: Ask) -> tuple[AnyResult, Usage]:
        result, usage = super()._result(ask)
        if isinstance(ask, Judge):
            self.asked += 1
            usage = replace(usage, forward_tokens=1500 if self.asked == 1 else 60)
        return result, usage


@pytest.mark.parametrize("limit", [12000, 20000])
def test_a_draft_is_looked_into_once_the_budget_turns_out_to_pay_for_a_search(limit: int) -> None:
    start, world = alone(Verdicts()), Dear()
    clause = next(place for place, letter in enumerate(start, 1) if letter.encode() in CLAUSE_ENDS)
    world.bad = lambda text: not start[:clause].startswith(text)
    settings = replace(SETTINGS, minimum_visits=6, redrafts=8)
    seen = follow(optimistic(prompt(world), settings, Budget(40, None, limit)), world)
    (first, *_) = [event for event in seen.events if isinstance(event, Committed | Tried)]
    assert seen.of(Tried)
    assert isinstance(first, Committed), "what is good of the draft is kept before anything is searched"
    assert seen.outcome
    assert seen.outcome.usage.forward_tokens <= limit


@pytest.mark.parametrize(
    "budget", [Budget(24, max_iterations=4), Budget(24, max_forward_tokens=450)], ids=["iterations", "forward tokens"]
)
def test_where_nothing_can_be_searched_the_best_whole_draft_is_the_reply(budget: Budget) -> None:
    world = World(mood=-0.6)
    settings = replace(SETTINGS, gate=0.9, redrafts=4)
    seen = follow(optimistic(prompt(world), settings, budget), world)
    assert seen.outcome
    assert seen.outcome.stopped_by == "budget"
    assert not seen.of(Tried)
    wholes = [
        ask for ask in seen.asked if isinstance(ask, Judge) and (ask.complete or len(ask.reply.path(ask.prompt)) == 24)
    ]
    best = max(world.judge(world.engine.tokenizer.decode(ask.reply.path(ask.prompt))).soft for ask in wholes)
    assert seen.outcome.score
    assert seen.outcome.score.soft == best
    if budget.max_forward_tokens:
        assert len(wholes) > 1 + 2 * settings.redrafts, "draws go on with what no search could use"


def test_by_clause_too_small_a_budget_sends_the_best_clause_and_goes_on() -> None:
    world = World(mood=-0.6)
    settings = replace(SETTINGS, gate=0.9, redrafts=4, hold_back="clause")
    seen = follow(optimistic(prompt(world), settings, Budget(40, max_forward_tokens=500), seed=1), world)
    assert seen.outcome
    assert seen.outcome.stopped_by == "budget"
    assert not seen.outcome.passed
    assert not seen.of(Tried)
    assert seen.sent_unjudged == []
    settled = [event for event in seen.events if isinstance(event, Committed) and event.stop == "iterations"]
    assert len(settled) > 1
    assert seen.outcome.usage.forward_tokens > 250


class Priced(World):
    """A judgement takes 60 forward tokens."""

    def _result(self, ask: Ask) -> tuple[AnyResult, Usage]:
        result, usage = super()._result(ask)
        return result, replace(usage, forward_tokens=60) if isinstance(ask, Judge) else usage


@pytest.mark.parametrize("limit", [700, 1200, 2000, 3000])
def test_by_clause_a_reply_that_had_to_settle_reaches_its_end_all_the_same(limit: int) -> None:
    for seed in range(8):
        settings = replace(SETTINGS, gate=0.3, redrafts=4, hold_back="clause")
        world = Priced()
        seen = follow(optimistic(prompt(world), settings, Budget(60, max_forward_tokens=limit), seed=seed), world)
        assert seen.outcome
        # Nothing stops this world's overspending: judgements under way may take a last token's room.
        assert len(seen.outcome.tokens) >= 59 or seen.outcome.finish == "stop"


@pytest.mark.parametrize("why", ["budget", "no_room", "deadline"])
def test_what_stops_a_draft_together_with_a_bad_judgement_loses_no_text(
    why: Literal["budget", "no_room", "deadline"],
) -> None:
    world = Verdicts(bad=lambda text: True)

    def answer(asked: list[Asked], out: list[object]) -> list[Answer]:
        judged = any(isinstance(one.ask, Judge) for one in asked)
        return [
            Answer(one.ticket, Stopped(why)) if judged and isinstance(one.ask, Sample) else world.answer(one)
            for one in asked
        ]

    outcome = together(optimistic(prompt(world), replace(SETTINGS, hold_back="clause"), Budget(40), seed=0), answer)
    assert outcome.stopped_by == why
    assert outcome.text


class Free(World):
    """Nothing costs anything, as where all of it is cached."""

    def _result(self, ask: Ask) -> tuple[AnyResult, Usage]:
        return super()._result(ask)[0], Usage()


def test_draws_that_cost_nothing_do_not_go_on_for_ever() -> None:
    world = Free(mood=-0.6)
    settings = replace(SETTINGS, gate=0.9, redrafts=4, minimum_visits=12)
    seen = follow(optimistic(prompt(world), settings, Budget(24, max_forward_tokens=600)), world)
    assert seen.outcome
    assert len(seen.of(Drafted)) < 30


@pytest.mark.parametrize("hold_back", ["reply", "clause"])
def test_stopped_it_gives_the_best_it_knows_and_says_so(hold_back: str) -> None:
    world = Verdicts()
    settings = replace(SETTINGS, hold_back=hold_back)
    running = optimistic(prompt(world), settings, Budget(40))
    out = next(running)
    count = 0
    while True:
        asked = [item for item in out if isinstance(item, Asked)]
        count += 1
        try:
            if count > 2:
                out = running.send([Answer(one.ticket, Stopped("deadline")) for one in asked])
            else:
                out = running.send([world.answer(one) for one in asked])
        except StopIteration as end:
            outcome = end.value
            break
    assert outcome.stopped_by == "deadline"
    assert outcome.text
    assert not outcome.passed


def test_a_stop_string_ends_a_draft_and_is_not_judged() -> None:
    world = Verdicts()
    text = alone(world)
    stop = text[10:14]
    for hold_back in ("reply", "clause"):
        settings = replace(SETTINGS, hold_back=hold_back)
        seen = follow(optimistic(prompt(world), settings, Budget(40), stop=(stop,)), world)
        assert seen.outcome
        assert seen.text == text[: text.index(stop)]
        assert seen.outcome.finish == "stop"
        judged = [
            world.engine.tokenizer.decode(ask.reply.path(ask.prompt)) for ask in seen.asked if isinstance(ask, Judge)
        ]
        assert not any(stop in one for one in judged)


def test_clauses_are_judged_while_the_next_is_drafted() -> None:
    world = Verdicts()
    running = optimistic(prompt(world), replace(SETTINGS, hold_back="clause"), Budget(40))
    out, together = next(running), 0
    try:
        while True:
            asked = [item for item in out if isinstance(item, Asked)]
            kinds = {type(item.ask) for item in asked}
            together += kinds == {Judge, Sample}
            out = running.send([world.answer(one) for one in asked])
    except StopIteration:
        pass
    assert together >= 2


def test_the_searched_set_and_what_was_kept_are_one_chain() -> None:
    world = Verdicts()
    text = alone(world)
    world.bad = lambda judged: judged.startswith(text[:15])
    one = Optimist(prompt(world), SETTINGS, Budget(40))
    seen = follow(one.run(), world)
    assert seen.outcome
    assert world.engine.tokenizer.decode(seen.outcome.tokens).startswith(seen.text)
