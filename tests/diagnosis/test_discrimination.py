"""AUROC, shares and the noise curve, on scores whose answer is known."""

import numpy as np
import pytest
from scipy import stats

from samg_jax.diagnosis import discrimination

LEVELS = (0.5, 1.0)
SETS = ("held-out", "noise 0.5", "noise 1", "elsewhere")


def test_auroc_is_the_share_of_pairs_in_the_right_order():
    rng = np.random.default_rng(0)
    familiar, unfamiliar = rng.normal(1, 1, (3, 40)), rng.normal(0, 1, (3, 70))
    familiar, unfamiliar = familiar.round(1), unfamiliar.round(1)  # With ties.
    differences = familiar[:, :, None] - unfamiliar[:, None, :]
    expected = ((differences > 0) + 0.5 * (differences == 0)).mean(axis=(1, 2))
    actual = discrimination.auroc(familiar, unfamiliar)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_auroc_of_two_normals_is_the_textbooks():
    rng = np.random.default_rng(1)
    scores = rng.normal(1.2, 1, (1, 40_000)), rng.normal(0, 1, (1, 40_000))
    expected = stats.norm.cdf(1.2 / np.sqrt(2))
    assert discrimination.auroc(*scores)[0] == pytest.approx(expected, abs=0.005)


def test_a_seed_without_numbers_does_not_stop_the_others():
    scores = np.array([[0.9, np.nan], [0.9, 0.8]])
    actual = discrimination.auroc(scores, np.array([[0.1], [0.1]]))
    np.testing.assert_array_equal(actual, [np.nan, 1.0])


@pytest.mark.parametrize(("means", "falls"), [((0.5, 0.2), True), ((0.5, 0.6), False)])
def test_the_noise_curve_is_seen_to_fall_or_not(means, falls):
    p = dict(zip(SETS, [np.full((2, 3), m) for m in (0.8, *means, 0.1)], strict=True))
    found = discrimination.judge(p, LEVELS)
    assert found["noise_levels"] == [0.0, 0.5, 1.0]
    np.testing.assert_allclose(found["p_by_noise"][:, 0], [0.8, *means])
    np.testing.assert_array_equal(found["p_falls"], [falls, falls])


def test_shares_and_histograms_count_pairs():
    rng = np.random.default_rng(2)
    p = {name: rng.uniform(size=(2, 50)) for name in SETS}
    found = discrimination.judge(p, LEVELS)
    for name in SETS:
        for threshold, shares in found["share_zeroed"][name].items():
            expected = [np.mean(row < float(threshold)) for row in p[name]]
            np.testing.assert_allclose(shares, expected)
        assert sum(found["histograms"][name]) == pytest.approx(1.0)
    assert set(found["auroc"]) == set(SETS[1:])
    quantiles = found["p_int_quantiles"]["p_int_q50"]
    np.testing.assert_allclose(quantiles, np.median(p["held-out"], axis=1))


def test_a_finer_score_may_rank_in_place_of_p():
    p = {name: np.zeros((1, 4)) for name in SETS}
    near = {name: np.full((1, 4), -float(i)) for i, name in enumerate(SETS)}
    found = discrimination.judge(p, LEVELS, near)
    assert found["auroc"]["elsewhere"] == [1.0]
    assert discrimination.judge(p, LEVELS)["auroc"]["elsewhere"] == [0.5]
