"""Which wording of which question separates good from bad best? Chosen on our own samples, never on public data.

    .venv/bin/python benchmarks/wordings.py --preference harmless [--model smollm2] [--style plain] [--limit 60]

For each evaluator and wording of a preference: the area under the curve over the samples that come with RAIN
(src/rain/preferences/samples), and of two replies to the same prompt how often the good one is ranked higher, both
with 95 % intervals over prompts. Raw scores: a zero or a slope changes no ranking within a judge. Scores keep their
order where they saturate (contrast is asked with a small weight). Kept in benchmarks/wordings.json, one object for
each judge; a judge measured again replaces its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any

from rain.chat import Conversation, Message, prompt_tokens
from rain.engines.engine import Engine
from rain.errors import UsageError
from rain.models import open_engine
from rain.preferences import Preference, load, make_evaluator
from rain.preferences.labelled import Row, groups, samples
from rain.preferences.ranking import Clusters, area, pair_accuracy
from rain.run.drive import Resources, judge
from rain.search.asks import Prefix, Score

OUT = Path(__file__).with_suffix(".json")
WEIGHT = 0.02
"""Of contrast: so small that no score saturates."""
Judge = tuple[str, str | None, str]
"""Evaluator, placement (None: it has but one) and wording."""
KEY = ("model", "preference", "style", "evaluator", "placement", "wording")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preference", required=True)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--style", choices=("chat", "turns", "plain"), default="chat")
    parser.add_argument("--evaluators", default="contrastive,yes_no,one_word,choice,openings")
    parser.add_argument("--placements", default="in_place")
    parser.add_argument("--limit", type=int, default=0, help="samples; whole prompts, 0 is all")
    options = parser.parse_args()
    preference, engine = load(options.preference), open_engine(options.model)
    rows = some(samples(options.preference), options.limit)
    judges = different(preference, options.evaluators.split(","), options.placements.split(","))
    began = time.monotonic()
    scores = asyncio.run(judged(engine, preference, options.style, rows, judges))
    print(f"{len(rows)} samples, {len(judges)} judges, {time.monotonic() - began:.0f} s")
    good, clusters = [row.good for row in rows], Clusters(groups(rows))
    found = []
    for (evaluator, placement, wording), values in scores.items():
        whole, pairs = area(good, values, clusters), pair_accuracy(good, values, clusters)
        assert pairs
        found.append(
            {
                "model": Path(options.model).stem,
                "preference": options.preference,
                "style": options.style,
                "evaluator": evaluator,
                "placement": placement,
                "wording": wording,
                "n": whole.n,
                "area": [round(x, 3) for x in (whole.value, whole.low, whole.high)],
                "pairs": pairs.n,
                "pair_accuracy": [round(x, 3) for x in (pairs.value, pairs.low, pairs.high)],
            }
        )
        print(
            f"{evaluator:12} {placement or '':9} {wording:14} "
            f"area {whole.value:.2f} [{whole.low:.2f}, {whole.high:.2f}]"
            f"  pairs {pairs.value:.2f} [{pairs.low:.2f}, {pairs.high:.2f}]  of {pairs.n}"
        )
    keep(found)


def some(rows: list[Row], limit: int) -> list[Row]:
    """All rows of the first prompts, so that about ``limit`` are left."""
    prompts = {row.prompt for row in rows[: limit or len(rows)]}
    return [row for row in rows if row.prompt in prompts]


def different(preference: Preference, evaluators: list[str], placements: list[str]) -> list[Judge]:
    """Every judge that asks something of its own: wordings that leave a section as it is are no other judges."""
    judges: list[Judge] = []
    for kind in evaluators:
        section = getattr(preference, kind, None)
        for wording in preference.wordings if section else ():
            if wording != preference.wording and getattr(preference.worded(wording), kind) == section:
                continue
            for placement in placements if kind not in ("contrastive", "openings") else [None]:
                only_voice = kind == "one_word" and placement == "quoted" and wording in ("voice", "asked")
                if not only_voice:
                    judges.append((kind, placement, wording))
    return judges


async def judged(
    engine: Engine, preference: Preference, style: str, rows: list[Row], judges: list[Judge]
) -> dict[Judge, list[float]]:
    """Soft scores of every row by every judge; a judge that this model cannot be is left out, and said so."""
    found: dict[Judge, list[float]] = {each: [] for each in judges}
    forward = 0
    for row in rows:
        conversation = Conversation((Message("user", row.prompt),), style)
        prompt = Prefix(prompt_tokens(engine, conversation))
        # What continues a text is, in a conversation, a text as a whole.
        continued = row.reply.startswith(" ") and style != "plain"
        reply = Prefix(engine.tokenizer.encode((row.prompt if continued else "") + row.reply), prompt)
        tasks = {}
        for each in tuple(found):
            kind, placement, wording = each
            try:
                evaluator = make_evaluator(
                    softened(preference.worded(wording)),
                    engine,
                    conversation,
                    prompt,
                    kind=kind,
                    placement=placement,
                    zeroed=False,
                )
            except UsageError as error:
                print(f"{' '.join(str(part) for part in each)}: {error}")
                del found[each]
                continue
            tasks[each] = judge(Resources(engine, evaluator), reply, not row.partial)
        for each, (score, usage) in zip(tasks, await asyncio.gather(*tasks.values()), strict=True):
            assert isinstance(score, Score)
            found[each].append(score.soft)
            forward += usage.forward_tokens
    print(f"{forward:,} forward tokens")
    return found


def softened(preference: Preference) -> Preference:
    """The same with a contrast that does not saturate."""
    if preference.contrastive is None:
        return preference
    return preference.model_copy(update={"contrastive": preference.contrastive.model_copy(update={"weight": WEIGHT})})


def keep(found: list[dict[str, Any]]) -> None:
    """Into the file, in place of what it held of the same judges."""
    new = {tuple(row[key] for key in KEY): row for row in found}
    old = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else []
    rows = [row for row in old if tuple(row[key] for key in KEY) not in new] + found
    rows.sort(key=lambda row: [str(row[key]) for key in KEY])
    OUT.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
