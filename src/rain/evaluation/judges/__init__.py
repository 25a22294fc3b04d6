"""Judges of a run's samples: one protocol, one file each, and :func:`judge_run`."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypedDict, Unpack

from rain.errors import UsageError
from rain.evaluation.records import (
    JUDGEMENTS,
    Appender,
    Judgement,
    Manifest,
    Sample,
    hash_of,
    judged,
    last_samples,
    now,
    read_manifest,
)

if TYPE_CHECKING:
    from rain.api import Model

JUDGES = {
    "vader": "a lexicon: does the text sound positive",
    "refusal": "a rule: refused, changed the subject, or answered",
    "harm-classifier": "fitted to labelled replies that you give: is the reply harmless",
    "overlap": "BLEU and ROUGE with true and with false answers",
    "self": "the model that wrote it, by its preference's evaluator; not independent",
    "ai:MODEL": "a model behind an OpenAI-compatible endpoint; also http://host:port/v1#MODEL",
}
SIDECAR = "judges.json"
BETTER = "better"
"""The measure of two replies side by side."""

Key: TypeAlias = tuple[str, str | None, str, str]
"""Sample, the other sample, judge, measure."""
Value: TypeAlias = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Case:
    """What one verdict is about: a sample, or two to be compared, in one measure."""

    sample: Sample
    measure: str
    other: Sample | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says. Nothing is guessed: a value of None is *unjudged*, and ``why`` says what went wrong."""

    value: Value
    score: float | None = None
    """How sure it is that the value is true, on a scale of the judge's own; None where it has no scale."""
    why: str | None = None
    cost: dict[str, int | float] | None = None
    """``prompt_tokens``, ``completion_tokens``, ``seconds``; None where no model was asked."""
    by: str | None = None
    """What an endpoint calls the model that answered; None where it does not say."""
    kept: bool = False
    """Whether it was kept from an earlier question in the same words, and nobody was asked now."""
    orders_disagree: bool | None = None
    """Of two replies: whether the tie is none, but another answer in the other order. None where nobody was asked."""


class Judge(Protocol):
    """One judge. Its constructor raises UsageError where something is missing, before any work."""

    name: str
    independent: bool = True
    """Whether the judge is another than the model that is judged, and than the one that its searches asked."""
    against: str | None = None
    """The method whose replies it compares the others with; None where it looks at one reply at a time."""

    def begin(self, manifest: Manifest) -> None:
        """Told, first of all, which run it will judge. Raises UsageError where it cannot judge such a one."""
        del manifest  # Most need not know.

    @abstractmethod
    def cases(self, samples: Sequence[Sample]) -> list[Case]:
        """What it would judge of these samples. None of them has an error."""

    @abstractmethod
    def judge(self, cases: Sequence[Case]) -> AsyncGenerator[tuple[Case, Verdict]]:
        """Verdicts as they come, in any order, one a case."""

    def agreement(self) -> dict[str, Any] | None:
        """How far it agrees with labels, as JSON; None where that is not known here."""
        return None

    def about(self) -> dict[str, Any]:
        """What must be known to repeat it, as JSON."""
        return {}


class Options(TypedDict, total=False):
    """Keyword arguments of :func:`judge_run`."""

    measures: Sequence[str] | None
    """What is judged; default all that a judge measures, by an AI judge the suite's own measures."""
    against: str | None
    """For an AI judge: the method whose replies all others stand beside in ``better``; default vanilla."""
    url: str | None
    """The AI judge's endpoint; default OPENAI_BASE_URL, else OpenAI's."""
    key_env: str | None
    """The environment variable that holds the endpoint's key; default OPENAI_API_KEY."""
    parallel: int
    """Questions under way at once; default 4."""
    attempts: int
    """How often a question is tried before it is unjudged; default 6."""
    timeout: float
    """Seconds for one attempt; default 120."""
    fresh: bool
    """Judge again what these judges have judged, and ask an AI judge again whatever is kept; default no."""
    harm_data: str | Path | None
    """Labelled replies for the harm classifier; default labelled_replies.jsonl in the folder RAIN_DATA."""
    model: Model | None
    """For ``self``: the model, to score every sample by the same evaluator; default the scores in the samples."""
    progress: Callable[[str, int, int], None] | None
    """Told the judge, how many verdicts there are, of how many."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What one judge did in :func:`judge_run`."""

    judge: str
    new: int
    unjudged: int
    """Of the new ones."""
    cost: dict[str, int | float]
    """Sum over the new ones."""
    kept: int = 0
    """Of the new ones: those that an AI judge's endpoint had said before, and was not asked for now."""


