"""Calibration: what is known of a judge is kept for its model, and makes its scores probabilities.

Evidence is the log-odds of good over bad, ``2 atanh(soft)``. The zero is the mean evidence of content-free text: what a
judge says of text that says nothing is its bias. ``rain check`` measures the rest; where it has not, the zero alone is
measured, of the same engine in the same placement and style.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import atanh, floor, fsum, tanh
from pathlib import Path
from typing import Any, Literal, TypeVar
from weakref import WeakKeyDictionary

from pydantic import ValidationError

from rain import cache
from rain.chat import Conversation, Message, prompt_tokens
from rain.engines.engine import Engine
from rain.preferences.asking import asking
from rain.preferences.evaluators import REFUSALS, ZEROED, Case, Evaluator, Judgement, parts_of
from rain.preferences.measured import Calibration as Calibration
from rain.preferences.measured import Key
from rain.preferences.measured import Verdict as Verdict
from rain.preferences.preference import Preference
from rain.preferences.weighted import Part, Weighted
from rain.search.asks import Prefix, Stopped

Judge = TypeVar("Judge")
_LARGEST = 1 - 1e-12
_zeros: WeakKeyDictionary[Engine, dict[tuple[Any, ...], float]] = WeakKeyDictionary()
"""Measured once for each engine, evaluator, placement, style and system message."""


def evidence(soft: float) -> float:
    """Log-odds of good over bad of a soft score in [-1, 1]."""
    return 2 * atanh(max(-_LARGEST, min(_LARGEST, soft)))


def calibrated_soft(soft: float, zero: float, slope: float) -> float:
    """``tanh(slope (evidence - zero) / 2)``, which is 2 P(good) - 1 by logistic regression."""
    return tanh(slope * (evidence(soft) - zero) / 2)


def threshold_for(good: Sequence[float], false_alarms: float) -> float:
    """The soft score below which at most this share of the scores of good texts lies. In: at least one score."""
    return sorted(good)[min(len(good) - 1, floor(false_alarms * len(good)))]


def cheapest(judges: dict[Judge, tuple[float, float, float]]) -> Judge:
    """What is recommended: the cheapest whose figure lies within the interval of the best one's.

    In: each judge's figure, its lower bound and its forward tokens; at least one judge.
    """
    low = max(judges.values())[1]
    near = {judge: (tokens, -figure) for judge, (figure, _, tokens) in judges.items() if figure >= low}
    return min(near, key=lambda judge: near[judge])


_log = logging.getLogger("rain")
PACKAGED = Path(__file__).with_name("calibrations")
ASKING = 1
"""Raised when all evaluators put the same words to a model in another way: all that was measured before is then void.
Where only some do, see :mod:`rain.preferences.asking`."""
_told: set[Path] = set()
"""Files that a warning was given for: one each."""


def digest(preference: Preference | Weighted, model: str = "", style: str = "") -> str:
    """Of everything the preference asks in its own wording; its further wordings are judges of their own.

    Several preferences are scored by their parts' calibrations on ``model`` in ``style``: with others they are another
    judge.
    """
    if isinstance(preference, Weighted):
        parts = [_digest_of(part, model, style) for part in preference.parts]
        asked = f"{ASKING} {json.dumps([preference.combine, parts])}"
    else:
        asked = f"{ASKING} {preference.model_dump_json(exclude={'others'})}"
    return hashlib.sha256(asked.encode()).hexdigest()[:16]


def digest_of(
    preference: Preference | Weighted, evaluator: str, placement: str | None, style: str, model: str = ""
) -> str:
    """Of everything that one judge asks: the preference's digest, and behind it the versions of what it asks in
    another way than at first."""
    changed = asking(preference, evaluator, placement, style)
    return digest(preference, model, style) + (f" {changed}" if changed else "")


def asks_the_same(row: Calibration, preference: Preference | Weighted, model: str = "") -> bool:
    """Whether a calibration is of a judge that is asked for this preference, in this wording, as it is today."""
    if (row.preference, row.wording) != (preference.name, preference.wording):
        return False
    return row.digest == digest_of(preference, row.evaluator, row.placement, row.style, model)


def _digest_of(part: Part, model: str, style: str) -> list[Any]:
    wanted, kind = part.preference, part.kind or "classifier"
    known = [
        [row.evaluator, row.placement, row.zero, row.slope, row.threshold]
        for row in (kept(model) if anything_kept() else [])
        if row.style == style and row.evaluator in (kind, kind.removesuffix(REFUSALS)) and asks_the_same(row, wanted)
    ]
    return [digest_of(wanted, kind, None, style), kind, part.weight, sorted(known)]


def folder() -> Path:
    """Where calibrations are kept: the user's cache, or ``RAIN_CALIBRATIONS``."""
    given = os.environ.get("RAIN_CALIBRATIONS")
    return Path(given) if given else cache.folder() / "calibrations"


