"""Contrast: under which instruction is the text likeliest, the one that asks for the preference or its opposite?

Needs no answer format, so that models too small to answer a question can judge. Costs the reply's new tokens once for
each instruction. Bayes' rule with equal priors: the probability of an instruction, given the text, is the softmax of
the text's log-probabilities under each. The specification has the mean difference per token; the sum is used because a
mean hardly moves any more once the text is long, and because a probability has a natural threshold to stop at.
"""

from __future__ import annotations

from math import exp, fsum
from typing import Literal

from rain.errors import UsageError
from rain.preferences.evaluators import Case, Judgement, logprobs, stopped
from rain.preferences.placement import instructed
from rain.preferences.preference import Kind, Placement
from rain.search.asks import Prefix, Score, TextLogprobs


class ContrastiveEvaluator:
    """Soft: P(asked for) - P(opposite); hard: 1, -1 or (neutral, tied) 0 by which is likeliest. No text scores 0."""

    kind: Kind = "contrastive"
    placement: Placement = "quoted"
    score: Literal["soft", "hard"] = "soft"
    bounded = True
    self_evaluation = True

    def __init__(self, case: Case) -> None:
        section = case.preference.contrastive
        assert section is not None
        if case.placement == "in_place":
            raise UsageError("'contrastive' reads the reply behind prompts of its own: leave 'placement' out")
        if case.shots:
            raise UsageError("'contrastive' has no examples; leave 'shots' out")
        if not case.engine.can.text_logprobs:
            raise UsageError(
                f"{case.engine.name} cannot tell how likely a given text is, which 'contrastive' needs; "
                f"use another of {', '.join(case.preference.kinds)}"
            )
        plain = case.conversation.style == "plain"
        ask = section.plain_ask if plain and section.plain_ask else section.ask
        opposite = section.plain_opposite if plain and section.plain_opposite else section.opposite
        neutral = section.plain_neutral if plain and section.plain_neutral else section.neutral
        self._weight = section.weight
        texts = [ask, opposite] if neutral is None else [ask, opposite, neutral]
        self._mirrors = [instructed(case.engine, case.conversation, case.prompt, text) for text in texts]

    def judge(self, reply: Prefix, complete: bool) -> Judgement:
        """The text behind every instruction at once; see :meth:`Evaluator.judge`."""
        texts = [mirror.of(reply) for mirror in self._mirrors]
        if texts[0] is self._mirrors[0].root:
            return Score(soft=0.0, hard=0.0)
        roots = (mirror.root for mirror in self._mirrors)
        answers = yield [TextLogprobs(text, root) for text, root in zip(texts, roots, strict=True)]
        stop = stopped(answers)
        if stop:
            return stop
        evidence = [self._weight * fsum(logprobs(answer)) for answer in answers]
        weights = [exp(value - max(evidence)) for value in evidence]
        soft = (weights[0] - weights[1]) / fsum(weights)
        best = max(evidence)
        return Score(soft=soft, hard=float((evidence[0] == best) - (evidence[1] == best)))
