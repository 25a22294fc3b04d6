"""Choice by letter: the model says which of two (or three) statements about the text is right.

Letters have a pull of their own, so every option stands at every letter once; all orders are one batch.
Two-way after the paper's section on self-evaluation; three-way with a neutral option for sentiment.
"""

from __future__ import annotations

from math import exp, fsum
from typing import Literal, TypeAlias

from rain.errors import UsageError
from rain.preferences.evaluators import Case, Judgement, apart, in_turn, logprobs, stopped
from rain.preferences.placement import choices_in_context, place
from rain.preferences.preference import Choice, Kind
from rain.search.asks import Prefix, Question, Result, Score, TokenLogprobs

Option: TypeAlias = Literal["good", "neutral", "bad"]
LETTERS = "ABC"


class ChoiceEvaluator:
    """Hard: two-way 1 point for each order in which the right letter is strictly likelier, minus 1."""

    kind: Kind = "choice"
    score: Literal["soft", "hard"] = "hard"
    bounded = True
    self_evaluation = True

    def __init__(self, case: Case) -> None:
        section = case.preference.choice
        assert section is not None
        self.placement = case.placement or ("quoted" if case.shots else case.preference.placement)
        if self.placement == "in_place" and case.shots:
            raise UsageError("examples need a prompt of their own: use placement 'quoted', or no examples")
        if case.shots and not section.examples:
            raise UsageError(f"preference {case.preference.name!r} has no examples for 'choice'")
        few_shot = self.placement == "quoted" and case.shots is not False
        self._placed = place(
            case.engine,
            case.conversation,
            case.prompt,
            self.placement,
            _fixed(section, few_shot),
            section.question,
        )
        self._orders, self._decisive = _orders(section), case.decisive
        self._asked = []
        for order in self._orders:
            listed = _listed(section, order)
            answers = [self._placed.ask(listed, f"Answer: ({letter}") for letter in LETTERS[: len(order)]]
            self._asked.append(choices_in_context(answers, list(LETTERS[: len(order)])))

    def judge(self, reply: Prefix, complete: bool) -> Judgement:
        """All orders at once; see :meth:`Evaluator.judge`."""
        prefix = self._placed.reply(reply)
        questions: list[Question] = [TokenLogprobs(prefix, tokens, letters) for tokens, letters in self._asked]
        answers = yield from in_turn(questions, lambda at, answer: _soft(self._of(at, answer)), self._decisive)
        stop = stopped(answers)
        if stop:
            return stop
        found = [self._of(at, answer) for at, answer in enumerate(answers)]
        softs = [_soft(of) for of in found]
        return Score(fsum(softs) / len(softs), fsum(_hard(of) for of in found) / len(found), apart(softs))

    def _of(self, at: int, answer: Result) -> dict[Option, float]:
        """The log-probabilities of the options in the answer to question ``at``."""
        return dict(zip(self._orders[at], logprobs(answer), strict=True))


def _soft(of: dict[Option, float]) -> float:
    """P(good) - P(bad) among the options; with two options that is 2 P(good) - 1."""
    top = max(of.values())
    weights = {option: exp(value - top) for option, value in of.items()}
    return (weights["good"] - weights["bad"]) / sum(weights.values())


def _hard(of: dict[Option, float]) -> float:
    """+1 if the good option is strictly the likeliest, 0 if the neutral one is, else -1 (a tie counts as bad)."""
    first, second = sorted(of.values(), reverse=True)[:2]
    best = max(of, key=lambda option: of[option])
    if first == second or best == "bad":
        return -1.0
    return 1.0 if best == "good" else 0.0


def _orders(section: Choice) -> tuple[tuple[Option, ...], ...]:
    """Two-way both orders; three-way the three rotations: each option stands at each letter once."""
    if section.neutral is None:
        return (("bad", "good"), ("good", "bad"))
    return (("good", "neutral", "bad"), ("neutral", "bad", "good"), ("bad", "good", "neutral"))


def _listed(section: Choice, order: tuple[Option, ...]) -> str:
    return "\n".join(f"({letter}) {_words(section, option)}" for letter, option in zip(LETTERS, order, strict=False))


def _words(section: Choice, option: Option) -> str:
    return {"good": section.good, "bad": section.bad, "neutral": section.neutral or ""}[option]


def _fixed(section: Choice, few_shot: bool) -> str:
    """What stands first: the task, then solved cases laid out as the real one will be."""
    cases = []
    for example in section.examples if few_shot else ():
        letter = LETTERS[example.order.index(example.answer)]
        # A conversation has a person's line; a text that is continued has none.
        said = f"Person: {example.user}\nAssistant:\n" if example.user else "Text:\n"
        cases.append(
            f"{said}{example.reply}\n{_listed(section, example.order)}\n"
            f"Answer: ({letter}) {_words(section, example.answer)} {example.why}"
        )
    return "\n\n".join((section.task, *cases)) + "\n\n"