def judge_run(folder: str | Path, names: Sequence[str], **options: Unpack[Options]) -> list[Judged]:
    """Let judges judge the samples of a run that they have not judged; verdicts are appended as they come.

    What was unjudged is tried again, and a text that was made anew since is judged anew. ``judges.json`` beside the
    samples tells, for each judge, what is known of its agreement with labels. Raises UsageError before any work (see
    :func:`make`), and where an endpoint or a file says that something was asked for wrongly; what was judged until
    then is kept.
    """
    from rain.api import run

    judges = [make(name, **options) for name in dict.fromkeys(names)]
    return run(_judge_all(Path(folder), judges, options))


def check_names(names: Sequence[str], **options: Unpack[Options]) -> None:
    """Raises UsageError where :func:`judge_run` would, before any sample is made."""
    for name in names:
        make(name, **options)


def make(name: str, **options: Unpack[Options]) -> Judge:
    """A judge by name. Raises UsageError (unknown, no data, no key) and MissingExtra."""
    if name.startswith(("ai:", "http://", "https://")):
        from rain.evaluation.judges.ai import AiJudge

        return AiJudge(name, options)
    if name == "vader":
        from rain.evaluation.judges.lexicon import VaderJudge

        return VaderJudge()
    if name == "refusal":
        from rain.evaluation.judges.refusal import RefusalJudge

        return RefusalJudge()
    if name == "harm-classifier":
        from rain.evaluation.judges.harm import HarmJudge

        return HarmJudge(options.get("harm_data"))
    if name == "overlap":
        from rain.evaluation.judges.overlap import OverlapJudge

        return OverlapJudge()
    if name == "self":
        from rain.evaluation.judges.own import OwnJudge

        return OwnJudge(options.get("model"))
    raise UsageError(f"no judge {name!r}; there are {', '.join(JUDGES)}")


async def verdicts(judge: Judge, cases: Sequence[Case]) -> AsyncGenerator[tuple[Case, Verdict]]:
    """What ``judge`` says; but a case with an empty text is unjudged and not asked: a reply that is not there, as where
    a method could not pay for one within its limit, is neither good nor bad, and refuses nothing.
    """
    empty = {id(case): why for case in cases if (why := _empty(case))}
    for case in cases:
        if id(case) in empty:
            yield case, Verdict(None, why=empty[id(case)])
    async with aclosing(judge.judge([case for case in cases if id(case) not in empty])) as found:
        async for each in found:
            yield each


def latest(judgements: Iterable[Judgement]) -> list[Judgement]:
    """The last judgement of each (sample, other, judge, measure): what was unjudged may have been judged later."""
    return list({key_of(one): one for one in judgements}.values())


def key_of(one: Judgement) -> Key:
    return one.sample, one.other, one.judge, one.measure


async def _judge_all(folder: Path, judges: Sequence[Judge], options: Options) -> list[Judged]:
    manifest = read_manifest(folder)
    told = _told(folder)
    for judge in judges:
        judge.begin(manifest)
        before = told.get(judge.name, {})
        for name, now_ in json.loads(json.dumps(judge.about())).items():
            if name in before and before[name] != now_:
                raise UsageError(
                    f"{folder} holds verdicts of {judge.name} with another {name} ({_short(before[name])}, now "
                    f"{_short(now_)}); to have all judged anew remove its lines from {JUDGEMENTS} and its entry in "
                    f"{SIDECAR}"
                )
    samples = [sample for sample in last_samples(folder) if sample.error is None]
    if not samples:
        raise UsageError(
            f"{folder} holds no replies to judge; make some with rain eval {manifest.suite} --out {folder}"
        )
    asked = [(judge, _asked(judge, samples, options)) for judge in judges]
    with Appender(folder / JUDGEMENTS) as out:  # first, since it mends what a crash has cut
        known = {key_of(one): one for one in judged(folder, samples)}
        return [await _judge(folder, judge, cases, known, out, options) for judge, cases in asked]


