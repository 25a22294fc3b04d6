"""Keep a run of `rain eval` beside the code without the data it was made of, and bring it back.

    python benchmarks/keep.py away build/eval/hh benchmarks/results/hh
    python benchmarks/keep.py back benchmarks/results/hh build/results/hh --data ../shared/data [--model PATH.gguf]

*away* copies manifest, verdicts, what is known of the judges, and samples, with prompts and forced beginnings left out.
*back* reads those from the data by the items' names, so that the run can be gone on with, reported and rated by people
(`rain eval`, `rain report`, `rain human new`). Traces are not kept: a report of a run brought back has no rewinds.
--model: whose tokenizer a forced beginning is cut by; only for prefill.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from rain.engines.scripted import WordTokenizer
from rain.evaluation.items import How, Item
from rain.evaluation.judges import SIDECAR
from rain.evaluation.records import JUDGEMENTS, MANIFEST, SAMPLES
from rain.evaluation.suites import load
from rain.models import open_engine


def main() -> None:
    options = arguments()
    if options.what == "back" and (options.into / SAMPLES).exists():
        sys.exit(f"{options.into} holds a run already; name another folder")
    options.into.mkdir(parents=True, exist_ok=True)
    for name in (MANIFEST, JUDGEMENTS, SIDECAR):
        if (options.run / name).exists():
            shutil.copyfile(options.run / name, options.into / name)
    samples = [json.loads(line) for line in (options.run / SAMPLES).read_text(encoding="utf-8").splitlines()]
    items = {} if options.what == "away" else found(options)
    with (options.into / SAMPLES).open("w", encoding="utf-8") as out:
        for sample in samples:
            item = items[sample["item"]] if items else Item(sample["item"], "")
            print(json.dumps({**sample, "prompt": item.prompt, "prefix": item.prefix, "trace": None}), file=out)
    print(f"{len(samples)} samples in {options.into}")


def found(options: argparse.Namespace) -> dict[str, Item]:
    """The items of a run, by their names."""
    manifest: dict[str, Any] = json.loads((options.run / MANIFEST).read_text(encoding="utf-8"))
    asked = manifest["options"]
    how = How(
        prefill_tokens=tuple(asked.get("prefill_tokens") or (25, 100)),
        attacks=tuple(asked["attack"]) if asked.get("attack") else None,
        opening_words=asked.get("opening_words") or 5,
    )
    engine = open_engine(options.model) if manifest["suite"] == "prefill" else None
    tokenizer = engine.tokenizer if engine else WordTokenizer()
    return {item.id: item for item in load(manifest["suite"], tokenizer, data=options.data, how=how).items}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("away", "back"))
    parser.add_argument("run", type=Path)
    parser.add_argument("into", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", default="smollm2")
    return parser.parse_args()


if __name__ == "__main__":
    main()
