"""Which weights these are: by what is in the file, remembered, and never mistaken."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pytest

from rain.engines import fingerprint
from rain.engines.scripted import ScriptedEngine


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("rain.cache.folder", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "weights.json"


def model(folder: Path, name: str = "x.gguf", content: bytes = b"GGUF weights") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_it_is_the_beginning_of_the_hash_of_the_bytes(tmp_path: Path) -> None:
    path = model(tmp_path)
    assert fingerprint.of_file(path) == hashlib.sha256(b"GGUF weights").hexdigest()[:16]
    assert fingerprint.of_file(model(tmp_path, "copy.gguf")) == fingerprint.of_file(path)
    assert fingerprint.of_file(model(tmp_path, "other.gguf", b"GGUF weightz")) != fingerprint.of_file(path)


def test_a_file_is_read_once_and_again_when_it_changes(
    tmp_path: Path, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, whole, read = model(tmp_path), hashlib.file_digest, []

    def counted(file: io.BufferedReader, name: str) -> hashlib._Hash:
        read.append(file.name)
        return whole(file, name)

    monkeypatch.setattr("hashlib.file_digest", counted)
    first = fingerprint.of_file(path)
    assert fingerprint.of_file(path) == first
    assert len(read) == 1
    assert memory.is_file()
    path.write_bytes(b"GGUF weightz")
    assert fingerprint.of_file(path) != first
    assert len(read) == 2


def test_other_bytes_of_the_same_size_and_time_at_the_same_place_are_another_model(tmp_path: Path) -> None:
    path = model(tmp_path)
    first, stat = fingerprint.of_file(path), path.stat()
    path.write_bytes(b"GGUF weightz")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert fingerprint.of_file(path) != first
    moved = model(tmp_path, "moved.gguf", b"GGUF weighty")
    os.utime(moved, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    os.replace(moved, path)
    assert fingerprint.of_file(path) == hashlib.sha256(b"GGUF weighty").hexdigest()[:16]


def test_bytes_anywhere_near_a_sampled_block_are_seen_where_no_time_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 40 * fingerprint.BLOCK
    path = model(tmp_path, content=bytes(size))
    still, seen = path.stat(), {fingerprint.of_file(path)}
    monkeypatch.setattr(Path, "stat", lambda _self, **_: still)
    for place in (0, fingerprint.BLOCK - 1, size - 1, size - fingerprint.BLOCK):
        with path.open("rb+") as file:
            file.seek(place)
            file.write(b"x")
        seen.add(fingerprint.of_file(path))
    assert len(seen) == 5


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"x": 3}', "\x00"])
def test_a_broken_memory_is_written_anew(tmp_path: Path, memory: Path, content: str) -> None:
    memory.parent.mkdir()
    memory.write_text(content)
    path = model(tmp_path)
    assert fingerprint.of_file(path) == fingerprint.of_file(path) == hashlib.sha256(b"GGUF weights").hexdigest()[:16]
    assert hashlib.sha256(b"GGUF weights").hexdigest() in memory.read_text()


def test_it_works_where_nothing_can_be_remembered(tmp_path: Path, memory: Path) -> None:
    memory.parent.write_text("a file where the folder should be")
    assert len(fingerprint.of_file(model(tmp_path))) == 16


def test_a_model_in_parts_is_known_by_all_of_them(tmp_path: Path) -> None:
    first = model(tmp_path, "m-00001-of-00002.gguf", b"GGUF header")
    alone = fingerprint.of_file(first)
    model(tmp_path, "m-00002-of-00002.gguf", b"GGUF one")
    whole = fingerprint.of_file(first)
    model(tmp_path, "m-00002-of-00002.gguf", b"GGUF another")
    assert len({alone, whole, fingerprint.of_file(first)}) == 3


def test_a_scripted_model_is_known_by_its_script() -> None:
    same, again, other = ScriptedEngine(seed=1), ScriptedEngine(seed=1, sequences=2), ScriptedEngine(seed=2)
    assert same.fingerprint == again.fingerprint != other.fingerprint
    one, two = (ScriptedEngine(following=lambda tokens: [0.0] * 300) for _ in range(2))
    assert one.fingerprint != two.fingerprint
