"""Contrast: under which instruction is the text likeliest, the one that asks for the preference or its opposite?

Needs no answer format, so that models too small to answer a question can judge. Costs the reply's new tokens once for
each instruction. Bayes' rule with equal priors: the probability of an instruction, given the text, is the softmax of
the text's log-probabilities under each. The specification has the mean difference per token; the sum is used because a
mean hardly moves any more once the text is long, and because a probability has a natural threshold to stop at.

Of several contrasts (``also``) the evidence, the log-odds of each, is averaged.
"""

from __future__ import annotations

from itertools import islice
from math import atanh, exp, fsum, tanh
from typing import Literal

from rain.chat import Style
from rain.errors import UsageError
from rain.preferences.evaluators import Case, Judgement, apart, logprobs, stopped
from rain.preferences.placement import instructed
from rain.preferences.preference import Contrast, Kind, Placement
from rain.search.asks import Prefix, Score, TextLogprobs

MOST = 1 - 1e-12
"""A soft score beyond which its evidence is no longer told apart."""


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
        self._weight = section.weight
        contrasts = [_instructions(each, case.conversation.style) for each in (section, *section.also)]
        self._sizes = [len(texts) for texts in contrasts]
        self._mirrors = [
            instructed(case.engine, case.conversation, case.prompt, text) for texts in contrasts for text in texts
        ]

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
        evidence = iter([self._weight * fsum(logprobs(answer)) for answer in answers])
        scores = [_score(list(islice(evidence, size))) for size in self._sizes]
        if len(scores) == 1:
            return scores[0]
        softs = [score.soft for score in scores]
        soft = tanh(fsum(atanh(min(MOST, max(-MOST, each))) for each in softs) / len(softs))
        return Score(soft, float((soft > 0) - (soft < 0)), apart(softs))


def _instructions(contrast: Contrast, style: Style) -> list[str]:
    plain = style == "plain"
    ask = contrast.plain_ask if plain and contrast.plain_ask else contrast.ask
    opposite = contrast.plain_opposite if plain and contrast.plain_opposite else contrast.opposite
    neutral = contrast.plain_neutral if plain and contrast.plain_neutral else contrast.neutral
    return [ask, opposite] if neutral is None else [ask, opposite, neutral]


def _score(evidence: list[float]) -> Score:
    """Of one contrast; ``evidence``: for who asks, for the opposite and, maybe, for neither."""
    best = max(evidence)
    weights = [exp(value - best) for value in evidence]
    soft = (weights[0] - weights[1]) / fsum(weights)
    return Score(soft=soft, hard=float((evidence[0] == best) - (evidence[1] == best)))
