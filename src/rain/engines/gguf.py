"""Is this a whole GGUF file? Read from its header in milliseconds, before llama.cpp is asked to load it.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from rain.errors import UsageError

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value by its type; 8 is a string, 9 an array."""
_STRING, _ARRAY = 8, 9
_SANE = 1 << 27
"""No count or length in a real header is larger."""


class _Broken(Exception):
    pass


def check(path: Path) -> None:
    """Raises UsageError if ``path`` is no GGUF file or ends before its last tensor begins."""
    if not path.exists():
        raise UsageError(f"{path}: there is no such file")
    if not path.is_file():
        raise UsageError(f"{path}: this is not a file; a model is one .gguf file")
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            magic = file.read(4)
            if magic != b"GGUF":
                found = f"it begins with {magic!r}" if magic else "it is empty"
                raise UsageError(f"{path}: this is not a GGUF file ({found}, not with b'GGUF')")
            needed = _needed(file)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except (_Broken, struct.error, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the file is cut short or damaged in its header; get it again") from error
    if size < needed:
        raise UsageError(f"{path}: the file is cut short ({size:,} bytes, at least {needed:,} expected); get it again")


def _needed(file: BinaryIO) -> int:
    """The least size in bytes that the header asks for."""
    version, tensors, pairs = struct.unpack("<IQQ", _read(file, 20))
    if version not in (2, 3) or tensors > _SANE or pairs > _SANE:
        raise _Broken
    alignment = 32
    for _ in range(pairs):
        key = _text(file)
        (kind,) = struct.unpack("<I", _read(file, 4))
        if key == b"general.alignment" and kind == 4:
            (alignment,) = struct.unpack("<I", _read(file, 4))
        else:
            _skip(file, kind)
    end = 0
    for _ in range(tensors):
        _text(file)
        (dimensions,) = struct.unpack("<I", _read(file, 4))
        if dimensions > 8:
            raise _Broken
        shape = struct.unpack(f"<{dimensions}Q", _read(file, 8 * dimensions))
        kind, offset = struct.unpack("<IQ", _read(file, 12))
        end = max(end, offset + _bytes(kind, shape))
    start = file.tell()
    return start + (-start % max(1, alignment)) + end


_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 30: (1, 2),
}  # fmt: skip
"""Elements and bytes of a block, of the tensor types in common use (ggml.h)."""


def _bytes(kind: int, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor; 1 for a type that is not in the table, so that a new one is never refused."""
    if kind not in _BLOCKS:
        return 1
    elements = 1
    for length in shape:
        elements *= length
    block, size = _BLOCKS[kind]
    return elements // block * size


def _skip(file: BinaryIO, kind: int) -> None:
    if kind == _STRING:
        _text(file)
    elif kind == _ARRAY:
        inner, count = struct.unpack("<IQ", _read(file, 12))
        if count > _SANE:
            raise _Broken
        if inner in _SIZES:
            file.seek(count * _SIZES[inner], 1)
        else:
            for _ in range(count):
                _skip(file, inner)
    elif kind in _SIZES:
        file.seek(_SIZES[kind], 1)
    else:
        raise _Broken


def _text(file: BinaryIO) -> bytes:
    (length,) = struct.unpack("<Q", _read(file, 8))
    if length > _SANE:
        raise _Broken
    return _read(file, length)


def _read(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise _Broken
    return data
