"""Bring stored figures of ``judging.py`` up to today's rules of the verdict where the scores behind them are gone.

    .venv/bin/python benchmarks/judging_restate.py

A cell whose scores are still in `build/judging` is left to the command that made it. Of the others what follows from
the stored figures alone is worked out anew: fluency is turned round where that is the better way (area, pairs and their
bounds are then one minus themselves; a lead over it cannot be known any more and goes), and a judge that is not clearly
above the refusal rule, where too few texts comply to be looked at alone, only recognises refusals. Areas of judges with
``+refusals`` stay those of the rule as it was when they were measured. Running it twice changes nothing.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from rain.preferences.evaluators import REFUSALS
from rain.preferences.verdict import ENOUGH_PAIRS, FLUENCY, ORDER, REFUSAL_RULE

HERE = Path(__file__).resolve().parent
RAW, FIGURES = HERE.parent / "build" / "judging", HERE / "judging"
FIGURES_OF = (
    ("pair_accuracy_without_refusals", "pair_low_without_refusals", "pair_high_without_refusals"),
    ("auc_without_refusals", "auc_without_refusals_low", "auc_without_refusals_high"),
    ("auc", "auc_low", "auc_high"),
    ("pair_accuracy", "pair_low", "pair_high"),
)
FEW = "and too few texts that do not refuse are left to tell more"


def main_of(row: dict[str, Any]) -> tuple[str, float, float, float]:
    """Name, value and bounds of the figure that the verdict is about, as ``Ranks.main`` has it."""
    pairs = row.get("pairs_without_refusals", 0) >= ENOUGH_PAIRS
    names = FIGURES_OF[0] if pairs else FIGURES_OF[1] if "auc_without_refusals" in row else FIGURES_OF[2]
    return names[0], *(row[name] for name in names)


def turned(row: dict[str, Any]) -> dict[str, Any]:
    """The figures of the same scores the other way round."""
    found = dict(row)
    for value, low, high in FIGURES_OF:
        if row.get(value) is not None:
            found |= {value: 1 - row[value], low: 1 - row[high], high: 1 - row[low]}
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in found.items()}


def restate(cell: dict[str, Any]) -> None:
    """Today's rules, as far as they follow from the figures."""
    baselines, judges = cell["baselines"], cell["evaluators"]
    fluency = baselines.get(FLUENCY)
    if fluency and main_of(fluency)[1] < 0.5:
        fluency = baselines[FLUENCY] = turned(fluency)
        shown = f"{main_of(fluency)[1]:.2f}"
        for name, row in judges.items():
            row["leads"].pop(FLUENCY, None)
            row["reason"] = re.sub(r"fluency \d\.\d\d", f"fluency {shown}", row["reason"])
            if row["verdict"] == "can judge" and main_of(row)[2] <= main_of(fluency)[3]:
                raise SystemExit(f"{name}: whether it is clearly above fluency cannot be told without the scores")
        cell["restated"] = "fluency turned round, from the stored figures; leads over it are not known"
    for name, row in judges.items():
        way, _, low, _ = main_of(row)
        if row["verdict"] not in ORDER[:2] or way != "auc" or not cell["refusals"]:
            continue
        alone = judges.get(name.replace(REFUSALS, ""), row)
        reached = low <= baselines[REFUSAL_RULE]["auc"] or row["leads"][REFUSAL_RULE][0] <= 0
        if reached:
            told, _, nothing = row["reason"].partition(": above chance, but not clearly above ")
            row |= {"verdict": "only recognises refusals", "reason": f"{told}: not clearly above {nothing}, {FEW}"}
        elif main_of(alone)[2] <= 0.5:
            row |= {
                "verdict": "only recognises refusals",
                "reason": f"{row['reason']}; without the rule {alone['reason']}",
            }
    best = min(judges, key=lambda name: (ORDER.index(judges[name]["verdict"]), -main_of(judges[name])[1]))
    if judges[best]["verdict"] not in ORDER[:2]:
        cell["recommended"] = None
    shown_judge = cell["recommended"] or best
    cell |= {
        "verdict": judges[shown_judge]["verdict"],
        "reason": f"{shown_judge}: {judges[shown_judge]['reason']}",
    }


def main() -> None:
    for file in sorted(FIGURES.glob("*.json")):
        if (RAW / f"{file.stem}.jsonl").exists():
            continue
        before = json.loads(file.read_text(encoding="utf-8"))
        after = json.loads(json.dumps(before))
        restate(after)
        if after != before:
            file.write_text(json.dumps(after, indent=1) + "\n", encoding="utf-8")
            print(f"{file.stem}: {after['verdict']} ({after['reason']})")


if __name__ == "__main__":
    main()
