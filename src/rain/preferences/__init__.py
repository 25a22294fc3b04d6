"""Preferences: what to want of a text, and how the frozen model judges it."""

from rain.preferences.evaluators import Evaluator, Judgement, Named, check_kind, classifier_name, make_evaluator
from rain.preferences.preference import Kind, Placement, Preference, builtin_names, from_sentence, load
from rain.preferences.weighted import Part, Weighted, load_wanted

__all__ = [
    "Evaluator",
    "Judgement",
    "Kind",
    "Named",
    "Part",
    "Placement",
    "Preference",
    "Weighted",
    "builtin_names",
    "check_kind",
    "classifier_name",
    "from_sentence",
    "load",
    "load_wanted",
    "make_evaluator",
]
