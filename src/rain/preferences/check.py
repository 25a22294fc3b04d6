"""Measure whether a model can judge: every evaluator on labelled texts, whole and cut, each text computed once.

What the scores mean is worked out in :mod:`rain.preferences.reading`. Here they are only collected: all questions about
one text are asked together, several texts are under way at once so that the engine batches them, and every score is
written down as soon as it is known.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, fsum
from statistics import mean

from rain.chat import Conversation, Style, prompt_tokens
from rain.engines.engine import Engine
from rain.preferences import calibration
from rain.preferences.asked import PLACEMENTS, CheckedJudge, conversation_of, make, possible, style_of
from rain.preferences.asking import asking
from rain.preferences.evaluators import PLACED, Evaluator, parts_of
from rain.preferences.labelled import Row, groups
from rain.preferences.ledger import Ledger, Scored
from rain.preferences.preference import Placement, Preference
from rain.preferences.weighted import Weighted
from rain.search.asks import Prefix, Question, Result, Score, Stopped, TextLogprobs, TopTokens, Usage

FRACTIONS = (0.25, 0.5, 1.0)
MOST_TOKENS = 256
"""Of a text, unless told otherwise; what is longer is cut and judged as unfinished."""
PROBES = 3
"""Texts on which the cost of a judgement is counted, alone and with everything before it computed."""
FLUENCY = "fluency"


@dataclass(slots=True, eq=False)
class Scores:
    """Everything that was asked, ``[rows]`` each; None where a text found no room."""

    rows: list[Row]
    style: Style
    fractions: tuple[float, ...]
    judges: list[CheckedJudge]
    impossible: dict[str, str]
    """Judges that cannot be asked of this model, and why."""
    of: dict[tuple[CheckedJudge, float], list[Scored | None]] = field(default_factory=dict)
    fluency: dict[float, list[float | None]] = field(default_factory=dict)
    """Mean log-probability of a token."""
    texts: dict[float, list[str]] = field(default_factory=dict)
    """What a judge saw of each text."""
    costs: dict[CheckedJudge, float] = field(default_factory=dict)
    """Forward tokens of one judgement of a whole text, everything before the judgement computed."""
    zeros: dict[CheckedJudge, float | None] = field(default_factory=dict)
    """Mean evidence of content-free texts."""
    most_tokens: int = MOST_TOKENS
    cut: set[int] = field(default_factory=set)
    """Rows that are longer."""
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0


async def collect(
    engine: Engine,
    preference: Preference | Weighted,
    rows: Sequence[Row],
    *,
    evaluators: Sequence[str] | None = None,
    placements: Sequence[Placement] = PLACEMENTS,
    wordings: Sequence[str] | None = None,
    fractions: Sequence[float] = FRACTIONS,
    style: Style | None = None,
    ledger: Ledger | None = None,
    window: int = 6,
    reads_the_reply: bool = False,
    most_tokens: int = MOST_TOKENS,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Ask every judge about every row.

    evaluators, wordings: default all there are (``+refusals`` behind a name costs nothing and is left to the report);
    further wordings are asked about whole texts only. style: default :func:`style_of`. ledger: where scores are kept
    and found again. window: texts under way at once. reads_the_reply: the judge is not the model that writes, so that
    the reply is part of its cost. most_tokens: of a text; what is longer is cut. progress: told how many judgements are
    done, of how many.
    Raises UsageError: an unknown evaluator or wording, none that can be asked of this model.
    """
    started, style = time.monotonic(), style or style_of(engine, rows)
    ledger = ledger or Ledger()
    judges, impossible = possible(engine, preference, rows[0], style, evaluators, placements, wordings)
    fractions = tuple(sorted({*fractions, 1.0}))
    found = Scores(list(rows), style, fractions, judges, impossible, most_tokens=most_tokens)
    session = _Session(engine, preference, found, ledger, reads_the_reply)
    groups_of_judges = _groups(judges)
    # Where nobody judges in place, the texts are read for the fluency alone, which takes as long as a judgement.
    done, total = 0, len(rows) * (len(found.of) + (not groups_of_judges[0]))
    # Texts for the same prompt one after another: it is computed once.
    of = groups(rows)
    first: dict[Hashable, int] = {}
    for number, group in enumerate(of):
        first.setdefault(group, number)
    order = sorted(range(len(rows)), key=lambda number: first[of[number]])

    async def work(judges: list[CheckedJudge], waiting: Iterator[int]) -> None:
        nonlocal done
        for number in waiting:
            judgements = await session.row(number, judges)
            done += judgements or 1
            if progress:
                progress(done, total)

    for group_of_judges in groups_of_judges:
        waiting = iter(order)
        workers = [asyncio.ensure_future(work(group_of_judges, waiting)) for _ in range(max(1, window))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
    await session.zeros()
    await session.costs()
    found.seconds = time.monotonic() - started
    return found


def _groups(judges: list[CheckedJudge]) -> list[list[CheckedJudge]]:
    """Who is asked together: all who share the text's own cells; else one at a time, so that what its prompts have in
    common (tasks, examples) stays computed in a small cache, too."""
    several = [judge for judge in judges if len(parts_of(judge.evaluator)) > 1]
    in_place = [judge for judge in judges if judge.placement == "in_place" and judge not in several]
    others = [judge for judge in judges if judge.placement != "in_place" and judge not in several]
    # What is made of several comes last, when its parts are known.
    return [in_place, *([judge] for judge in others), *([several] if several else [])]


async def judged(engine: Engine, evaluator: Evaluator, text: Prefix, complete: bool) -> tuple[Scored | None, Usage]:
    """One judgement and what it cost; None where it found no room."""
    steps, usage, first = evaluator.judge(text, complete), Usage(), None
    try:
        questions = next(steps)
        while True:
            answered = await asyncio.gather(*(engine.answer(question) for question in questions))
            usage = sum((spent for _, spent in answered), usage)
            results = [result for result, _ in answered]
            first = first or (questions, results)
            questions = steps.send(results)
    except StopIteration as done:
        score: Score | Stopped = done.value
    if isinstance(score, Stopped):
        return None, usage
    asked = tuple(_alone(evaluator, text, complete, *first)) if first else ()
    disagreement = getattr(score, "disagreement", None)
    return Scored(score.soft, score.hard, asked, disagreement, usage.forward_tokens), usage


def _alone(
    evaluator: Evaluator, text: Prefix, complete: bool, questions: list[Question], results: list[Result]
) -> Iterator[float]:
    """The soft score by each question alone: the others are answered with a shrug. Costs nothing."""
    if evaluator.kind not in PLACED or len(questions) < 2:
        return
    shrugs: list[Result] = [(0.0,) * len(result) if isinstance(result, tuple) else result for result in results]
    for number, result in enumerate(results):
        steps = evaluator.judge(text, complete)
        try:
            next(steps)
            steps.send([*shrugs[:number], result, *shrugs[number + 1 :]])
        except StopIteration as done:
            if isinstance(done.value, Score):
                yield done.value.soft


class _Session:
    """One check under way."""

    def __init__(
        self,
        engine: Engine,
        preference: Preference | Weighted,
        scores: Scores,
        ledger: Ledger,
        reads_the_reply: bool,
    ) -> None:
        self.engine, self.scores, self.ledger = engine, scores, ledger
        self.reads_the_reply = reads_the_reply
        self.worded = {judge.wording: preference.worded(judge.wording) for judge in scores.judges}
        self.main = scores.judges[0].wording
        # The words of the preference itself are told by the header of the file.
        self.words = {
            name: name if worded is preference else f"{name} {calibration.digest(worded)}"
            for name, worded in self.worded.items()
        }
        self.held: list[object] = []
        """The row before, so that what all rows have in common stays computed."""
        count = len(scores.rows)
        for fraction in scores.fractions:
            scores.fluency[fraction] = [None] * count
            scores.texts[fraction] = [""] * count
            for judge in scores.judges:
                if fraction == 1.0 or judge.wording == self.main:
                    scores.of[judge, fraction] = [None] * count

    def where(self, judge: CheckedJudge) -> tuple[str, str, str]:
        """What a judge's scores are kept under. Its wording by name and words: a name may come to mean other words, and
        an evaluator may come to ask them in another way."""
        worded = self.worded[judge.wording]
        changed = asking(worded, judge.evaluator, judge.placement, self.scores.style)
        return judge.evaluator, judge.placement, self.words[judge.wording] + (f" {changed}" if changed else "")

    def evaluator(self, judge: CheckedJudge, conversation: Conversation, prompt: Prefix) -> Evaluator:
        preference = self.worded[judge.wording]
        return make(self.engine, preference, conversation, prompt, judge.evaluator, judge.placement)

    def seen(self, number: int) -> tuple[Row, tuple[int, ...]]:
        """A row as it is judged, and the tokens of its text: what is too long is cut, and unfinished then."""
        row, most = self.scores.rows[number], self.scores.most_tokens
        tokens = self.engine.tokenizer.encode(row.reply)
        if len(tokens) <= most:
            return row, tokens
        self.scores.cut.add(number)
        return replace(row, reply=self.engine.tokenizer.decode(tokens[:most]), partial=True), tokens[:most]

    async def row(self, number: int, judges: list[CheckedJudge]) -> int:
        """Everything of these judges about one row that the ledger does not know. Returns how many judgements."""
        engine, scores, ledger = self.engine, self.scores, self.ledger
        row, tokens = self.seen(number)
        conversation = conversation_of(row, scores.style)
        cuts = {fraction: max(1, ceil(len(tokens) * fraction)) for fraction in scores.fractions}
        for fraction, cut in cuts.items():
            scores.texts[fraction][number] = engine.tokenizer.decode(tokens[:cut])
        wanted = [(judge, part) for judge, part in scores.of if judge in judges]
        for judge, part in wanted:
            self._put_together(row, judge, part)
        missing = [(judge, part) for judge, part in wanted if not ledger.knows(row.id, *self.where(judge), part)]
        in_place = not judges or judges[0].placement == "in_place"
        fluency = in_place and not all(ledger.knows(row.id, FLUENCY, "", "", part) for part in cuts)
        if missing or fluency:
            prompt = Prefix(prompt_tokens(engine, conversation))
            texts = dict(zip(cuts, _links(tokens, list(cuts.values()), prompt), strict=True))
            if in_place:
                # First the text itself, which the questions in place then find computed.
                await self._fluency(row, texts, prompt)
            evaluators = {judge: self.evaluator(judge, conversation, prompt) for judge, _ in missing}
            await asyncio.gather(
                *(self._judge(row, judge, part, evaluators[judge], texts[part]) for judge, part in missing)
            )
            self.held = [prompt, texts, evaluators]
        for judge, part in wanted:
            scores.of[judge, part][number] = ledger.get(row.id, *self.where(judge), part)
        for part, means in scores.fluency.items():
            known = ledger.get(row.id, FLUENCY, "", "", part)
            means[number] = known.soft if known else None
        return len(wanted)

    def _put_together(self, row: Row, judge: CheckedJudge, part: float) -> None:
        """Where the parts of a mean are judges of this check, too, it need not be asked."""
        names = parts_of(judge.evaluator)
        if len(names) == 1 or self.ledger.knows(row.id, *self.where(judge), part):
            return
        preferred = self.worded[judge.wording].placement
        found = []
        for name in names:
            for other in self.scores.judges:
                placed = name not in PLACED or other.placement == preferred
                if other.evaluator == name and other.wording == judge.wording and placed:
                    found.append(self.ledger.get(row.id, *self.where(other), part))
        known = [scored for scored in found if scored]
        if len(known) == len(names):
            apart = [scored.disagreement for scored in known if scored.disagreement is not None]
            mean_of = Scored(
                mean(scored.soft for scored in known),
                mean(scored.hard for scored in known),
                (),
                mean(apart) if apart else None,
            )
            self.ledger.put(mean_of, row.id, *self.where(judge), part, row.good)

    async def _fluency(self, row: Row, texts: dict[float, Prefix], prompt: Prefix) -> None:
        whole = texts[1.0]
        question: Question = TopTokens(whole, 1)
        if self.engine.can.text_logprobs:
            question = TextLogprobs(whole, prompt)
        result, usage = await self.engine.answer(question)
        self.scores.usage += usage
        for part, text in texts.items():
            values = [value for value in result if isinstance(value, float)] if isinstance(result, tuple) else []
            upto = values[: text.length - prompt.length]
            scored = Scored(fsum(upto) / len(upto), 0.0) if upto else None
            self.ledger.put(scored, row.id, FLUENCY, "", "", part, row.good)

    async def _judge(self, row: Row, judge: CheckedJudge, part: float, evaluator: Evaluator, text: Prefix) -> None:
        scored, usage = await judged(self.engine, evaluator, text, part == 1.0 and not row.partial)
        self.scores.usage += usage
        self.ledger.put(scored, row.id, *self.where(judge), part, row.good)

    async def zeros(self) -> None:
        """What each judge says of texts that say nothing."""
        for judge in self.scores.judges:
            cases = self.worded[judge.wording].content_free
            found = []
            for case in cases:
                row = Row(case.prompt, case.reply, True)
                where = (f"zero {row.id}", *self.where(judge), 1.0)
                if not self.ledger.knows(*where):
                    conversation = conversation_of(row, self.scores.style)
                    prompt = Prefix(prompt_tokens(self.engine, conversation))
                    text = Prefix(self.engine.tokenizer.encode(case.reply), prompt)
                    evaluator = self.evaluator(judge, conversation, prompt)
                    scored, usage = await judged(self.engine, evaluator, text, True)
                    self.scores.usage += usage
                    self.ledger.put(scored, *where)
                known = self.ledger.get(*where)
                if known:
                    found.append(calibration.evidence(known.soft))
            self.scores.zeros[judge] = mean(found) if found else None

    async def costs(self) -> None:
        """Count what one judgement costs, on the first rows, one after another."""
        for judge in self.scores.judges:
            found = []
            for number in range(len(self.scores.rows[:PROBES])):
                row, tokens = self.seen(number)
                where = (f"cost {row.id}", *self.where(judge), 1.0)
                if not self.ledger.knows(*where):
                    self.ledger.put(await self._probe(row, tokens, judge), *where)
                known = self.ledger.get(*where)
                if known:
                    found.append(known.forward_tokens)
            self.scores.costs[judge] = mean(found) if found else 0.0

    async def _probe(self, row: Row, tokens: tuple[int, ...], judge: CheckedJudge) -> Scored | None:
        engine, conversation = self.engine, conversation_of(row, self.scores.style)
        prompt = Prefix(prompt_tokens(engine, conversation))
        text = Prefix(tokens, prompt)
        evaluator = self.evaluator(judge, conversation, prompt)
        steps = evaluator.judge(text, True)
        questions = next(steps, [])
        steps.close()
        # What the text stands behind, here and in prompts of the judge's own, and here the text itself.
        roots = (ask.since if isinstance(ask, TextLogprobs) else ask.prefix.parent for ask in questions)
        before = [text, *dict.fromkeys(root for root in roots if root is not None)]
        for prefix in before:
            _, usage = await engine.answer(TopTokens(prefix, 1))
            self.scores.usage += usage
        scored, usage = await judged(engine, evaluator, text, True)
        self.scores.usage += usage
        if scored is None:
            return None
        read = len(text.tokens) if self.reads_the_reply else 0
        return Scored(scored.soft, scored.hard, forward_tokens=usage.forward_tokens + read)


def _links(tokens: tuple[int, ...], cuts: list[int], prompt: Prefix) -> list[Prefix]:
    """The text as a chain of links that end at ``cuts`` (rising)."""
    here, start, found = prompt, 0, []
    for cut in cuts:
        if cut > start:
            here, start = Prefix(tokens[start:cut], here), cut
        found.append(here)
    return found
