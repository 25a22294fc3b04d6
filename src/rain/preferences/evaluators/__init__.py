"""Evaluators: how the frozen model judges its own text. One file each, and one line in :func:`_makers`.

An evaluator's name is a kind that the preference has a section for, or several joined by ``+``, whose mean it is; with
``+refusals`` behind it if a refusal shall count as good. Or a classifier, which asks no language model:
``module:function`` or ``transformers:FOLDER``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from rain.chat import Conversation
from rain.engines.engine import Engine
from rain.errors import UsageError
from rain.preferences.preference import Kind, Placement, Preference
from rain.preferences.weighted import Weighted
from rain.search.asks import Prefix, Question, Result, Score, Stopped

Judgement: TypeAlias = Generator[list[Question], list[Result], Score | Stopped]
"""Yields questions to be asked together, is sent their answers in order, returns the score."""
Named: TypeAlias = str | Callable[..., float]
"""An evaluator by its name, or a classifier itself."""

PLACED: tuple[Kind, ...] = ("choice", "yes_no", "one_word")
"""Kinds that ask in either placement; the others have one of their own."""
ZEROED: tuple[Kind, ...] = ("one_word", "openings")
"""Kinds whose soft score is a probability that content-free text should leave at one half."""
REFUSALS = "+refusals"
"""Behind an evaluator's name: a refusal counts as good, whatever the evaluator says."""


def in_turn(
    questions: list[Question], soft: Callable[[int, Result], float], decisive: float
) -> Generator[list[Question], list[Result], list[Result]]:
    """Ask all at once; or, where a first answer can be decisive, the first alone and the rest only if it is not.

    soft: the soft score of an answer, by its place among the questions. Returns the answers that were got.
    """
    if decisive >= 1 or len(questions) < 2:
        return (yield questions)
    first = yield questions[:1]
    if isinstance(first[0], Stopped) or abs(soft(0, first[0])) > decisive:
        return first
    return first + (yield questions[1:])


class Evaluator(Protocol):
    """Judges the growing replies to one prompt. Made once for each reply that is searched for."""

    @property
    def kind(self) -> str:
        """Its name without what makes it another's: ``contrastive``, ``contrastive+refusals``, ``classifier``."""
        ...

    @property
    def placement(self) -> Placement: ...

    @property
    def score(self) -> Literal["soft", "hard"]:
        """Which of the two a search uses unless somebody says otherwise."""
        ...

    @property
    def bounded(self) -> bool:
        """Whether soft scores stay in [-1, 1]."""
        ...

    @property
    def self_evaluation(self) -> bool:
        """Whether a frozen language model judges, and not something that was made for judging."""
        ...

    def judge(self, reply: Prefix, complete: bool) -> Judgement:
        """Judge the text of ``reply``. Returns the ``Stopped`` of a question that was answered with it."""
        ...


@dataclass(frozen=True, slots=True)
class Case:
    """What every evaluator is made of."""

    preference: Preference
    engine: Engine
    """The one that judges; the tokens of ``prompt`` and of the replies are its own."""
    conversation: Conversation
    prompt: Prefix
    placement: Placement | None
    """None: the preference's own."""
    shots: bool | None
    """Whether examples stand in front; None: where there are some and the placement has room for them."""
    both_wordings: bool
    """Whether yes/no asks both ways; the paper asks once."""
    decisive: float = 1.0
    """A first answer with a soft score beyond it, up or down, is not asked for again in another wording or order."""

    def text(self, reply: Prefix) -> str:
        """The reply as text, without what is no text (end of sequence)."""
        return self.engine.tokenizer.decode(reply.path(self.prompt))


def make_evaluator(
    preference: Preference | Weighted,
    engine: Engine,
    conversation: Conversation,
    prompt: Prefix,
    *,
    kind: Named | None = None,
    placement: Placement | None = None,
    shots: bool | None = None,
    both_wordings: bool = True,
    zeroed: bool = True,
    judge: Engine | None = None,
    decisive: float = 1.0,
    together: bool = True,
) -> Evaluator:
    """An evaluator for the replies behind ``prompt`` (the tokens of ``conversation``, or a link behind them).

    kind: the evaluator's name, or a classifier; default the preference's own. zeroed: use what is known of the judge,
    see :mod:`rain.preferences.calibration`. judge: another model that its questions are for; replies are ``engine``'s.
    decisive: see :class:`Case`. together: of several preferences also use what is known of them as one judge.
    Raises UsageError: a kind that the preference or the engine does not support, a placement that the kind has no
    use for, letters that are not single tokens.
    """
    check_kind(preference, kind)
    if judge is not None:
        from rain.preferences.evaluators.foreign import ForeignEvaluator

        if is_classifier(kind):
            raise UsageError("a classifier judges without a model: give either it or a judge model")
        there = ForeignEvaluator.read_by(judge, engine, conversation, prompt)
        inner = make_evaluator(
            preference, judge, there.conversation, there.prompt,
            kind=kind, placement=placement, shots=shots, both_wordings=both_wordings, zeroed=zeroed,
            decisive=decisive, together=together,
        )  # fmt: skip
        return ForeignEvaluator(inner, there)
    if isinstance(preference, Weighted):
        from rain.preferences.evaluators.weighted import WeightedEvaluator

        parts = [
            make_evaluator(
                part.preference, engine, conversation, prompt,
                kind=part.evaluator, placement=placement, shots=shots, both_wordings=both_wordings, zeroed=zeroed,
                decisive=decisive,
            )
            for part in preference.parts
        ]  # fmt: skip
        weights = [part.weight for part in preference.parts]
        plain: Evaluator = WeightedEvaluator(parts, weights, lowest=preference.combine == "min")

        def ruled(inner: Evaluator) -> Evaluator:
            return _with_refusals(inner, kind, lambda reply: engine.tokenizer.decode(reply.path(prompt)))

        as_checked = placement is None and shots is None and both_wordings
        if not (zeroed and together and as_checked):
            return ruled(plain)
        from rain.preferences.calibration import calibrated_together

        return calibrated_together(plain, preference, engine, conversation.style, ruled)
    case = Case(preference, engine, conversation, prompt, placement, shots, both_wordings, decisive)
    if kind is not None and is_classifier(kind):
        from rain.preferences.evaluators.classifier import ClassifierEvaluator, find

        return _with_refusals(ClassifierEvaluator(case, find(_without_suffix(kind))), kind, case.text)
    make = _maker(kind.removesuffix(REFUSALS) if isinstance(kind, str) else preference.default)

    def whole(inner: Evaluator) -> Evaluator:
        return _with_refusals(inner, kind, case.text)

    if zeroed:
        from rain.preferences.calibration import calibrated

        return calibrated(make(case), case, make, whole)
    return whole(make(case))


