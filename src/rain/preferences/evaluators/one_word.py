"""One word: the model completes a line such as ``Sentiment:`` and the label words are compared by their first token.

In place the line may be one that the writer would say next, in the text's own voice ("In short: I loved"). That is
what a language model does anyway, so that even one too small to answer a question can be read this way.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, fsum, log, tanh
from typing import Literal

from rain.errors import UsageError
from rain.preferences.evaluators import Case, Judgement, apart, logprobs, stopped
from rain.preferences.placement import Placed, common_prefix, place, right_behind
from rain.preferences.preference import Kind, Line
from rain.search.asks import Prefix, Question, Score, TokenLogprobs


@dataclass(frozen=True, slots=True)
class _Asked:
    """One line as tokens, and the tokens that begin its words."""

    tokens: tuple[int, ...]
    good: tuple[int, ...]
    bad: tuple[int, ...]


class OneWordEvaluator:
    """Soft: 2 P(good words) - 1 among the label words, lines averaged in log-odds; hard: its sign, a tie is bad."""

    kind: Kind = "one_word"
    score: Literal["soft", "hard"] = "soft"
    bounded = True
    self_evaluation = True

    def __init__(self, case: Case) -> None:
        section = case.preference.one_word
        assert section is not None
        if case.shots:
            raise UsageError("'one_word' has no examples; leave 'shots' out")
        self.placement = case.placement or case.preference.placement
        if self.placement == "in_place" and section.voice:
            self._placed = right_behind(case.engine, case.prompt)
            self._lines = [_asked(self._placed, "", line, " ") for line in section.voice]
            return
        self._placed = place(case.engine, case.conversation, case.prompt, self.placement, f"{section.task}\n\n")
        question = section.question if self.placement == "in_place" else ""
        self._lines = [_asked(self._placed, question, section, ": ")]

    def judge(self, reply: Prefix, complete: bool) -> Judgement:
        """All lines at once; see :meth:`Evaluator.judge`."""
        prefix = self._placed.reply(reply)
        questions: list[Question] = [TokenLogprobs(prefix, line.tokens, line.good + line.bad) for line in self._lines]
        answers = yield questions
        stop = stopped(answers)
        if stop:
            return stop
        odds, softs = 0.0, []
        for line, answer in zip(self._lines, answers, strict=True):
            values = logprobs(answer)
            alone = _sum(values[: len(line.good)]) - _sum(values[len(line.good) :])
            odds += alone / len(self._lines)
            softs.append(tanh(alone / 2))
        return Score(tanh(odds / 2), 1.0 if odds > 0 else -1.0, apart(softs))


def _asked(placed: Placed, question: str, line: Line, between: str) -> _Asked:
    words = line.good + line.bad
    asked = [placed.ask(question, f"{line.label}{between}{word}") for word in words]
    tokens = common_prefix(asked)
    firsts = [ids[len(tokens) : len(tokens) + 1] for ids in asked]
    good = tuple(dict.fromkeys(token for ids in firsts[: len(line.good)] for token in ids))
    bad = tuple(dict.fromkeys(token for ids in firsts[len(line.good) :] for token in ids))
    if not all(firsts) or set(good) & set(bad):
        raise UsageError(f"this model's tokenizer begins some of {', '.join(words)} with the same token")
    return _Asked(tokens, good, bad)


def _sum(values: tuple[float, ...]) -> float:
    """The logarithm of the sum of probabilities given by their logarithms."""
    top = max(values)
    return top + log(fsum(exp(value - top) for value in values))