def folders() -> list[Path]:
    """Where calibrations are looked for: the user's own first, then what comes with RAIN (the embedded model)."""
    return [folder()] if os.environ.get("RAIN_CALIBRATIONS") else [folder(), PACKAGED]


def packaged(known: Calibration) -> bool:
    """Whether RAIN comes with a calibration of this judge; these were measured on public texts, too."""
    return _file(known.model, known.key, PACKAGED).exists()


def anything_kept() -> bool:
    """Whether there is any calibration, of whatever model: if not, nobody need ask for a fingerprint."""
    return any(next(place.glob("*/*.json"), None) is not None for place in folders())


def kept(model: str) -> list[Calibration]:
    """Every calibration of the model with this fingerprint, oldest first. Broken ones are left out with a warning."""
    files: dict[str, Path] = {}
    for place in reversed(folders()):
        files |= {file.name: file for file in place.joinpath(_plain(model)).glob("*.json")}
    found = (_read(file, model) for file in files.values())
    return sorted((row for row in found if row), key=lambda row: (row.made, row.key))


def find(
    model: str, preference: Preference | Weighted, evaluator: str, placement: str, wording: str, style: str
) -> Calibration | None:
    """What is known of exactly this judge of exactly these weights, None where it was never measured.

    preference: as it is asked, in this wording.
    """
    asked = digest_of(preference, evaluator, placement, style, model)
    key = (preference.name, asked, evaluator, placement, wording, style)
    rows = (_read(_file(model, key, place), model) for place in folders())
    return next((row for row in rows if row is not None and row.key == key), None)


def keep(calibration: Calibration) -> bool:
    """Keep it in place of what was known of the same judge. False (and a warning) where nothing can be written.

    A judge has a file of its own, so that processes that measure different judges never touch each other's.
    """
    file = _file(calibration.model, calibration.key)
    try:
        cache.write(file, calibration.model_dump_json(indent=1) + "\n")
    except OSError as error:
        _log.warning("rain: cannot keep what was measured in %s: %s", file.parent, error.strerror or error)
        return False
    _told.discard(file)
    return True


def _file(model: str, key: Key, place: Path | None = None) -> Path:
    name, _, evaluator, *_ = key
    digits = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    return (place or folder()) / _plain(model) / f"{_plain(name)}-{_plain(evaluator)}-{digits}.json"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", name)[:40]


def _read(file: Path, model: str) -> Calibration | None:
    try:
        row = Calibration.model_validate_json(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValidationError) as error:
        if file not in _told:
            _told.add(file)
            why = error.strerror if isinstance(error, OSError) else "is broken or of another version"
            _log.warning("rain: %s: %s; it is ignored: delete it, and run rain check again", file, why)
        return None
    return row if row.model == model else None


# --- in use


def calibrated(
    inner: Evaluator,
    case: Case,
    make: Callable[[Case], Evaluator],
    whole: Callable[[Evaluator], Evaluator] = lambda inner: inner,
) -> Evaluator:
    """``whole(inner)`` with all that is known of it: its calibration, else that of ``inner``, else the zero that
    content-free text gives, else as is.

    whole: what else belongs to the judge, such as a rule for refusals. A check measures it around the calibrated scores
    of ``inner``: zero and slope are of ``inner`` alone, the threshold is of the whole. A judge that ranks the wrong way
    round (slope not above zero) is not turned round: its scores stay what they are.
    """
    judge = whole(inner)
    known = known_of(judge, case)
    if known is not None and known.slope > 0:
        return Calibrated(inner, known, whole)
    known = known_of(inner, case) if judge.kind != inner.kind else None
    if known is not None and known.slope > 0:
        return whole(Calibrated(inner, known))
    if case.preference.content_free and set(ZEROED) & set(parts_of(inner.kind)):
        return whole(Zeroed(inner, case, make))
    return judge


def known_of(inner: Evaluator, case: Case) -> Calibration | None:
    """The calibration of an evaluator. None also for the paper's, which asks what no check has measured."""
    if case.shots is not None or not case.both_wordings or not anything_kept():
        return None
    asked, style = case.preference, case.conversation.style
    return find(case.engine.fingerprint, asked, inner.kind, inner.placement, asked.wording, style)


