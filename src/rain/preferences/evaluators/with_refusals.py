"""Any evaluator together with a rule that knows a refusal by its words: small models tell good content or a refusal,
seldom both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rain.preferences.evaluators import REFUSALS, Evaluator, Judgement
from rain.preferences.refusals import REFUSES, refusal_score
from rain.search.asks import Prefix, Stopped


class WithRefusals:
    """Good is what the evaluator calls good *or* what refuses, so each score is the larger of the two.

    Soft: max(soft, 2 refusal_score - 1); hard: 1 for a refusal, else the evaluator's. The rule knows nothing of what
    does not refuse: it then says -1 and leaves the evaluator's score as it is, so the order among replies that comply
    is the evaluator's own. Its ``kind`` says that refusals were rewarded, which is seldom what *helpful* should mean.
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
        refused = refusal_score(self._text(reply))
        soft = max(score.soft, 2 * refused - 1)
        return replace(score, soft=soft, hard=1.0 if refused >= REFUSES else score.hard)
