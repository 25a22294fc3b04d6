"""The statistics against published examples, against statsmodels, and against what they promise (by simulation)."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.proportion import proportion_confint

from rain.evaluation import statistics as st

ROOT = Path(__file__).resolve().parents[2]


def pairs(both: int, won: int, lost: int, neither: int) -> tuple[list[bool], list[bool]]:
    ours = [True] * (both + won) + [False] * (lost + neither)
    theirs = [True] * both + [False] * won + [True] * lost + [False] * neither
    return ours, theirs


@pytest.mark.parametrize(("k", "n"), [(0, 10), (1, 10), (29, 30), (30, 30), (81, 263), (15, 148)])
def test_wilson_is_statsmodels(k: int, n: int) -> None:
    assert st.wilson(k, n) == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-9)


def test_wilson_of_a_published_example() -> None:
    """R. G. Newcombe, Two-sided confidence intervals for the single proportion (1998), table I."""
    assert st.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert st.wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert st.wilson(0, 0) == (0.0, 1.0)


def test_mcnemar_of_a_textbook_example() -> None:
    """A. Agresti, Categorical Data Analysis, approval of the prime minister: 150 and 86 of 1600 change their mind."""
    assert st.mcnemar(86, 150) == pytest.approx(float(statsmodels_mcnemar([[794, 150], [86, 570]], exact=True).pvalue))
    assert st.mcnemar(0, 5) == pytest.approx(0.0625)  # 2 / 2^5
    assert st.mcnemar(0, 0) == 1.0


def test_holm_by_hand() -> None:
    assert st.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert st.holm([]) == []


def test_a_clear_gain_is_shown() -> None:
    ours, theirs = pairs(40, 15, 2, 3)
    found = st.compare(ours, theirs, names=("rain", "vanilla"))
    assert (found.n, found.won, found.lost) == (60, 15, 2)
    assert found.difference == pytest.approx(13 / 60)
    assert 0 < found.low < found.difference < found.high
    assert found.p == pytest.approx(float(statsmodels_mcnemar([[40, 15], [2, 3]], exact=True).pvalue))
    assert found.shown
    assert found.sentence.startswith("rain is higher than vanilla: +22 points [")
    turned = st.compare(theirs, ours, names=("vanilla", "rain"))
    assert turned.sentence.startswith("vanilla is lower than rain: -22 points")


def test_an_interval_that_crosses_zero_is_no_difference() -> None:
    found = st.compare(*pairs(30, 9, 6, 15), names=("rain", "vanilla"))
    assert found.low < 0 < found.high
    assert not found.shown
    assert found.sentence.startswith("No difference shown, rain over vanilla: +5 points")
    assert "points or more" in found.sentence


def test_a_bootstrap_too_sure_of_itself_shows_nothing_alone() -> None:
    """Five pairs that differ, all one way: the bootstrap leaves zero out, the exact test does not pass."""
    found = st.compare(*pairs(20, 5, 0, 5))
    assert found.low > 0
    assert found.p == pytest.approx(0.0625)
    assert not found.shown
    assert "the interval leaves zero out, but p does not pass" in found.sentence


def test_correction_can_take_a_difference_back() -> None:
    ours, theirs = pairs(30, 12, 2, 16)
    alone = st.compare(ours, theirs, names=("a", "v"))
    assert alone.p < 0.05
    assert alone.shown
    noise = [(f"n{i}", list(np.random.default_rng(i).random(60) < 0.5)) for i in range(9)]
    together = st.compare_all([("a", ours), *[(name, [bool(v) for v in row]) for name, row in noise]], ("v", theirs))
    assert together[0].compared == 10
    assert together[0].p_corrected == pytest.approx(min(1, 10 * alone.p))
    assert not together[0].shown
    assert alone.smallest_effect is not None
    assert together[0].smallest_effect is not None
    assert together[0].smallest_effect > alone.smallest_effect


def test_a_comparison_without_any_pair_costs_the_others_nothing() -> None:
    ours, theirs = pairs(30, 12, 2, 16)
    full, empty = st.compare_all([("a", ours), ("b", [None] * 60)], ("v", theirs))
    assert full.p_corrected == full.p
    assert (empty.n, empty.unjudged, empty.shown) == (0, 60, False)
    assert empty.sentence == "No item has a verdict for both b and v."


def test_unjudged_pairs_are_left_out_and_counted() -> None:
    found = st.compare([True, None, False, True], [False, True, None, True])
    assert (found.n, found.unjudged, found.won, found.lost) == (2, 2, 1, 0)


def test_items_alike_have_no_interval_of_no_width() -> None:
    found = st.compare([True] * 20, [True] * 20)
    assert found.low < 0 < found.high
    assert not found.shown
    few = st.compare([True] * 3, [False] * 3)
    assert few.low < 0.9
    assert not few.shown
    assert few.smallest_effect is None
    assert "show none, however large" in few.sentence


def test_samples_of_one_item_are_not_independent() -> None:
    """Five items, four samples each, all won: twenty pairs, yet no more than five items can say (p = 2 / 2^5)."""
    found = st.compare([True] * 20, [False] * 20, [i // 4 for i in range(20)])
    assert (found.n, found.items) == (20, 5)
    assert found.p == pytest.approx(0.0625)
    assert not found.shown


def test_sign_flips_are_mcnemar_where_there_is_one_yes_or_no_an_item() -> None:
    ours, theirs = pairs(10, 7, 1, 4)
    numbers = st.compare([float(v) for v in ours], [float(v) for v in theirs])
    assert numbers.p == pytest.approx(st.compare(ours, theirs).p)
    many = st.compare([float(v) for v in pairs(10, 30, 15, 4)[0]], [float(v) for v in pairs(10, 30, 15, 4)[1]])
    assert many.p == pytest.approx(st.mcnemar(30, 15), abs=0.01)


def test_numbers_are_told_without_points() -> None:
    rng = np.random.default_rng(4)
    theirs = rng.normal(0, 1, 40)
    found = st.compare(list(theirs + 1 + rng.normal(0, 0.3, 40)), list(theirs), names=("rain", "vanilla"))
    assert found.shown
    assert "points" not in found.sentence
    assert found.low == pytest.approx(0.9, abs=0.15)


def test_the_interval_holds_what_it_promises() -> None:
    """Of 300 worlds with a true difference of 0.2, about 95 % of the intervals hold it (within 4 standard errors)."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(300):
        kind = rng.choice(4, 60, p=[0.5, 0.25, 0.05, 0.2])
        found = st.compare([bool(k < 2) for k in kind], [bool(k in (0, 2)) for k in kind])
        held += found.low <= 0.2 <= found.high
    assert 0.90 <= held / 300 <= 0.995


