"""Calibration: what a judge says of text that says nothing is its bias, and is taken off every score.

Evidence is the log-odds of good over bad, ``2 atanh(soft)``. The zero is the mean evidence of the preference's
content-free cases, asked of the same engine in the same placement and style.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from math import atanh, fsum, tanh
from pathlib import Path
from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

from platformdirs import user_cache_path
from pydantic import BaseModel, ConfigDict

from rain.chat import Conversation, Message, prompt_tokens
from rain.engines.engine import Engine
from rain.preferences.evaluators import Case, Evaluator, Judgement
from rain.preferences.preference import Preference
from rain.search.asks import Prefix, Score, Stopped

_LARGEST = 1 - 1e-12
_zeros: WeakKeyDictionary[Engine, dict[tuple[Any, ...], float]] = WeakKeyDictionary()
"""Measured once for each engine, evaluator, placement, style and system message."""


def evidence(soft: float) -> float:
    """Log-odds of good over bad of a soft score in [-1, 1]."""
    return 2 * atanh(max(-_LARGEST, min(_LARGEST, soft)))


Verdict: TypeAlias = Literal["can judge", "judges weakly", "cannot judge this", "only recognises refusals"]


class Calibration(BaseModel):
    """What was measured of one judge: one model, preference, evaluator, placement, wording and style."""

    model_config = ConfigDict(frozen=True)

    model: str
    """Fingerprint of the weights; never used for another model."""
    preference: str
    digest: str
    """Of everything the preference asks, so that a changed wording is another judge."""
    evaluator: str
    placement: str
    wording: str
    style: str
    zero: float
    """Evidence of content-free text."""
    slope: float
    """Logistic regression of good on evidence - zero: calibrated soft = tanh(slope (evidence - zero) / 2)."""
    threshold: float
    """Calibrated soft score below which a share of ``false_alarms`` of the good texts lies."""
    false_alarms: float = 0.05
    auc: float
    auc_low: float
    auc_high: float
    pair_accuracy: float | None = None
    pair_low: float | None = None
    pair_high: float | None = None
    n: int
    forward_tokens: float
    """For each judgement, beyond the reply itself."""
    verdict: Verdict
    reason: str
    data: str
    """What it was measured on: "samples" (our own) or a file's name and digest."""
    version: str
    made: str
    """Date, ISO 8601."""


def digest(preference: Preference) -> str:
    """Of everything the preference asks."""
    return hashlib.sha256(preference.model_dump_json().encode()).hexdigest()[:16]


def folder() -> Path:
    """Where calibrations are kept: the user's cache."""
    return user_cache_path("rain") / "calibrations"


def kept(model: str) -> list[Calibration]:
    """Every calibration of the model with this fingerprint."""
    file = folder() / f"{model}.json"
    if not file.is_file():
        return []
    return [Calibration.model_validate(row) for row in json.loads(file.read_text(encoding="utf-8"))]


class Zeroed:
    """An evaluator whose soft score is 0 for content-free text. Hard: the sign of soft; a tie is bad."""

    def __init__(self, inner: Evaluator, case: Case, make: Callable[[Case], Evaluator]) -> None:
        self.kind, self.placement, self.score, self.bounded = inner.kind, inner.placement, inner.score, inner.bounded
        self._inner, self._case, self._make = inner, case, make
        first = case.conversation.messages[0]
        self._system = (first,) if first.role == "system" else ()
        self._known = _zeros.setdefault(case.engine, {})
        self._key = (case.preference, inner.kind, inner.placement, case.conversation.style, self._system)

    def judge(self, reply: Prefix, complete: bool) -> Judgement:
        """The inner evaluator's judgement with its zero moved; the first one measures the zero."""
        if self._key not in self._known:
            found = []
            for evaluator, text in self._content_free():
                score = yield from evaluator.judge(text, True)
                if isinstance(score, Stopped):
                    return score
                found.append(evidence(score.soft))
            self._known[self._key] = fsum(found) / len(found)
        score = yield from self._inner.judge(reply, complete)
        if isinstance(score, Stopped):
            return score
        soft = tanh((evidence(score.soft) - self._known[self._key]) / 2)
        return Score(soft=soft, hard=1.0 if soft > 0 else -1.0)

    def _content_free(self) -> list[tuple[Evaluator, Prefix]]:
        engine, cases = self._case.engine, []
        for text in self._case.preference.content_free:
            conversation = Conversation((*self._system, Message("user", text.prompt)), self._case.conversation.style)
            prompt = Prefix(prompt_tokens(engine, conversation))
            evaluator = self._make(replace(self._case, conversation=conversation, prompt=prompt))
            cases.append((evaluator, Prefix(engine.tokenizer.encode(text.reply), prompt)))
        return cases
