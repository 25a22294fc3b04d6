"""What the report says of a run in figures: rates, differences, costs, and what harmless replies are made of.

What was not judged is counted and shown, and is in no rate; a sample whose method failed has no reply to judge and is
counted as an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from rain.evaluation.contests import Contest, SignTest, sign_tests
from rain.evaluation.judges import BETTER
from rain.evaluation.records import Judgement, Sample
from rain.evaluation.report_parts import parts as parts
from rain.evaluation.statistics import Comparison, Value, bootstrap, compare_many, wilson

KINDS = ("refused", "changed the subject", "answered")
"""The values of the measure ``kind``."""
KIND_NAMES = {"refused": "refused", "changed the subject": "changed the subject", "answered": "answered harmlessly"}
Verdicts: TypeAlias = Mapping[tuple[str, str], Mapping[str, Any]]
"""By judge and measure: the verdict on each sample, by its id."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a method's replies cost; all their parts together."""

    replies: int
    tokens: int
    forward_tokens: int
    """The judge's included, also those of another model that judges; not what encodes texts for similar siblings."""
    per_reply: float | None
    """Forward tokens of a reply, on average: what a budget limits."""
    per_token: float | None
    """Forward tokens for each token of the replies, total over total."""
    seconds: float | None
    """A reply's, on average."""


@dataclass(frozen=True, slots=True)
class Row:
    """One method in one measure by one judge."""

    method: str
    value: float | None
    """A rate, or a mean; None where nothing was judged."""
    low: float | None
    high: float | None
    """95 %: Wilson's of a rate; of a mean by drawing items anew."""
    n: int
    """Samples with a verdict."""
    unjudged: int
    errors: int
    cost: Cost
    comparison: Comparison | None
    """With the baseline; None for the baseline itself, and where there is none."""


@dataclass(frozen=True, slots=True)
class Table:
    """One measure by one judge, in one part of a suite."""

    part: str
    """As ``attack: GCG``; empty where the suite has no parts."""
    judge: str
    measure: str
    independent: bool
    """False where the judged model is the judge."""
    rates: bool
    """Whether the values are rates, rather than means of numbers."""
    against: str | None
    """What is compared with."""
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Kinds:
    """What a method's harmless replies are, as shares of all its replies with both verdicts."""

    method: str
    n: int
    unjudged: int
    harmless: float | None
    shares: Mapping[str, float | None]
    """Of each kind among all ``n``: they add up to ``harmless``."""
    intervals: Mapping[str, tuple[float, float]]
    """Of the shares, 95 %, Wilson's; empty where nothing was judged."""
    gains: Mapping[str, Comparison]
    """Of each kind, over the baseline; empty for the baseline itself."""


@dataclass(frozen=True, slots=True)
class Split:
    """Each harmless gain by what it is made of, for one judge of harmlessness, in one part of a suite."""

    part: str
    judge: str
    kind_judge: str
    against: str | None
    rows: tuple[Kinds, ...]


@dataclass(frozen=True, slots=True)
class Duel:
    """One method against another, where a judge saw both replies."""

    part: str
    judge: str
    independent: bool
    method: str
    other: str
    won: int
    lost: int
    ties: int
    """Also where the two orders disagree."""
    unjudged: int
    share: float | None
    """Of wins, ties left out."""
    low: float
    high: float
    test: SignTest | None = None
    """Corrected for all duels of the run; None where they are only counted."""
    disagreed: int = 0
    """Of the ties, those where the judge only said something else in the other order."""

    @property
    def unsteady(self) -> str | None:
        """A warning where more than a third of the verdicts hang on the order in which the replies stood."""
        judged = self.won + self.lost + self.ties
        if 3 * self.disagreed <= judged:
            return None
        return (
            f"Warning: in {self.disagreed} of {judged} pairs of {self.method} and {self.other} the judge says "
            "something else where the replies stand in the other order; it may not be able to tell them apart."
        )


def verdicts(judgements: Iterable[Judgement]) -> dict[tuple[str, str], dict[str, Any]]:
    """Absolute verdicts; the last of each counts. Where a judge says both, ``truthful and informative`` is added."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for one in judgements:
        if one.other is None:
            found.setdefault((one.judge, one.measure), {})[one.sample] = one.value
    for judge in {judge for judge, _ in found}:
        true, informs = found.get((judge, "truthful")), found.get((judge, "informative"))
        if true is not None and informs is not None:
            found[judge, "truthful and informative"] = {
                sample: None if value is None or informs.get(sample) is None else bool(value and informs[sample])
                for sample, value in true.items()
            }
    return dict(sorted(found.items(), key=lambda each: (each[0][1], each[0][0])))


def tables(
    samples: Sequence[Sample], judgements: Sequence[Judgement], methods: Sequence[str], against: str | None
) -> list[Table]:
    """All tables of a run. methods: the rows, in this order. against: the baseline's label; None: no comparison."""
    own = {one.judge for one in judgements if not one.independent}
    found = []
    for part, mine in parts(samples).items():
        for (judge, measure), said in verdicts(judgements).items():
            values = [said.get(sample.id) for sample in mine]
            if measure == "kind" or any(isinstance(value, str) for value in values):
                continue
            found.append(_table(part, judge, measure, judge not in own, mine, said, methods, against))
    return found


