"""How much memory ``rain bench`` held: the whole process at its highest, and while one reply was made."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

EVERY = 0.02
"""Seconds between two looks."""
MB = 2**20


class Watch:
    """Looks at the memory that the process holds while the block runs; :attr:`highest` is in bytes, 0 if unknown.

    Of one process in which modes take turns: what one mode has freed may still be held when the next one begins.
    """

    def __init__(self) -> None:
        self.highest = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            self.highest = max(self.highest, resident())
            if self._done.wait(EVERY):
                break
        self.highest = max(self.highest, resident())


def resident() -> int:
    """Bytes that the process holds in memory now; 0 where the system does not tell (it is not Linux)."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def peak_mb() -> float | None:
    """The most memory the whole process has ever held, in MB; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (MB if sys.platform == "darwin" else 1024), 1)


def over(peak: float | None, size: int | None) -> float | None:
    """What of ``peak`` (MB) is neither weights nor cache, ``size`` bytes of them."""
    return round(peak - size / MB, 1) if peak and size else None
