"""Which weights are these? A hash of the model file: what was measured of one model is never used for another."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from pathlib import Path

from rain import cache

LENGTH = 16
"""Hex digits of a fingerprint."""
SAMPLED, BLOCK = 16, 4096
"""Blocks that are read to know a file again, evenly spread from its first byte to its last, and bytes of each."""
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)


def of_file(path: Path) -> str:
    """The fingerprint of a model: the beginning of :func:`weights_hash`. Raises OSError where it cannot be read."""
    return weights_hash(path)[:LENGTH]


def weights_hash(path: Path) -> str:
    """SHA-256 in hex of a model file, or of the hashes of all files of a model that is stored in parts.

    Remembered, since a file of a gigabyte takes seconds: by path, inode, size, both times (that of the last change of
    the inode cannot be set back by a copy that keeps times) and the bytes of a few blocks. Raises OSError.
    """
    files = _parts(path)
    if len(files) == 1:
        return _hash(files[0])
    return hashlib.sha256("".join(_hash(file) for file in files).encode()).hexdigest()


def _hash(path: Path) -> str:
    stat = path.stat()
    memory = cache.folder() / "weights.json"
    times = f"{stat.st_mtime_ns}|{stat.st_ctime_ns}"
    key = f"{path.resolve()}|{stat.st_dev}|{stat.st_ino}|{times}|{stat.st_size}|{_sampled(path, stat.st_size)}"
    known = _read(memory)
    if key not in known:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        # Read again: another process may have written while this one was computing.
        known = {**_read(memory), key: digest}
        with contextlib.suppress(OSError):  # without a cache folder it is computed again next time
            cache.write(memory, json.dumps(known))
    return known[key]


def _sampled(path: Path, size: int) -> str:
    """A hash of a few blocks: milliseconds, and the bytes in them are seen to change even where no time tells."""
    found = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        for number in range(SAMPLED):
            file.seek(max(0, size - BLOCK) * number // (SAMPLED - 1))
            found.update(file.read(BLOCK))
    return found.hexdigest()


def _parts(path: Path) -> list[Path]:
    """``x-00001-of-00003.gguf`` stands for three files; llama.cpp loads them all."""
    named = _PART.search(path.name)
    if named is None:
        return [path]
    start = path.name[: named.start()]
    files = [path.with_name(f"{start}-{number:05}-of-{named[2]}.gguf") for number in range(1, int(named[2]) + 1)]
    return [file for file in files if file.is_file()] or [path]


def _read(memory: Path) -> dict[str, str]:
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {key: value for key, value in known.items() if isinstance(value, str) and len(value) == 64}
