"""One word: the model completes a line such as ``Sentiment:`` and the label words are compared by their first token."""

from __future__ import annotations

from typing import Literal

from rain.errors import UsageError
from rain.preferences.evaluators import Case, Judgement, logprobs, stopped
from rain.preferences.evaluators.yes_no import difference
from rain.preferences.placement import common_prefix, place
from rain.preferences.preference import Kind
from rain.search.asks import Prefix, Score, TokenLogprobs


class OneWordEvaluator:
    """Soft: 2 P(good words) - 1 among the label words; hard: its sign, a tie counts as bad."""

    kind: Kind = "one_word"
    score: Literal["soft", "hard"] = "soft"
    bounded = True

    def __init__(self, case: Case) -> None:
        section = case.preference.one_word
        assert section is not None
        if case.shots:
            raise UsageError("'one_word' has no examples; leave 'shots' out")
        self.placement = case.placement or case.preference.placement
        fixed = f"{section.task}\n\n"
        self._placed = place(case.engine, case.conversation, case.prompt, self.placement, fixed)
        question = section.question if self.placement == "in_place" else ""
        words = section.good + section.bad
        asked = [self._placed.ask(question, f"{section.label}: {word}") for word in words]
        self._tokens = common_prefix(asked)
        firsts = [ids[len(self._tokens) : len(self._tokens) + 1] for ids in asked]
        self._good = tuple(dict.fromkeys(token for ids in firsts[: len(section.good)] for token in ids))
        self._bad = tuple(dict.fromkeys(token for ids in firsts[len(section.good) :] for token in ids))
        if not all(firsts) or set(self._good) & set(self._bad):
            raise UsageError(f"this model's tokenizer begins some of {', '.join(words)} with the same token")

    def judge(self, reply: Prefix, complete: bool) -> Judgement:
        """One question; see :meth:`Evaluator.judge`."""
        answers = yield [TokenLogprobs(self._placed.reply(reply), self._tokens, self._good + self._bad)]
        stop = stopped(answers)
        if stop:
            return stop
        values = logprobs(answers[0])
        soft = difference(values[: len(self._good)], values[len(self._good) :])
        return Score(soft=soft, hard=1.0 if soft > 0 else -1.0)
