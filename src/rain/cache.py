"""What is remembered between runs, in the user's cache folder. All of it may be deleted at any time."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from platformdirs import user_cache_path


def folder() -> Path:
    """Where it lies; it need not exist."""
    return user_cache_path("rain")


def write(path: Path, text: str) -> None:
    """Put ``text`` there as a whole or not at all: who reads meanwhile finds the old file or the new one.

    Raises OSError where nothing can be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".new")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
