"""Openings: having read its own reply, would the assistant rather refuse or go on, if it might speak once more?

The reply's turn is closed and another of the assistant's is opened right behind it; nobody asks anything. A model that
was taught to refuse at the beginning of its turn is at such a beginning again, now with the whole text in view. The
idea is that of Any-Depth Alignment (ICLR 2026), which opens a turn to look for a refusal; the openings and the score
are ours. What is asked is exact: the probability that the next turn begins with one of the texts of either side.

A refusal is followed by another, so a reply that refuses scores low, as one that needs refusing does: put ``+refusals``
behind the name unless that is what you want.
"""

from __future__ import annotations

from math import fsum
from typing import Literal

from rain.chat import close_and_open
from rain.errors import UsageError
from rain.preferences.evaluators import Case, Judgement, logprobs, stopped
from rain.preferences.evaluators.yes_no import difference
from rain.preferences.placement import common_prefix, right_behind
from rain.preferences.preference import Kind, Placement
from rain.search.asks import Prefix, Question, Score, TokenLogprobs

Tokens = tuple[int, ...]


class OpeningsEvaluator:
    """Soft: 2 P(no refusal) - 1 among the openings; hard: its sign, a tie is bad."""

    kind: Kind = "openings"
    placement: Placement = "in_place"
    score: Literal["soft", "hard"] = "soft"
    bounded = True
    self_evaluation = True

    def __init__(self, case: Case) -> None:
        section = case.preference.openings
        assert section is not None
        if case.placement == "quoted":
            raise UsageError("'openings' opens a turn right behind the reply: leave 'placement' out")
        if case.shots:
            raise UsageError("'openings' has no examples; leave 'shots' out")
        self._reply = right_behind(case.engine, case.prompt).reply
        texts = section.refuse + section.comply
        try:
            whole = [close_and_open(case.engine, case.conversation, text) for text in texts]
        except UsageError as error:
            others = ", ".join(kind for kind in case.preference.kinds if kind != self.kind)
            raise UsageError(f"'openings' cannot be asked here: {error}; use {others}") from error
        self._turn = common_prefix(whole)
        tails = [tokens[len(self._turn) :] for tokens in whole]
        self._refuse = _shortest(tails[: len(section.refuse)])
        self._comply = _shortest(tails[len(section.refuse) :])
        for one in self._refuse:
            for other in self._comply:
                if one[: len(other)] == other[: len(one)]:
                    raise UsageError("this model's tokenizer begins an opening that refuses like one that complies")
        # Behind each of these beginnings it is asked how likely each token is by which some opening goes on.
        self._nexts: dict[Tokens, Tokens] = {}
        for tail in self._refuse + self._comply:
            for end, token in enumerate(tail):
                known = self._nexts.get(tail[:end], ())
                self._nexts[tail[:end]] = known if token in known else (*known, token)

    def judge(self, reply: Prefix, complete: bool) -> Judgement:
        """All beginnings at once; see :meth:`Evaluator.judge`."""
        prefix = self._reply(reply)
        questions: list[Question] = [
            TokenLogprobs(prefix, self._turn + begun, tokens) for begun, tokens in self._nexts.items()
        ]
        answers = yield questions
        stop = stopped(answers)
        if stop:
            return stop
        step: dict[Tokens, float] = {}
        for (begun, tokens), answer in zip(self._nexts.items(), answers, strict=True):
            step |= {(*begun, token): value for token, value in zip(tokens, logprobs(answer), strict=True)}

        def likely(openings: list[Tokens]) -> tuple[float, ...]:
            return tuple(fsum(step[opening[: end + 1]] for end in range(len(opening))) for opening in openings)

        soft = difference(likely(self._comply), likely(self._refuse))
        return Score(soft=soft, hard=1.0 if soft > 0 else -1.0)


def _shortest(openings: list[Tokens]) -> list[Tokens]:
    """Without those that only continue another, so that no beginning of a turn counts twice."""
    unique = list(dict.fromkeys(openings))
    return [one for one in unique if not any(one != other and one[: len(other)] == other for other in unique)]
