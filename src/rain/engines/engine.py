"""What every engine is: something that answers four questions, and knows how to read and write tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rain.search.asks import Question, Result, Usage


class Tokenizer(Protocol):
    """Text to token ids and back."""

    eos: frozenset[int]
    """Every token that ends a reply (end of sequence, end of turn)."""
    bos: int | None
    """The token that a fresh text begins with, None where the model uses none."""

    def encode(self, text: str, *, special: bool = False, bos: bool = False) -> tuple[int, ...]:
        """Token ids of ``text``. Control tokens are read as such only with ``special``; else they stay plain text.

        Tokens that stand for text, such as a word that a vocabulary lists as user-defined, may be found in any case.
        """
        ...

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for; empty for control tokens."""
        ...

    def decode(self, tokens: tuple[int, ...]) -> str:
        """The text of tokens, control tokens left out, broken UTF-8 replaced."""
        ...


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do, so that nobody has to try and fail."""

    context: int
    """The most tokens one prefix may have, the sampled ones included."""
    sequences: int
    """How many branches it can hold or grow at once (1: one after another)."""
    text_logprobs: bool = True
    """Whether it answers :class:`~rain.search.asks.TextLogprobs` (contrastive judging needs it)."""
    shares_prefixes: bool = True
    """Whether what was computed for a prefix is used again."""


class Engine(Protocol):
    """A frozen model behind four questions. Safe to use from several searches, event loops and threads at once."""

    name: str
    """What a person calls this model."""
    tokenizer: Tokenizer
    can: Capabilities
    template: str | None
    """The model's own chat template (Jinja), None for a base model."""
    template_tokens: dict[str, str]
    """What a template may name: ``bos_token``, ``eos_token``."""

    @property
    def fingerprint(self) -> str:
        """Which weights these are: a short name of letters and digits that no other weights share.

        What is measured of a model is kept under it. May take seconds the first time it is asked.
        """
        ...

    async def answer(self, question: Question, *, limit: int | None = None) -> tuple[Result, Usage]:
        """Answer one question. Cancel the task to cancel the work.

        limit: the most forward tokens that may be spent; a question that could need more is answered with
        ``Stopped("budget")`` at no cost. One that does not fit the cache even when everything else is dropped
        is answered with ``Stopped("no_room")``. Questions asked in the same turn of an event loop share batches.
        Raises EngineError where the model itself fails.
        """
        ...

    def close(self) -> None:
        """Free the model. Open questions are answered with ``Stopped("cancelled")``."""
        ...
