"""Drafting: text drawn as ordinary decoding draws it, in pieces that add up to the text drawn at once."""

from __future__ import annotations

from hashlib import blake2b

from rain.search.asks import CLAUSE_ENDS, Prefix, Sample, Until
from rain.search.settings import Settings

CHUNK = 16
"""Tokens drawn before anybody hears of them; what they stand on is cached, so that chunks cost nothing."""


def draft_seed(seed: int, attempt: int = 0) -> int:
    """Vanilla's seed, and others for what is drafted behind a place that a search has mended."""
    return int.from_bytes(blake2b(f"{seed}|vanilla|{attempt}".encode(), digest_size=8).digest(), "big") >> 1


def draft_more(
    here: Prefix, seed: int, settings: Settings, room: float, stop: tuple[str, ...], before: bytes, clause: bool
) -> Sample:
    """The question for the next chunk behind ``here``, whose text ends with ``before``.

    clause: end with the clause. What ends one already gets one token more, since a question never goes past an end.
    """
    length = int(min(room, CHUNK))
    if clause and before.endswith(CLAUSE_ENDS):
        length, clause = min(length, 1), False
    until = Until(length, clause, stop)
    return Sample(here, (seed,), until, settings.temperature, settings.top_k, purpose="draft")


def clause_ends(pieces: list[bytes], start: int = 0) -> list[int]:
    """How many pieces there are at each end of a clause, for ends behind the first ``start`` pieces."""
    return [count for count in range(start + 1, len(pieces) + 1) if pieces[count - 1].endswith(CLAUSE_ENDS)]