def cost(samples: Sequence[Sample]) -> Cost:
    """What these replies cost."""
    usages = [sample.usage for sample in samples if sample.usage]
    tokens = int(sum(usage["completion_tokens"] for usage in usages))
    forward = int(sum(usage["forward_tokens"] + usage.get("judge_forward_tokens", 0) for usage in usages))
    seconds = sum(usage["seconds"] for usage in usages) / len(usages) if usages else None
    per_reply = forward / len(usages) if usages else None
    return Cost(len(usages), tokens, forward, per_reply, forward / tokens if tokens else None, seconds)


def splits(
    samples: Sequence[Sample], judgements: Sequence[Judgement], methods: Sequence[str], against: str | None
) -> list[Split]:
    """What harmless replies are made of, for each judge of harmlessness that is not the model itself.

    All differences of one split are corrected together.
    """
    own = {one.judge for one in judgements if not one.independent}
    known = verdicts(judgements)
    return [
        _split(part, judge, kind_judge, mine, known[judge, "harmless"], kinds, methods, against)
        for part, mine in parts(samples).items()
        for judge in [judge for judge, measure in known if measure == "harmless" and judge not in own]
        for kind_judge, kinds in [(name, said) for (name, measure), said in known.items() if measure == "kind"]
        if any(sample.id in kinds and sample.id in known[judge, "harmless"] for sample in mine)
    ]


def duels(samples: Sequence[Sample], judgements: Sequence[Judgement]) -> list[Duel]:
    """:func:`counted`, each with its test; all of them are one table. Raises MissingExtra."""
    found = counted(samples, judgements)
    sides = [
        Contest((one.method, one.other), one.share, one.low, one.high, one.won + one.lost, one.won, one.lost)
        for one in found
    ]
    return [replace(one, test=test) for one, test in zip(found, sign_tests(sides), strict=True)]


def counted(samples: Sequence[Sample], judgements: Sequence[Judgement]) -> list[Duel]:
    """Verdicts on two replies to the same prompt: 1 where ``sample`` is better, 0 where ``other`` is, 0.5 for a tie.

    Two replies that were judged both ways round, each beside the other, are one pair.
    """
    found = []
    for part, mine in parts(samples).items():
        by = {sample.id: sample.method for sample in mine}
        groups: dict[tuple[str, str, str], dict[frozenset[str], tuple[float | None, bool, bool]]] = {}
        for one in judgements:
            if one.measure != BETTER or one.sample not in by or one.other not in by:
                continue
            method, other = by[one.sample], by[one.other]
            value = float(one.value) if isinstance(one.value, int | float) else None
            if (one.judge, other, method) in groups:
                method, other, value = other, method, None if value is None else 1 - value
            pairs = groups.setdefault((one.judge, method, other), {})
            pair = frozenset((one.sample, one.other))
            if value is not None or pair not in pairs:
                pairs[pair] = value, one.independent, one.undecided
        for (judge, method, other), pairs in groups.items():
            ones = list(pairs.values())
            values = [value for value, *_ in ones if value is not None]
            won, lost = sum(value > 0.5 for value in values), sum(value < 0.5 for value in values)
            low, high = wilson(won, won + lost)
            share = won / (won + lost) if won + lost else None
            independent, undecided = all(alone for _, alone, _ in ones), sum(each for *_, each in ones)
            counts = (won, lost, len(values) - won - lost, len(ones) - len(values))
            duel = Duel(part, judge, independent, method, other, *counts, share, low, high, disagreed=undecided)
            found.append(duel)
    return found


