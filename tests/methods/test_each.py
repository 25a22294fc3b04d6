"""What makes each method what it is."""

from __future__ import annotations

import pytest

import rain
from methods.script import ENCODER, TEMPLATE, TOKENS, USUAL, ask, following, goods, scripted
from rain.api import Model
from rain.engines.sampling import filtered
from rain.request import REFUSAL
from rain.search.draft import draft_seed

PROMPT = " the movie was"


# --- vanilla and rain


def test_vanilla_is_what_the_mode_vanilla_writes() -> None:
    options = {**USUAL, "mode": "vanilla", "preference": None, "seed": 5}
    mode = Model(scripted(), encoder=ENCODER).generate(PROMPT, **options)
    assert ask(scripted(), "vanilla", seed=5).text == mode.text


def test_rain_is_the_search() -> None:
    for mode in ("faithful", "optimistic"):
        direct = Model(scripted(), encoder=ENCODER).generate(PROMPT, **{**USUAL, "mode": mode, "seed": 5})
        reply = ask(scripted(), "rain", mode=mode, seed=5)
        assert (reply.text, reply.score, reply.usage.iterations) == (
            direct.text,
            direct.score,
            direct.usage.iterations,
        )


# --- best-of-n


def drawn(count: int, seed: int = 0) -> list[str]:
    """The replies that best-of-n should have to choose from, drawn token by token."""
    engine = scripted()
    plan = Model(engine, encoder=ENCODER).plan(PROMPT, **USUAL)
    texts = []
    for number in range(count):
        tokens = begun = plan.prompt.path()
        while len(tokens) < len(begun) + TOKENS and tokens[-1] not in engine.tokenizer.eos:
            likely = filtered(engine.row(tokens), plan.settings.temperature, plan.settings.top_k)
            token, _ = likely.draw(draft_seed(seed, number), len(tokens))
            tokens = (*tokens, token)
        texts.append(engine.tokenizer.decode(tokens[len(begun) :]))
    return texts


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_the_best_of_n_independent_draws_is_kept(count: int) -> None:
    texts = drawn(count)
    engine = scripted()
    reply = ask(engine, f"best-of-{count}")
    assert reply.text == max(texts, key=goods)
    assert reply.score == pytest.approx(2 * goods(reply.text) - 1)
    assert reply.usage.iterations == count
    assert reply.usage.drafted_tokens >= reply.usage.completion_tokens * count / 2


def test_the_first_draw_is_vanillas() -> None:
    assert ask(scripted(), "best-of-1", seed=9).text == ask(scripted(), "vanilla", seed=9).text


def test_more_draws_are_never_worse() -> None:
    scores = [ask(scripted(), f"best-of-{count}").score or -1 for count in (1, 2, 4, 8, 16, 32)]
    assert scores == sorted(scores)
    assert scores[0] < scores[-1]


def test_a_limit_is_spent_on_draws() -> None:
    engine = scripted()
    reply = ask(engine, "best-of-n", limit=600)
    assert reply.usage.iterations > 16
    assert 600 - 2 * 12 <= engine.totals.forward_tokens <= 600
    assert reply.stopped_by is None  # spending it is what the method does
    assert engine.asked["Sample"] < reply.usage.iterations / 2  # in batches


def test_with_a_judge_to_pay_a_limit_is_spent_too() -> None:
    engine = scripted(remembers=False)
    reply = ask(engine, "best-of-n", limit=6000, evaluator="contrastive")
    alone = scripted(remembers=False)
    ask(alone, "best-of-1", evaluator="contrastive")
    assert reply.score is not None
    assert reply.usage.iterations >= 6000 // alone.totals.forward_tokens > 5
    assert 6000 - 2 * alone.totals.forward_tokens <= engine.totals.forward_tokens <= 6000


def test_no_more_than_the_papers_draws() -> None:
    assert ask(scripted(), "best-of-n", limit=10**6).usage.iterations == 500
    assert ask(scripted(), "best-of-20", limit=10**6).usage.iterations == 20


@pytest.mark.parametrize(
    ("name", "limit", "draws"), [("best-of-n", None, 3), ("best-of-n", 600, 3), ("best-of-2", None, 2)]
)
def test_a_limit_on_iterations_is_one_on_draws(name: str, limit: int | None, draws: int) -> None:
    reply = ask(scripted(), name, limit=limit, budget=rain.Budget(TOKENS, max_iterations=3))
    assert (reply.usage.iterations, reply.stopped_by) == (draws, None)
    assert reply.text == max(drawn(draws), key=goods)


def test_too_small_a_limit_gives_what_there_is() -> None:
    script = following([], [" good", " and", " bad", ","])

    def asked(name: str, limit: int | None) -> rain.Reply:
        return ask(scripted(following=script, remembers=False), name, limit=limit, budget=rain.Budget(40))

    whole = asked("vanilla", None)
    reply = asked("best-of-n", whole.usage.forward_tokens - 1)
    assert (reply.stopped_by, reply.usage.iterations) == ("budget", 1)
    assert 0 < len(reply.text) < len(whole.text)
    assert whole.text.startswith(reply.text)


