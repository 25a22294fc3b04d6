"""What every engine must do: tests to inherit from.

    class TestMyEngine(EngineConformance):
        @pytest.fixture(scope="class")
        @classmethod
        def engine(cls):
            engine = MyEngine(...)
            yield engine
            engine.close()

Engines whose numbers depend on the width of a batch set ``exact = False`` and a ``tolerance``. :meth:`small` gives an
engine of the same model with little room, to be tried beside the first.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from typing import Any, TypeVar

import numpy as np

from rain.engines.engine import Engine
from rain.search.asks import (
    CLAUSE_ENDS,
    Continuation,
    Prefix,
    Question,
    Result,
    Sample,
    Stopped,
    TextLogprobs,
    TokenLogprobs,
    Top,
    TopTokens,
    Until,
    Usage,
)

T = TypeVar("T")


class EngineConformance:
    """Inherit, and give a fixture ``engine``."""

    exact = True
    """Whether the same question gets the same numbers whatever else is in the batch."""
    cells_matter = False
    """Whether numbers may depend on which cells a text lies in, which little room shuffles."""
    tolerance = 1e-5
    """How far log-probabilities may differ between two ways of computing them."""
    text = "The movie was great because the story"

    def small(self) -> Engine | None:
        """An engine of the same model with room for few tokens and few sequences, None if there is none to be had."""
        return None

    # -- next tokens -------------------------------------------------------------------------------------------------

    def test_top_tokens_come_most_likely_first(self, engine: Engine) -> None:
        top, _ = run(tops(engine, self.prompt(engine), 5))
        assert len(top.tokens) == len(set(top.tokens)) == 5
        assert list(top.logprobs) == sorted(top.logprobs, reverse=True)
        assert top.pieces == tuple(engine.tokenizer.piece(token) for token in top.tokens)
        assert top.ends == tuple(token in engine.tokenizer.eos for token in top.tokens)
        assert 0 < sum(math.exp(logprob) for logprob in top.logprobs) <= 1 + self.tolerance

    def test_greedy_takes_the_most_likely_token(self, engine: Engine) -> None:
        prompt = self.prompt(engine)
        top, _ = run(tops(engine, prompt, 1))
        (greedy,), _ = run(samples(engine, Sample(prompt, (), Until(1), greedy=True)))
        assert greedy.tokens == top.tokens
        assert abs(greedy.logprobs[0] - top.logprobs[0]) <= self.tolerance

    def test_filtered_logprobs_are_those_of_the_kept_tokens(self, engine: Engine) -> None:
        prompt, kept, temperature = self.prompt(engine), 4, 2.0
        top, _ = run(tops(engine, prompt, kept))
        scaled = np.array(top.logprobs) / temperature
        expected = dict(zip(top.tokens, scaled - np.log(np.exp(scaled).sum()), strict=True))
        sample = Sample(prompt, tuple(range(40)), Until(1), temperature, kept, greedy=True)
        drawn, _ = run(samples(engine, sample))
        found = {each.tokens[0]: each.logprobs[0] for each in drawn}
        assert len(found) > 1
        for token, logprob in found.items():
            assert abs(logprob - expected[token]) <= 2 * self.tolerance

    # -- samples -----------------------------------------------------------------------------------------------------

    def test_a_seed_draws_the_same_alone_and_among_others(self, engine: Engine) -> None:
        prompt, seeds = self.prompt(engine), tuple(range(8))
        together, _ = run(samples(engine, Sample(prompt, seeds, Until(6))))
        alone = [run(samples(engine, Sample(prompt, (seed,), Until(6))))[0][0] for seed in seeds]
        same = sum(a.tokens == b.tokens for a, b in zip(together, alone, strict=True))
        # A hair's difference in a probability may turn a draw; it does so rarely.
        assert same == len(seeds) if self.exact else same >= len(seeds) - 2
        assert len({each.tokens for each in together}) > 1

    def test_the_same_seed_twice_is_the_same_draw_twice(self, engine: Engine) -> None:
        (one, two), _ = run(samples(engine, Sample(self.prompt(engine), (3, 3), Until(5))))
        assert one.tokens == two.tokens
        assert one.prefix is not two.prefix

    def test_greedy_comes_before_the_draws(self, engine: Engine) -> None:
        prompt = self.prompt(engine)
        both, _ = run(samples(engine, Sample(prompt, (1,), Until(4), greedy=True)))
        (alone,), _ = run(samples(engine, Sample(prompt, (), Until(4), greedy=True)))
        assert len(both) == 2
        if self.exact:
            assert both[0].tokens == alone.tokens

    def test_a_continuation_is_a_link_behind_its_prompt(self, engine: Engine) -> None:
        prompt = self.prompt(engine)
        drawn, _ = run(samples(engine, Sample(prompt, (1, 2), Until(4))))
        for each in drawn:
            assert each.prefix.parent is prompt
            assert len(each.tokens) == len(each.pieces) == len(each.logprobs) <= 4
            assert all(logprob <= self.tolerance for logprob in each.logprobs)

    def test_max_tokens_is_never_exceeded(self, engine: Engine) -> None:
        prompt = self.prompt(engine)
        (none,), _ = run(samples(engine, Sample(prompt, (1,), Until(0))))
        assert (none.tokens, none.end) == ((), "length")
        drawn, _ = run(samples(engine, Sample(prompt, tuple(range(6)), Until(3))))
        assert all(len(each.tokens) == 3 for each in drawn if each.end == "length")
        assert all(len(each.tokens) <= 3 for each in drawn)

    def test_a_clause_ends_with_its_mark(self, engine: Engine) -> None:
        drawn, _ = run(samples(engine, Sample(self.prompt(engine), tuple(range(6)), Until(40, clause=True))))
        for each in drawn:
            ended = [b"".join(each.pieces[: n + 1]).endswith(CLAUSE_ENDS) for n in range(len(each.pieces))]
            assert not any(ended[:-1])
            assert (each.end == "clause") == ended[-1]
        assert any(each.end == "clause" for each in drawn)

    def test_a_prompt_that_ends_a_clause_gets_nothing_more(self, engine: Engine) -> None:
        prompt = Prefix(engine.tokenizer.encode(self.text + ",", bos=True))
        (each,), _ = run(samples(engine, Sample(prompt, (1,), Until(9, clause=True))))
        assert (each.tokens, each.end) == ((), "clause")

    def test_a_stop_string_is_kept_and_ends_it(self, engine: Engine) -> None:
        prompt = self.prompt(engine)
        (free,), _ = run(samples(engine, Sample(prompt, (5,), Until(8))))
        stop = b"".join(free.pieces[:3]).decode(errors="ignore")[-2:]
        (each,), _ = run(samples(engine, Sample(prompt, (5,), Until(8, stop=(stop,)))))
        assert each.end == "stop"
        assert stop.encode() in b"".join(each.pieces)
        assert len(each.tokens) <= 3

    def test_an_end_token_is_the_last(self, engine: Engine) -> None:
        drawn, _ = run(samples(engine, Sample(self.prompt(engine), tuple(range(12)), Until(24), temperature=3.0)))
        for each in drawn:
            ends = [token in engine.tokenizer.eos for token in each.tokens]
            assert not any(ends[:-1])
            assert (each.end == "eos") == ends[-1]
            if each.end == "eos":
                assert each.pieces[-1] == b""

    # -- log-probabilities -------------------------------------------------------------------------------------------

    def test_text_logprobs_are_a_chain_of_token_logprobs(self, engine: Engine) -> None:
        if not engine.can.text_logprobs:
            return
        prompt = self.prompt(engine)
        text = engine.tokenizer.encode(" was good and they liked it")
        middle = Prefix(text[:3], prompt)
        reply = Prefix(text[3:], middle)
        whole, _ = run(floats(engine, TextLogprobs(reply, prompt)))
        single = [
            run(floats(engine, TokenLogprobs(Prefix(prompt.tokens), text[:n], (text[n],))))[0][0]
            for n in range(len(text))
        ]
        assert len(whole) == len(text)
        assert max(abs(a - b) for a, b in zip(whole, single, strict=True)) <= self.tolerance
        part, _ = run(floats(engine, TextLogprobs(reply, middle)))
        assert max(abs(a - b) for a, b in zip(whole[3:], part, strict=True)) <= self.tolerance

    def test_a_question_leaves_its_prefix_as_it_was(self, engine: Engine) -> None:
        prompt = self.prompt(engine)
        before, _ = run(tops(engine, prompt, 3))
        question = TokenLogprobs(prompt, engine.tokenizer.encode(" Was it good? It was"), before.tokens)
        first, _ = run(floats(engine, question))
        again = Prefix(prompt.tokens)
        after, _ = run(tops(engine, again, 3))
        second, _ = run(floats(engine, question))
        for a, b in ((before.logprobs, after.logprobs), (first, second)):
            assert max(abs(x - y) for x, y in zip(a, b, strict=True)) <= self.tolerance

    # -- costs -------------------------------------------------------------------------------------------------------

    def test_what_was_computed_is_remembered(self, engine: Engine) -> None:
        if not engine.can.shares_prefixes:
            return
        prompt = self.prompt(engine, " of an old man")
        _, first = run(tops(engine, prompt, 3))
        assert first.forward_tokens + first.cached_tokens == prompt.length
        _, second = run(tops(engine, prompt, 7))
        assert second.forward_tokens <= 1
        assert second.cached_tokens >= prompt.length - 1
        (each,), _ = run(samples(engine, Sample(prompt, (1,), Until(6))))
        _, third = run(tops(engine, each.prefix, 3))
        assert third.forward_tokens <= 1
        if engine.can.text_logprobs:
            _, fourth = run(floats(engine, TextLogprobs(each.prefix, prompt)))
            assert fourth.forward_tokens <= len(each.tokens)
            longer = Prefix(engine.tokenizer.encode(" good"), each.prefix)
            _, fifth = run(floats(engine, TextLogprobs(longer, prompt)))
            assert fifth.forward_tokens <= len(longer.tokens)

    def test_a_limit_that_could_be_exceeded_stops_the_question_at_no_cost(self, engine: Engine) -> None:
        prompt = self.prompt(engine, " of a young girl")
        sample = Sample(prompt, (1, 2), Until(5))
        answer, usage = run(engine.answer(sample, limit=3))
        assert answer == Stopped("budget")
        assert usage.forward_tokens == 0
        enough = prompt.length + 2 * 5
        answer, usage = run(engine.answer(sample, limit=enough))
        assert isinstance(answer, tuple)
        assert usage.forward_tokens <= enough

    def test_a_prefix_longer_than_the_context_has_no_room(self, engine: Engine) -> None:
        word = engine.tokenizer.encode(" good")[:1]
        answer, _ = run(engine.answer(TopTokens(Prefix(word * (engine.can.context + 1)), 1)))
        assert answer == Stopped("no_room")

    # -- identity ----------------------------------------------------------------------------------------------------

    def test_the_weights_have_a_fingerprint(self, engine: Engine) -> None:
        assert engine.fingerprint.isalnum()
        assert len(engine.fingerprint) >= 8
        assert engine.fingerprint == engine.fingerprint
        small = self.small()
        if small is not None:
            same = small.fingerprint
            small.close()
            assert same == engine.fingerprint

    # -- many at once ------------------------------------------------------------------------------------------------

    def test_many_at_once_are_answered_as_one_by_one(self, engine: Engine) -> None:
        def questions() -> list[Question]:
            asked: list[Question] = []
            for ending in (" one", " two", " three", " four"):
                prompt = self.prompt(engine, ending)
                asked.append(TopTokens(prompt, 4))
                asked.append(TokenLogprobs(prompt, engine.tokenizer.encode(" Good? Yes"), (1, 2, 3)))
                if engine.can.text_logprobs:
                    asked.append(TextLogprobs(Prefix(engine.tokenizer.encode(" was bad"), prompt), prompt))
            return asked

        async def together() -> list[tuple[Result, Usage]]:
            return list(await asyncio.gather(*(engine.answer(question) for question in questions())))

        singly = [run(engine.answer(question)) for question in questions()]
        for (one, _), (many, _) in zip(singly, run(together()), strict=True):
            assert np.allclose(numbers(one), numbers(many), atol=self.tolerance)

    def test_a_cancelled_question_harms_no_other(self, engine: Engine) -> None:
        async def cancel() -> tuple[Result, Usage]:
            prompt = self.prompt(engine, " of a cat")
            doomed = asyncio.create_task(engine.answer(Sample(prompt, tuple(range(8)), Until(50))))
            other = asyncio.create_task(engine.answer(Sample(prompt, (1, 2), Until(6))))
            await asyncio.sleep(0.01)
            doomed.cancel()
            await asyncio.gather(doomed, return_exceptions=True)
            return await other

        answer, _ = run(cancel())
        assert isinstance(answer, tuple)
        assert len(answer) == 2

    def test_little_room_changes_no_answer(self, engine: Engine) -> None:
        small = self.small()
        if small is None:
            return
        try:
            prompts = [self.prompt(engine, ending) for ending in (" of a dog", " of two dogs", " of no dogs")]

            async def ask(where: Engine) -> list[tuple[Result, Usage]]:
                asked: list[Question] = [Sample(p, tuple(range(5)), Until(6), top_k=3) for p in prompts]
                asked += [TokenLogprobs(p, where.tokenizer.encode(" Good? It was"), (1, 2, 3)) for p in prompts]
                return list(await asyncio.gather(*(where.answer(question) for question in asked)))

            same = total = 0
            for (big, _), (little, _) in zip(run(ask(engine)), run(ask(small)), strict=True):
                assert isinstance(big, tuple)
                assert isinstance(little, tuple)
                for a, b in zip(big, little, strict=True):
                    if isinstance(a, Continuation) and isinstance(b, Continuation):
                        total, same = total + 1, same + (a.tokens == b.tokens)
                    else:
                        assert np.allclose(np.array(a), np.array(b), atol=self.tolerance)
            assert same == total if self.exact and not self.cells_matter else same >= 0.7 * total
        finally:
            small.close()

    def prompt(self, engine: Engine, more: str = "") -> Prefix:
        """A fresh prefix."""
        return Prefix(engine.tokenizer.encode(self.text + more, bos=True))


def run(answer: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, in an event loop of its own."""
    return asyncio.run(answer)


async def tops(engine: Engine, prefix: Prefix, k: int) -> tuple[Top, Usage]:
    """The answer to TopTokens."""
    answer, usage = await engine.answer(TopTokens(prefix, k))
    assert isinstance(answer, Top), answer
    return answer, usage


async def samples(engine: Engine, question: Sample) -> tuple[tuple[Continuation, ...], Usage]:
    """The answer to Sample."""
    answer, usage = await engine.answer(question)
    assert isinstance(answer, tuple), answer
    return tuple(each for each in answer if isinstance(each, Continuation)), usage


async def floats(engine: Engine, question: TokenLogprobs | TextLogprobs) -> tuple[tuple[float, ...], Usage]:
    """The answer to TokenLogprobs or TextLogprobs."""
    answer, usage = await engine.answer(question)
    assert isinstance(answer, tuple), answer
    return tuple(each for each in answer if isinstance(each, float)), usage


def numbers(answer: Result) -> tuple[float, ...]:
    """The log-probabilities of an answer that holds some."""
    assert not isinstance(answer, Stopped), answer
    if isinstance(answer, Top):
        return answer.logprobs
    return tuple(each for each in answer if isinstance(each, float))
