"""The batcher over the scripted engine's toy model: the whole local engine, without llama.cpp."""

from __future__ import annotations

import time

import numpy as np

from rain.engines.batcher import Batcher
from rain.engines.engine import Capabilities
from rain.engines.prefixes import Tokens
from rain.engines.sampling import Row
from rain.engines.scripted import ScriptedEngine
from rain.engines.steps import Stepper
from rain.errors import EngineError
from rain.search.asks import Question, Result, Usage


class ToyModel:
    """Keeps the tokens of each sequence, and insists on what llama.cpp insists on."""

    def __init__(self, script: ScriptedEngine, max_tokens: int, max_rows: int) -> None:
        self.script, self.max_tokens, self.max_rows = script, max_tokens, max_rows
        self.kept: dict[int, list[int]] = {}
        self.failures = 0
        """How many of the next batches fail."""
        self.delay = 0.0
        """Seconds that a batch takes."""

    def decode(self, tokens: Tokens, positions: Tokens, sequences: Tokens, wanted: Tokens) -> Row:
        assert 0 < len(tokens) <= self.max_tokens
        assert wanted.sum() <= self.max_rows
        time.sleep(self.delay)
        rows = []
        for token, position, sequence, want in zip(tokens, positions, sequences, wanted, strict=True):
            kept = self.kept.setdefault(int(sequence), [])
            assert len(kept) == position, "positions must follow one another"
            kept.append(int(token))
            if want:
                rows.append(self.script.row(tuple(kept)))
        if self.failures:
            self.failures -= 1
            raise EngineError("the toy broke")
        return np.array(rows, np.float32)

    def copy(self, source: int, target: int, length: int) -> bool:
        assert not self.kept.get(target)
        assert len(self.kept[source]) >= length
        self.kept[target] = self.kept[source][:length]
        return True

    def cut(self, sequence: int, length: int) -> bool:
        self.kept[sequence] = self.kept.get(sequence, [])[:length]
        return True


class ToyEngine:
    def __init__(
        self, *, context: int = 512, sequences: int = 16, max_tokens: int = 64, max_rows: int = 32, rows: int = 50
    ) -> None:
        script = ScriptedEngine(order=6)
        self.name = "toy"
        self.fingerprint = script.fingerprint
        self.tokenizer = script.tokenizer
        self.can = Capabilities(context, sequences)
        self.template: str | None = None
        self.template_tokens: dict[str, str] = {}
        self.model = ToyModel(script, max_tokens, max_rows)
        row_bytes = rows * 4 * len(script.row((1,)))
        self.stepper = Stepper(self.model, self.tokenizer, sequences, context, row_bytes)
        self.batcher = Batcher(self.stepper, lambda: None)

    async def answer(self, question: Question, *, limit: int | None = None) -> tuple[Result, Usage]:
        return await self.batcher.answer(question, limit)

    def close(self) -> None:
        self.batcher.close()

    @property
    def cells_used(self) -> int:
        return self.batcher.call(lambda: self.stepper.table.used) or 0

    @property
    def totals(self) -> Usage:
        return Usage(forward_tokens=self.stepper.forward_tokens, calls=self.stepper.calls)
