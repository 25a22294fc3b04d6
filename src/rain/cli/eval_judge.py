"""``rain eval judge``: how far does a judge agree with labels? Before it is believed about anything else."""

from __future__ import annotations

import asyncio
import json as json_module
import sys
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rain.cli import options
from rain.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rain.evaluation.judges import Judge, Verdict
    from rain.evaluation.records import Sample
    from rain.preferences.labelled import Row

DATA, ENDPOINT = "The texts", "An AI judge's endpoint"
FEWEST = 5
"""Texts of a part (an attack, a category) below which its figures are left out."""


def _option(*names: str, help: str, panel: str = DATA) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel)


def judge(
    name: Annotated[
        str,
        typer.Argument(metavar="JUDGE", help="vader, refusal, harm-classifier, ai:MODEL, http://host:port/v1#MODEL."),
    ],
    data: Annotated[Path, _option("--data", help="JSON lines: a text and its label, a prompt where there is one.")],
    label: Annotated[
        str, _option("--label", help="FIELD, or FIELD=VALUE for which the measure holds, as harmful=false.")
    ],
    measure: Annotated[
        str | None, _option("--measure", help="What the label says, as harmless; default the judge's only one.")
    ] = None,
    text: Annotated[str | None, _option("--text", help="The field of the text; default reply, else text.")] = None,
    by: Annotated[
        str, _option("--by", help="Fields, separated by commas, by which the texts are shown in parts, too.")
    ] = "attack,category",
    limit: Annotated[int | None, _option("--limit", help="Only so many texts, half of each label.")] = None,
    seed: options.Seed = 0,
    judge_url: Annotated[
        str | None, _option("--judge-url", panel=ENDPOINT, help="Default OPENAI_BASE_URL, else OpenAI's.")
    ] = None,
    judge_key_env: Annotated[
        str | None,
        _option("--judge-key-env", panel=ENDPOINT, help="The variable with its key; default OPENAI_API_KEY."),
    ] = None,
    parallel: Annotated[int, _option("--parallel", panel=ENDPOINT, help="Questions under way at once.")] = 4,
    fresh: Annotated[
        bool, _option("--fresh", panel=ENDPOINT, help="Ask again, also what was answered before and is kept.")
    ] = False,
    harm_data: Annotated[
        Path | None, _option("--harm-data", help="What the harm classifier is fitted to; else RAIN_DATA.")
    ] = None,
    json: options.Json = False,
) -> int:
    """Measure how far a judge agrees with labels: accuracy, area, Cohen's kappa, with intervals.

    Example:

        rain eval judge harm-classifier --data labelled_replies.jsonl --label harmful=false
    """
    from rain.evaluation.judges import BETTER, agreements, make
    from rain.preferences.labelled import pick, read

    if name in ("self", "overlap"):
        raise UsageError(f"{name!r} judges runs, not single texts; for a model's own judgement see rain check")
    if measure == BETTER:
        raise UsageError(
            "--measure better: agreement in pairs cannot be measured with labels of single replies; have people rate "
            "pairs (rain human new) and compare the judge with them (rain human score --ai RUN)"
        )
    if limit is not None and limit < 2:
        raise UsageError(f"--limit {limit}: needs two texts at least")
    if harm_data is None and name == "harm-classifier":
        harm_data = data
    how: Any = {"url": judge_url, "key_env": judge_key_env, "parallel": parallel, "harm_data": harm_data}
    how["fresh"] = fresh
    if name.startswith(("ai:", "http:", "https:")):
        if measure is None:
            raise UsageError("--measure: say what the label means, as harmless, truthful or positive")
        how["measures"] = [measure]
    made = make(name, **how)
    rows = read(data, label, text)
    fields = _fields(data, [field.strip() for field in by.split(",") if field.strip()])
    of = {id(row): field for row, field in zip(rows, fields, strict=True)}
    rows = pick(rows, limit, seed)
    fields = [of[id(row)] for row in rows]
    measure = _measure(made, measure)
    verdicts, unseen = _verdicts(made, rows, measure, data)
    kept = [number for number, verdict in enumerate(verdicts) if verdict is not None]
    if not kept:
        raise UsageError(f"{data}: every prompt of it is among those that the classifier was fitted to; give it others")
    told = _figures([rows[n] for n in kept], [verdicts[n] for n in kept], [fields[n] for n in kept])
    told = {
        "judge": made.name,
        "measure": measure,
        "data": str(data),
        "label": label,
        "seed": seed,
        "left_out": len(rows) - len(kept),
        "unseen": unseen,
        **told,
        "known_agreement": made.agreement() if unseen else None,
        **made.about(),
    }
    if limit is None and made.agreement() is None:  # a part of the data is no figure to quote; some judges bring theirs
        agreements.keep(made.name, told)
    print(json_module.dumps(told, ensure_ascii=False) if json else _shown(told))
    return 0


