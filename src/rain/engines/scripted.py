"""A toy model that needs no file: for tests, for examples, and for trying out a search in microseconds.

Its vocabulary is a few words, punctuation, an end token and the 256 bytes; what follows is a fixed function of the last
few tokens and a seed. It answers by brute force, so it is the yardstick for engines that share and batch.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from rain.engines.engine import Capabilities, Tokenizer
from rain.engines.sampling import Draw, Row, ending, filtered, log_normaliser, top
from rain.errors import EngineError
from rain.search.asks import (
    Continuation,
    Prefix,
    Question,
    Result,
    Sample,
    Stopped,
    TextLogprobs,
    TokenLogprobs,
    TopTokens,
    Usage,
)

WORDS = (
    " the a movie was is it I you we they liked hated found thought story acting good great bad awful very not and but "
    "because yes no harmful harmless positive negative"
)
MARKS = (b",", b".", b"?", b"\n", b" A", b" B")
UNLIKELY = -30.0
"""The logit of a single byte: there so that every text can be written, but never drawn."""

Next: TypeAlias = Callable[[tuple[int, ...]], Sequence[float]]
"""From all tokens so far to the logits of the next, one for each token of the vocabulary."""


class WordTokenizer:
    """Tokens are the longest pieces that fit; what fits none is spelt in bytes. Token 0 is the end, 1 the beginning."""

    def __init__(self, pieces: Sequence[bytes] = ()) -> None:
        words = [b" " + word.encode() for word in WORDS.split()]
        chosen = list(dict.fromkeys(pieces)) if pieces else [*words, *MARKS]
        self.pieces: list[bytes] = [b"", b"", *chosen, *(bytes([byte]) for byte in range(256))]
        self.words = len(chosen) + 2
        """Tokens below this are pieces and control tokens, the rest single bytes."""
        self.eos = frozenset({0})
        self.bos: int | None = 1
        self._ids = {piece: token for token, piece in reversed(list(enumerate(self.pieces))) if piece}
        self._longest = max(len(piece) for piece in self.pieces)
        self._control = {"<end>": 0, "<start>": 1}

    def encode(self, text: str, *, special: bool = False, bos: bool = False) -> tuple[int, ...]:
        tokens = [1] if bos else []
        for part in re.split("(<end>|<start>)", text) if special else [text]:
            control = self._control.get(part) if special else None
            tokens += self._plain(part) if control is None else [control]
        return tuple(tokens)

    def piece(self, token: int) -> bytes:
        return self.pieces[token]

    def decode(self, tokens: tuple[int, ...]) -> str:
        return b"".join(self.pieces[token] for token in tokens).decode("utf-8", errors="replace")

    def _plain(self, text: str) -> list[int]:
        data, tokens = text.encode("utf-8", errors="replace"), []
        while data:
            size = next(n for n in range(self._longest, 0, -1) if data[:n] in self._ids)
            tokens.append(self._ids[data[:size]])
            data = data[size:]
        return tokens


class ScriptedEngine:
    """The toy model behind the four questions.

    pieces: the vocabulary's pieces, if not the built-in words. following: a function to use instead of the hash.
    order: how many tokens the hash looks back. remembers: whether Usage counts prefixes as cached (nothing is).
    delay: seconds an answer takes, or a function of the question. fail: a function of the question that gives what to
    raise, or None. shuffle: a seed; answers then come in random order.
    """

    def __init__(
        self,
        *,
        pieces: Sequence[bytes] = (),
        seed: int = 0,
        following: Next | None = None,
        order: int = 2,
        context: int = 4096,
        sequences: int = 64,
        text_logprobs: bool = True,
        remembers: bool = False,
        template: str | None = None,
        delay: float | Callable[[Question], float] = 0.0,
        fail: Callable[[Question], Exception | None] | None = None,
        shuffle: int | None = None,
    ) -> None:
        self.name = "scripted"
        self._words = WordTokenizer(pieces)
        self.tokenizer: Tokenizer = self._words
        self.can = Capabilities(context, sequences, text_logprobs, shares_prefixes=remembers)
        self.template = template
        self.template_tokens = {"bos_token": "<start>", "eos_token": "<end>"}
        self.asked: Counter[str] = Counter()
        """How many questions of each kind were asked."""
        self.totals = Usage()
        self._seed, self._following, self._order = seed, following, order
        self._delay, self._fail = delay, fail
        self._random = None if shuffle is None else random.Random(shuffle)
        # A function cannot be told from another: it is a model of its own each time.
        script = secrets.token_bytes(8) if following is not None else repr((seed, order, self._words.pieces)).encode()
        self.fingerprint = hashlib.blake2b(script, digest_size=8).hexdigest()
        self._rows: dict[tuple[int, ...], Row] = {}
        self._closed = False

    async def answer(self, question: Question, *, limit: int | None = None) -> tuple[Result, Usage]:
        self.asked[type(question).__name__] += 1
        delay = self._delay(question) if callable(self._delay) else self._delay
        if delay:
            await asyncio.sleep(delay)
        for _ in range(self._random.randrange(20) if self._random else 0):
            await asyncio.sleep(0)
        if self._closed:
            return Stopped("cancelled"), Usage()
        failure = self._fail(question) if self._fail else None
        if failure is not None:
            raise failure
        if question.prefix.length == 0:
            raise EngineError("a question needs a prefix of at least one token")
        aside = len(question.tokens) if isinstance(question, TokenLogprobs) else 0
        if question.prefix.length + aside > self.can.context:
            return Stopped("no_room"), Usage()
        if limit is not None and self._worst(question) > limit:
            return Stopped("budget"), Usage()
        result, new = self._answer(question)
        length = question.prefix.length
        usage = Usage(new, length, 1.0) if self.can.shares_prefixes else Usage(length + new, 0, 1.0)
        self.totals += usage
        return result, usage

    def close(self) -> None:
        self._closed = True

    def row(self, tokens: tuple[int, ...]) -> Row:
        """The logits behind ``tokens``."""
        if self._following is not None:
            return np.asarray(self._following(tokens), np.float32)
        seen = tokens[-self._order :]
        if seen not in self._rows:
            digest = hashlib.blake2b(repr((self._seed, seen)).encode(), digest_size=8).digest()
            row = np.random.default_rng(int.from_bytes(digest, "big")).normal(0, 2, len(self._words.pieces))
            row[1] = UNLIKELY
            row[self._words.words :] = UNLIKELY
            self._rows[seen] = row.astype(np.float32)
        return self._rows[seen]

    def _answer(self, question: Question) -> tuple[Result, int]:
        """The answer, and the tokens read beyond the prefix."""
        path = question.prefix.path()
        if isinstance(question, TopTokens):
            return top(self.row(path), question.k, self.tokenizer.piece, self.tokenizer.eos), 0
        if isinstance(question, TokenLogprobs):
            row = self.row(path + question.tokens)
            total = log_normaliser(row)
            return tuple(float(row[token]) - total for token in question.choices), len(question.tokens)
        if isinstance(question, TextLogprobs):
            start = question.since.length
            if start == 0:
                raise EngineError("TextLogprobs needs a 'since' of at least one token")
            rows = [self.row(path[:end]) for end in range(start, len(path))]
            text = question.prefix.path(question.since)
            return tuple(float(r[t]) - log_normaliser(r) for r, t in zip(rows, text, strict=True)), 0
        draws = [None, *question.seeds] if question.greedy else list(question.seeds)
        grown = tuple(self._grow(question, Draw(seed, len(path)), path) for seed in draws)
        return grown, sum(max(0, len(each.tokens) - 1) for each in grown)

    def _grow(self, question: Sample, draw: Draw, path: tuple[int, ...]) -> Continuation:
        tokenizer = self.tokenizer
        ends = ending(question.prefix, question.until, self.can.context, tokenizer.piece, tokenizer.eos)
        end = ends.before([])
        while end is None:
            row = self.row(path + tuple(draw.tokens))
            token, logprob = draw.next(filtered(row, question.temperature, question.top_k))
            draw.tokens.append(token)
            draw.pieces.append(tokenizer.piece(token))
            draw.logprobs.append(logprob)
            end = ends.after(token, draw.pieces)
        prefix = Prefix(tuple(draw.tokens), question.prefix)
        return Continuation(prefix, tuple(draw.pieces), tuple(draw.logprobs), end)

    def _worst(self, question: Question) -> int:
        before = 0 if self.can.shares_prefixes else question.prefix.length
        if isinstance(question, TokenLogprobs):
            return before + len(question.tokens)
        if isinstance(question, Sample):
            draws = len(question.seeds) + question.greedy
            return before + draws * max(0, question.until.max_tokens - 1)
        return before
