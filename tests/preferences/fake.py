"""A model of bytes: token ids 0 to 255 are bytes, the control tokens come after them; it answers by rule."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from rain.engines.engine import Capabilities
from rain.search.asks import (
    Prefix,
    Question,
    Result,
    Score,
    TextLogprobs,
    TokenLogprobs,
    Usage,
)

CONTROL = ("<s>", "<|im_start|>", "<|im_end|>")
BOS, START, END = 256, 257, 258
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


class ByteTokenizer:
    def __init__(self, bos: int | None = None, merges: tuple[str, ...] = ()) -> None:
        self.eos = frozenset({END})
        self.bos = bos
        self.merges = merges
        """Strings that are one token of their own, numbered from 300."""

    def encode(self, text: str, *, special: bool = False, bos: bool = False) -> tuple[int, ...]:
        ids = [self.bos] if bos and self.bos is not None else []
        known = {name: 300 + index for index, name in enumerate(self.merges)}
        if special:
            known |= {name: 256 + index for index, name in enumerate(CONTROL)}
        pattern = "|".join(re.escape(name) for name in sorted(known, key=len, reverse=True))
        pieces = re.split(f"({pattern})", text) if known else [text]
        for piece in pieces:
            ids.extend([known[piece]] if piece in known else piece.encode())
        return tuple(ids)

    def piece(self, token: int) -> bytes:
        if token >= 300:
            return self.merges[token - 300].encode()
        return bytes([token]) if token < 256 else b""

    def decode(self, tokens: tuple[int, ...]) -> str:
        return b"".join(self.piece(token) for token in tokens).decode(errors="replace")

    def shown(self, tokens: tuple[int, ...]) -> str:
        """The text with its control tokens visible, each in guillemets."""
        return "".join(
            f"«{CONTROL[token - 256]}»" if 256 <= token < 300 else self.piece(token).decode("latin-1")
            for token in tokens
        )


@dataclass(eq=False)
class FakeEngine:
    """``likes(context, token)`` is the log-probability of ``token`` behind the text ``context``."""

    likes: Callable[[str, int], float] = lambda context, token: -1.0
    template: str | None = CHATML
    tokenizer: ByteTokenizer = field(default_factory=lambda: ByteTokenizer(merges=("Yes", "No")))
    name: str = "fake"
    fingerprint: str = "00fa4e00fa4e0000"
    can: Capabilities = field(default_factory=lambda: Capabilities(context=4096, sequences=4))
    template_tokens: dict[str, str] = field(default_factory=lambda: {"bos_token": "<s>", "eos_token": "<|im_end|>"})
    batches: list[list[Question]] = field(default_factory=list)

    async def answer(self, question: Question, *, limit: int | None = None) -> tuple[Result, Usage]:
        return self.reply(question), Usage()

    def close(self) -> None:
        pass

    def reply(self, question: Question) -> Result:
        decode = self.tokenizer.decode
        if isinstance(question, TokenLogprobs):
            context = decode(question.prefix.path() + question.tokens)
            return tuple(self.likes(context, token) for token in question.choices)
        assert isinstance(question, TextLogprobs)
        before, tokens = question.since.path(), question.prefix.path(question.since)
        return tuple(self.likes(decode(before + tokens[:index]), token) for index, token in enumerate(tokens))

    def judge(self, evaluator: object, reply: Prefix, complete: bool = True) -> Score:
        """Run one judgement; its batch is kept in :attr:`batches`."""
        steps = evaluator.judge(reply, complete)
        try:
            questions = next(steps)
            while True:
                self.batches.append(questions)
                questions = steps.send([self.reply(question) for question in questions])
        except StopIteration as done:
            score = done.value
        assert isinstance(score, Score)
        return score
