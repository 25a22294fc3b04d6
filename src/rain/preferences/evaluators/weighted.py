"""Several evaluators as one: the weighted mean of their scores, or the lowest, so that each may veto."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum
from typing import Literal

from rain.preferences.evaluators import Evaluator, Judgement
from rain.preferences.preference import Placement
from rain.search.asks import Prefix, Question, Result, Score, Stopped


class WeightedEvaluator:
    """Soft and hard: each the mean (or minimum) of the parts' own. Soft by default as soon as one part is."""

    def __init__(
        self, parts: Sequence[Evaluator], weights: Sequence[float], *, lowest: bool = False, kind: str = "weighted"
    ) -> None:
        """weights: one for each of ``parts``. lowest: the minimum, not the mean."""
        self.kind = kind
        self._parts, self._lowest = parts, lowest
        self._shares = [weight / fsum(weights) for weight in weights]
        in_place = all(part.placement == "in_place" for part in parts)
        self.placement: Placement = "in_place" if in_place else "quoted"
        hard = all(part.score == "hard" for part in parts)
        self.score: Literal["soft", "hard"] = "hard" if hard else "soft"
        self.bounded = all(part.bounded for part in parts)
        self.self_evaluation = all(part.self_evaluation for part in parts)

    def judge(self, reply: Prefix, complete: bool) -> Judgement:
        """The questions of all parts go out together, turn by turn; see :meth:`Evaluator.judge`."""
        steps = [part.judge(reply, complete) for part in self._parts]
        answered: dict[int, list[Result] | None] = dict.fromkeys(range(len(steps)))
        scores: dict[int, Score] = {}
        while answered:
            asked: dict[int, list[Question]] = {}
            for index, results in answered.items():
                try:
                    asked[index] = next(steps[index]) if results is None else steps[index].send(results)
                except StopIteration as end:
                    if isinstance(end.value, Stopped):
                        return end.value
                    scores[index] = end.value
            answers = (yield [question for questions in asked.values() for question in questions]) if asked else []
            answered, at = {}, 0
            for index, questions in asked.items():
                answered[index] = answers[at : at + len(questions)]
                at += len(questions)
        return self._combined([scores[index] for index in range(len(steps))])

    def _combined(self, scores: list[Score]) -> Score:
        known = [score.disagreement for score in scores if score.disagreement is not None]
        disagreement = fsum(known) / len(known) if known else None
        if self._lowest:
            soft, hard = min(score.soft for score in scores), min(score.hard for score in scores)
            return Score(soft, hard, disagreement)
        weighed = list(zip(self._shares, scores, strict=True))
        soft = fsum(share * score.soft for share, score in weighed)
        return Score(soft, fsum(share * score.hard for share, score in weighed), disagreement)
