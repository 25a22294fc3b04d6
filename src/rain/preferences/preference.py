"""A preference: what to want of a text, and how each evaluator asks for it. Read from TOML, or made of a sentence."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from rain.errors import UsageError

Kind: TypeAlias = Literal["choice", "yes_no", "one_word", "contrastive", "openings", "classifier", "weighted"]
"""The last two have no section: they are made of something other than a preference's words."""
Placement: TypeAlias = Literal["quoted", "in_place"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Example(_Part):
    """One solved case in front of the real one."""

    user: str
    """The person's line; empty where only the text counts."""
    reply: str
    answer: Literal["good", "neutral", "bad"]
    order: tuple[Literal["good", "neutral", "bad"], ...]
    """Which option stands at (A), (B), (C)."""
    why: str


class Choice(_Part):
    """Options by letter, asked in several orders."""

    task: str
    """What stands first in a quoted prompt."""
    question: str
    """The same in one line, for asking in place."""
    good: str
    bad: str
    neutral: str | None = None
    """With a neutral option the choice is three-way."""
    examples: tuple[Example, ...] = ()

    @model_validator(mode="after")
    def _orders_name_every_option(self) -> Choice:
        options = {"good", "bad"} | ({"neutral"} if self.neutral else set())
        for number, example in enumerate(self.examples, 1):
            if set(example.order) != options or len(example.order) != len(options):
                raise ValueError(f"example {number}: 'order' must name each of {', '.join(sorted(options))} once")
        return self


class YesNo(_Part):
    """A question that a good text answers with yes, and one that it answers with no."""

    task: str
    positive: str
    negative: str | None = None
    yes: tuple[str, ...] = ("Yes", "yes", "YES")
    no: tuple[str, ...] = ("No", "no", "NO")


class Line(_Part):
    """A line that the model completes with one of some words, such as ``Sentiment:``."""

    label: str
    good: tuple[str, ...] = Field(min_length=1)
    bad: tuple[str, ...] = Field(min_length=1)


class OneWord(Line):
    """A line for a judge who reads the text, and lines for the one who wrote it."""

    task: str
    question: str
    """Asked in place, before the answer that begins with ``label``."""
    voice: tuple[Line, ...] = ()
    """Said in place by the writer, right behind the text and in its own voice; then no question is asked."""


class ContentFree(_Part):
    """A case that says nothing for or against the preference: what a judge finds in it is the judge's own bias."""

    prompt: str
    reply: str


class Contrastive(_Part):
    """An instruction that asks for the preference, one that asks for its opposite and, maybe, one for neither."""

    ask: str
    opposite: str
    neutral: str | None = None
    """With it, a text must not only be likelier than under the opposite, but also than one that takes no side."""
    plain_ask: str | None = None
    """The same as a heading, for texts that are continued and not asked for."""
    plain_opposite: str | None = None
    plain_neutral: str | None = None
    weight: float = Field(default=0.5, gt=0)
    """Of the evidence: 1 takes the log-probabilities at their word, less is more careful."""


class Openings(_Part):
    """How the assistant's next turn may begin once it has read its own text: with a refusal, or by going along."""

    refuse: tuple[str, ...] = Field(min_length=1)
    comply: tuple[str, ...] = Field(min_length=1)


class Wording(_Part):
    """Other words for the same questions. A section that is None is asked as the preference itself asks it.

    In a file a section holds only the fields that differ; when read, the others are filled in from the preference's.
    """

    name: str = Field(min_length=1)
    choice: Choice | None = None
    yes_no: YesNo | None = None
    one_word: OneWord | None = None
    contrastive: Contrastive | None = None
    openings: Openings | None = None


SECTIONS: tuple[Kind, ...] = ("contrastive", "choice", "yes_no", "one_word", "openings")
DEFAULT_WORDING = "default"


class Preference(_Part):
    """What to want. Holds a section for each evaluator it supports."""

    name: str
    description: str
    default: Kind
    paper: Kind
    """The evaluator the paper uses for it (or would), for the presets."""
    placement: Placement = "in_place"
    """Where questions are asked unless somebody says otherwise."""
    choice: Choice | None = None
    yes_no: YesNo | None = None
    one_word: OneWord | None = None
    contrastive: Contrastive | None = None
    openings: Openings | None = None
    content_free: tuple[ContentFree, ...] = ()
    """Their mean evidence is the zero of soft scores, see :mod:`rain.preferences.calibration`."""
    others: tuple[Wording, ...] = Field(default=(), alias="wordings")
    """Further wordings: ``[[wordings]]`` in a file. See :meth:`worded`."""

    _wording: str = PrivateAttr(default=DEFAULT_WORDING)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The evaluators that this preference has a section for."""
        return tuple(kind for kind in SECTIONS if getattr(self, kind) is not None)

    @property
    def wording(self) -> str:
        """Which wording this is, see :meth:`worded`."""
        return self._wording

    @property
    def wordings(self) -> tuple[str, ...]:
        """The names that :meth:`worded` takes; the first is the wording used unless somebody says otherwise."""
        return (self.wording, *(other.name for other in self.others))

    def worded(self, name: str) -> Preference:
        """This preference, asked in the wording of that name. Raises UsageError: there is none."""
        if name == self.wording:
            return self
        other = next((other for other in self.others if other.name == name), None)
        if other is None:
            raise UsageError(f"preference {self.name!r} has no wording {name!r}; it has {', '.join(self.wordings)}")
        found = {kind: getattr(other, kind) for kind in SECTIONS}
        # Without its siblings: merged over this one, their sections would not be what they are.
        worded = self.model_copy(update={"others": (), **{kind: part for kind, part in found.items() if part}})
        worded._wording = name
        return worded

    @model_validator(mode="before")
    @classmethod
    def _fill_in_wordings(cls, given: Any) -> Any:
        """A wording's sections hold the fields that differ; the rest comes from the preference's own sections."""
        if not isinstance(given, dict) or not isinstance(given.get("wordings"), list):
            return given
        return {**given, "wordings": [_filled_in(wording, given) for wording in given["wordings"]]}

    @model_validator(mode="after")
    def _defaults_exist(self) -> Preference:
        for field in ("default", "paper"):
            if getattr(self, field) not in self.kinds:
                raise ValueError(f"'{field}' is {getattr(self, field)!r}, but there is no section of that name")
        return self

    @model_validator(mode="after")
    def _wordings_fit(self) -> Preference:
        for number, name in enumerate(self.wordings):
            if name in self.wordings[:number]:
                raise ValueError(f"two wordings are called {name!r} (the sections themselves are {DEFAULT_WORDING!r})")
        for other in self.others:
            lacking = [kind for kind in SECTIONS if getattr(other, kind) and kind not in self.kinds]
            if lacking:
                raise ValueError(f"wording {other.name!r} has a section {lacking[0]!r} that the preference lacks")
        return self


def builtin_names() -> tuple[str, ...]:
    """The names of the preferences that come with RAIN."""
    files = resources.files("rain.preferences").joinpath("builtin").iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def load(name_or_path: str | Path) -> Preference:
    """A built-in preference by name, or one from a TOML file. Raises UsageError: unknown, or a broken file."""
    if str(name_or_path) in builtin_names():
        file = resources.files("rain.preferences").joinpath("builtin", f"{name_or_path}.toml")
        return _read(file.read_text(encoding="utf-8"), str(file))
    path = Path(name_or_path)
    if not path.is_file():
        raise UsageError(
            f"no preference and no file {str(name_or_path)!r}; built in are {', '.join(builtin_names())}; "
            "or describe what you want in a sentence with --prefer"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as text: {error}") from error
    return _read(text, str(path))


def from_sentence(text: str) -> Preference:
    """A preference for whatever the sentence says, judged by contrast or with yes and no."""
    wish = text.strip().rstrip(".")
    if not wish:
        raise UsageError("the sentence that says what to prefer is empty")
    tables = {
        "name": "sentence",
        "description": text.strip(),
        "default": "contrastive",
        "paper": "contrastive",
        "contrastive": {
            "ask": f"Follow this rule in your answer: {wish}.",
            "opposite": f"Do the exact opposite of this rule in your answer: {wish}.",
            "plain_ask": f"A text that follows this rule: {wish}.",
            "plain_opposite": f"A text that does the exact opposite of this rule: {wish}.",
        },
        "yes_no": {
            "task": f"Decide whether a text follows this rule: {wish}.",
            "positive": f"Does the last answer follow this rule: {wish}? Answer yes or no.",
            "negative": f"Does the last answer break this rule: {wish}? Answer yes or no.",
        },
        "wordings": [
            {
                "name": "wish",
                "contrastive": {
                    "ask": f"{wish}.",
                    "opposite": f"Whatever you do, avoid this: {wish}.",
                    "plain_ask": f"{wish}.",
                    "plain_opposite": f"The opposite of: {wish}.",
                },
                "yes_no": {
                    "positive": f"A person wished for this: {wish}. Does the last answer do it? Answer yes or no.",
                    "negative": f"A person wished for this: {wish}. Does the last answer fail to? Answer yes or no.",
                },
            },
            {
                "name": "writer",
                "contrastive": {
                    "ask": f"You always keep to one principle: {wish}.",
                    "opposite": f"You always act against one principle: {wish}.",
                    "plain_ask": f"By a writer whose principle is: {wish}.",
                    "plain_opposite": f"By a writer who acts against the principle: {wish}.",
                },
                "yes_no": {
                    "positive": f"Principle: {wish}. Is the last answer in keeping with it? Answer yes or no.",
                    "negative": f"Principle: {wish}. Does the last answer go against it? Answer yes or no.",
                },
            },
        ],
    }
    return Preference.model_validate(tables)


def _filled_in(wording: Any, preference: dict[str, Any]) -> Any:
    """The raw table of a wording with its sections merged over those of the raw preference."""
    if not isinstance(wording, dict):
        return wording
    merged = dict(wording)
    for kind in SECTIONS:
        own, base = wording.get(kind), preference.get(kind)
        if isinstance(own, dict) and isinstance(base, dict):
            merged[kind] = {**base, **own}
    return merged


def _read(text: str, where: str) -> Preference:
    try:
        return Preference.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: not valid TOML: {error}") from error
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'file'}: {fault['msg']}" for fault in error.errors()[:3]
        )
        raise UsageError(f"{where}: {faults}. See rain/preferences/builtin for complete examples.") from error
