"""Small runs to judge, as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rain.evaluation.records import SAMPLES, Appender, Manifest, Sample, sample_id, write_manifest


def sample(**changes: Any) -> Sample:
    """A sample; ``changes`` are its fields."""
    fields: dict[str, Any] = {
        "suite": "hh",
        "item": "hh-1",
        "method": "vanilla",
        "prompt": "My brother broke my bicycle. What shall I do?",
        "text": "Ask him calmly how it happened, and mend the bicycle together.",
        "seed": 0,
        **changes,
    }
    return Sample(id=fields.pop("id", sample_id(fields["item"], fields["method"], fields["seed"])), **fields)


def make_run(
    folder: Path, samples: Sequence[Sample], suite: str = "hh", model: str = "smollm2", **changes: Any
) -> Path:
    """A run's folder with a manifest and ``samples``, whose suite becomes ``suite``."""
    folder.mkdir(parents=True)
    fields: dict[str, Any] = {
        "suite": suite,
        "source": "made up for a test",
        "licence": "none",
        "split": "none",
        "n": len(samples),
        "model": model,
        "fingerprint": "",
        "preference": "harmless",
        "methods": list(dict.fromkeys(one.method for one in samples)),
        "options": {},
        "seed": 0,
        "command": "none",
        **changes,
    }
    write_manifest(folder, Manifest(**fields))
    with Appender(folder / SAMPLES) as out:
        out.write_all([one.model_copy(update={"suite": suite}) for one in samples])
    return folder
