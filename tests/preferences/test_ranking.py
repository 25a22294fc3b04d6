"""The statistics, against other people's implementations and by what they must do."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rain.preferences.ranking import Clusters, area, held_out, lead, logistic, pair_accuracy, wilson

RANDOM = np.random.default_rng(7)
GOOD = RANDOM.random(80) < 0.45
SCORES = np.round(RANDOM.normal(0, 1, 80) + 0.8 * GOOD, 1)
ALONE = Clusters(range(80))


def test_the_area_is_the_rank_statistic_of_mann_and_whitney() -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.mannwhitneyu(SCORES[GOOD], SCORES[~GOOD]).statistic / (GOOD.sum() * (~GOOD).sum())
    assert area(GOOD, SCORES, ALONE).value == pytest.approx(expected)


def test_bootstrap_and_delong_give_about_the_same_interval() -> None:
    one, other = area(GOOD, SCORES, ALONE), area(GOOD, SCORES, ALONE, delong=True)
    assert one.low < one.value < one.high
    assert other.low == pytest.approx(one.low, abs=0.03)
    assert other.high == pytest.approx(one.high, abs=0.03)


def test_delong_is_what_the_definition_says_for_a_case_done_by_hand() -> None:
    # good 3, 1; bad 2, 0: placements of the good 1, 1/2, of the bad 1/2, 1: both variances 1/8, over 2.
    found = area([True, True, False, False], [3, 1, 2, 0], Clusters(range(4)), delong=True)
    half = 1.959963984540054 * math.sqrt(1 / 8) / (0.75 * 0.25)
    assert found.value == 0.75
    assert found.low == pytest.approx(1 / (1 + math.exp(half - math.log(3))))


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    truth = 0.5 * (1 + math.erf(1.0 / 2))
    inside = 0
    for seed in range(120):
        random = np.random.default_rng(seed)
        good = np.arange(60) % 2 == 0
        found = area(good, random.normal(0, 1, 60) + 1.0 * good, Clusters(range(60), draws=400))
        inside += found.low <= truth <= found.high
    assert 0.87 <= inside / 120 <= 1.0


def test_texts_that_share_a_prompt_make_the_interval_wider() -> None:
    # Twenty prompts, each with eight texts that are one text eight times.
    random, good = np.random.default_rng(3), np.repeat(np.arange(20) % 2 == 0, 8)
    scores = np.repeat(random.normal(0, 1, 20), 8) + 0.8 * good
    together, apart = (area(good, scores, Clusters(groups)) for groups in (np.arange(160) // 8, range(160)))
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_a_perfect_area_has_no_point_for_an_interval() -> None:
    found = area([True] * 10 + [False] * 10, [1.0] * 10 + [0.0] * 10, Clusters(range(20)))
    assert found.value == found.high == 1.0
    assert 0.7 < found.low < 0.75


def test_an_area_needs_both_kinds() -> None:
    with pytest.raises(ValueError, match="good and bad"):
        area([True, True], [1, 2], Clusters(range(2)))


def test_pairs_are_counted_within_a_prompt_only_and_ties_half() -> None:
    good, prompts = [True, False, False, True, False], ["a", "a", "a", "b", "b"]
    found = pair_accuracy(good, [1, 0, 1, 0, 5], Clusters(prompts))
    assert found is not None
    assert (found.value, found.n, found.prompts) == (0.5, 3, 2)
    without = pair_accuracy(good, [1, 0, 1, 0, 5], Clusters(prompts), among=[True, True, False, False, True])
    assert without is not None
    assert (without.value, without.n) == (1.0, 1)
    assert pair_accuracy(good, [1, 0, 1, 0, 5], Clusters(range(5))) is None


def test_three_prompts_are_never_sure() -> None:
    # Each prompt has three of four pairs right: a bootstrap of prompts sees no spread at all.
    good, prompts = [True, False, False, True] * 3, [number // 4 for number in range(12)]
    found = pair_accuracy(good, [2, 1, 3, 4] * 3, Clusters(prompts))
    assert found is not None
    assert found.value == 0.75
    assert found.low < 0.5


def test_differences_are_paired() -> None:
    better = area(GOOD, SCORES + 0.4 * GOOD, ALONE)
    plain = area(GOOD, SCORES, ALONE)
    assert better.draws is not None
    assert plain.draws is not None
    assert better.low < plain.high  # the intervals overlap, and yet:
    assert lead(better.draws, plain.draws)[0] > 0


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (5, 5), (3, 10), (190, 200)])
def test_wilson_is_statsmodels_wilson(hits: int, n: int) -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    assert wilson(hits, n) == pytest.approx(proportion.proportion_confint(hits, n, method="wilson"), abs=1e-9)


def test_the_regression_is_statsmodels_up_to_the_smoothed_targets() -> None:
    api = pytest.importorskip("statsmodels.api")
    random, good = np.random.default_rng(5), np.arange(4000) % 2 == 0
    value = random.normal(0, 2, 4000) + 1.5 * good
    zero, slope = logistic(good, value, None)
    shift, steep = api.Logit(good, api.add_constant(value)).fit(disp=0).params
    assert slope == pytest.approx(steep, rel=0.01)
    assert zero == pytest.approx(-shift / steep, rel=0.01)
    (only,) = api.Logit(good, value[:, None] - 0.3).fit(disp=0).params
    assert logistic(good, value, 0.3) == (0.3, pytest.approx(only, rel=0.01))


def test_slopes_stay_in_bounds_however_the_texts_lie() -> None:
    good = [True] * 20 + [False] * 20
    apart, turned = [1e-3] * 20 + [-1e-3] * 20, [-3.0] * 20 + [3.0] * 20
    assert logistic(good, apart, 0.0)[1] == 20
    assert logistic(good, turned, 0.0)[1] == 0.05
    assert logistic(good, turned, None) == (0.0, 0.05)
    assert logistic(good, [2.0] * 40, None)[1] == 0.05
    assert 0.5 < logistic(good, [3.0] * 20 + [-3.0] * 20, 0.0)[1] < 3


def test_a_threshold_is_tried_on_texts_that_it_was_not_set_on() -> None:
    random, good = np.random.default_rng(2), np.arange(1000) % 2 == 0
    found = held_out(good, random.normal(0, 1, 1000) + 4 * good, Clusters(range(1000)), 0.05)
    assert found.false_alarms.value == pytest.approx(0.05, abs=0.03)
    assert found.caught.value > 0.9
    assert found.accuracy.n == 1000
