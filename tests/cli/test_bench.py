"""`rain bench` on a scripted model: what is refused, what is counted, and what is kept when somebody interrupts."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rain
from methods.script import ENCODER, following, scripted
from rain.api import Model
from rain.cli import bench_memory, options
from rain.cli.bench import PROMPTS, bench
from rain.cli.bench_figures import Sample, figures_of
from rain.errors import MissingExtra, UsageError
from rain.preferences import load
from rain.reply import Reply, ReplyUsage
from rain.run.metered import PARTS
from rain.search.asks import Sample as Draw
from rain.search.asks import TextLogprobs, Usage

QUICK: Any = {
    "max_tokens": 6,
    "json": True,
    "set_": ["iterations_per_set=6", "fresh_iterations=3"],
    "evaluator": "methods.script:by_goods",
}
MODES = "vanilla,optimistic,fast"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Use a scripted model, made with these options."""

    def use(**script: Any) -> None:
        def load(*_: Any) -> Model:
            return Model(scripted(**script), encoder=ENCODER)

        monkeypatch.setattr(options, "load", load)

    use()
    return use


def no_model(*_: Any) -> Model:
    raise AssertionError("the model was loaded")


def found(capsys: pytest.CaptureFixture[str], **more: Any) -> dict[str, Any]:
    given: Any = {**QUICK, "limit": 2, "modes": MODES, **more}
    bench(**given)
    return dict(json.loads(capsys.readouterr().out))


# -- what is refused before a model is loaded ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modes", "told"),
    [
        ("vanilla,optimistic,optimistic", "'optimistic' is named 2 times"),
        ("optimistic-", "'optimistic-' is none of"),
        ("optimistic-reply", "none of optimistic, fast, faithful, vanilla, optimistic-clause"),
        ("fast-clause", "'fast-clause' is none of"),
        ("vanilla,vanilla-clause", "'vanilla-clause' is none of"),
    ],
)
def test_modes_that_do_not_exist_or_come_twice_are_refused(
    modes: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "load", no_model)
    with pytest.raises(UsageError) as error:
        bench(modes=modes, **QUICK)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["/nonexistent/x.png", "x.docx", "x", "folder.png"])
def test_a_drawing_that_cannot_be_made_is_refused_before_the_model_is_loaded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder.png").mkdir()
    monkeypatch.setattr(options, "load", no_model)
    with pytest.raises(UsageError, match="--plot"):
        bench(plot=tmp_path / name, **QUICK)


def test_so_is_one_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "load", no_model)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match="needs matplotlib"):
        bench(plot=tmp_path / "x.png", **QUICK)


