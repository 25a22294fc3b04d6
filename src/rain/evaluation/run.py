"""The runner: every method's reply to every prompt, each kept at once: nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import hashlib
import platform
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import rain
from rain import methods
from rain.api import Model
from rain.errors import EngineError, RainError, UsageError
from rain.evaluation.items import Item
from rain.evaluation.records import (
    MANIFEST,
    SAMPLES,
    Appender,
    Manifest,
    Sample,
    now,
    read_manifest,
    read_samples,
    sample_id,
    write_manifest,
)
from rain.evaluation.suites import Loaded
from rain.evaluation.sweep import Arm, options_of
from rain.machine import machine, source
from rain.reply import NothingPassed, Reply
from rain.request import Options
from rain.search.settings import SettingsError

IN_A_ROW = 5
"""Replies that may fail one after another, in the same words, before a run stops: then it is not the prompts' fault."""
TRACES = "traces"

Progress = Callable[[int, int, str], None]
"""Told how many samples are there, how many there will be, and what is being made."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is to be run."""

    loaded: Loaded
    arms: tuple[Arm, ...]
    options: Options
    """Of every arm, as :meth:`rain.Model.generate` takes them, with the budget but without seed and trace."""
    max_forward_tokens: int | None
    """For each reply of each method; None: the method's own measure."""
    seed: int
    out: Path
    parallel: int = 1
    """Replies that are made at once."""
    traces: bool = False
    """Whether each search of RAIN's is kept, for the report and ``rain replay``."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What a run has come to."""

    samples: int
    """In the folder, of those that were asked for."""
    made: int
    """By this call."""
    errors: int
    """Of those made."""


