"""Suites: which prompts, from where, under which licence, and what is to be measured of the replies."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from rain.engines.engine import Tokenizer
from rain.errors import MissingExtra, UsageError
from rain.evaluation import items, rows
from rain.evaluation.items import How, Item, Make, fault, lengths, prefilled, tested, whole
from rain.evaluation.rows import Hub, Table

ATTACKS = ("plain", "unattacked", "gcg")
"""Of ``advbench``, by default all: its own goals; others; those others with real suffixes behind them, so that what
differs between the last two is the attack."""
GCG_FILE = "gcg_vicuna13b.json"


@dataclass(frozen=True, slots=True)
class Source:
    """A data set: its name as one cites it, licence, split, and rows of the whole of it."""

    name: str
    licence: str
    split: str
    rows: int


@dataclass(frozen=True, slots=True)
class Suite:
    """What ``rain eval NAME`` runs."""

    name: str
    about: str
    """One line."""
    file: str
    """Its name in a data folder."""
    source: Source
    """Of that file."""
    hub: Hub
    hub_source: Source
    make: Make
    preference: str
    preset: str
    """The paper's, for ``--preset``."""
    style: Literal["plain"] | None
    """None: the model's own."""
    max_tokens: int
    measures: tuple[str, ...]
    judges: tuple[str, ...]
    """That can measure those without a model or an endpoint."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A suite's items, in the order in which they are run."""

    suite: Suite
    source: Source
    items: tuple[Item, ...]
    where: tuple[str, ...]
    digest: str
    """Of all that was read; another one is another set."""
    found: int
    """Items before ``--limit``."""
    broken: int
    """Rows that were skipped."""
    left_out: int
    """Whole rows that do not fit (too short to take a beginning of), or repeat another's prompt."""
    goals: tuple[Item, ...] = ()
    """What a prefill is made of."""


def load(
    name: str,
    tokenizer: Tokenizer,
    *,
    data: Path | None = None,
    limit: int | None = None,
    how: How = How(),  # noqa: B008 (frozen)
    skip_broken: bool = False,
) -> Loaded:
    """:func:`read`, then :func:`ready`."""
    return ready(read(name, data=data, limit=limit, how=how, skip_broken=skip_broken), tokenizer)


def ready(loaded: Loaded, tokenizer: Tokenizer) -> Loaded:
    """Do what takes the model's tokenizer: count a prefill's tokens, and see whether a suffix survives."""
    chosen = loaded.items
    if loaded.suite.name == "prefill":
        chosen = tuple(prefilled(item, loaded.goals, tokenizer) for item in chosen)
    return replace(loaded, items=tuple(tested(item, tokenizer) if "suffix" in item.meta else item for item in chosen))


def read(
    name: str,
    *,
    data: Path | None = None,
    limit: int | None = None,
    how: How = How(),  # noqa: B008 (frozen)
    skip_broken: bool = False,
) -> Loaded:
    """Read a suite's data, as far as that takes no model.

    The first ``limit`` items are the same whatever the seed, a fixed random part with as many of each group as there
    are. Raises UsageError: an unknown suite, no data, a broken row (unless ``skip_broken``), and MissingExtra.
    """
    suite = suite_of(name)
    check(how, limit)
    tables = _tables(suite, data, how)
    found: list[Item] = []
    seen: set[tuple[str, str]] = set()
    broken = left_out = 0
    for table, make in tables:
        for number, (line, row) in enumerate(table.rows, 1):
            try:
                item = make(suite.name, number, whole(row), how)
            except (ValueError, KeyError, TypeError) as error:
                if not skip_broken:
                    at = f"{table.where}, line {line}: {fault(error)}"
                    raise UsageError(f"{at}; mend it, or leave broken rows out with --skip-broken") from None
                broken += 1
                continue
            if item is None or (item.group, item.prompt) in seen:
                left_out += 1
                continue
            seen.add((item.group, item.prompt))
            found.append(item)
    goals = found
    if suite.name == "prefill":
        found = list(lengths(goals, how))
    if not found:
        where = ", ".join(table.where for table, _ in tables)
        raise UsageError(f"{where}: no row that {suite.name} can use ({broken} broken, {left_out} too short)")
    return Loaded(
        suite=suite,
        source=_source(suite, [table for table, _ in tables]),
        items=tuple(arranged(found)[:limit]),
        where=tuple(table.where for table, _ in tables),
        digest="+".join(table.digest for table, _ in tables),
        found=len(found),
        broken=broken,
        left_out=left_out,
        goals=tuple(goals),
    )


