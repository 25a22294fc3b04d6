"""Classifiers: something made for judging says how good a text is. No self-evaluation, and marked as such.

A callable, ``module:function``, or ``transformers:FOLDER[#LABEL]`` (a sequence classifier of the Transformers library,
in a local folder). To name ``module:function`` is to run it: a program that takes names from strangers must not pass on
names with a colon.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rain.errors import MissingExtra, RainError, UsageError
from rain.preferences.preference import Kind, Placement
from rain.search.asks import Prefix, Score

if TYPE_CHECKING:
    from rain.preferences.evaluators import Case, Judgement, Named

TRANSFORMERS = "transformers:"


@dataclass(frozen=True, slots=True)
class Classifier:
    """A callable and how to call it."""

    name: str
    probability: Callable[..., Any]
    """From a text, or from prompt and reply, to the probability in [0, 1] that it is good."""
    with_prompt: bool

    def __call__(self, prompt: str, reply: str) -> float:
        """The probability that the reply is good. Raises UsageError for an answer that is none, RainError where the
        callable fails.
        """
        try:
            answer = self.probability(prompt, reply) if self.with_prompt else self.probability(reply)
        except Exception as error:
            raise RainError(f"classifier {self.name!r} failed: {type(error).__name__}: {_line(error)}") from error
        try:
            value = float(answer)
        except (TypeError, ValueError):
            value = float("nan")
        if not 0 <= value <= 1:
            raise UsageError(f"classifier {self.name!r} answered {_line(answer)}; expected a number from 0 to 1")
        return value


class ClassifierEvaluator:
    """Soft: 2 P(good) - 1; hard: 1 if that is above 0, else -1. No text scores 0. Asks no engine."""

    kind: Kind = "classifier"
    placement: Placement = "quoted"
    """It reads the text by itself."""
    score: Literal["soft", "hard"] = "soft"
    bounded = True
    self_evaluation = False

    def __init__(self, case: Case, classifier: Classifier) -> None:
        if case.placement or case.shots:
            raise UsageError("a classifier is asked no question: leave 'placement' and 'shots' out")
        self.classifier = classifier
        self._case = case
        last = case.conversation.messages[-1].content
        # A text that is continued is one text; a conversation's reply is read by itself.
        self._before = last if case.conversation.style == "plain" else ""
        self._prompt = last

    def judge(self, reply: Prefix, complete: bool) -> Judgement:
        """At once, without a question; see :meth:`Evaluator.judge`."""
        text = self._case.text(reply)
        if not text.strip():
            return Score(soft=0.0, hard=0.0)
        read = text if self.classifier.with_prompt else self._before + text
        soft = 2 * self.classifier(self._prompt, read) - 1
        return Score(soft=soft, hard=1.0 if soft > 0 else -1.0)
        yield []  # which makes it a generator


def find(named: Named) -> Classifier:
    """A classifier by its name, or around a callable. The same name is looked up once.

    Raises UsageError: no such module, function or folder, a callable that takes neither one text nor two;
    MissingExtra: Transformers is not installed.
    """
    if not isinstance(named, str):
        return _around(named, getattr(named, "__qualname__", type(named).__name__))
    if named.startswith(TRANSFORMERS):
        return _from_folder(named)
    return _from_module(named)


@lru_cache(maxsize=16)
def _from_module(name: str) -> Classifier:
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    # As with 'python -m': what lies in the folder one works in can be named.
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        found: Any = import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        what = f"{type(error).__name__}: {_line(error)}"
        raise UsageError(f"classifier {name!r}: {what}; expected module:function") from error
    finally:
        if added:
            sys.path.remove(here)
    return _around(found, name)


def _around(found: object, name: str) -> Classifier:
    if not callable(found):
        raise UsageError(f"classifier {name!r} is no function but {type(found).__name__}")
    try:
        parameters = list(inspect.signature(found).parameters.values())
    except (TypeError, ValueError):
        return Classifier(name, found, with_prompt=False)  # something built in, which does not tell
    taken = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    needed = sum(each.default is each.empty for each in taken)
    required = any(each.kind is each.KEYWORD_ONLY and each.default is each.empty for each in parameters)
    if required or needed > 2 or (not taken and not any(each.kind is each.VAR_POSITIONAL for each in parameters)):
        raise UsageError(f"classifier {name!r} should take (text) or (prompt, reply)")
    return Classifier(name, found, with_prompt=needed == 2)


@lru_cache(maxsize=2)
def _from_folder(name: str) -> Classifier:
    place, _, label = name.removeprefix(TRANSFORMERS).partition("#")
    folder = Path(place).expanduser()
    if not (folder / "config.json").is_file():
        raise UsageError(f"classifier {name!r}: {folder} is no folder of a Transformers model (config.json is missing)")
    try:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
    except ImportError as error:
        raise MissingExtra(f"classifier {name!r}: needs pip install 'rain-lm[transformers]'") from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True).eval()
    except Exception as error:
        raise UsageError(f"classifier {name!r}: cannot be loaded: {type(error).__name__}: {_line(error)}") from error
    labels = [str(model.config.id2label[index]) for index in sorted(model.config.id2label)]
    if label and label not in labels:
        raise UsageError(f"classifier {name!r}: its labels are {', '.join(labels)}")
    if not label and len(labels) > 2:
        raise UsageError(f"classifier {name!r}: say which label is good, {name}#LABEL: {', '.join(labels)}")
    good = labels.index(label) if label else len(labels) - 1

    def probability(text: str) -> float:
        with torch.inference_mode():
            logits = model(**tokenizer(text, return_tensors="pt", truncation=True)).logits[0]
        return float(logits.sigmoid()[0] if len(logits) == 1 else logits.softmax(0)[good])

    return Classifier(name, probability, with_prompt=False)


def _line(value: object) -> str:
    return " ".join(str(value).split())[:200] or type(value).__name__