def check_kind(preference: Preference | Weighted, kind: Named | None) -> None:
    """Raises UsageError where the preference cannot be judged by an evaluator of this name. Needs no model."""
    if isinstance(preference, Weighted):
        for part in preference.parts:
            check_kind(part.preference, part.evaluator)
        if kind is not None and kind not in ("weighted", f"weighted{REFUSALS}"):
            raise UsageError(f"preference {preference.name!r} names the evaluators of its parts: leave 'evaluator' out")
        return
    if kind is None:
        return
    if is_classifier(kind):
        from rain.preferences.evaluators.classifier import find

        find(_without_suffix(kind))
        return
    parts = parts_of(kind)
    if set(parts) - set(preference.kinds) or len(set(parts)) < len(parts):
        raise UsageError(
            f"preference {preference.name!r} cannot be judged by {kind!r}; it supports {', '.join(preference.kinds)}, "
            f"several joined by '+', each also with {REFUSALS!r} behind it, and classifiers (module:function, "
            "transformers:FOLDER)"
        )


def is_classifier(kind: Named | None) -> bool:
    """Whether this names, or is, a classifier: all names with a colon do."""
    return kind is not None and (not isinstance(kind, str) or ":" in kind)


def classifier_name(kind: Named | None) -> str | None:
    """What to call the classifier that this names, or is; None where it is none."""
    if kind is None or not is_classifier(kind):
        return None
    from rain.preferences.evaluators.classifier import find

    return find(_without_suffix(kind)).name


def _without_suffix(kind: Named) -> Named:
    return kind.removesuffix(REFUSALS) if isinstance(kind, str) else kind


def parts_of(kind: Named) -> list[str]:
    """``contrastive+yes_no+refusals`` is made of contrastive and yes_no."""
    return str(_without_suffix(kind)).split("+")


def _with_refusals(evaluator: Evaluator, kind: Named | None, text: Callable[[Prefix], str]) -> Evaluator:
    if not isinstance(kind, str) or not kind.endswith(REFUSALS):
        return evaluator
    from rain.preferences.evaluators.with_refusals import WithRefusals

    return WithRefusals(evaluator, text)


def _maker(name: str) -> Callable[[Case], Evaluator]:
    """What makes the evaluator of that name, or the mean of several. Raises UsageError when made: a placement that not
    all of several have a use for."""
    makers, parts = _makers(), parts_of(name)
    if len(parts) == 1:
        return makers[name]

    def together(case: Case) -> Evaluator:
        from rain.preferences.evaluators.weighted import WeightedEvaluator

        if case.placement is not None:
            raise UsageError(f"{name!r} asks where each of its parts does: leave 'placement' out")
        return WeightedEvaluator([makers[part](case) for part in parts], [1.0] * len(parts), kind=name)

    return together


def _makers() -> dict[Named, Callable[[Case], Evaluator]]:
    # Imported here because each of them imports the types above.
    from rain.preferences.evaluators import choice, contrastive, one_word, openings, yes_no

    return {
        "choice": choice.ChoiceEvaluator,
        "yes_no": yes_no.YesNoEvaluator,
        "one_word": one_word.OneWordEvaluator,
        "contrastive": contrastive.ContrastiveEvaluator,
        "openings": openings.OpeningsEvaluator,
    }


def stopped(answers: list[Result]) -> Stopped | None:
    """The first answer that says there will be no other."""
    return next((answer for answer in answers if isinstance(answer, Stopped)), None)


def logprobs(answer: Result) -> tuple[float, ...]:
    """An answer that must be log-probabilities. Raises TypeError: the engine answered another question."""
    if not isinstance(answer, tuple):
        raise TypeError(f"expected log-probabilities, the engine answered {type(answer).__name__}")
    values = tuple(value for value in answer if isinstance(value, (int, float)))
    if len(values) != len(answer):
        raise TypeError("expected log-probabilities, the engine answered continuations")
    return values


def apart(softs: list[float]) -> float | None:
    """How much the soft scores of several wordings or orders disagree, see :attr:`Score.disagreement`."""
    return (max(softs) - min(softs)) / 2 if len(softs) > 1 else None
