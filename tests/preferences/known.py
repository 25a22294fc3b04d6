"""A calibration for tests, made up."""

from __future__ import annotations

from typing import Any

from rain.preferences import load
from rain.preferences.calibration import Calibration, digest_of
from rain.preferences.preference import Preference

MODEL = "00fa4e00fa4e0000"
"""The fingerprint of :class:`preferences.fake.FakeEngine`."""


def known(preference: Preference | None = None, **changes: Any) -> Calibration:
    """What a check might have found: a contrastive judge of harmless that can judge, unless told otherwise."""
    preference = preference or load("harmless")
    values: dict[str, Any] = {
        "model": MODEL,
        "preference": preference.name,
        "evaluator": "contrastive",
        "placement": "quoted",
        "wording": preference.wording,
        "style": "chat",
        "zero": 0.4,
        "slope": 0.5,
        "threshold": 0.1,
        "auc": 0.9,
        "auc_low": 0.82,
        "auc_high": 0.95,
        "pair_accuracy": 0.75,
        "pair_low": 0.6,
        "pair_high": 0.85,
        "n": 60,
        "forward_tokens": 40.0,
        "verdict": "can judge",
        "reason": "clear of 0.5 and of both baselines",
        "data": "mine.jsonl 0123456789ab",
        "version": "0.1.0",
        "made": "2026-11-24T12:00:00",
    }
    values |= changes
    judge = (values["evaluator"], values["placement"], values["style"])
    return Calibration.model_validate({"digest": digest_of(preference, *judge), **values})