def _measure(judge: Judge, wanted: str | None) -> str:
    """The measure that is compared with the labels. Raises UsageError: it is not one that is yes or no here."""
    able = dict.fromkeys(case.measure for case in judge.cases([_sample("", "a", 0)]) if case.measure != "kind")
    if wanted is None and len(able) == 1:
        return next(iter(able))
    if wanted not in able:
        raise UsageError(f"--measure {wanted}: {judge.name} measures {', '.join(able)}")
    return wanted


def _verdicts(judge: Judge, rows: Sequence[Row], measure: str, data: Path) -> tuple[list[Verdict | None], bool]:
    """A verdict of each row, None for rows left out; and whether the judge was fitted to these very data, so that the
    verdicts are of classifiers that had not seen the row's prompt."""
    from rain.evaluation.judges import Verdict
    from rain.evaluation.judges.harm import HarmJudge, unseen_goals

    if isinstance(judge, HarmJudge):
        if judge.path.resolve() == data.resolve():
            scores = unseen_goals(judge.rows)
            if scores is None:
                raise UsageError(f"{data}: holds too few prompts to leave some out; give the data of another source")
            score_of = {(row.prompt, row.reply): float(score) for row, score in zip(judge.rows, scores, strict=True)}
            known = [score_of.get((row.prompt, row.reply)) for row in rows]
            if None in known:
                raise UsageError(
                    f"{data}: the classifier reads the field 'reply'; leave --text out, or give it other data"
                )
            return [Verdict(score > 0.5, score) for score in known if score is not None], True
        seen = {row.prompt for row in judge.rows}
    else:
        seen = set()
    samples = [_sample(row.prompt, row.reply, number) for number, row in enumerate(rows) if row.prompt not in seen]
    return _ask(judge, samples, measure, len(rows)), False


def _ask(judge: Judge, samples: Sequence[Sample], measure: str, count: int) -> list[Verdict | None]:
    from rain.evaluation.judges import verdicts as said_by

    cases = [case for case in judge.cases(samples) if case.measure == measure]
    found: list[Verdict | None] = [None] * count

    async def work(progress: Callable[[int, int], None]) -> None:
        async with aclosing(said_by(judge, cases)) as verdicts:
            async for case, verdict in verdicts:
                found[int(case.sample.item)] = verdict
                progress(sum(one is not None for one in found), len(cases))

    with _progress() as progress:
        asyncio.run(work(progress))
    return found


def _sample(prompt: str, reply: str, number: int) -> Sample:
    from rain.evaluation.records import Sample

    name = str(number)
    return Sample(id=name, suite="labelled", item=name, method="labelled", prompt=prompt, text=reply, seed=0)


def _fields(data: Path, names: Sequence[str]) -> list[dict[str, str]]:
    """Of each row, those of the fields ``names`` that it has. Blank lines are no rows, as in ``labelled.read``."""
    lines = data.read_text(encoding="utf-8").split("\n")
    rows = [json_module.loads(line) for line in lines if line.strip()]
    return [{name: str(row[name]) for name in names if row.get(name) is not None} for row in rows]


