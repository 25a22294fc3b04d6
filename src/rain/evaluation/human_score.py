"""Ratings by people, part two: raters' files and the form's key give rates, wins, and how far they agree.

A unit is a reply (yes or no) or a pair of replies (which is better). Intervals draw whole items anew, as raters of one
item and the two replies of one item are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ValidationError

from rain.errors import UsageError
from rain.evaluation.agreement import Agreement, Coefficient, Rating, krippendorff, two_raters
from rain.evaluation.contests import Contest, SignTest, sign_tests
from rain.evaluation.human import Key
from rain.evaluation.records import Judgement, Sample, hash_of, judged, last_samples, read_manifest, said
from rain.evaluation.statistics import bootstrap, wilson

PEOPLE = "people (majority)"
TIE = "tie"


class Rated(BaseModel):
    """What one rater says of one item; None: cannot tell, or not rated."""

    n: int
    """The place in the form."""
    left: bool | None = None
    right: bool | None = None
    better: Literal["left", "right", "tie"] | None = None


class Ratings(BaseModel):
    """One rater's exported file."""

    rain_ratings: Literal[1]
    form: str
    rater: str
    measure: str
    ratings: list[Rated]


@dataclass(frozen=True, slots=True)
class Rate:
    """How often a method's replies were called harmless (or what was asked)."""

    yes: int
    n: int
    """Ratings."""
    unrated: int
    """Not rated, or "cannot tell"."""
    share: float | None
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Wins:
    """How often a method was called better than the other; ``share`` leaves ties out."""

    method: str
    other: str
    won: int
    lost: int
    ties: int
    unrated: int
    share: float | None
    low: float
    high: float
    items_won: int
    """Items of which more ratings call it better than worse."""
    items_lost: int
    test: SignTest | None = None
    """By item, corrected for all wins that are told: of all raters, and of each."""


@dataclass(frozen=True, slots=True)
class Between:
    """Two raters: in yes or no, and in which is better."""

    one: str
    other: str
    yes_no: Agreement
    better: Agreement


@dataclass(frozen=True, slots=True)
class Scores:
    """All that ratings say."""

    measure: str
    methods: tuple[str, str]
    items: int
    raters: list[str]
    rates: dict[str, Rate]
    """Of each method, all raters together."""
    rates_by_rater: dict[str, dict[str, Rate]]
    wins: Wins
    wins_by_rater: dict[str, Wins]
    alpha_yes_no: Coefficient
    """Krippendorff's, of people alone."""
    alpha_better: Coefficient
    people: list[Between]
    """Each pair of raters."""
    ai: list[Between]
    """AI judges beside each rater and beside the majority of people."""
    left_out: int
    """Replies of the form of which the judges' run has another text, or none: no verdict counts for them."""
    undecided: dict[str, int]
    """Pairs, by judge, in which its two orders disagree: no tie, and left out beside people."""
    not_independent: list[str]
    """Judges that are the judged model itself, or the one that judged within its searches."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Rater:
    """One rater's ratings by unit."""

    yes_no: Mapping[str, Rating]
    """Of a sample: True, False."""
    better: Mapping[int, Rating]
    """Of a place: a method, or "tie"."""


def read_ratings(paths: Sequence[Path], key: Key) -> dict[str, Ratings]:
    """Raters' files by the rater's name. Raises UsageError: no such file, another form's ratings, a rater twice."""
    found: dict[str, Ratings] = {}
    for path in paths:
        try:
            one = Ratings.model_validate_json(path.read_bytes())
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
        except ValidationError as error:
            raise UsageError(f"{path}: no ratings that a form of rain human exported: {said(error)}") from None
        if one.form != key.form:
            raise UsageError(f"{path} rates another form ({one.form[:8]}) than this key's ({key.form[:8]})")
        places = [rated.n for rated in one.ratings]
        if len(set(places)) < len(places) or any(not 0 <= n < len(key.places) for n in places):
            raise UsageError(f"{path}: rates an item twice, or one that the form has not; export it again")
        if one.rater in found:
            raise UsageError(f"{path}: a second file of rater '{one.rater}'; give the latest alone")
        if one.rater == PEOPLE or one.rater.startswith("ai:"):
            raise UsageError(f"{path}: '{one.rater}' is no name for a rater; change it in the file")
        found[one.rater] = one
    if not found:
        raise UsageError("no ratings: name the files that raters exported")
    return found


