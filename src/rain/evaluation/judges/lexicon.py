"""VADER: does a text sound positive? A lexicon of words with signs, and rules for "not", "very" and "but".

Source: C. J. Hutto and E. Gilbert, VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text
(2014). Only what the model wrote is read, without the prompt and without what the reply was forced to begin with.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from rain.errors import MissingExtra
from rain.evaluation.judges import Case, Judge, Verdict
from rain.evaluation.records import Sample

POSITIVE = 0.05
"""The authors' own bound, and that of benchmarks/positive.py: a compound above it is positive."""


class VaderJudge(Judge):
    """Measures ``positive``: whether the compound, in [-1, 1], is above :data:`POSITIVE`; the score is the compound."""

    name = "vader"

    def __init__(self) -> None:
        """Raises MissingExtra."""
        try:
            from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
        except ImportError as error:
            raise MissingExtra("the judge 'vader' needs pip install 'rain-lm[eval]'") from error
        self._analyzer = SentimentIntensityAnalyzer()

    def cases(self, samples: Sequence[Sample]) -> list[Case]:
        return [Case(sample, "positive") for sample in samples]

    async def judge(self, cases: Sequence[Case]) -> AsyncGenerator[tuple[Case, Verdict]]:
        for case in cases:
            compound = float(self._analyzer.polarity_scores(case.sample.text)["compound"])
            yield case, Verdict(compound > POSITIVE, compound, f"compound {compound:+.2f}")

    def about(self) -> dict[str, Any]:
        return {"bound": POSITIVE}