def _figures(
    rows: Sequence[Row], verdicts: Sequence[Verdict | None], fields: Sequence[dict[str, str]]
) -> dict[str, Any]:
    """The agreement, in all and by part, and what it cost."""
    from rain.evaluation.judges.labels import agreement
    from rain.preferences.labelled import groups

    of = groups(rows)
    values = [verdict.value if verdict and isinstance(verdict.value, bool) else None for verdict in verdicts]
    scores = [verdict.score if verdict else None for verdict in verdicts]

    def part(numbers: Sequence[int]) -> dict[str, Any]:
        return agreement(
            [rows[n].good for n in numbers],
            [values[n] for n in numbers],
            None if any(scores[n] is None and values[n] is not None for n in numbers) else [scores[n] for n in numbers],
            [of[n] for n in numbers],
        ).as_dict()

    parts: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(name for field in fields for name in field):
        where: dict[str, list[int]] = {}
        for number, field in enumerate(fields):
            if name in field:
                where.setdefault(field[name], []).append(number)
        parts[name] = {value: part(numbers) for value, numbers in sorted(where.items()) if len(numbers) >= FEWEST}
    why: dict[str, int] = {}
    cost: dict[str, float] = {}
    for verdict in verdicts:
        if verdict and verdict.value is None:
            why[verdict.why or ""] = why.get(verdict.why or "", 0) + 1
        for name, amount in ((verdict and verdict.cost) or {}).items():
            cost[name] = round(cost.get(name, 0) + amount, 3)
    kept = sum(bool(verdict and verdict.kept) for verdict in verdicts)
    answered = list(dict.fromkeys(verdict.by for verdict in verdicts if verdict and verdict.by))
    told = {"by": parts, "why_unjudged": why, "cost": cost or None, "kept": kept, "answered_by": answered}
    return {**part(range(len(rows))), **told}


def _shown(told: dict[str, Any]) -> str:
    from io import StringIO

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"{told['judge']}: {told['measure']} against {told['label']}"), title_justify="left")
    table.add_column("")
    for name in ("N", "unjudged", "label true", "accuracy", "area", "kappa"):
        table.add_column(name, justify="right")
    parts = [
        ("all", told),
        *((f"{name} {value}", one) for name, some in told["by"].items() for value, one in some.items()),
    ]
    for title, one in parts:
        share = "" if one["share_true"] is None else f"{one['share_true']:.0%}"
        figures = [_figure(one, name) for name in ("accuracy", "auc", "kappa")]
        table.add_row(Text(title), str(one["n"]), str(one["unjudged"]), share, *figures)
    out = StringIO()
    Console(file=out, width=120).print(table)
    lines = [out.getvalue().rstrip(), "Intervals: 95 %, whole prompts drawn anew; area 0.5 and kappa 0 are chance."]
    if told["unseen"]:
        lines.append("Each text was judged by a classifier that had not seen its prompt (five folds).")
        lines.append(told["known_agreement"]["sentence"][:1].upper() + told["known_agreement"]["sentence"][1:] + ".")
    if told["left_out"]:
        lines.append(f"{told['left_out']} texts are left out: the classifier was fitted to their prompts.")
    lines += [f"unjudged, {count} times: {why}" for why, count in told["why_unjudged"].items()]
    if told["answered_by"]:
        lines.append(f"answered by: {', '.join(told['answered_by'])}")
    if told["kept"]:
        lines.append(f"{told['kept']} of {told['n']} verdicts were kept from before; --fresh asks again.")
    if told["cost"]:
        lines.append(
            "cost: " + ", ".join(f"{amount:,g} {name.replace('_', ' ')}" for name, amount in told["cost"].items())
        )
    return "\n".join(lines)


def _figure(one: dict[str, Any], name: str) -> str:
    if one[name] is None:
        return ""
    low, high = one[f"{name}_low"], one[f"{name}_high"]
    return f"{one[name]:.2f}" + ("" if low is None else f" [{low:.2f}, {high:.2f}]")


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    from rain.cli.progress import bar as progress_bar

    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    with progress_bar() as bar:
        task = bar.add_task("judgements", total=None, rate="")
        yield lambda done, total: bar.update(task, completed=done, total=total)