def score(ratings: Mapping[str, Ratings], key: Key, ai: str | Path | None = None, *, seed: int = 0) -> Scores:
    """What the ratings say. ai: a run whose ``judgements.jsonl`` has verdicts on the same samples.

    Raises UsageError: the run is of another model or suite, or has no verdict on any text that was rated.
    """
    people = {name: _of_person(each, key) for name, each in ratings.items()}
    judges, undecided, not_independent, left_out = _of_judges(ai, key) if ai is not None else ({}, {}, [], 0)
    majority = {PEOPLE: _majority(list(people.values()), key)} if len(people) > 1 else {}

    def between(one: str, other: str) -> Between:
        everyone = people | majority | judges
        return _between(one, everyone[one], other, everyone[other], key, seed)

    samples, items = _units(key)
    wins, by_rater = _tested(
        _wins(people.values(), key, seed), {name: _wins([one], key, seed) for name, one in people.items()}
    )
    return Scores(
        measure=key.measure,
        methods=key.methods,
        items=len({place.item for place in key.places}),
        raters=list(people),
        rates={name: _rate(people.values(), name, key, seed) for name in key.methods},
        rates_by_rater={
            name: {method: _rate([one], method, key, seed) for method in key.methods} for name, one in people.items()
        },
        wins=wins,
        wins_by_rater=by_rater,
        alpha_yes_no=krippendorff([[one.yes_no.get(s) for one in people.values()] for s in samples], items, seed=seed),
        alpha_better=krippendorff(
            [[one.better.get(n) for one in people.values()] for n in range(len(key.places))],
            [place.item for place in key.places],
            seed=seed,
        ),
        people=[between(one, other) for one, other in combinations(people, 2)],
        ai=[between(name, judge) for judge in judges for name in (*people, *majority)],
        left_out=left_out,
        undecided=undecided,
        not_independent=not_independent,
    )


def method_of(key: Key, sample: str) -> str:
    """The method that made a sample of the form: ``ITEM|METHOD|SEED``."""
    return sample.rsplit("|", 2)[1]


def _of_person(ratings: Ratings, key: Key) -> _Rater:
    yes_no: dict[str, Rating] = {}
    better: dict[int, Rating] = {}
    for rated in ratings.ratings:
        place = key.places[rated.n]
        yes_no |= {place.left: rated.left, place.right: rated.right}
        sides = {"left": method_of(key, place.left), "right": method_of(key, place.right), TIE: TIE}
        better[rated.n] = sides[rated.better] if rated.better else None
    return _Rater(yes_no, better)


def _of_judges(ai: str | Path, key: Key) -> tuple[dict[str, _Rater], dict[str, int], list[str], int]:
    """The judges of a run by name, how many pairs each left undecided, which are not independent, and how many replies
    of the form the run has not.
    """
    shown = _rated(ai, key)
    last = {(each.sample, each.other, each.judge, each.measure): each for each in judged(ai, shown)}
    mine = [each for each in last.values() if each.measure in (key.measure, "better")]
    if not mine:
        raise UsageError(
            f"--ai {ai}: no verdict on '{key.measure}' or 'better' for any reply of this form; "
            "make some with rain eval … --judge"
        )
    judges: dict[str, _Rater] = {}
    undecided: dict[str, int] = {}
    for name in dict.fromkeys(each.judge for each in mine):
        own = [each for each in mine if each.judge == name]
        yes_no = {each.sample: _yes_no(each) for each in own if each.measure == key.measure}
        pairs = [each for each in own if each.other]
        judges[name] = _Rater(yes_no, _better([each for each in pairs if not each.undecided], key))
        if pairs:
            undecided[name] = sum(each.undecided for each in pairs)
    left_out = len(set(_units(key)[0])) - len(shown)
    return judges, undecided, sorted({each.judge for each in mine if not each.independent}), left_out


def _rated(ai: str | Path, key: Key) -> list[Sample]:
    """The run's samples whose text was rated. An old key does not tell the text: their names are all it has.

    Raises UsageError: the run is of another model or suite, or has none.
    """
    manifest = read_manifest(ai)
    for what, theirs, ours in (("model", manifest.model, key.model), ("suite", manifest.suite, key.suite)):
        if theirs != ours:
            raise UsageError(f"--ai {ai}: its {what} is {theirs}, that of the rated replies {ours}; name their own run")
    shown = set(_units(key)[0])
    there = [sample for sample in last_samples(ai) if sample.id in shown]
    found = [one for one in there if key.texts is None or key.texts.get(one.id) == hash_of(one.text)]
    if not found:
        raise UsageError(f"--ai {ai}: it holds no text that was rated; name the run that the form was made of")
    return found


def _yes_no(verdict: Judgement) -> Rating:
    return verdict.value if isinstance(verdict.value, bool) else None


def _better(verdicts: Iterable[Judgement], key: Key) -> dict[int, Rating]:
    """A pairwise verdict is 1 where ``sample`` is better, 0 where ``other`` is, 0.5 for a tie."""
    pairs = {frozenset((place.left, place.right)): n for n, place in enumerate(key.places)}
    better: dict[int, Rating] = {}
    for each in verdicts:
        n = pairs.get(frozenset((each.sample, each.other or "")))
        if n is None or not isinstance(each.value, bool | int | float):
            continue
        value = float(each.value)
        winner = each.sample if value > 0.5 else each.other if value < 0.5 else None
        better[n] = method_of(key, winner) if winner else TIE
    return better


