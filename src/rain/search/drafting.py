"""A draft under way: its tokens, what of it is committed, and the small questions about it (optimistic mode)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Literal

from rain.search.asks import Answer, AnyResult, Continuation, Judge, Prefix, Sample, Score
from rain.search.budget import Budget
from rain.search.desk import Desk
from rain.search.draft import draft_more, draft_seed
from rain.search.events import Out
from rain.search.settings import Settings
from rain.search.stops import stops, tokens_before_stop
from rain.search.tree import TOLERANCE


class Drafting(Desk):
    """The draft behind ``base``, and everything that was ever judged."""

    def __init__(
        self, prompt: Prefix, settings: Settings, budget: Budget, *, seed: int = 0, stop: Sequence[str] = ()
    ) -> None:
        super().__init__(budget)
        self.prompt, self.settings, self.seed, self.stop = prompt, settings, seed, tuple(stop)
        self.limit = max(0, min(settings.length_limit - prompt.length, budget.max_tokens or settings.length_limit))
        self.scores: dict[tuple[tuple[int, ...], bool], Score] = {}
        self.drafted = self.judging = 0
        """Tokens drafted, and the forward tokens that a judgement takes: the most that one took, but the first, which
        reads the judge's prompts, only until there is another."""
        self.judgements = 0
        """How many of the reply's texts were judged so far."""
        self.failures = self.searched = 0
        """Drafts that failed, and those that were searched from."""
        self.tried: set[int] = set()
        """Numbers of the failures that anything was done about."""
        self.expected = self.limit
        """Tokens that the rest of the reply is likely to take at most."""
        self._begin(prompt, b"")

    def _begin(self, base: Prefix, before: bytes) -> None:
        """A new draft behind ``base``, all of which is committed."""
        self.base, self.before = base, before
        self.end: Literal["eos", "stop", "length"] | None = None
        self.base_text = base
        """The base without end-of-sequence token or stop string."""
        self.tokens: list[int] = []
        self.pieces: list[bytes] = []
        self.cuts: dict[int, Prefix] = {0: base}
        """The draft's first so many tokens; held, so that their cells are."""
        self.sent = 0
        """How many of the draft's tokens are committed."""
        self.drawn_anew = False
        """Whether the draft took the place of one that failed."""

    def _more(self, *, clause: bool) -> Sample:
        """The question for the next piece of the draft; an attempt behind a search draws with a seed of its own."""
        # The prompt itself may end a clause: then nothing would be drawn.
        before = self.pieces[-1] if self.pieces else self.before or b"\n"
        room = max(0, min(self._room(), self.forward_left()))
        seed = draft_seed(self.seed, self.failures)
        return draft_more(self._cut(len(self.tokens)), seed, self.settings, room, self.stop, before, clause)

    def _grow(self, found: AnyResult | None) -> None:
        if not isinstance(found, tuple):
            return
        (grown,) = (one for one in found if isinstance(one, Continuation))
        self.tokens += grown.tokens
        self.pieces += grown.pieces
        self.cuts[len(self.tokens)] = grown.prefix
        self.drafted += len(grown.tokens)
        text = self.before + b"".join(self.pieces)
        if grown.end == "eos":
            self.end = "eos"
        elif stops(text, self.stop):
            self.end = "stop"
        elif self._room() <= 0:
            self.end = "length"
        elif not grown.tokens:  # nothing is left of the budget
            self.stopped = self.stopped or "budget"

    def _cut(self, count: int) -> Prefix:
        """The prefix that ends with the draft's first ``count`` tokens."""
        if count not in self.cuts:
            before = max(cut for cut in self.cuts if cut < count)
            self.cuts[count] = Prefix(tuple(self.tokens[before:count]), self.cuts[before])
        return self.cuts[count]

    def _text(self, count: int) -> Prefix:
        """The draft's first ``count`` tokens without end-of-sequence token or stop string."""
        kept = count - (count == len(self.tokens) and self.end == "eos")
        kept = tokens_before_stop(self.pieces[:kept], self.stop, self.before)
        return self._cut(kept) if kept > 0 else self.base_text

    def _ended(self, count: int) -> bool:
        return count == len(self.tokens) and self.end in ("eos", "stop")

    def _key(self, count: int) -> tuple[tuple[int, ...], bool]:
        return self._text(count).path(self.prompt), self._ended(count)

    def _judge(self, count: int) -> Judge:
        return Judge(self._text(count), self.prompt, self._ended(count))

    def _judged(self, counts: list[int]) -> Generator[Out, list[Answer], list[Score | None]]:
        """Scores of the draft's first so many tokens, asked together; None for what something stopped."""
        before = self.usage.forward_tokens
        results = yield from self.answers([self._judge(count) for count in counts])
        self._note_cost(self.usage.forward_tokens - before, len(counts))
        for count, result in zip(counts, results, strict=True):
            if isinstance(result, Score):
                self.scores[self._key(count)] = result
        return [result if isinstance(result, Score) else None for result in results]

    def _note_cost(self, forward_tokens: int, judgements: int) -> None:
        """So many judgements, asked together, took so many forward tokens."""
        if judgements:
            each = forward_tokens // judgements
            self.judging = each if self.judgements <= 1 else max(self.judging, each)
            self.judgements += judgements

    def _final_score(self) -> Generator[Out, list[Answer], Score | None]:
        """The score of a reply: one judgement of its final text, remembered where that was judged already."""
        key = self._key(self.sent)
        if key[0] and key not in self.scores and not self.stopped:
            yield from self._judged([self.sent])
        yield from self.flush()
        return self.scores.get(key)

    def _passes(self, score: Score) -> bool:
        return self._value(score) > self.settings.gate + TOLERANCE

    def _value(self, score: Score) -> float:
        return score.hard if self.settings.score == "hard" else score.soft

    def _limits(self, *, kept_back: bool = False, taken_back: int = 0) -> tuple[int | None, int | None]:
        """Iterations and forward tokens that the budget leaves; kept back: without those of drafting to the end.

        taken_back: tokens of the draft that must be drafted again then.
        """
        iterations, forward_tokens = self.budget.max_iterations, self.budget.max_forward_tokens
        spent = self.usage.forward_tokens
        if kept_back:
            spent += self._to_come(taken_back) + self.judging
        return (
            None if iterations is None else max(0, iterations - self.iterations),
            None if forward_tokens is None else max(0, forward_tokens - spent),
        )

    def _to_come(self, taken_back: int = 0) -> int:
        """Tokens that the rest of the reply is likely to have at most, ``taken_back`` of the draft among them."""
        return int(min(self._room() + taken_back, self.expected))

    def _room(self) -> float:
        return self.limit - (self.base.length - self.prompt.length) - len(self.tokens)
