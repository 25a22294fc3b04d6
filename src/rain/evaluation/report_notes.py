"""What a report must say beside its figures: where methods are not compared on equal terms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rain.evaluation.records import Manifest, Sample


def sources(samples: Sequence[Sample], methods: Sequence[str]) -> str | None:
    """Samples that do not say which code made them, as older ones, are not spoken of."""
    told = []
    for method in methods:
        made = Counter(sample.source for sample in samples if sample.method == method and sample.source)
        if len(made) > 1:
            told.append(f"{method} ({', '.join(f'{count} by {source}' for source, count in made.items())})")
    return f"Samples were made by more than one source of RAIN: {'; '.join(told)}." if told else None


def warnings(manifest: Manifest, samples: Sequence[Sample], methods: Sequence[str]) -> Iterator[str]:
    """A sentence for each thing that makes the comparison of these methods uneven."""
    ours = [method for method in methods if kind(method) == "rain"]
    failing = manifest.options.get("on_failure")
    if ours and failing == "refuse":
        yield (
            "With --on-failure refuse RAIN alone gives a canned refusal where no reply passes; the other methods must "
            "return one of their replies, so that rates are not compared on equal terms."
        )
    if ours and failing == "raise":
        yield "With --on-failure raise RAIN's replies that did not pass are errors: its rates are of those that did."


def kind(label: str) -> str:
    """The method that a label names, without what is changed in it."""
    return label.partition("[")[0]