def _majority(people: Sequence[_Rater], key: Key) -> _Rater:
    """What more people say than anything else; None where two answers are said equally often."""

    def most(said: Iterable[Rating]) -> Rating:
        known = [rating for rating in said if rating is not None]
        counts = sorted(((known.count(rating), str(rating), rating) for rating in set(known)), reverse=True)
        if not counts or (len(counts) > 1 and counts[0][0] == counts[1][0]):
            return None
        return counts[0][2]

    samples, _ = _units(key)
    return _Rater(
        {sample: most(one.yes_no.get(sample) for one in people) for sample in samples},
        {n: most(one.better.get(n) for one in people) for n in range(len(key.places))},
    )


def _units(key: Key) -> tuple[list[str], list[str]]:
    """All samples of a form, and the item of each."""
    both = [(sample, place.item) for place in key.places for sample in (place.left, place.right)]
    return [sample for sample, _ in both], [item for _, item in both]


def _between(one: str, a: _Rater, other: str, b: _Rater, key: Key, seed: int) -> Between:
    samples, items = _units(key)
    places = range(len(key.places))
    return Between(
        one,
        other,
        two_raters([a.yes_no.get(s) for s in samples], [b.yes_no.get(s) for s in samples], items, seed=seed),
        two_raters(
            [a.better.get(n) for n in places],
            [b.better.get(n) for n in places],
            [place.item for place in key.places],
            seed=seed,
        ),
    )


def _rate(people: Iterable[_Rater], method: str, key: Key, seed: int) -> Rate:
    said = [
        (place.item, one.yes_no.get(sample))
        for place in key.places
        for sample in (place.left, place.right)
        if method_of(key, sample) == method
        for one in people
    ]
    share, low, high = _share([(item, 1.0 if value else 0.0) for item, value in said if value is not None], seed)
    known = [value for _, value in said if value is not None]
    return Rate(sum(map(bool, known)), len(known), len(said) - len(known), share, low, high)


def _wins(people: Iterable[_Rater], key: Key, seed: int) -> Wins:
    said = [(place.item, one.better.get(n)) for n, place in enumerate(key.places) for one in people]
    first, second = key.methods
    decided = [(item, 1.0 if value == first else 0.0) for item, value in said if value in key.methods]
    values = [value for _, value in said]
    won, lost, ties, unrated = (values.count(each) for each in (first, second, TIE, None))
    share, low, high = _share(decided, seed)
    more: dict[str, float] = {}
    for item, value in decided:
        more[item] = more.get(item, 0.0) + 2 * value - 1
    for_it, for_the_other = sum(each > 0 for each in more.values()), sum(each < 0 for each in more.values())
    return Wins(first, second, won, lost, ties, unrated, share, low, high, for_it, for_the_other)


def _tested(all_: Wins, by_rater: Mapping[str, Wins]) -> tuple[Wins, dict[str, Wins]]:
    """Wins with their tests. Those of the only rater are those of all, and tested once."""
    told = [all_, *(by_rater.values() if len(by_rater) > 1 else ())]
    found = sign_tests(
        [Contest((w.method, w.other), w.share, w.low, w.high, w.won + w.lost, w.items_won, w.items_lost) for w in told]
    )
    whole, *each = (replace(one, test=test) for one, test in zip(told, found, strict=True))
    return whole, dict(zip(by_rater, each or [whole], strict=True))


def _share(said: Sequence[tuple[str, float]], seed: int) -> tuple[float | None, float, float]:
    """A share and its interval: Wilson's for one rating an item, else by drawing items anew (never narrower)."""
    if not said:
        return None, 0.0, 1.0
    numbers: dict[str, int] = {}
    of = np.array([numbers.setdefault(item, len(numbers)) for item, _ in said])
    yes, all_ = np.zeros(len(numbers)), np.zeros(len(numbers))
    np.add.at(yes, of, [value for _, value in said])
    np.add.at(all_, of, 1.0)
    share = float(yes.sum() / all_.sum())
    low, high = wilson(float(yes.sum()), len(said))
    if (all_ == 1).all():
        return share, low, high
    statistic: Callable[[Any], float] = lambda drawn: float(yes[drawn].sum() / all_[drawn].sum())  # noqa: E731
    drawn = bootstrap(statistic, len(numbers), seed=seed)
    if drawn is None or drawn[0] == drawn[1]:
        return share, *wilson(share * len(numbers), len(numbers))
    return share, min(low, drawn[0]), max(high, drawn[1])
