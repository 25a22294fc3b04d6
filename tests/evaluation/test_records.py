"""What a run leaves behind can be read, whatever happened while it was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rain.errors import UsageError
from rain.evaluation.records import (
    JUDGEMENTS,
    MANIFEST,
    SAMPLES,
    Appender,
    Judgement,
    Manifest,
    Sample,
    read_judgements,
    read_manifest,
    read_samples,
    write_manifest,
)


def sample(number: int, **more: object) -> Sample:
    about = {"suite": "hh", "item": f"hh-{number}", "method": "rain", "prompt": "p", "text": "t", "seed": number}
    return Sample.model_validate({"id": f"hh-{number}|rain|0", **about, **more})


def manifest() -> Manifest:
    return Manifest(
        suite="hh", source="s", licence="MIT", split="test", n=2, model="m", fingerprint="f", preference=None,
        methods=["rain"], options={"max_tokens": 4}, seed=0, command="rain eval hh",
    )  # fmt: skip


def test_a_sample_reads_back_as_it_was_written(tmp_path: Path) -> None:
    odd = sample(1, prompt="\u2028 é\n\0", meta={"n": 1, "list": ["a"]}, usage={"forward_tokens": 3, "seconds": 0.5})
    with Appender(tmp_path / SAMPLES) as file:
        file.write_all([odd, sample(2, error="no")])
    assert read_samples(tmp_path) == [odd, sample(2, error="no", made=read_samples(tmp_path)[1].made)]
    usage = read_samples(tmp_path)[0].usage
    assert usage
    assert [type(value) for value in usage.values()] == [int, float]
    assert len((tmp_path / SAMPLES).read_bytes().splitlines()) == 2


def test_what_is_no_text_does_not_stop_a_run(tmp_path: Path) -> None:
    with Appender(tmp_path / SAMPLES) as file:
        file.write(sample(1, error="no file named \udcff"))
    assert read_samples(tmp_path)[0].error == "no file named ?"
    write_manifest(tmp_path, manifest().model_copy(update={"command": "rain eval hh --out \udcff"}))
    assert read_manifest(tmp_path).command.endswith("?")


def test_a_judgement_keeps_the_kind_of_its_value(tmp_path: Path) -> None:
    values = [True, False, 1, 0, 0.5, None, "refused"]
    with Appender(tmp_path / JUDGEMENTS) as file:
        file.write_all([Judgement(sample="a", judge="j", measure="m", value=value) for value in values])
    read = [one.value for one in read_judgements(tmp_path)]
    assert read == values
    assert [type(value) for value in read] == [type(value) for value in values]


@pytest.mark.parametrize("keep", range(1, 40, 7))
def test_a_last_line_that_was_cut_goes_and_nothing_else_does(tmp_path: Path, keep: int) -> None:
    path = tmp_path / SAMPLES
    with Appender(path) as file:
        file.write_all([sample(1), sample(2)])
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:keep])
    assert [one.seed for one in read_samples(tmp_path)] == [1, 2]
    with Appender(path) as file:
        assert path.read_bytes() == whole
        file.write(sample(3))
    assert [one.seed for one in read_samples(tmp_path)] == [1, 2, 3]


def test_a_last_line_that_only_lacks_its_end_stays(tmp_path: Path) -> None:
    path = tmp_path / SAMPLES
    with Appender(path) as file:
        file.write(sample(1))
    path.write_bytes(path.read_bytes()[:-1])
    assert len(read_samples(tmp_path)) == 1
    with Appender(path) as file:
        file.write(sample(2))
    assert [one.seed for one in read_samples(tmp_path)] == [1, 2]


def test_a_cut_line_longer_than_a_block_goes_too(tmp_path: Path) -> None:
    path = tmp_path / SAMPLES
    with Appender(path) as file:
        file.write(sample(1, text="x" * 200_000))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:-3])
    Appender(path).close()
    assert path.read_bytes() == whole
    path.write_bytes(whole[:-3])
    Appender(path).close()
    assert path.read_bytes() == b""


@pytest.mark.parametrize(("line", "said"), [("{}", "id"), ("nonsense", "JSON"), ("[1]", "object")])
def test_a_broken_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / SAMPLES).write_text(f"{sample(1).model_dump_json()}\n{line}\n{sample(2).model_dump_json()}\n")
    with pytest.raises(UsageError, match="line 2") as error:
        read_samples(tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_without_samples_has_none_and_one_without_a_manifest_is_no_run(tmp_path: Path) -> None:
    assert read_samples(tmp_path) == []
    assert read_judgements(tmp_path) == []
    with pytest.raises(UsageError, match="is no run"):
        read_manifest(tmp_path)
    (tmp_path / MANIFEST).write_text("{}")
    with pytest.raises(UsageError, match="suite"):
        read_manifest(tmp_path)


def test_a_manifest_reads_back(tmp_path: Path) -> None:
    made = manifest()
    write_manifest(tmp_path, made)
    assert read_manifest(tmp_path) == made
    assert json.loads((tmp_path / MANIFEST).read_text())["options"] == {"max_tokens": 4}
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]