def test_what_was_drawn_twice_is_judged_once() -> None:
    seen: list[str] = []

    def judge(text: str) -> float:
        seen.append(text)
        return 0.5

    engine = scripted(following=following([], [" good", " bad", "."]))
    ask(engine, "best-of-30", evaluator=judge)
    assert len(seen) == 1


# --- system-prompt


@pytest.mark.parametrize(
    ("style", "sentence"),
    [("plain", "A very positive review, full of praise:\n\n the movie was"), ("chat", "system\nYou love everything")],
)
def test_the_preference_is_asked_for_in_its_own_sentence(style: str, sentence: str) -> None:
    seen: set[str] = set()
    engine = scripted(following=lambda tokens: watched(tokens))

    def watched(tokens: tuple[int, ...]) -> list[float]:
        seen.add("".join(engine.tokenizer.decode((token,)) for token in tokens))
        return [0.0] * len(engine._words.pieces)

    ask(engine, "system-prompt", style=style)
    assert all(sentence in text for text in seen)


def test_a_system_prompt_of_ones_own_stays() -> None:
    engine = scripted()
    reply = ask(engine, "system-prompt", style="chat", system="like it")
    alone = Model(engine, encoder=ENCODER).plan(PROMPT, **{**USUAL, "style": "chat", "system": "like it"})
    assert reply.usage.prompt_tokens > alone.prompt.length
    messages = [{"role": "system", "content": "like it"}, {"role": "user", "content": PROMPT}]
    assert ask(scripted(), "system-prompt", messages, style="chat").text == reply.text


def test_a_sentence_for_which_there_is_no_room_is_told() -> None:
    with pytest.raises(rain.UsageError, match="with the preference's sentence"):
        ask(scripted(context=40), "system-prompt")


# --- self-examine


def test_what_is_judged_bad_is_refused_after_the_fact() -> None:
    good, bad = (ask(scripted(), "self-examine", evaluator=lambda text, p=p: p) for p in (0.9, 0.1))
    assert good.text == ask(scripted(), "vanilla").text
    assert (bad.text, bad.finish_reason, bad.score) == (REFUSAL, "content_filter", pytest.approx(-0.8))
    assert bad.usage.completion_tokens == good.usage.completion_tokens
    strict = {"gate": 0.85}
    assert ask(scripted(), "self-examine", settings=strict, evaluator=lambda text: 0.9).text == REFUSAL


def test_what_could_not_be_judged_is_refused() -> None:
    reply = ask(scripted(remembers=False), "self-examine", limit=80, evaluator="contrastive")
    assert (reply.text, reply.score, reply.stopped_by) == (REFUSAL, None, "budget")


# --- self-refine


@pytest.mark.parametrize("style", ["plain", "turns", "chat"])
def test_criticism_is_asked_for_and_the_answer_written_again(style: str) -> None:
    seen: set[str] = set()
    tokenizer = scripted().tokenizer

    def watched(tokens: tuple[int, ...]) -> list[float]:
        seen.add(tokenizer.decode(tokens))
        return usual(tokens)

    usual = following([], [" good", " bad", " and", " it"])
    engine = scripted(following=watched, remembers=True)
    reply = ask(engine, "self-refine", style=style)
    assert reply.usage.iterations == 3
    asked = [text for text in seen if "In a sentence or two" in text]
    again = [
        text
        for text in asked
        if ("with all of that mended" if style == "plain" else "write your answer once more") in text
    ]
    assert asked
    assert again
    wanted = "full of praise" if style == "plain" else "You love everything"
    assert all(wanted in text for text in asked)
    assert max(text.count("In a sentence or two") for text in seen) == 1  # rounds do not pile up
    if style == "plain":
        assert any(text.endswith("full of praise:\n\n the movie was") for text in again)
    if style == "turns":
        assert any(text.endswith("nothing else.\n\nAssistant:") for text in again)
    # A draft, and three times a criticism of 96 tokens and another version.
    assert reply.usage.drafted_tokens == 12 + 3 * (96 + 12)


def test_the_last_version_counts() -> None:
    one = scripted(following=following([("mended.…", " good"), ("", " bad")], [" a"]))
    assert set(ask(one, "self-refine").text.split()) == {"good"}
    assert set(ask(one, "vanilla").text.split()) == {"bad"}


def test_a_round_that_the_budget_cuts_short_does_not_count() -> None:
    draft = ask(scripted(), "vanilla").text
    for limit in (80, 150, 250):
        reply = ask(scripted(remembers=False), "self-refine", limit=limit)
        assert (reply.text, reply.usage.iterations, reply.stopped_by) == (draft, 0, "budget")