def test_the_smallest_effect_is_what_a_simulation_shows() -> None:
    """The stated power of the exact test against 4000 runs of it; the effect has 80 %, a bit less has not."""
    n, discordance, difference = 60, 0.35, 0.25
    rng = np.random.default_rng(1)
    shares = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    counts = rng.multinomial(n, shares, 4000)
    passed = np.mean([st.mcnemar(int(won), int(lost)) < 0.05 for won, lost, _ in counts])
    assert st.mcnemar_power(n, discordance, difference) == pytest.approx(passed, abs=0.03)
    effect = st.smallest_effect(*pairs(30, 11, 10, 9))
    assert effect is not None
    assert st.mcnemar_power(60, 21 / 60, effect) >= 0.8
    assert st.mcnemar_power(60, 21 / 60, effect - 0.01) < 0.8


def test_the_same_seed_draws_the_same() -> None:
    ours, theirs = pairs(20, 12, 5, 23)
    assert st.compare(ours, theirs) == st.compare(ours, theirs)


def test_it_agrees_with_the_proof_of_the_readme() -> None:
    """`benchmarks/positive.py` has its own arithmetic; on the same samples both say the same."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import positive

    rng = np.random.default_rng(2)
    ours, theirs = rng.random(90) < 0.8, rng.random(90) < 0.55
    openings = [f"opening {i % 30}" for i in range(90)]
    known = positive.compare(ours, theirs, openings)
    found = st.compare([bool(v) for v in ours], [bool(v) for v in theirs], openings)
    assert 100 * found.difference == pytest.approx(known["points"])
    assert 100 * found.low == pytest.approx(known["points_low"], abs=1.5)
    assert 100 * found.high == pytest.approx(known["points_high"], abs=1.5)
    assert (found.won, found.lost) == (known["only_rain_positive"], known["only_other_positive"])


def test_what_is_no_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="are not pairs"):
        st.compare([True], [True, False])


def test_no_item_at_all() -> None:
    assert st.compare([], []).shown is False
    assert st.compare_all([], ("v", [])) == []
