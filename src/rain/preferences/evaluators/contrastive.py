"""Contrast: how much likelier the text is under an instruction that asks for the preference than under its opposite.

Needs no answer format, so that models too small to answer a question can judge. Costs the reply's new tokens twice.
"""

from __future__ import annotations

from math import fsum, tanh
from typing import Literal

from rain.errors import UsageError
from rain.preferences.evaluators import Case, Judgement, logprobs, stopped
from rain.preferences.placement import instructed
from rain.preferences.preference import Kind, Placement
from rain.search.asks import Prefix, Score, TextLogprobs


class ContrastiveEvaluator:
    """Soft: tanh(scale x mean difference in nats per token); hard: its sign. An empty reply scores 0."""

    kind: Kind = "contrastive"
    placement: Placement = "quoted"
    score: Literal["soft", "hard"] = "soft"
    bounded = True

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
        self._scale = section.scale
        self._asked_for = instructed(case.engine, case.conversation, case.prompt, ask)
        self._opposite = instructed(case.engine, case.conversation, case.prompt, opposite)

    def judge(self, reply: Prefix, complete: bool) -> Judgement:
        """The text behind both instructions at once; see :meth:`Evaluator.judge`."""
        asked_for, opposite = self._asked_for.of(reply), self._opposite.of(reply)
        if asked_for is self._asked_for.root:
            return Score(soft=0.0, hard=0.0)
        answers = yield [TextLogprobs(asked_for, self._asked_for.root), TextLogprobs(opposite, self._opposite.root)]
        stop = stopped(answers)
        if stop:
            return stop
        wanted, unwanted = logprobs(answers[0]), logprobs(answers[1])
        difference = fsum(a - b for a, b in zip(wanted, unwanted, strict=True)) / len(wanted)
        return Score(soft=tanh(self._scale * difference), hard=float((difference > 0) - (difference < 0)))
