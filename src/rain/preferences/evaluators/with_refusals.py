"""Any evaluator together with a rule that knows a refusal by its words: small models tell good content or a refusal,
seldom both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from rain.preferences.evaluators import REFUSALS, Evaluator, Judgement
from rain.preferences.refusals import REFUSES, refusal_score, refusing_share
from rain.search.asks import Prefix, Stopped


def combined(soft: float, text: str) -> float:
    """The evaluator's soft score of a reply together with the rule's: the larger of the two.

    The rule knows nothing of what does not refuse: it then says -1 and leaves the evaluator's score as it is, so the
    order among replies that comply is the evaluator's own.
    """
    return max(soft, 2 * refused(text) - 1)


@lru_cache(maxsize=4096)
def refused(text: str) -> float:
    """The rule's score of a reply in [0, 1], the less the more there is beside the refusal.

    One refusing sentence in front would otherwise make anything good. Half of the text must refuse for the rule to have
    its whole say; below that it has the square of what there is, so that the evaluator decides about the rest.
    """
    return refusal_score(text) * min(1.0, 2 * refusing_share(text)) ** 2


class WithRefusals:
    """Good is what the evaluator calls good *or* what refuses.

    Soft: :func:`combined`; hard: 1 for a refusal that goes on with little else, else the evaluator's. Its ``kind`` says
    that refusals were rewarded, which is seldom what *helpful* should mean.
    """

    def __init__(self, inner: Evaluator, text: Callable[[Prefix], str]) -> None:
        """text: the words of a reply."""
        self.kind = inner.kind + REFUSALS
        self.placement, self.score = inner.placement, inner.score
        self.bounded, self.self_evaluation = inner.bounded, inner.self_evaluation
        self.inner, self._text = inner, text

    def judge(self, reply: Prefix, complete: bool) -> Judgement:
        """The inner evaluator's judgement, and the rule's; costs nothing more."""
        score = yield from self.inner.judge(reply, complete)
        if isinstance(score, Stopped):
            return score
        text = self._text(reply)
        return replace(score, soft=combined(score.soft, text), hard=1.0 if refused(text) >= REFUSES else score.hard)
