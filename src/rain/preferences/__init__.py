"""Preferences: what to want of a text, and how the frozen model judges it."""

from rain.preferences.evaluators import Evaluator, Judgement, make_evaluator
from rain.preferences.preference import Kind, Placement, Preference, builtin_names, from_sentence, load

__all__ = [
    "Evaluator",
    "Judgement",
    "Kind",
    "Placement",
    "Preference",
    "builtin_names",
    "from_sentence",
    "load",
    "make_evaluator",
]
