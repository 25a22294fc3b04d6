"""What a run leaves behind: a manifest, and samples and judgements as JSON lines that are only ever appended to."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticSerializationError

from rain import cache
from rain.errors import UsageError

SAMPLES, JUDGEMENTS, MANIFEST = "samples.jsonl", "judgements.jsonl", "run.json"


def now() -> str:
    """The time in UTC as ISO 8601 has it, to the second."""
    return datetime.now(UTC).replace(microsecond=0).isoformat()


class Record(BaseModel):
    """One JSON object; keys that this version does not know are kept."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class Sample(Record):
    """One reply of one method to one prompt, and what it cost."""

    id: str
    """``ITEM|METHOD|SEED``, with the run's seed: unique in a run. See :func:`sample_id`."""
    suite: str
    item: str
    """The prompt's stable name in the data, as ``advbench-17``."""
    method: str
    """A label, as ``rain``, ``vanilla``, ``best-of-n`` or ``rain[similarity=off]``."""
    prompt: str
    """What the model was shown."""
    prefix: str = ""
    """What the reply was forced to begin with."""
    text: str
    """The reply without its prefix; empty where there was an error."""
    finish_reason: str | None = None
    seed: int
    """What this reply was drawn with: the same for all methods of one item and run."""
    score: float | None = None
    """The method's own judge's, in [-1, 1]."""
    stopped_by: str | None = None
    judge: dict[str, Any] | None = None
    usage: dict[str, int | float] | None = None
    """:class:`~rain.reply.ReplyUsage` as JSON; None where there was an error."""
    meta: dict[str, Any] = Field(default_factory=dict)
    """What the data says of the item: label, category, reference answers, attack."""
    trace: str | None = None
    """The search's file, beside ``samples.jsonl``."""
    error: str | None = None
    """One line where the method failed; there is no reply to judge then."""
    source: str | None = None
    """Which code made it: :func:`rain.machine.source`; None in runs from before this was kept."""
    made: str = Field(default_factory=now)


class Judgement(Record):
    """What one judge says of one sample, in one measure."""

    sample: str
    other: str | None = None
    """The sample that it was compared with, where two were."""
    judge: str
    """As ``vader``, ``harm-classifier``, ``refusal``, ``self``, ``ai:MODEL``."""
    measure: str
    """As ``positive``, ``harmless``, ``refused``, ``truthful``, ``helpful``, ``better`` or ``bleu_diff``."""
    value: bool | int | float | str | None
    """A word where the measure has kinds (``kind``). None: unjudged."""
    independent: bool = True
    """False where the judge is the judged model, or the one that judged within its searches."""
    texts: str | None = None
    """:func:`hash_of` what was judged; None in runs from before this was kept."""
    why: str | None = None
    cost: dict[str, int | float] | None = None
    """``prompt_tokens``, ``completion_tokens``, ``seconds``; None where it cost no model anything."""
    by: str | None = None
    """What an AI judge's endpoint calls the model that answered; None where it does not say."""
    orders_disagree: bool | None = None
    """Of two replies: whether the value is 0.5 as the two orders had different answers. None: not known, one reply."""
    made: str = Field(default_factory=now)

    @property
    def undecided(self) -> bool:
        """Whether its 0.5 is no tie, but the two orders disagree; older lines say so in ``why`` alone."""
        if self.orders_disagree is None:
            return self.other is not None and self.value == 0.5 and (self.why or "").startswith("the orders disagree: ")
        return self.orders_disagree


class Manifest(Record):
    """What a run is: enough to repeat it, and to refuse to go on with another."""

    suite: str
    source: str
    licence: str
    split: str
    n: int
    """Items asked for."""
    model: str
    fingerprint: str
    """Of the weights; empty where the engine has none."""
    preference: str | None
    methods: list[str]
    """Labels, in the order of the command."""
    options: dict[str, Any]
    """All else that changes a sample."""
    seed: int
    command: str
    versions: dict[str, str] = Field(default_factory=dict)
    """Of RAIN, its source files (``source``), Python and the packages that a sample depends on."""
    machine: dict[str, Any] = Field(default_factory=dict)
    started: str = Field(default_factory=now)
    measures: list[str] = Field(default_factory=list)
    """What the suite wants to be judged."""
    notes: list[str] = Field(default_factory=list)
    """What is to be said of the data beside every figure."""
    resumed: list[dict[str, Any]] = Field(default_factory=list)
    """Later calls: ``command``, ``started``, ``versions``."""


One = TypeVar("One", bound=Record)


def sample_id(item: str, method: str, seed: int) -> str:
    """The id of a sample; ``seed`` is the run's."""
    return f"{item}|{method}|{seed}"


def read_samples(folder: str | Path) -> list[Sample]:
    """All samples of a run, in the order they were made; none where there is no file yet.

    Raises UsageError for a line that is no sample. A last line cut by a crash is left out.
    """
    return list(read_lines(Path(folder) / SAMPLES, Sample))


def read_judgements(folder: str | Path) -> list[Judgement]:
    """All judgements of a run. As :func:`read_samples`."""
    return list(read_lines(Path(folder) / JUDGEMENTS, Judgement))


