"""From logits to tokens, and where samples end."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rain.engines.sampling import Draw, ending, filtered, log_normaliser, most_likely, tail, top
from rain.search.asks import Prefix, Until

ROWS = st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=40).map(lambda x: np.array(x, np.float32))
PIECES = {0: b"", 1: b"a", 2: b",", 3: b"bc", 4: b""}


@given(ROWS, st.sampled_from([0.5, 1.0, 2.0]), st.integers(0, 12))
def test_the_kept_probabilities_sum_to_one(row: np.ndarray, temperature: float, k: int) -> None:
    distribution = filtered(row, temperature, k)
    assert math.isclose(np.exp(distribution.logprobs).sum(), 1, rel_tol=1e-9)
    assert len(distribution.logprobs) == (min(k, len(row)) if k else len(row))


@given(ROWS, st.integers(0, 2**63), st.integers(0, 12))
def test_a_draw_is_a_kept_token_with_its_logprob(row: np.ndarray, seed: int, k: int) -> None:
    token, logprob = Draw(seed, 5).next(filtered(row, 1.0, k))
    kept = row[most_likely(row, k)] if k else row
    assert logprob == pytest.approx(row[token] - log_normaliser(kept), abs=1e-4)
    assert not k or row[token] >= kept.min()


def test_of_equals_the_lowest_id_comes_first() -> None:
    row = np.array([1, 3, 3, 0], np.float32)
    assert most_likely(row, 2).tolist() == [1, 2]
    assert filtered(row, 1.0, 0).greedy()[0] == 1
    assert Draw(7, 0).next(filtered(row, 0.0, 0)) == (1, 0.0)


def test_a_hair_of_difference_hardly_ever_turns_a_draw() -> None:
    random = np.random.default_rng(0)
    row = random.normal(0, 2, 5000).astype(np.float32)
    other = row + random.normal(0, 1e-3, 5000).astype(np.float32)
    one, two = filtered(row, 1.0, 0), filtered(other, 1.0, 0)
    assert sum(Draw(seed, 5).next(one)[0] == Draw(seed, 5).next(two)[0] for seed in range(300)) >= 297


def test_draws_have_the_frequencies_of_the_distribution() -> None:
    row = np.log(np.array([0.5, 0.3, 0.2], np.float32))
    distribution = filtered(row, 1.0, 0)
    counts = np.bincount([Draw(seed, 5).next(distribution)[0] for seed in range(4000)], minlength=3)
    assert np.allclose(counts / 4000, [0.5, 0.3, 0.2], atol=0.03)


def test_top_reports_the_full_distribution() -> None:
    answer = top(np.array([0, 2, 1], np.float32), 2, lambda token: PIECES[token], frozenset({1}))
    assert answer.tokens == (1, 2)
    assert answer.ends == (True, False)
    assert math.exp(answer.logprobs[0]) == pytest.approx(math.exp(2) / (1 + math.e + math.exp(2)))


def test_the_tail_skips_control_tokens_and_crosses_links() -> None:
    prefix = Prefix((4, 0), Prefix((3, 1)))
    assert tail(prefix, 1, PIECES.__getitem__) == b"a"
    assert tail(prefix, 9, PIECES.__getitem__) == b"bca"


def test_a_stop_string_may_begin_in_the_prefix_but_not_lie_in_it() -> None:
    eos = frozenset({0})
    across = ending(Prefix((1, 2)), Until(9, stop=("a,bc",)), 99, PIECES.__getitem__, eos)
    assert across.after(3, [b"bc"]) == "stop"
    within = ending(Prefix((3,)), Until(9, stop=("bc",)), 99, PIECES.__getitem__, eos)
    assert within.after(1, [b"a"]) is None


def test_the_end_of_the_context_ends_a_sample() -> None:
    ends = ending(Prefix((1, 1)), Until(9), 3, PIECES.__getitem__, frozenset())
    assert ends.before([]) is None
    assert ends.after(1, [b"a"]) == "length"


def test_an_empty_last_piece_does_not_hide_the_end_of_a_clause() -> None:
    ends = ending(Prefix((2, 4)), Until(9, clause=True), 99, PIECES.__getitem__, frozenset())
    assert ends.before([]) == "clause"
    assert ends.before([b"a", b""]) is None


def test_positions_draw_independently_of_each_other() -> None:
    distribution = filtered(np.log(np.array([0.5, 0.5], np.float32)), 1.0, 0)
    pairs = [(distribution.draw(seed, 8)[0], distribution.draw(seed, 9)[0]) for seed in range(4000)]
    counts = np.bincount([2 * a + b for a, b in pairs], minlength=4)
    assert (abs(counts - 1000) < 120).all()
