"""The report: what runs show, as one self-contained page of HTML and as Markdown.

Figures are made in :mod:`rain.evaluation.report_tables`, examples and searches in
:mod:`rain.evaluation.report_examples`, drawings in :mod:`rain.evaluation.report_plots`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from rain.errors import UsageError
from rain.evaluation.human import policy
from rain.evaluation.records import Manifest, Sample, judged, last_samples, now, read_manifest
from rain.evaluation.report_attacks import Attacked, attacks
from rain.evaluation.report_examples import Example, Rewinds, clean, examples, rewinds
from rain.evaluation.report_notes import by_refusal_rule, sources, warnings
from rain.evaluation.report_tables import KIND_NAMES, KINDS, Duel, Split, Table, duels, splits, tables, verdicts

BASELINE = "vanilla"


@dataclass(frozen=True, slots=True)
class Section:
    """What one run shows."""

    folder: str
    manifest: Manifest
    samples: int
    errors: int
    error: str | None
    """The first one."""
    missing: str | None
    """A sentence where verdicts are missing."""
    not_compared: str | None
    """A sentence where nothing is compared."""
    sources: str | None
    """A sentence where the samples were made by more than one version of RAIN's source files."""
    warnings: tuple[str, ...]
    """Sentences about methods that are not compared on equal terms."""
    commands: tuple[str, ...]
    """The first one, and those that went on."""
    judges: dict[str, str]
    """Of each judge, what is known of its agreement with labels."""
    own_judge: str | None
    """The judge that the searches themselves asked, and what ``rain check`` knows of it."""
    tables: tuple[Table, ...]
    attacks: tuple[Attacked, ...]
    splits: tuple[Split, ...]
    duels: tuple[Duel, ...]
    rewinds: tuple[Rewinds, ...]
    examples: tuple[Example, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it, without the examples."""
        told = asdict(self)
        told["manifest"] = self.manifest.model_dump()
        del told["examples"]
        return told


@dataclass(frozen=True, slots=True)
class Report:
    """What several runs show."""

    sections: tuple[Section, ...]
    version: str
    made: str


def build(folders: Sequence[str | Path], *, against: str = BASELINE) -> Report:
    """Read runs and work out what they show. against: the method that all others are compared with.

    Raises UsageError: a folder that is no run, a broken line, or no run at all. MissingExtra: no scipy, statsmodels.
    """
    import rain

    if not folders:
        raise UsageError("name at least one run: a folder that rain eval made")
    return Report(tuple(_section(Path(folder), against) for folder in folders), rain.__version__, now())


def html(report: Report) -> str:
    """The report as a page that needs nothing else and runs nothing. Raises MissingExtra: no matplotlib."""
    from rain.evaluation import report_plots

    template = _template("report.html")
    made = _environment(escape=True).from_string(template)
    plots = {
        "plot": report_plots.of_table,
        "sweep_plot": report_plots.of_sweep,
        "rewinds_plot": report_plots.of_rewinds,
    }
    return str(made.render(report=report, policy=policy(template), kinds=KINDS, kind_names=KIND_NAMES, **plots))


def markdown(report: Report) -> str:
    """The report as Markdown, without drawings."""
    made = _environment(escape=False).from_string(_template("report.md"))
    return str(made.render(report=report, kinds=KINDS, kind_names=KIND_NAMES)).strip() + "\n"


def _section(folder: Path, against: str) -> Section:
    manifest = read_manifest(folder)
    samples = last_samples(folder)
    judgements = judged(folder, samples)
    methods = list(dict.fromkeys((*manifest.methods, *(sample.method for sample in samples))))
    methods = [method for method in methods if any(sample.method == method for sample in samples)]
    errors = [sample.error for sample in samples if sample.error is not None]
    found = tables(samples, judgements, methods, against)
    said = verdicts(judgements)
    resumed = [str(each.get("command", "")) for each in manifest.resumed]
    return Section(
        folder=str(folder),
        manifest=manifest,
        samples=len(samples),
        errors=len(errors),
        error=clean(errors[0]) if errors else None,
        missing=_missing(folder, manifest, samples, found),
        not_compared=None if against in methods else f"Nothing is compared: no method {against} here; see --against.",
        sources=sources(samples, methods),
        warnings=tuple(warnings(manifest, samples, methods)),
        commands=tuple(dict.fromkeys((manifest.command, *filter(None, resumed)))),
        judges=_judges(folder, {one.judge for one in judgements}, samples),
        own_judge=_own_judge(samples),
        tables=tuple(found),
        attacks=tuple(attacks(samples, judgements, methods)),
        splits=tuple(splits(samples, judgements, methods, against)),
        duels=tuple(duels(samples, judgements)),
        rewinds=tuple(rewinds(folder, samples)),
        examples=tuple(examples(folder, samples, methods, _main(found, manifest), said)),
    )


def _missing(folder: Path, manifest: Manifest, samples: Sequence[Sample], found: Sequence[Table]) -> str | None:
    how = f"rain eval {manifest.suite} … --out {folder} --judge NAME"
    if not samples:
        return f"There are no samples yet; the command goes on with them: {manifest.command}"
    if not found:
        return f"No verdict yet: nothing here says whether the replies are good. Have them judged: {how}"
    unjudged = sum(row.unjudged for table in found for row in table.rows)
    there = {re.sub("^rouge[12L]_", "rouge_", table.measure) for table in found}
    wanted = [measure for measure in manifest.measures if measure not in there]
    told = []
    if unjudged:
        told.append(f"{unjudged} verdicts are missing; those replies are in no rate, neither as good nor as bad.")
    if wanted:
        told.append(f"The suite also wants to be judged: {', '.join(wanted)}. See {how}")
    return " ".join(told) or None


def _main(found: Sequence[Table], manifest: Manifest) -> Table | None:
    """The table that examples are chosen by: an independent judge's, of the suite's own measure if there is one."""
    independent = [table for table in found if table.independent]
    wanted = [*manifest.measures, "harmless", "positive", "truthful", "helpful"]
    ranked = sorted(
        independent, key=lambda table: wanted.index(table.measure) if table.measure in wanted else len(wanted)
    )
    return next(iter(ranked or found), None)


def _judges(folder: Path, judges: set[str], samples: Sequence[Sample]) -> dict[str, str]:
    """What ``judges.json`` says of each judge's agreement with labels, in a sentence; and where a search climbed it."""
    path = folder / "judges.json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        told = {}
    except (OSError, ValueError):
        raise UsageError(f"{path} cannot be read; remove it and have the run judged again") from None
    told = told if isinstance(told, dict) else {}
    found = {judge: _agreement(told.get(judge)) for judge in sorted(judges)}
    climbed = sorted({str(one.judge["evaluator"]) for one in samples if one.judge and one.judge.get("evaluator")})
    climbed = [clean(name) for name in climbed if "refusals" in name.split("+")]
    ruled = by_refusal_rule({one.method for one in samples})
    if "refusal" in found and (climbed or ruled):
        told = []
        if climbed:
            told.append(
                f"Not independent of the search: {', '.join(climbed)}, which the methods here chose by, holds this "
                "judge's own rule of refusals."
            )
        if ruled:
            told.append(f"Not independent of {clean(', '.join(ruled))}: the method chooses by this judge's own rule.")
        found["refusal"] = " ".join((*told, f"{found['refusal'][:1].upper()}{found['refusal'][1:]}"))
    return found


def _agreement(told: Any) -> str:
    known = told.get("agreement") if isinstance(told, dict) else None
    if not isinstance(known, dict) or not known:
        return "its agreement with labelled data is not known here; see rain eval judge"
    if isinstance(known.get("sentence"), str):
        return clean(known["sentence"])
    figures = [f"{name.replace('_', ' ')} {_figure(known, name)}" for name in ("auc", "accuracy", "kappa")]
    return "agreement with labels: " + ", ".join(figures) + f" (N = {known.get('n', 'unknown')})"


def _figure(known: dict[str, Any], name: str) -> str:
    value, low, high = (known.get(key) for key in (name, f"{name}_low", f"{name}_high"))
    if not isinstance(value, int | float):
        return "not known"
    interval = isinstance(low, int | float) and isinstance(high, int | float)
    return f"{value:.2f}" + (f" [{low:.2f}, {high:.2f}]" if interval else " (no interval)")


def _own_judge(samples: Sequence[Sample]) -> str | None:
    """Who judged within the searches, and whether ``rain check`` found that it can."""
    told: dict[str, None] = {}
    for sample in samples:
        if sample.judge and sample.judge.get("evaluator"):
            auc = sample.judge.get("auc")
            known = f"area {auc:.2f} by rain check" if isinstance(auc, int | float) else "not checked"
            told[f"{sample.judge['evaluator']} of {sample.judge.get('model') or 'the model itself'}, {known}"] = None
    return "; ".join(map(clean, told)) or None


def _template(name: str) -> str:
    return resources.files("rain.evaluation").joinpath(f"templates/{name}").read_text(encoding="utf-8")


def _environment(*, escape: bool) -> Any:
    from jinja2 import Environment, StrictUndefined

    made = Environment(autoescape=escape, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {"percent": percent, "number": number, "cell": cell, "fenced": fenced, "clean": clean}
    return made


def percent(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """A share with its interval, as ``87 % [80, 92]``."""
    if value is None:
        return "not judged"
    return f"{100 * value:.0f} %" + ("" if low is None or high is None else f" [{100 * low:.0f}, {100 * high:.0f}]")


def number(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """A number with its interval; a dash where there is none."""
    if value is None:
        return "–"

    def plain(each: float) -> str:
        return f"{each:,.0f}" if abs(each) >= 1000 else f"{each:.3g}"

    return plain(value) + (f" [{plain(low)}, {plain(high)}]" if low is not None and high is not None else "")


def cell(text: object) -> str:
    """Text for a line or a table's cell of Markdown: nothing in it is markup."""
    flat = " ".join(clean(str(text)).split())
    return re.sub(r"([\\`*_\[\]<>|#~!$&])", r"\\\1", flat)


def fenced(text: str, most: int = 600) -> str:
    """Text as a block of Markdown that nothing in it can end."""
    shown = text if len(text) <= most else text[:most] + " …"
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{fence}text\n{shown}\n{fence}"
