"""Ordinary decoding: one draw at the settings' temperature and top-k, judged once at the end."""

from __future__ import annotations

from collections.abc import Sequence

from rain.search.asks import Answer, Asked, Judge, Prefix, Score, Stopped, Usage, shown
from rain.search.budget import Budget
from rain.search.draft import draft_more, draft_seed
from rain.search.events import Committed, Out, Outcome, Search, StopReason
from rain.search.settings import Settings
from rain.search.stops import before_stop, tokens_before_stop


def vanilla(
    prompt: Prefix, settings: Settings, budget: Budget, *, seed: int = 0, stop: Sequence[str] = (), judged: bool = True
) -> Search:
    """Decode a reply behind ``prompt`` without searching. ``judged``: ask for the score of the final text."""
    limit = min(settings.length_limit - prompt.length, budget.max_tokens or settings.length_limit)
    here, usage, end = prompt, Usage(), "length"
    pieces: list[bytes] = []
    stopped: StopReason | None = None
    out: Out = []
    number = 0
    while stopped is None and end == "length" and (room := limit - (here.length - prompt.length)) > 0:
        left = None if budget.max_forward_tokens is None else budget.max_forward_tokens - usage.forward_tokens
        room = room if left is None else min(room, left)
        if room <= 0:
            stopped = "budget"
            break
        number += 1
        ask = draft_more(here, draft_seed(seed), settings, room, tuple(stop), b"", clause=False)
        (answer,) = yield [*out, Asked(number, ask)]
        out = []
        usage += answer.usage
        if isinstance(answer.result, Stopped):
            stopped = answer.result.why
            break
        assert isinstance(answer.result, tuple)
        (found,) = answer.result
        assert not isinstance(found, float)
        here, end = found.prefix, found.end
        before = b"".join(pieces)
        pieces += found.pieces
        text = shown(before, b"".join(pieces))
        out = [Committed(found.tokens, text, 0.0, 0, 0.0, iterations=0, stop="draft")]
    score = None
    tokens = here.path(prompt)
    # What is judged holds neither end-of-sequence nor stop string.
    kept = tokens_before_stop(pieces[: len(pieces) - (end == "eos")], stop)
    text_prefix = here if kept == len(tokens) else Prefix(tokens[:kept], prompt)
    if judged and stopped is None and kept:
        answers: list[Answer] = yield [*out, Asked(number + 1, Judge(text_prefix, prompt, end in ("eos", "stop")))]
        usage += answers[0].usage
        score = answers[0].result if isinstance(answers[0].result, Score) else None
    elif out:
        yield out
    reply = before_stop(b"".join(pieces), stop).decode("utf-8", "ignore")
    return Outcome(tokens, reply, "length" if end == "length" else "stop", stopped, score, False, 0, 0, usage)