def seed_of(seed: int, item: str) -> int:
    """The seed of an item's replies, in [0, 2^31): the same for all methods, another for each item and run's seed."""
    digest = hashlib.blake2b(f"{seed}:{item}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


async def run(model: Model, evaluation: Evaluation, manifest: Manifest, progress: Progress | None = None) -> Tally:
    """Make the samples that are not there yet, and append each to ``samples.jsonl`` as soon as it is made.

    A method that fails on a prompt leaves a sample with ``error``, and the run goes on. Cancel the task to stop: what
    is there stays, what is half made is made again next time. Raises UsageError (a folder of another run, options that
    no method can work with), EngineError where everything fails, OSError (a full disk).
    """
    todo = _Todo(model, evaluation)
    todo.check()
    evaluation.out.mkdir(parents=True, exist_ok=True)
    with Appender(evaluation.out / SAMPLES) as samples:
        agree(evaluation.out, manifest)
        done = {sample.id for sample in read_samples(evaluation.out)}
        jobs = [job for job in todo.jobs() if job[2] not in done]
        total = len(evaluation.loaded.items) * len(evaluation.arms)
        made, failed = 0, _Failures(evaluation.out)

        async def work(waiting: Iterator[tuple[Item, Arm, str]]) -> None:
            nonlocal made
            for item, arm, name in waiting:
                if progress:
                    progress(total - len(jobs) + made, total, f"{arm.label}, {item.id}")
                sample = await todo.sample(item, arm, name, failed)
                samples.write(sample)
                made += 1
                failed.count(sample)
                if progress:
                    progress(total - len(jobs) + made, total, f"{arm.label}, {item.id}")

        waiting = iter(jobs)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(evaluation.parallel):
                    group.create_task(work(waiting))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
    return Tally(total - len(jobs) + made, made, failed.all)


def agree(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, or see that the one that is there is of the same run, and add what was asked for now.

    Raises UsageError: it says what differs.
    """
    if not (folder / MANIFEST).exists():
        if (folder / SAMPLES).stat().st_size:
            raise UsageError(f"{folder} has {SAMPLES} but no {MANIFEST}: it is no run of this; choose another --out")
        write_manifest(folder, manifest)
        return
    before = read_manifest(folder)
    for what, old, new in _differences(before, manifest):
        raise UsageError(f"{folder} holds a run with {what} {old}, not {new}; choose another --out")
    again = {"command": manifest.command, "started": manifest.started, "versions": manifest.versions}
    resumed = [*before.resumed, again]
    methods = list(dict.fromkeys((*before.methods, *manifest.methods)))
    notes = manifest.notes if manifest.n >= before.n else before.notes
    changes = {"n": max(before.n, manifest.n), "methods": methods, "notes": notes, "resumed": resumed}
    write_manifest(folder, before.model_copy(update=changes))


def manifest_of(model: Model, evaluation: Evaluation, options: Mapping[str, Any], command: str) -> Manifest:
    """What this run is. options: all that changes a sample, as JSON has it; data and suite are added here."""
    loaded, engine = evaluation.loaded, model.engine
    data = {"data": [Path(where).name for where in loaded.where], "data_digest": loaded.digest}
    rows = {"skipped_broken": loaded.broken, "left_out": loaded.left_out, "found": loaded.found}
    judge = {"judge_model": model.judge.name, "judge_fingerprint": model.judge.fingerprint} if model.judge else {}
    return Manifest(
        suite=loaded.suite.name,
        source=loaded.source.name,
        licence=loaded.source.licence,
        split=f"{loaded.source.split} ({loaded.source.rows:,} rows); {loaded.found:,} prompts here",
        n=len(loaded.items),
        model=model.name,
        fingerprint=engine.fingerprint,
        preference=_name(evaluation.options),
        methods=[arm.label for arm in evaluation.arms],
        options={**options, **data, **rows, **judge},
        seed=evaluation.seed,
        command=command,
        versions=_versions(),
        machine=machine(),
        measures=list(loaded.suite.measures),
        notes=notes(loaded),
    )


def notes(loaded: Loaded) -> list[str]:
    """What is to be said of the data beside every figure."""
    found = []
    attacked = [item for item in loaded.items if "suffix_survives" in item.meta]
    if attacked:
        whole = sum(bool(item.meta["suffix_survives"]) for item in attacked)
        found.append(f"{whole} of {len(attacked)} suffixes survive tokenising and detokenising with this model")
    if loaded.broken:
        found.append(f"{loaded.broken} broken rows were skipped")
    if loaded.left_out:
        found.append(f"{loaded.left_out} rows were left out: too short, or the same prompt as another")
    return found


class _Todo:
    """The samples of an evaluation, and how one is made."""

    def __init__(self, model: Model, evaluation: Evaluation) -> None:
        self.evaluation = evaluation
        self._models: dict[str | None, Model] = {None: model}
        for name in {arm.encoder for arm in evaluation.arms if arm.encoder}:
            self._models[name] = Model(model.engine, encoder=name, judge=model.judge)
        self._options = {arm.label: options_of(arm, evaluation.options) for arm in evaluation.arms}

    def check(self) -> None:
        """Plan the first prompt with every arm. Raises UsageError: no prompt could be answered so."""
        first = self.evaluation.loaded.items[0]
        for arm in self.evaluation.arms:
            model, options = self._models[arm.encoder], self._options[arm.label]
            if methods.find(arm.method).judged:
                model.trust(first.prompt, **options)
            else:
                model.plan(first.prompt, **options)

    def jobs(self) -> Iterator[tuple[Item, Arm, str]]:
        """Item by item, so that a run that is cut short compares the same prompts; every second in opposite order."""
        arms: Sequence[Arm] = self.evaluation.arms
        for number, item in enumerate(self.evaluation.loaded.items):
            for arm in arms if number % 2 == 0 else arms[::-1]:
                yield item, arm, sample_id(item.id, arm.label, self.evaluation.seed)

    async def sample(self, item: Item, arm: Arm, name: str, failed: _Failures) -> Sample:
        seed = seed_of(self.evaluation.seed, item.id)
        trace = self._trace(arm, name)
        options: dict[str, Any] = {**self._options[arm.label], "seed": seed}
        if trace:
            options["trace"] = self.evaluation.out / trace
        reply, error = None, None
        try:
            reply = await methods.run(
                self._models[arm.encoder],
                arm.method,
                item.prompt,
                prefix=item.prefix,
                options=cast("Options", options),
                limit=self.evaluation.max_forward_tokens,
            )
        except MemoryError:
            raise
        except Exception as caught:  # whatever a method or an engine does, the other prompts are not to suffer
            error = failed.told(caught)
        return Sample(
            id=name,
            suite=self.evaluation.loaded.suite.name,
            item=item.id,
            method=arm.label,
            prompt=item.prompt,
            prefix=item.prefix,
            seed=seed,
            meta=dict(item.meta),
            trace=trace,
            error=error,
            source=source(),
            **_said(reply),
        )

    def _trace(self, arm: Arm, name: str) -> str | None:
        if not (self.evaluation.traces and arm.method == "rain"):
            return None
        (self.evaluation.out / TRACES).mkdir(exist_ok=True)
        return f"{TRACES}/{re.sub(r'[^A-Za-z0-9@=.,_-]+', '_', name)}.jsonl"


class _Failures:
    """Counts what fails, and stops a run in which nothing works any more."""

    def __init__(self, out: Path) -> None:
        self.all = 0
        self._out = out
        self._last, self._in_a_row = "", 0
        self._of_the_engine = False

    def told(self, error: Exception) -> str:
        """The error in one line, as its sample keeps it."""
        self._of_the_engine = not isinstance(error, (UsageError, SettingsError, NothingPassed))
        first = (str(error).strip().splitlines() or [""])[0][:500]
        return first if isinstance(error, RainError) and first else f"{type(error).__name__}: {first}".rstrip(": ")

    def count(self, sample: Sample) -> None:
        """Raises EngineError where the last replies all failed alike."""
        if sample.error is None:
            self._in_a_row = 0
            return
        self.all += 1
        alike = self._of_the_engine and sample.error == self._last
        self._in_a_row = self._in_a_row + 1 if alike else 1
        self._last = sample.error
        if self._in_a_row >= IN_A_ROW:
            raise EngineError(
                f"{IN_A_ROW} replies in a row failed: {sample.error}; what was made is in {self._out}; mend the cause "
                f"and remove the lines with this error from {SAMPLES}, then the same command goes on"
            )


def _said(reply: Reply | None) -> dict[str, Any]:
    if reply is None:
        return {"text": "", "made": now()}
    return {
        "text": reply.text,
        "finish_reason": reply.finish_reason,
        "score": reply.score,
        "stopped_by": reply.stopped_by,
        "judge": reply.judge,
        "usage": asdict(reply.usage),
        "made": now(),
    }


def _differences(old: Manifest, new: Manifest) -> Iterator[tuple[str, str, str]]:
    """What must be the same in all of a run, where it is not. Methods and the number of prompts may grow."""
    fields = [("suite", old.suite, new.suite), ("preference", old.preference, new.preference)]
    if old.fingerprint != new.fingerprint:
        yield "model", f"{old.model} ({old.fingerprint})", f"{new.model} ({new.fingerprint})"
    pairs: list[tuple[str, Any, Any]] = [*fields, ("seed", old.seed, new.seed)]
    for name in dict.fromkeys((*old.options, *new.options)):
        pairs.append((name, old.options.get(name), new.options.get(name)))
    for name, before, after in pairs:
        if before != after:
            yield name, str(before), str(after)


def _name(options: Options) -> str | None:
    given = options.get("preference")
    if options.get("prefer"):
        return options.get("prefer")
    return str(getattr(given, "name", given)) if given else options.get("preset")


def _versions() -> dict[str, str]:
    found = {"rain": rain.__version__, "source": source(), "python": platform.python_version()}
    for package, module in (("numpy", "numpy"), ("llama-cpp-python", "llama_cpp"), ("torch", "torch")):
        if module in sys.modules:
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                continue
    return found
