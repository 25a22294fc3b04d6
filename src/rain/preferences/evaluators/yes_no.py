"""Yes or no: the model is asked whether the text is good, and whether it is bad.

Both wordings, because small models say "yes" (or "no") to some texts whatever is asked; the two errors cancel.
With one wording it is the paper's evaluator for truthfulness.
"""

from __future__ import annotations

from math import exp, fsum
from typing import Literal

from rain.errors import UsageError
from rain.preferences.evaluators import Case, Judgement, apart, in_turn, logprobs, stopped
from rain.preferences.placement import Placed, common_prefix, place, to_last_full_stop
from rain.preferences.preference import Kind, YesNo
from rain.search.asks import Prefix, Question, Result, Score, TokenLogprobs


class YesNoEvaluator:
    """Hard: +1 if the best yes-like token is strictly likelier than the best no-like one, else -1; mean of wordings."""

    kind: Kind = "yes_no"
    score: Literal["soft", "hard"] = "hard"
    bounded = True
    self_evaluation = True

    def __init__(self, case: Case) -> None:
        section = case.preference.yes_no
        assert section is not None
        if case.shots:
            raise UsageError("'yes_no' has no examples; leave 'shots' out")
        self.placement = case.placement or case.preference.placement
        self._whole = case.both_wordings
        """The paper's single question reads the text up to its last full stop only (C)."""
        self._decisive = case.decisive
        self._piece, self._prompt = case.engine.tokenizer.piece, case.prompt
        fixed = f"{section.task}\n\n"
        self._placed = place(case.engine, case.conversation, case.prompt, self.placement, fixed)
        asked = _ask(self._placed, section, section.positive)
        # Each with the sign that a yes has.
        self._asked = [(1.0, *asked)]
        if case.both_wordings and section.negative:
            self._asked.append((-1.0, *_ask(self._placed, section, section.negative)))

    def judge(self, reply: Prefix, complete: bool) -> Judgement:
        """Both wordings at once; see :meth:`Evaluator.judge`."""
        prefix = self._placed.reply(reply if self._whole else to_last_full_stop(self._piece, reply, self._prompt))
        questions: list[Question] = [TokenLogprobs(prefix, tokens, yes + no) for _, tokens, yes, no in self._asked]
        answers = yield from in_turn(questions, lambda at, answer: difference(*self._sides(at, answer)), self._decisive)
        stop = stopped(answers)
        if stop:
            return stop
        sides = [self._sides(at, answer) for at, answer in enumerate(answers)]
        softs = [difference(for_it, against) for for_it, against in sides]
        hard = fsum(1.0 if max(for_it) > max(against) else -1.0 for for_it, against in sides) / len(sides)
        return Score(fsum(softs) / len(softs), hard, apart(softs))

    def _sides(self, at: int, answer: Result) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The log-probabilities of the words for and against the text in the answer to question ``at``."""
        sign, _, yes, _ = self._asked[at]
        values = logprobs(answer)
        return (values[: len(yes)], values[len(yes) :]) if sign > 0 else (values[len(yes) :], values[: len(yes)])


def difference(for_it: tuple[float, ...], against: tuple[float, ...]) -> float:
    """2 P - 1, where P is the share of the first set in both. In: log-probabilities. Out: [-1, 1]."""
    top = max(for_it + against)
    weight_for = fsum(exp(value - top) for value in for_it)
    weight_against = fsum(exp(value - top) for value in against)
    return (weight_for - weight_against) / (weight_for + weight_against)


def _ask(placed: Placed, section: YesNo, wording: str) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """The question's tokens, and the single tokens that say yes and no there."""
    lead = "" if placed.turns else "Answer: "

    def tokens(word: str) -> tuple[int, ...]:
        return placed.ask(wording, lead + word)

    shared = common_prefix([tokens(section.yes[0]), tokens(section.no[0])])

    def single(words: tuple[str, ...]) -> tuple[int, ...]:
        found = (tokens(word) for word in words)
        return tuple(dict.fromkeys(ids[-1] for ids in found if ids[:-1] == shared))

    yes, no = single(section.yes), single(section.no)
    if not yes or not no or set(yes) & set(no):
        raise UsageError(
            f"this model's tokenizer has no single tokens for {', '.join(section.yes)} and {', '.join(section.no)}"
        )
    return shared, yes, no