def last_samples(folder: str | Path) -> list[Sample]:
    """The samples of a run, the last of each id: a reply that was made again stands for the one before."""
    return list({sample.id: sample for sample in read_samples(folder)}.values())


def judged(folder: str | Path, samples: Iterable[Sample]) -> list[Judgement]:
    """A run's judgements that are of these very samples, in the order they were made.

    One of a text that was made anew since is none of the new text. It names the hash of what it judged; an older one
    does not, and is left out only where it was made before the sample was. As :func:`read_samples`.
    """
    by = {sample.id: sample for sample in samples}
    return [one for one in read_judgements(folder) if fits(one, by)]


def hash_of(*texts: str) -> str:
    """A short hash of the text or texts that were judged."""
    whole = json.dumps(texts).encode()  # Also of lone surrogates.
    return hashlib.sha256(whole).hexdigest()[:16]


def fits(one: Judgement, by: Mapping[str, Sample]) -> bool:
    """Whether a judgement is of the texts that these samples, by their ids, have now."""
    names = (one.sample,) if one.other is None else (one.sample, one.other)
    found = [by[name] for name in names if name in by]
    if len(found) < len(names):
        return False
    if one.texts is not None:
        return one.texts == hash_of(*(sample.text for sample in found))
    return not any(_before(one, sample) for sample in found)


def _before(one: Judgement, sample: Sample) -> bool:
    """Whether a judgement was made before its sample; False where that is not known."""
    if not all("made" in record.model_fields_set for record in (one, sample)):
        return False
    try:
        return datetime.fromisoformat(one.made) < datetime.fromisoformat(sample.made)
    except (ValueError, TypeError):  # No time, or one of the two without its zone.
        return False


def read_manifest(folder: str | Path) -> Manifest:
    """A run's manifest. Raises UsageError where there is none, or none that can be read."""
    path = Path(folder) / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UsageError(f"{folder} is no run: it has no {MANIFEST}; make one with rain eval SUITE --out DIR") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; name another folder") from None
    except ValidationError as error:
        raise UsageError(f"{path} is no manifest of a run: {said(error)}; name another folder") from None


def write_manifest(folder: str | Path, manifest: Manifest) -> None:
    """Write a manifest whole or not at all. Raises OSError."""
    path = Path(folder) / MANIFEST
    cache.write(path, as_json(manifest, indent=1).decode() + "\n")


def as_json(record: Record, indent: int | None = None) -> bytes:
    """A record as JSON in UTF-8. Lone surrogates, which a command line or a file name can bring, become ``?``."""
    try:
        return record.model_dump_json(indent=indent).encode()
    except PydanticSerializationError:
        return json.dumps(record.model_dump(), ensure_ascii=False, indent=indent).encode("utf-8", "replace")


def read_lines(path: Path, kind: type[One]) -> Iterator[One]:
    """The records of a file of JSON lines. Raises UsageError as :func:`read_samples` does."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; name another folder") from None
    for number, line in enumerate(lines, 1):
        cut = number == len(lines)  # Behind the last line's end there is nothing, or what a crash has cut.
        if not line or (cut and not _whole(line)):
            continue
        try:
            yield kind.model_validate_json(line)
        except ValidationError as error:
            raise UsageError(f"{path}, line {number}: {said(error)}; mend or remove the line") from None


def said(error: ValidationError) -> str:
    """A validation error's first complaint, in one line."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]


class Appender:
    """Appends records to a file of JSON lines, each whole and on the disk before :meth:`write` returns.

    Opening it takes away a last line that a crash has cut. One process writes a file at a time: UsageError otherwise.
    """

    def __init__(self, path: str | Path) -> None:
        """Raises UsageError where the file cannot be written, or another process writes it."""
        self.path = Path(path)
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise UsageError(f"{self.path} cannot be written: {error.strerror}; choose another --out") from None
        try:
            _lock(self._file)
        except OSError:
            os.close(self._file)
            raise UsageError(f"another process is writing {self.path}; wait for it, or choose another --out") from None
        _repair(self._file)

    def write(self, record: Record) -> None:
        """Append one record. Raises OSError (a full disk); the file then still ends with a whole line."""
        line = as_json(record) + b"\n"
        before = os.fstat(self._file).st_size
        try:
            done = 0
            while done < len(line):
                done += os.write(self._file, line[done:])
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, before)
            raise

    def write_all(self, records: Sequence[Record]) -> None:
        """Append several records."""
        for record in records:
            self.write(record)

    def close(self) -> None:
        """Close the file; others may write it then."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Appender:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _lock(file: int) -> None:
    """Keep others from writing ``file``; the system takes the lock back when the process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _repair(file: int) -> None:
    """End the file with a whole line: complete the last one if only its end is missing, else take it away."""
    size = os.fstat(file).st_size
    tail, start = b"", size
    while start > 0 and b"\n" not in tail:
        step = min(65536, start)
        start -= step
        tail = _read_at(file, start, step) + tail
    last = tail.rpartition(b"\n")[2]
    if not last:
        return
    if _whole(last):
        os.write(file, b"\n")
    else:
        os.ftruncate(file, size - len(last))


def _read_at(file: int, start: int, count: int) -> bytes:
    os.lseek(file, start, os.SEEK_SET)
    return os.read(file, count)


def _whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
