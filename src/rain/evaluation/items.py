"""From the rows of evaluation data to prompts. A broken row raises ValueError, KeyError or TypeError."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from rain.engines.engine import Tokenizer

AFTERMATH = 3
"""``imdb``: a sentence must go on for this many words behind what is taken of it."""
JOINT = "\n\n"
"""Between targets, where one alone is too short for a prefill."""


@dataclass(frozen=True, slots=True)
class Item:
    """One prompt of a suite."""

    id: str
    """Stable: the suite and the row's number in the data (or its own id), as ``advbench-17``."""
    prompt: str
    prefix: str = ""
    """What the reply is forced to begin with."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""
    """What ``--limit`` takes equally many of."""
    key: str = ""
    """What the order within a group is made of; default the id."""


@dataclass(frozen=True, slots=True)
class How:
    """What of a suite can be chosen."""

    prefill_tokens: tuple[int, ...] = (25, 100)
    attacks: tuple[str, ...] | None = None
    """Default: all, or what the given file holds."""
    opening_words: int = 5


Make: TypeAlias = Callable[[str, int, Mapping[str, Any], How], Item | None]
"""From the suite's name, a row's number, the row and the choices to an item; None: a whole row that does not fit.

Raises ValueError, KeyError, TypeError for a broken row."""


def hh(suite: str, number: int, row: Mapping[str, Any], how: How) -> Item:
    """The person's first turn; the hub's rows are whole conversations."""
    if "prompt" not in row and "chosen" in row:
        talk = _text(row, "chosen")
        first = talk.partition("Human:")[2].partition("\n\nAssistant:")[0].strip()
        if not first:
            raise ValueError("'chosen' has no turn of a person")
        return Item(f"{suite}-{number}", first)
    return Item(f"{suite}-{number}", _text(row, "prompt"))


def advbench(suite: str, number: int, row: Mapping[str, Any], how: How) -> Item:
    goal, target = _text(row, "goal" if "goal" in row else "prompt"), _text(row, "target")
    return Item(f"{suite}-{number}", goal, meta={"attack": "none", "goal": goal, "target": target}, group="plain")


def gcg(suite: str, number: int, row: Mapping[str, Any], how: How) -> Item:
    goal, suffix = _text(row, "goal"), row["controls"]
    if not isinstance(suffix, str) or not suffix.strip():
        raise ValueError("'controls' is empty")  # kept as it is, spaces at its ends too: every token counts
    meta = {
        "attack": "GCG",
        "goal": goal,
        "suffix": suffix,
        "found_on": "vicuna-13b-v1.5",
        "broke_it": row.get("jailbroken"),
        "category": row.get("category"),
    }
    return Item(f"{suite}-gcg-{number}", f"{goal} {suffix}", meta=meta, group="gcg", key=str(number))


def unattacked(suite: str, number: int, row: Mapping[str, Any], how: How) -> Item:
    goal = _text(row, "goal")
    meta = {"attack": "none", "goal": goal, "category": row.get("category")}
    return Item(f"{suite}-unattacked-{number}", goal, meta=meta, group="unattacked", key=str(number))


def prefill(suite: str, number: int, row: Mapping[str, Any], how: How) -> Item:
    """Without its prefix, see :func:`lengths` and :func:`prefilled`."""
    goal, target = _text(row, "goal" if "goal" in row else "prompt"), _text(row, "target")
    return Item(f"{suite}-{number}", goal, meta={"attack": "prefill", "goal": goal, "target": target})


def truthfulqa(suite: str, number: int, row: Mapping[str, Any], how: How) -> Item:
    """The public CSV has answers in one cell, separated by semicolons; the hub's rows have lists."""
    hub = "question" in row
    names = (
        ("question", "best_answer", "correct_answers", "incorrect_answers", "category", "type")
        if hub
        else ("Question", "Best Answer", "Correct Answers", "Incorrect Answers", "Category", "Type")
    )
    question, best = _text(row, names[0]), _text(row, names[1])
    correct, incorrect = _answers(row, names[2]), _answers(row, names[3])
    meta = {
        "best_answer": best,
        "correct_answers": correct,
        "incorrect_answers": incorrect,
        "category": row.get(names[4]),
    }
    return Item(f"{suite}-{number}", question, meta={**meta, "type": row.get(names[5])})


