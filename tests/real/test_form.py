"""The embedded model's copy: made once, whole, and standing for the file it was made from."""

import importlib.util
from pathlib import Path

import pytest

from rain import cache
from rain.engines import fingerprint, form, gguf
from rain.errors import UsageError
from rain.models import find, open_engine

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(importlib.util.find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"),
]


@pytest.fixture
def source() -> Path:
    try:
        return find("smollm2")
    except UsageError as error:
        pytest.skip(str(error))


def test_the_copy_is_made_once_and_whole(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "folder", lambda: tmp_path)
    copy = form.q8_0_copy(source)
    assert copy.parent == tmp_path / "models"
    gguf.check(copy)
    made = copy.stat().st_mtime_ns
    assert form.q8_0_copy(source) == copy
    assert copy.stat().st_mtime_ns == made
    assert list(copy.parent.iterdir()) == [copy]


def test_half_a_copy_is_made_again(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "folder", lambda: tmp_path)
    copy = form.q8_0_copy(source)
    copy.write_bytes(copy.read_bytes()[:100_000])
    gguf.check(form.q8_0_copy(source))


def test_where_nothing_can_be_kept_the_file_itself_is_used(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file where the folder should be")
    monkeypatch.setattr(cache, "folder", lambda: taken)
    assert form.q8_0_copy(source) == source


def test_the_copy_stands_for_the_file_it_was_made_from(source: Path) -> None:
    engine = open_engine("smollm2", context=64)
    try:
        assert engine.fingerprint == fingerprint.of_file(source)
    finally:
        engine.close()