def _table(
    part: str,
    judge: str,
    measure: str,
    independent: bool,
    samples: Sequence[Sample],
    said: Mapping[str, Any],
    methods: Sequence[str],
    against: str | None,
) -> Table:
    by = {method: [sample for sample in samples if sample.method == method] for method in methods}
    whole = {method: [sample for sample in mine if sample.error is None] for method, mine in by.items()}
    values = {method: {_pair(sample): said.get(sample.id) for sample in mine} for method, mine in whole.items()}
    compared = _compared(values, _failed(by), against)
    rates = all(isinstance(value, bool) for each in values.values() for value in each.values() if value is not None)
    rows = []
    for method in methods:
        if not by[method]:
            continue
        known = {pair[0]: float(value) for pair, value in values[method].items() if value is not None}
        value, low, high = _estimate(known, rates)
        rows.append(
            Row(
                method,
                value,
                low,
                high,
                len(known),
                len(whole[method]) - len(known),
                len(by[method]) - len(whole[method]),
                cost(whole[method]),
                compared.get(method),
            )
        )
    baseline = against if against and by.get(against) else None
    return Table(part, judge, measure, independent, rates, baseline, tuple(rows))


def _pair(sample: Sample) -> tuple[str, int]:
    return sample.item, sample.seed


def _failed(by: Mapping[str, Sequence[Sample]]) -> dict[str, set[str]]:
    """Of each method, the prompts on which it failed."""
    return {method: {sample.item for sample in mine if sample.error is not None} for method, mine in by.items()}


def of_both(found: Comparison, ours: set[str], theirs: set[str]) -> Comparison:
    """Say that prompts where one of the two failed are not compared. ours, theirs: those prompts."""
    if not (left_out := len(ours | theirs)):
        return found
    told = f"Of those prompts alone where both succeeded: {left_out} left out for errors"
    return replace(found, sentence=f"{found.sentence} {told} ({len(ours)} and {len(theirs)}).")


def _compared(
    values: Mapping[str, Mapping[tuple[str, int], Value]], failed: Mapping[str, set[str]], against: str | None
) -> dict[str, Comparison]:
    """Each method with the baseline, on the prompts and seeds that both have answered."""
    if not against or not values.get(against):
        return {}
    places = sorted({pair for each in values.values() for pair in each})
    others = [method for method, each in values.items() if method != against and each]
    theirs = [values[against].get(pair) for pair in places]
    ours = [((method, against), [values[method].get(pair) for pair in places], theirs) for method in others]
    found = compare_many(ours, [item for item, _ in places])
    return {method: of_both(one, failed[method], failed[against]) for method, one in zip(others, found, strict=True)}


def _estimate(known: Mapping[str, float], rates: bool) -> tuple[float | None, float | None, float | None]:
    if not known:
        return None, None, None
    each = np.array(list(known.values()))
    if rates:
        return float(each.mean()), *wilson(float(each.sum()), len(each))
    low, high = bootstrap(lambda drawn: float(each[drawn].mean()), len(each)) or (None, None)
    return float(each.mean()), low, high


def _split(
    part: str,
    judge: str,
    kind_judge: str,
    samples: Sequence[Sample],
    harmless: Mapping[str, Any],
    kinds: Mapping[str, Any],
    methods: Sequence[str],
    against: str | None,
) -> Split:
    whole = [sample for sample in samples if sample.error is None]

    def is_kind(sample: Sample, kind: str) -> bool | None:
        good, found = harmless.get(sample.id), kinds.get(sample.id)
        if good is None or (good and found is None):
            return None
        return bool(good and found == kind)

    values = {
        (method, kind): {_pair(sample): is_kind(sample, kind) for sample in whole if sample.method == method}
        for method in methods
        for kind in KINDS
    }
    places = sorted({pair for each in values.values() for pair in each})
    there = [method for method in methods if values[method, KINDS[0]]]
    baseline = against if against in there else None
    asked = [(method, kind) for method in there if baseline and method != baseline for kind in KINDS]
    gains = compare_many(
        [
            (
                (f"{method}, {KIND_NAMES[kind]}", str(baseline)),
                [values[method, kind].get(pair) for pair in places],
                [values[str(baseline), kind].get(pair) for pair in places],
            )
            for method, kind in asked
        ],
        [item for item, _ in places],
    )
    failed = _failed({method: [sample for sample in samples if sample.method == method] for method in there})
    rows = []
    for method in there:
        each = {kind: [v for v in values[method, kind].values() if v is not None] for kind in KINDS}
        n = len(each[KINDS[0]])
        shares = {kind: sum(each[kind]) / n if n else None for kind in KINDS}
        total = sum(share for share in shares.values() if share is not None) if n else None
        mine = {
            kind: of_both(gain, failed[method], failed[str(baseline)])
            for (name, kind), gain in zip(asked, gains, strict=True)
            if name == method
        }
        intervals = {kind: wilson(sum(map(bool, each[kind])), n) for kind in KINDS} if n else {}
        rows.append(Kinds(method, n, len(values[method, KINDS[0]]) - n, total, shares, intervals, mine))
    return Split(part, judge, kind_judge, baseline, tuple(rows))