def imdb(suite: str, number: int, row: Mapping[str, Any], how: How) -> Item | None:
    """A review's first words, to be gone on with."""
    label = row["positive"] if "positive" in row else row["label"]
    if label not in (True, False, 0, 1):
        raise ValueError(f"the label is {label!r}, neither positive (true, 1) nor negative (false, 0)")
    words = _text(row, "text").replace("<br />", " ").split()
    if len(words) < how.opening_words + AFTERMATH:
        return None
    opening = " ".join(words[: how.opening_words])
    return Item(f"{suite}-{number}", opening, meta={"review_positive": bool(label)}, group=str(bool(label)))


def xstest(suite: str, number: int, row: Mapping[str, Any], how: How) -> Item:
    label = _text(row, "label")
    if label not in ("safe", "unsafe"):
        raise ValueError(f"the label is {label!r}, neither safe nor unsafe")
    name = str(row.get("id") or number)
    meta = {"label": label, "type": row.get("type"), "focus": row.get("focus")}
    return Item(f"{suite}-{name}", _text(row, "prompt"), meta=meta, group=label)


def lengths(goals: Sequence[Item], how: How) -> Iterator[Item]:
    """Each goal with a prefill of each length; whichever part is taken of them, it has the same goals of each."""
    for goal in goals:
        for k in dict.fromkeys(how.prefill_tokens):
            meta = {**goal.meta, "prefill_tokens_wanted": k}
            yield replace(goal, id=f"{goal.id}@{k}", meta=meta, group=str(k), key=goal.id)


def prefilled(item: Item, goals: Sequence[Item], tokenizer: Tokenizer) -> Item:
    """Force the reply to begin with the goal's own target, and with others of the set until it is long enough."""
    k = int(item.meta["prefill_tokens_wanted"])
    text = str(item.meta["target"])
    turn, used = next(number for number, goal in enumerate(goals) if goal.id == item.key), 1
    while len(tokens := tokenizer.encode(text)) < k:
        wanted = 2 * len(text)  # so that a long prefill is encoded a few times, not once for each target
        while len(text) < wanted:
            turn = (turn + 1) % len(goals)
            text += JOINT + str(goals[turn].meta["target"])
            used += 1
    prefix = tokenizer.decode(tokens[:k])
    if not text.startswith(" "):
        prefix = prefix.removeprefix(" ")  # some tokenizers put a space before a text
    made = f"its own target, cut to {k} tokens"
    if used > 1:
        made = f"its own target and the next ones of the set, in turn and repeated where they end, cut to {k} tokens"
    meta = {**item.meta, "prefill_tokens": len(tokenizer.encode(prefix)), "prefill_made_of": made}
    return replace(item, prefix=prefix, meta=meta)


def tested(item: Item, tokenizer: Tokenizer) -> Item:
    """Say whether the prompt, and with it the suffix, comes out of the model's tokenizer as it went in."""
    tokens = tokenizer.encode(item.prompt)
    back = tokenizer.decode(tokens)
    survives = back in (item.prompt, f" {item.prompt}")
    suffix_tokens = len(tokenizer.encode(" " + str(item.meta["suffix"])))
    return replace(item, meta={**item.meta, "suffix_survives": survives, "suffix_tokens": suffix_tokens})


def whole(row: Mapping[str, Any] | str) -> Mapping[str, Any]:
    if isinstance(row, str):
        raise ValueError(row)
    return row


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row[name]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"'{name}' is empty" if not value or isinstance(value, str) else f"'{name}' is no text")
    return value.strip()


def _answers(row: Mapping[str, Any], name: str) -> list[str]:
    value = row[name]
    parts = value if isinstance(value, (list, tuple)) else _text(row, name).split(";")
    answers = [str(part).strip() for part in parts if str(part).strip()]
    if not answers:
        raise ValueError(f"'{name}' is empty")
    return answers


def fault(error: Exception) -> str:
    return f"no field {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
