"""Stop strings: where a text ends that holds one, in bytes and in tokens."""

from __future__ import annotations

from collections.abc import Sequence


def before_stop(text: bytes, stop: Sequence[str]) -> bytes:
    """``text`` up to the first stop string."""
    cuts = [at for string in stop if (at := text.find(string.encode())) >= 0]
    return text[: min(cuts)] if cuts else text


def stops(text: bytes, stop: Sequence[str]) -> bool:
    """Whether ``text`` holds a stop string."""
    return any(string.encode() in text for string in stop)


def tokens_before_stop(pieces: Sequence[bytes], stop: Sequence[str], before: bytes = b"") -> int:
    """The most of the first ``pieces`` that hold no stop string, the text ``before`` them included."""
    text = before + b"".join(pieces)
    left, kept = len(before_stop(text, stop)) - len(before), 0
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            break
        kept += 1
    return kept