@pytest.mark.parametrize(
    ("most", "rounds", "stopped"), [(1, 1, "budget"), (2, 2, "budget"), (3, 3, None), (9, 3, None)]
)
def test_a_limit_on_iterations_is_one_on_rounds(most: int, rounds: int, stopped: str | None) -> None:
    engine = scripted(following=following([], [" good", " bad", " and", " it"]))
    reply = ask(engine, "self-refine", budget=rain.Budget(TOKENS, max_iterations=most))
    assert (reply.usage.iterations, reply.stopped_by) == (rounds, stopped)
    assert reply.usage.drafted_tokens == 12 + rounds * (96 + 12)


def test_every_version_begins_as_it_is_forced_to() -> None:
    seen: list[tuple[int, ...]] = []
    usual = following([], [" good", " bad"])

    def watched(tokens: tuple[int, ...]) -> list[float]:
        seen.append(tokens)
        return usual(tokens)

    for style in ("plain", "turns", "chat"):
        seen.clear()
        engine = scripted(following=watched)
        ask(engine, "self-refine", style=style, prefix=" I hate it,")
        decode = engine.tokenizer.decode
        assert sum(decode(tokens).endswith(" I hate it,") for tokens in seen) == 4


# --- any-depth

OPENED = "<start>assistant\n"


@pytest.mark.parametrize("style", ["chat", "turns", "plain"])
def test_where_the_reopened_turn_would_refuse_the_reply_stops_and_it_does(style: str) -> None:
    opened = "assistant\n" if style == "chat" else "Assistant:"
    refuse = "Sorry" if style == "chat" else " "
    rules = [
        (f" bad.…{opened}", refuse),
        (f" bad.…{opened} ", "Sorry"),
        ("…Sorry", "."),
        ("…Sorry.", "<end>"),
        (f" and,…{opened}", "Sure" if style == "chat" else " "),
        (f" and,…{opened} ", "Sure"),
    ]
    words = [" good", " and", ",", " bad", "."]
    start = len(prompt_of(style))
    ordered = [words[(index - start) % 5] for index in range(start, start + 5)]
    script = following(rules, rotated(ordered, start))
    reply = ask(scripted(following=script), "any-depth", "I like it", style=style)
    assert reply.text.lstrip() == "good and, bad.\n\nSorry."
    assert (reply.usage.rewinds, reply.usage.iterations, reply.finish_reason) == (1, 2, "stop")
    assert reply.usage.completion_tokens <= 12


def prompt_of(style: str) -> tuple[int, ...]:
    return Model(scripted(), encoder=ENCODER).plan("I like it", **{**USUAL, "style": style}).prompt.path()


def rotated(words: list[str], start: int) -> list[str]:
    """So that the first word comes at position ``start``."""
    shift = start % len(words)
    return words[-shift:] + words[:-shift] if shift else words


def test_where_it_would_not_the_reply_is_vanillas() -> None:
    rules = [("…" + OPENED, "Sure")]
    words = [" good", ",", " bad", "."]
    script = following(rules, words)
    engine = scripted(following=script)
    text = ask(engine, "vanilla", "I like it", style="chat").text
    reply = ask(engine, "any-depth", "I like it", style="chat")
    assert reply.text[1:] == text[1:]
    assert reply.usage.rewinds == 0
    assert reply.usage.iterations >= 3


def test_a_reply_that_refuses_is_not_taken_up_again() -> None:
    rules = [("Sorry.…assistant\n", "No"), ("…No", "."), ("…No.", "<end>")]  # a refusal, too, but not the reply's own
    rules += [("…assistant\n", "Sorry"), ("…Sorry", "."), ("…Sorry.", "<end>")]
    reply = ask(scripted(following=following(rules, [" good"])), "any-depth", "I like it", style="chat")
    assert reply.text == "Sorry."
    assert (reply.usage.rewinds, reply.usage.iterations) == (0, 0)


def test_a_reopened_turn_that_does_not_refuse_is_dropped() -> None:
    rules = [(" bad.…assistant\n", "Sorry"), ("…Sorry", " good"), ("…Sorry good", "."), ("…Sorry good.", "<end>")]
    engine = scripted(following=following(rules, [" good", ",", " bad", "."]))
    text = ask(engine, "vanilla", "I like it", style="chat").text
    reply = ask(engine, "any-depth", "I like it", style="chat")
    assert " bad." in text
    assert reply.text[1:] == text[1:]
    assert reply.usage.rewinds == 0
    assert reply.usage.completion_tokens < reply.usage.drafted_tokens


def test_a_forced_beginning_is_looked_at_before_anything_is_written() -> None:
    rules = [(" bad,…assistant\n", "Sorry"), ("…Sorry", "."), ("…Sorry.", "<end>"), ("…assistant\n", "Sure")]
    engine = scripted(following=following(rules, [" good", "."]))
    reply = ask(engine, "any-depth", "I like it", style="chat", prefix=" it was bad,")
    assert reply.text == "\n\nSorry."
    assert reply.usage.iterations == 1


def test_a_template_that_opens_no_second_turn_is_told() -> None:
    closed = TEMPLATE.split("{% if")[0]
    with pytest.raises(rain.UsageError, match=r"any-depth.*give --style turns") as error:
        ask(scripted(template=closed), "any-depth", style="chat")
    assert "\n" not in str(error.value)