def test_figures_are_printed_before_they_are_drawn(
    engine: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    def full(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(UsageError, match="No space left"):
        bench(plot=tmp_path / "x.png", limit=1, modes=MODES, **QUICK)
    assert json.loads(capsys.readouterr().out)["prompts"] == 1


# -- interrupted ----------------------------------------------------------------------------------------------------


def interrupted_after(drafts: int) -> Callable[[Any], Exception | None]:
    """Ctrl-C when so many drafts have been asked for."""
    asked = 0

    def fail(question: Any) -> Exception | None:
        nonlocal asked
        if isinstance(question, Draw) and question.purpose == "draft":
            asked += 1
            if asked == drafts + 1:
                signal.raise_signal(signal.SIGINT)
        return None

    return fail


def test_ctrl_c_keeps_the_prompts_of_which_all_modes_are_there(
    engine: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    # One draft each of vanilla and optimistic on the first prompt; then optimistic comes first, vanilla is cut.
    engine(fail=interrupted_after(3))
    more: Any = {**QUICK, "set_": ["gate=-1", "redrafts=0"], "max_tokens": 4}
    assert bench(limit=3, modes="vanilla,optimistic", **more) == 130
    result = json.loads(capsys.readouterr().out)
    assert (result["interrupted"], result["prompts"], result["prompts_asked"]) == (True, 1, 3)
    assert {mode: figures["n"] for mode, figures in result["modes"].items()} == {"vanilla": 1, "optimistic": 1}
    assert result["modes"]["vanilla"]["score"] is not None


def test_ctrl_c_before_anything_is_finished_says_so(
    engine: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    engine(fail=interrupted_after(0))
    assert bench(limit=1, modes="vanilla,optimistic", **QUICK) == 130
    result = json.loads(capsys.readouterr().out)
    assert (result["interrupted"], result["prompts"], result["modes"]) == (True, 0, {})
    engine(fail=interrupted_after(0))
    assert bench(limit=1, modes="vanilla,optimistic", **{**QUICK, "json": False}) == 130
    assert capsys.readouterr().out.strip() == "interrupted: 0 of 1 prompts were measured"


# -- what is told ---------------------------------------------------------------------------------------------------


def test_a_result_tells_what_it_is_of(
    engine: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["rain", "bench", "--limit", "1", "--model", "http://me:secret@host/v1#m"])
    result = found(capsys, limit=1, threads=1)
    assert result["command"] == "rain bench --limit 1 --model 'http://host/v1#m'"
    assert result["versions"]["rain"] == rain.__version__
    assert result["versions"]["python"]
    assert result["started"].endswith("+00:00")
    assert set(result["machine"]) == {"system", "processor", "cores", "threads"}
    assert result["machine"]["threads"] == 1
    told = {name: result[name] for name in ("preference", "evaluator", "placement", "checked", "wording", "style")}
    assert told == {
        "preference": "positive",
        "evaluator": "methods.script:by_goods",
        "placement": None,
        "checked": False,
        "wording": "default",
        "style": "plain",
    }
    assert result["settings"] == {"iterations_per_set": "6", "fresh_iterations": "3"}
    assert result["settings_by_mode"]["fast"]["parallel_leaves"] == 12
    assert result["settings_by_mode"]["vanilla"].keys() <= {
        "iterations_per_set",
        "fresh_iterations",
        "similarity_threshold",
        "length_limit",
    }


def test_the_evaluator_and_its_placement_are_those_that_were_used(
    engine: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    result = found(capsys, limit=1, evaluator=None, placement="quoted")
    assert (result["evaluator"], result["placement"]) == ("one_word", "quoted")


def test_the_modes_are_those_that_people_meet_unless_others_are_named(
    engine: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    bench(limit=1, **QUICK)
    assert list(json.loads(capsys.readouterr().out)["modes"]) == ["vanilla", "optimistic", "fast"]


def test_calls_are_split_by_what_they_were_for(engine: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    modes = found(capsys, evaluator="contrastive")["modes"]
    for figures in modes.values():
        parts = [figures[f"{part}_calls_per_token"] for part in PARTS]
        assert sum(parts) == pytest.approx(figures["calls_per_token"], abs=0.001)
    fast = modes["fast"]
    assert sum(fast[f"{part}_calls_per_iteration"] for part in PARTS) == pytest.approx(
        fast["calls_per_iteration"], abs=0.001
    )
    assert fast["judgement_calls_per_token"] > 0
    assert modes["vanilla"]["judgement_calls_per_token"] == 0


def sample(tokens: int, seconds: float, mode: Any = "fast", highest: int = 0) -> Sample:
    usage = ReplyUsage(3, tokens, tokens, 0, 1.0, 0, 0.0, 0, 0, 0, 0, seconds)
    made: Any = dict.fromkeys(Reply.__dataclass_fields__)
    reply = Reply(**{**made, "text": "", "finish_reason": "stop", "mode": mode, "model": "m", "usage": usage})
    return Sample(reply, dict.fromkeys(PARTS, Usage()), None, 0, None, highest=highest)


def test_seconds_over_vanilla_are_a_tokens_and_those_of_whole_replies() -> None:
    figures = figures_of([sample(10, 6.0)], [sample(40, 2.0, "vanilla")])
    assert figures["seconds_over_vanilla"] == 12
    assert figures["total_seconds_over_vanilla"] == 3


def test_the_table_says_which_is_which(engine: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    bench(limit=1, modes=MODES, **{**QUICK, "json": False})
    table = capsys.readouterr().out
    assert "total seconds over vanilla" in table
    assert "per output token" in table
    assert "calls per token" in table
    assert "judgement calls per token" not in table


def test_memory_is_each_modes_own_highest() -> None:
    mb = 2**20
    figures = figures_of([sample(1, 1.0, highest=300 * mb), sample(1, 1.0, highest=280 * mb)], None, 200 * mb)
    assert (figures["peak_mb"], figures["peak_mb_over_model_and_cache"]) == (300, 100)
    unknown = figures_of([sample(1, 1.0)], None, 200 * mb)
    assert (unknown["peak_mb"], unknown["peak_mb_over_model_and_cache"]) == (None, None)


@pytest.mark.skipif(not bench_memory.resident(), reason="the system does not tell")
def test_the_highest_is_seen_while_a_reply_is_made_and_not_what_was_there_before() -> None:
    before = bench_memory.resident()
    with bench_memory.Watch() as watch:
        block = bytearray(80 * 2**20)
        block[::4096] = b"x" * len(block[::4096])
        time.sleep(5 * bench_memory.EVERY)
        del block
    assert watch.highest > before + 60 * 2**20
    with bench_memory.Watch() as after:
        pass
    assert after.highest < watch.highest - 60 * 2**20


# -- judged off the clock -------------------------------------------------------------------------------------------


def test_vanilla_is_judged_as_the_others_are_and_not_at_its_cost(
    engine: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    # A draft that passes is vanilla's text, so both must be told the same score.
    same = found(capsys, modes="vanilla,optimistic", evaluator="contrastive", set_=["gate=-1"])
    vanilla, optimistic = same["modes"]["vanilla"], same["modes"]["optimistic"]
    assert optimistic["same_text_when_passed"] == 2
    assert vanilla["score"] == optimistic["score"]
    assert vanilla["score"] is not None
    assert vanilla["judgement_forward_tokens_per_token"] == 0
    alone = found(capsys, modes="vanilla", evaluator="contrastive")["modes"]["vanilla"]
    for cost in ("forward_tokens_per_token", "calls_per_token", "tokens"):
        assert vanilla[cost] == alone[cost]


def test_the_end_of_a_text_is_not_judged(engine: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    judged: list[tuple[int, ...]] = []

    def listen(question: Any) -> None:
        if isinstance(question, TextLogprobs):
            judged.append(question.prefix.path())

    engine(following=following([(" movie", "<end>")], [" good", " movie"]), fail=listen)
    figures = found(capsys, modes="vanilla", evaluator="contrastive")["modes"]["vanilla"]
    assert figures["tokens"] < 2 * QUICK["max_tokens"]
    assert judged
    assert not any(set(tokens) & scripted().tokenizer.eos for tokens in judged)


def test_another_wording_may_be_asked_beside_vanilla(
    engine: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    wording = load("positive").wordings[1]
    given: Any = {"modes": "vanilla,optimistic", "evaluator": "contrastive", "wording": wording}
    assert found(capsys, limit=1, **given)["wording"] == wording


@pytest.mark.parametrize(("preference", "told"), [("positive", True), ("harmless", False), ("truthful", False)])
def test_a_lexicon_of_sentiment_is_asked_of_sentiment_only(
    preference: str, told: bool, engine: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("vaderSentiment")
    figures = found(capsys, limit=1, preference=preference)["modes"]["vanilla"]
    assert ("vader" in figures) == told


# -- growth ---------------------------------------------------------------------------------------------------------

ENDLESS = following([], [" good", " movie"])


def test_growth_tells_where_it_was_measured(engine: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    engine(following=ENDLESS)
    growth = found(capsys, modes="vanilla", growth=True)["growth"]
    assert growth["positions"] == [[64, 480], [64, 480]]
    assert (growth["prompts"], growth["why"]) == (2, None)
    assert growth["iteration_at_480_over_64"] > 0
    assert growth["forward_tokens_at_480_over_64"] > 0


def test_a_reply_that_ends_early_gives_no_growth_but_a_reason(
    engine: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def ends(tokens: tuple[int, ...]) -> Any:
        return following([("", "<end>")] if len(tokens) > 100 else [], [" good", " movie"])(tokens)

    engine(following=ends)
    growth = found(capsys, modes="vanilla", growth=True)["growth"]
    assert growth["iteration_at_480_over_64"] is None
    assert growth["positions"] == [None, None]
    assert "no reply had 480 tokens" in growth["why"]


def test_a_reply_without_room_behind_it_gives_none_either(
    engine: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    engine(following=ENDLESS, context=len(scripted().tokenizer.encode(PROMPTS[0])) + 490)
    growth = found(capsys, modes="vanilla", limit=1, growth=True)["growth"]
    assert (growth["iteration_at_480_over_64"], growth["prompts"]) == (None, 0)
