"""Two methods' replies side by side: the exact sign test against scipy's, and when a difference is shown."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from rain.evaluation.contests import Contest, SignTest, sign_test, sign_tests
from rain.evaluation.statistics import holm, wilson


def contest(won: int, lost: int, ours: str = "rain") -> Contest:
    share = won / (won + lost) if won + lost else None
    return Contest((ours, "vanilla"), share, *wilson(won, won + lost), won + lost, won, lost)


def of(won: int, lost: int) -> SignTest:
    (found,) = sign_tests([contest(won, lost)])
    return found


@pytest.mark.parametrize(("won", "lost"), [(0, 1), (0, 6), (9, 1), (5, 5), (30, 18), (18, 30), (200, 150)])
def test_the_sign_test_is_scipys(won: int, lost: int) -> None:
    assert sign_test(won, lost) == pytest.approx(float(binomtest(won, won + lost).pvalue))
    assert sign_test(won, lost) == sign_test(lost, won)


def test_the_sign_test_of_a_textbook_example() -> None:
    """W. J. Conover, Practical Nonparametric Statistics: eight of nine pairs that differ; two-sided 20 / 2^9."""
    assert sign_test(8, 1) == pytest.approx(20 / 2**9)
    assert sign_test(0, 0) == 1.0


def test_a_clear_preference_is_shown_and_told_from_the_first_ones_side() -> None:
    assert of(30, 8).shown
    assert of(30, 8).sentence == "rain is better than vanilla: 79 % of 38 decided [64, 89], p < 0.001."
    assert of(8, 30).sentence.startswith("rain is worse than vanilla: 21 % of 38 decided [11, 36]")


def test_an_interval_that_crosses_one_half_is_no_difference() -> None:
    found = of(13, 9)
    assert not found.shown
    assert found.sentence == "No difference shown, rain over vanilla: 59 % of 22 decided [39, 77], p = 0.52."


def test_an_interval_too_sure_of_itself_shows_nothing_alone() -> None:
    """Five of five: Wilson's interval leaves one half out, the exact test does not pass (p = 2 / 2^5)."""
    found = of(5, 0)
    assert contest(5, 0).low > 0.5
    assert (found.p, found.shown) == (pytest.approx(0.0625), False)
    assert "the interval leaves one half out, but p does not pass" in found.sentence


def test_correction_over_the_table_can_take_a_difference_back() -> None:
    assert of(14, 4).shown
    counts = [(14, 4), (20, 18), (6, 7)]
    found = sign_tests([contest(*each) for each in counts])
    assert [each.p_corrected for each in found] == pytest.approx(holm([sign_test(*each) for each in counts]))
    assert not any(each.shown for each in found)
    assert "corrected for 3 comparisons" in found[0].sentence


def test_where_nothing_was_decided_there_is_no_comparison() -> None:
    found = sign_tests([contest(14, 4), contest(0, 0)])
    assert [each.compared for each in found] == [1, 1]
    assert found[0].shown
    assert (found[1].p, found[1].shown) == (1.0, False)
    assert found[1].sentence == "No difference shown, rain over vanilla: nothing was decided."
    assert sign_tests([]) == []


def test_verdicts_and_items_that_point_apart_show_nothing() -> None:
    found = sign_tests([Contest(("rain", "vanilla"), 0.7, 0.6, 0.8, 40, 2, 18)])[0]
    assert found.p < 0.001
    assert not found.shown
    assert "(by item 2 to 18)" in found.sentence
