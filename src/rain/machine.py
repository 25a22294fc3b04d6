"""What figures were measured on: the machine, and which source files of RAIN."""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache
from pathlib import Path


def machine() -> dict[str, str | int | None]:
    """System, processor and cores, as manifests of runs and the JSON of ``rain bench`` have them."""
    return {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()}


@cache
def source() -> str:
    """A digest of RAIN's own source files: one version number may stand for many. Taken once in a process."""
    return digest_of(Path(__file__).parent)


def digest_of(folder: Path) -> str:
    """Twelve hex digits of the SHA-256 of all Python files below ``folder``, by their places and contents."""
    found = hashlib.sha256()
    for place, path in sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*.py")):
        for part in (place.encode(), path.read_bytes()):
            found.update(len(part).to_bytes(8, "big") + part)
    return found.hexdigest()[:12]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
