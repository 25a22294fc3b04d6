"""What a report must say beside its figures: where methods are not compared on equal terms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rain.evaluation.records import Manifest, Sample
from rain.methods import METHODS

COSTS_DIFFER = "costs differ: compare with --max-forward-tokens"
UNKNOWN = "an unknown one"


def sources(samples: Sequence[Sample], methods: Sequence[str]) -> str | None:
    """Which code made what, where one did not make all; what older samples do not say counts as an unknown one."""
    made = {method: Counter(sample.source for sample in samples if sample.method == method) for method in methods}
    if len({source for each in made.values() for source in each}) < 2:
        return None
    told = [
        f"{method} ({', '.join(f'{count} by {source or UNKNOWN}' for source, count in each.items())})"
        for method, each in made.items()
    ]
    return f"Samples that are compared here were made by more than one source of RAIN: {'; '.join(told)}."


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
    if manifest.options.get("max_forward_tokens") is None and len(methods) > 1:
        yield f"Methods ran without a limit on forward tokens; {COSTS_DIFFER}."
    if any("encoder=" in method for method in methods):
        yield "Methods here differ in the encoder, which is not among the forward tokens: compare seconds, too."


def by_refusal_rule(labels: Iterable[str]) -> list[str]:
    """Those of the methods that choose by the rule of refusals, which the judge ``refusal`` holds too."""
    return sorted(label for label in labels if (known := METHODS.get(kind(label))) and known.refusal_rule)


def kind(label: str) -> str:
    """The method that a label names, without what is changed in it."""
    return label.partition("[")[0]