def suite_of(name: str) -> Suite:
    """The suite of that name. Raises UsageError."""
    if name not in SUITES:
        raise UsageError(f"there is no suite {name!r}; there are {', '.join(SUITES)}")
    return SUITES[name]


def check(how: How, limit: int | None) -> None:
    """Raises UsageError for choices that cannot be, before anything is read."""
    if limit is not None and limit < 1:
        raise UsageError(f"--limit: {limit} must be above zero")
    if not how.prefill_tokens or not all(1 <= k <= 1000 for k in how.prefill_tokens):
        raise UsageError("--prefill-tokens: give lengths from 1 to 1000, as in 25,100")
    if not 1 <= how.opening_words <= 100:
        raise UsageError(f"--opening-words: {how.opening_words} is not between 1 and 100")
    for attack in how.attacks or ():
        if attack not in ATTACKS:
            raise UsageError(f"--attack: '{attack}' is none of {', '.join(ATTACKS)}")


def arranged(items: Sequence[Item]) -> list[Item]:
    """A fixed random order, one of each group in turn: any first part of it is a fair sample."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.group, []).append(item)
    ordered = [sorted(group, key=lambda item: _hash(item.key or item.id)) for group in groups.values()]
    return [item for turn in zip_longest(*ordered) for item in turn if item is not None]


def _tables(suite: Suite, data: Path | None, how: How) -> list[tuple[Table, Make]]:
    """What is to be read, each with what makes items of its rows."""
    if suite.name != "advbench":
        return [(_table(suite.file, suite.hub, suite, data), suite.make)]
    attacks = how.attacks
    single = rows.find(suite.file, data) if data and not data.expanduser().is_dir() else None
    if single:
        holds = ATTACKS[1:] if single.suffix.lower() == ".json" else ("plain",)
        attacks = attacks or holds
        if not set(attacks) <= set(holds):
            raise UsageError(f"--data {single} holds {' and '.join(holds)}; for --attack {attacks[0]} name a folder")
    makes: dict[str, Make] = {"plain": items.advbench, "gcg": items.gcg, "unattacked": items.unattacked}
    found = []
    for attack in attacks or ATTACKS:
        file, hub = (suite.file, suite.hub) if attack == "plain" else (GCG_FILE, None)
        found.append((_table(file, hub, suite, data), makes[attack]))
    return found


def _table(file: str, hub: Hub | None, suite: Suite, data: Path | None) -> Table:
    path = rows.find(file, data)
    if path:
        return rows.read(path)
    give = f"give --data with {file} or its folder, or set {rows.ENVIRONMENT}"
    if hub is None:
        raise UsageError(f"{suite.name} needs {file}, which is not on the hub: {give}, or take --attack plain")
    try:
        return rows.fetch(hub)
    except MissingExtra:
        raise MissingExtra(
            f"{suite.name} needs data: {give}, or install what fetches {hub.name} from the hub: pip install datasets"
        ) from None


def _source(suite: Suite, tables: Sequence[Table]) -> Source:
    """What was read: only a file of known bytes is the data set whose name it bears."""
    if all(table.where.startswith("hub:") for table in tables):
        return suite.hub_source
    own = [table for table in tables if not table.where.startswith("hub:") and table.digest not in KNOWN.values()]
    if not own:
        return SUFFIXES if all(Path(table.where).name == GCG_FILE for table in tables) else suite.source
    name = f"own data: {', '.join(dict.fromkeys(Path(table.where).name for table in own))}"
    if len(own) < len(tables):
        name += f"; the rest: {suite.source.name}"
    return Source(name, "licence not known here", "whole file", sum(len(table.rows) for table in tables))


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


KNOWN = {
    "advbench.csv": "beca73fe3d8bdf64",
    "gcg_vicuna13b.json": "bbb052e8820686a7",
    "hh_harmless_first_turns.jsonl": "01738af249c12290",
    "movie_sentences.jsonl": "d12926b62c68b5f0",
    "truthfulqa.csv": "cc9733cf5a615298",
    "xstest.csv": "30305a30c6bd90f2",
}
"""The files that were made of the data sets named below, by ``Table.digest``: the beginnings of their SHA-256."""

HH = "HH-RLHF harmless-base (Bai et al., 2022)"
ADVBENCH = "AdvBench harmful behaviours (Zou et al., 2023)"
TRUTHFULQA = "TruthfulQA (Lin et al., 2022)"
XSTEST = "XSTest v2 (Röttger et al., 2024)"
SENTENCES = "Sentiment Labelled Sentences, movie part (Kotzias et al., 2015)"
REVIEWS = "Large Movie Review Dataset (Maas et al., 2011)"
SUFFIXES = Source("JailbreakBench artifacts, GCG on Vicuna-13B (Chao et al., 2024)", "MIT", "goals and suffixes", 60)
"""Of ``advbench`` where none of AdvBench's own goals is read."""

SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite(
            name="hh",
            about="first turns of people who often ask for harm: are replies harmless, and are they helpful",
            file="hh_harmless_first_turns.jsonl",
            source=Source(HH, "MIT", "harmless-base test, the person's first turn", 2312),
            hub=Hub("Anthropic/hh-rlhf", "test", folder="harmless-base"),
            hub_source=Source(HH, "MIT", "harmless-base test, the person's first turn", 2312),
            make=items.hh,
            preference="harmless",
            preset="harmless",
            style=None,
            max_tokens=128,
            measures=("harmless", "helpful", "refused"),
            judges=("harm-classifier", "refusal"),
        ),
        Suite(
            name="advbench",
            about="harmful goals, and others with and without real GCG suffixes behind them",
            file="advbench.csv",
            source=Source(f"{ADVBENCH}; JailbreakBench artifacts (Chao et al., 2024)", "MIT", "all", 520),
            hub=Hub("walledai/AdvBench", "train"),
            hub_source=Source(ADVBENCH, "MIT", "train", 520),
            make=items.advbench,
            preference="harmless",
            preset="adversarial",
            style=None,
            max_tokens=128,
            measures=("harmless", "refused"),
            judges=("harm-classifier", "refusal"),
        ),
        Suite(
            name="prefill",
            about="harmful goals whose replies are forced to begin with harmful text",
            file="advbench.csv",
            source=Source(ADVBENCH, "MIT", "all", 520),
            hub=Hub("walledai/AdvBench", "train"),
            hub_source=Source(ADVBENCH, "MIT", "train", 520),
            make=items.prefill,
            preference="harmless",
            preset="adversarial",
            style=None,
            max_tokens=128,
            measures=("harmless", "refused"),
            judges=("harm-classifier", "refusal"),
        ),
        Suite(
            name="truthfulqa",
            about="questions that people often answer wrongly: are replies true, and do they say anything",
            file="truthfulqa.csv",
            source=Source(TRUTHFULQA, "Apache-2.0", "all", 817),
            hub=Hub("truthfulqa/truthful_qa", "validation", config="generation"),
            hub_source=Source(TRUTHFULQA, "Apache-2.0", "validation", 817),
            make=items.truthfulqa,
            preference="truthful",
            preset="truthful",
            style=None,
            max_tokens=64,
            measures=("truthful", "informative", "bleu_diff", "rouge_diff"),
            judges=("overlap",),
        ),
        Suite(
            name="imdb",
            about="beginnings of film reviews, to be gone on with: is the sentiment positive",
            file="movie_sentences.jsonl",
            source=Source(SENTENCES, "terms of the UCI repository, to be cited", "movie part", 1000),
            hub=Hub("stanfordnlp/imdb", "test"),
            hub_source=Source(REVIEWS, "terms of its authors, to be cited", "test", 25000),
            make=items.imdb,
            preference="positive",
            preset="positive",
            style="plain",
            max_tokens=40,
            measures=("positive",),
            judges=("vader",),
        ),
        Suite(
            name="xstest",
            about="safe questions that look unsafe, and unsafe ones: is refusing too much paid for less harm",
            file="xstest.csv",
            source=Source(XSTEST, "CC-BY-4.0", "all", 450),
            hub=Hub("walledai/XSTest", "train"),
            hub_source=Source(XSTEST, "CC-BY-4.0", "train", 450),
            make=items.xstest,
            preference="harmless",
            preset="harmless",
            style=None,
            max_tokens=128,
            measures=("refused", "harmless"),
            judges=("refusal", "harm-classifier"),
        ),
    )
}
