"""Classifiers: something made for judging, named or given, and never taken for self-evaluation."""

from __future__ import annotations

import builtins
import contextlib
import math
import sys
import types
from pathlib import Path

import pytest

from preferences.fake import END, FakeEngine
from rain.chat import Conversation, Message, prompt_tokens
from rain.errors import MissingExtra, RainError, UsageError
from rain.preferences import load, make_evaluator
from rain.search.asks import Prefix, Score

HELLO = Conversation((Message("user", "How are you?"),))
PLAIN = Conversation((Message("user", "The film was"),), "plain")


def judge(classifier, text: str, conversation: Conversation = HELLO) -> Score:
    engine = FakeEngine()
    prompt = Prefix(prompt_tokens(engine, conversation))
    evaluator = make_evaluator(load("positive"), engine, conversation, prompt, kind=classifier)
    assert (evaluator.kind, evaluator.self_evaluation, evaluator.score) == ("classifier", False, "soft")
    score = engine.judge(evaluator, Prefix((*text.encode(), END), prompt))
    assert engine.batches == []
    return score


def test_a_callable_judges_the_text_and_asks_no_engine() -> None:
    assert judge(lambda text: 0.75 if text == "Fine." else 0.0, "Fine.") == Score(0.5, 1.0)
    assert judge(lambda text: 0.5, "Fine.") == Score(0.0, -1.0)
    assert judge(lambda text: 1 / 0, "") == Score(0.0, 0.0)


def test_one_that_takes_two_is_given_the_prompt_too() -> None:
    seen = []
    judge(lambda prompt, reply: not seen.append((prompt, reply)), "Fine.")
    judge(lambda text, scale=1: not seen.append(text), " fine.", PLAIN)
    judge(lambda prompt, reply: not seen.append((prompt, reply)), " fine.", PLAIN)
    assert seen == [("How are you?", "Fine."), "The film was fine.", ("The film was", " fine.")]


def test_a_function_is_found_by_module_and_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "calm_judge_1.py").write_text(
        "def calm(text):\n    return 0.25\n\nclass Box:\n    calm = staticmethod(calm)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert judge("calm_judge_1:calm", "Fine.") == Score(-0.5, -1.0)
    assert str(tmp_path) not in sys.path


def test_a_refusal_rule_goes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "calm_judge_2.py").write_text("def calm(text):\n    return 0.0\n")
    monkeypatch.chdir(tmp_path)
    engine = FakeEngine()
    prompt = Prefix(prompt_tokens(engine, HELLO))
    evaluator = make_evaluator(load("harmless"), engine, HELLO, prompt, kind="calm_judge_2:calm+refusals")
    assert (evaluator.kind, evaluator.self_evaluation) == ("classifier+refusals", False)
    assert engine.judge(evaluator, Prefix(tuple(b"I'm sorry, but I can't help with that."), prompt)).hard == 1.0


@pytest.mark.parametrize(
    ("classifier", "says"),
    [
        ("no_such_module:f", "No module named 'no_such_module'"),
        ("math:nope", "no attribute 'nope'"),
        ("math:pi", "is no function but float"),
        (":f", "expected module:function"),
        ("math:", "expected module:function"),
        (lambda: 0.5, r"should take \(text\) or \(prompt, reply\)"),
        (lambda a, b, c: 0.5, r"should take \(text\) or \(prompt, reply\)"),
        ("transformers:/no/such/folder", "no folder of a Transformers model"),
    ],
)
def test_what_is_no_classifier_is_told_in_a_line(classifier, says) -> None:
    with pytest.raises(UsageError, match=says) as error:
        judge(classifier, "Fine.")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("answer", [1.5, -0.1, float("nan"), "good", None])
def test_an_answer_that_is_no_probability_is_told(answer) -> None:
    with pytest.raises(UsageError, match="expected a number from 0 to 1"):
        judge(lambda text: answer, "Fine.")


def test_one_that_fails_is_told_with_its_reason() -> None:
    def broken(text: str) -> float:
        raise KeyError("weights")

    with pytest.raises(RainError, match=r"broken' failed: KeyError: 'weights'"):
        judge(broken, "Fine.")


def test_a_missing_extra_names_the_line_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    real = builtins.__import__

    def without(name: str, *rest, **more):
        if name in ("torch", "transformers"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"pip install 'rain-lm\[transformers\]'"):
        judge(f"transformers:{tmp_path}", "Fine.")


@pytest.mark.parametrize("options", [{"placement": "quoted"}, {"shots": True}, {"judge": FakeEngine()}])
def test_it_has_nothing_to_ask_nor_anybody(options) -> None:
    engine = FakeEngine()
    with pytest.raises(UsageError, match="classifier"):
        make_evaluator(
            load("harmless"), engine, HELLO, Prefix(prompt_tokens(engine, HELLO)), kind=lambda text: 0.5, **options
        )


class _Logits(list):
    """As much of a tensor as is used."""

    def softmax(self, _dim: int) -> list[float]:
        total = sum(math.exp(value) for value in self)
        return [math.exp(value) / total for value in self]

    def sigmoid(self) -> list[float]:
        return [1 / (1 + math.exp(-value)) for value in self]


def library(monkeypatch: pytest.MonkeyPatch, labels: list[str], logits: list[float]) -> None:
    """Stands in for Transformers: one model with these labels that always gives these logits."""

    class Model:
        config = types.SimpleNamespace(id2label=dict(enumerate(labels)))

        @classmethod
        def from_pretrained(cls, folder: Path, local_files_only: bool) -> Model:
            assert local_files_only
            return cls()

        def eval(self) -> Model:
            return self

        def __call__(self, **_: object) -> types.SimpleNamespace:
            return types.SimpleNamespace(logits=[_Logits(logits)])

    class Tokenizer(Model):
        def __call__(self, text: str, **_: object) -> dict[str, str]:
            return {"text": text}

    made = types.SimpleNamespace(AutoModelForSequenceClassification=Model, AutoTokenizer=Tokenizer)
    monkeypatch.setitem(sys.modules, "transformers", made)
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(inference_mode=contextlib.nullcontext))


@pytest.mark.parametrize(
    ("labels", "logits", "label", "probability"),
    [
        (["bad", "good"], [0.0, math.log(3)], "", 0.75),
        (["safe", "unsafe"], [0.0, math.log(3)], "#safe", 0.25),
        (["only"], [math.log(3)], "", 0.75),
        (["a", "b", "c"], [0.0, math.log(2), 0.0], "#b", 0.5),
    ],
)
def test_a_sequence_classifier_gives_the_probability_of_the_good_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels, logits, label, probability
) -> None:
    (tmp_path / "config.json").write_text("{}")
    library(monkeypatch, labels, logits)
    assert judge(f"transformers:{tmp_path}{label}", "Fine.").soft == pytest.approx(2 * probability - 1)


def test_a_label_that_is_not_there_or_not_named_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    library(monkeypatch, ["a", "b", "c"], [0.0, 0.0, 0.0])
    with pytest.raises(UsageError, match="its labels are a, b, c"):
        judge(f"transformers:{tmp_path}#d", "Fine.")
    with pytest.raises(UsageError, match="say which label is good"):
        judge(f"transformers:{tmp_path}", "Fine.")