def _asked(judge: Judge, samples: Sequence[Sample], options: Options) -> list[Case]:
    """The judge's cases, of those measures and against that method that were asked for.

    Raises UsageError: it has no such measure here, there are no replies of that method, or nothing is compared with it.
    """
    cases, wanted, against = judge.cases(samples), options.get("measures"), options.get("against")
    methods = dict.fromkeys(sample.method for sample in samples)
    opponent = against or (judge.against if BETTER in (wanted or ()) else None)
    if opponent and opponent not in methods:
        raise UsageError(f"--against {opponent}: there are no replies of it; there are {', '.join(methods)}")
    able = dict.fromkeys(case.measure for case in cases)
    for measure in wanted or ():
        if measure not in able:
            raise UsageError(f"--measure {measure}: {judge.name} measures {', '.join(able) or 'nothing'} here")
    cases = [case for case in cases if not wanted or case.measure in wanted]
    if against and not any(case.other for case in cases):
        raise UsageError(f"--against {against}: {judge.name} compares nothing with it; ask with --measure {BETTER}")
    return cases


async def _judge(
    folder: Path,
    judge: Judge,
    cases: Sequence[Case],
    known: dict[Key, Judgement],
    out: Appender,
    options: Options,
) -> Judged:
    todo, progress = [], options.get("progress")
    for case in cases:
        before = known.get(_key(case, judge.name))
        if options.get("fresh") or before is None or before.value is None or _empty(case):
            todo.append(case)
    new = unjudged = kept = 0
    by: dict[str, None] = {}
    cost: dict[str, int | float] = {}
    # Closed, and its questions with it, when somebody interrupts.
    try:
        async with aclosing(verdicts(judge, todo)) as found:
            async for case, verdict in found:
                new, unjudged, kept = new + 1, unjudged + (verdict.value is None), kept + verdict.kept
                by |= {verdict.by: None} if verdict.by else {}
                for name, amount in (verdict.cost or {}).items():
                    cost[name] = round(cost.get(name, 0) + amount, 3)
                before = known.get(_key(case, judge.name))
                if before is None or _says_more(verdict, before) or _empty(case) not in (None, before.why):
                    out.write(_judgement(case, verdict, judge))
                if progress:
                    progress(judge.name, new, len(todo))
    finally:
        _tell(folder, judge, cost, list(by))
    return Judged(judge.name, new, unjudged, cost, kept)


def _says_more(verdict: Verdict, before: Judgement) -> bool:
    """Not where the same is told again of what is unjudged, nor where what was judged could not be judged afresh."""
    return verdict.value is not None or (before.value is None and before.why != verdict.why)


def _empty(case: Case) -> str | None:
    """Why there is nothing to judge; None where every text has some."""
    for sample in (case.sample, case.other):
        if sample is not None and not sample.text.strip():
            return "the reply is empty" + (f" (stopped by {sample.stopped_by})" if sample.stopped_by else "")
    return None


def _key(case: Case, name: str) -> Key:
    return case.sample.id, case.other.id if case.other else None, name, case.measure


def _judgement(case: Case, verdict: Verdict, judge: Judge) -> Judgement:
    return Judgement(
        sample=case.sample.id,
        other=case.other.id if case.other else None,
        judge=judge.name,
        measure=case.measure,
        value=verdict.value,
        independent=judge.independent,
        texts=hash_of(*(sample.text for sample in (case.sample, case.other) if sample)),
        why=verdict.why,
        cost=verdict.cost,
        by=verdict.by,
        orders_disagree=verdict.orders_disagree,
    )


def _tell(folder: Path, judge: Judge, cost: dict[str, int | float], by: Sequence[str]) -> None:
    """Put what is known of a judge into ``judges.json``, beside what is known of others."""
    from rain.cache import write
    from rain.evaluation.judges import agreements

    path, told = folder / SIDECAR, _told(folder)
    said = told.get(judge.name, {})
    before = said.get("cost", {})
    spent = {name: round(cost.get(name, 0) + before.get(name, 0), 3) for name in {**before, **cost}}
    answered = list(dict.fromkeys((*said.get("answered_by", ()), *by)))
    about = judge.about()
    told[judge.name] = {
        "independent": judge.independent,
        **about,
        "agreement": judge.agreement() or agreements.find(judge.name, about),
        **({"answered_by": answered} if answered else {}),
        "cost": spent,
        "made": now(),
    }
    write(path, json.dumps(told, ensure_ascii=False, indent=1) + "\n")


def _short(value: Any) -> str:
    return text if len(text := str(value)) <= 60 else f"{text[:60]}…"


def _told(folder: Path) -> dict[str, Any]:
    """What ``judges.json`` says. Raises UsageError: it cannot be read."""
    path = folder / SIDECAR
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError):
        raise UsageError(f"{path} cannot be read; remove it and have the run judged again") from None