def calibrated_together(
    inner: Evaluator, wanted: Weighted, engine: Engine, style: str, whole: Callable[[Evaluator], Evaluator]
) -> Evaluator:
    """``whole(inner)``, where ``inner`` judges several preferences as their parts are judged, with what is known of it
    as one judge."""
    judge = whole(inner)
    if not anything_kept():
        return judge
    asked = (engine.fingerprint, wanted)
    known = find(*asked, judge.kind, judge.placement, wanted.wording, style)
    if known is not None and known.slope > 0:
        return Calibrated(inner, known, whole)
    known = find(*asked, inner.kind, inner.placement, wanted.wording, style)
    return judge if known is None or known.slope <= 0 else whole(Calibrated(inner, known))


def calibration_of(evaluator: Evaluator) -> Calibration | None:
    """What an evaluator was calibrated with, also within another (a rule for refusals, another model as the judge)."""
    inner: Evaluator | None = evaluator
    while inner is not None and not isinstance(inner, Calibrated):
        inner = getattr(inner, "inner", None)
    return inner.known if inner else None


class Calibrated:
    """Soft: 2 P(good) - 1 by what was measured of this judge, and what ``whole`` makes of it. Hard: 1 from the
    calibration's threshold on, else -1.
    """

    score: Literal["soft", "hard"] = "soft"
    bounded = True

    def __init__(
        self, inner: Evaluator, known: Calibration, whole: Callable[[Evaluator], Evaluator] = lambda inner: inner
    ) -> None:
        self.known = known
        self._judge = whole(_Sloped(inner, known))
        self.kind, self.placement = self._judge.kind, self._judge.placement
        self.self_evaluation = self._judge.self_evaluation

    def judge(self, reply: Prefix, complete: bool) -> Judgement:
        """The whole judge's judgement."""
        score = yield from self._judge.judge(reply, complete)
        if isinstance(score, Stopped):
            return score
        return replace(score, hard=1.0 if score.soft >= self.known.threshold else -1.0)


class _Sloped:
    """An evaluator whose soft score has the zero and slope that were measured of it."""

    score: Literal["soft", "hard"] = "soft"
    bounded = True

    def __init__(self, inner: Evaluator, known: Calibration) -> None:
        self.kind, self.placement, self.self_evaluation = inner.kind, inner.placement, inner.self_evaluation
        self._inner, self._known = inner, known

    def judge(self, reply: Prefix, complete: bool) -> Judgement:
        """The inner evaluator's judgement, soft calibrated."""
        score = yield from self._inner.judge(reply, complete)
        if isinstance(score, Stopped):
            return score
        return replace(score, soft=calibrated_soft(score.soft, self._known.zero, self._known.slope))


class Zeroed:
    """An evaluator whose soft score is 0 for content-free text. Hard: the sign of soft; a tie is bad."""

    def __init__(self, inner: Evaluator, case: Case, make: Callable[[Case], Evaluator]) -> None:
        self.kind, self.placement, self.score = inner.kind, inner.placement, inner.score
        self.bounded, self.self_evaluation = inner.bounded, inner.self_evaluation
        self._inner, self._case, self._make = inner, case, make
        first = case.conversation.messages[0]
        self._system = (first,) if first.role == "system" else ()
        self._known = _zeros.setdefault(case.engine, {})
        self._key = (case.preference, inner.kind, inner.placement, case.conversation.style, self._system)

    def judge(self, reply: Prefix, complete: bool) -> Judgement:
        """The inner evaluator's judgement with its zero moved; the first one measures the zero."""
        if self._key not in self._known:
            found = []
            for evaluator, text in self._content_free():
                score = yield from evaluator.judge(text, True)
                if isinstance(score, Stopped):
                    return score
                found.append(evidence(score.soft))
            self._known[self._key] = fsum(found) / len(found)
        score = yield from self._inner.judge(reply, complete)
        if isinstance(score, Stopped):
            return score
        soft = calibrated_soft(score.soft, self._known[self._key], 1.0)
        return replace(score, soft=soft, hard=1.0 if soft > 0 else -1.0)

    def _content_free(self) -> list[tuple[Evaluator, Prefix]]:
        engine, cases = self._case.engine, []
        for text in self._case.preference.content_free:
            conversation = Conversation((*self._system, Message("user", text.prompt)), self._case.conversation.style)
            prompt = Prefix(prompt_tokens(engine, conversation))
            evaluator = self._make(replace(self._case, conversation=conversation, prompt=prompt))
            cases.append((evaluator, Prefix(engine.tokenizer.encode(text.reply), prompt)))
        return cases
