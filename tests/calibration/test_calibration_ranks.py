"""The statistic of the ranks, the paired comparison, and the effective size."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.calibration.checks import paired_pvalue
from benchmarks.calibration.ranks import (
    effective_share,
    gamma_pvalue,
    gamma_statistic,
    ranks_of,
)
from tests.statistics import FALSE_ALARM_RATE

N_DRAWS = 63


@pytest.mark.parametrize(
    ("n", "quantile", "level"),
    [(200, 6.9e-4, 0.01), (1000, 3.2e-3, 0.05), (1000, 6.0e-4, 0.01), (2000, 5.3e-4, 0.01)],
)
def test_gamma_null_quantiles(n: int, quantile: float, level: float) -> None:
    """Those of a simulation with 20,000 draws, rounded to two digits."""
    error = np.sqrt(level * (1 - level) / 20_000)
    rounding = 0.1 * level
    assert abs(gamma_pvalue(quantile, n, N_DRAWS) - level) < 4 * error + rounding


def test_gamma_of_uniform_ranks_has_the_distribution_computed_for_it() -> None:
    rng = np.random.default_rng(1)
    gammas = [gamma_statistic(rng.integers(0, 8, 50), 7) for _ in range(2_000)]
    for level in (0.02, 0.1, 0.4):
        limit = np.quantile(gammas, level)
        below = int(np.sum(np.array(gammas) <= limit))
        expected = gamma_pvalue(limit, 50, 7)
        assert stats.binomtest(below, len(gammas), expected).pvalue > FALSE_ALARM_RATE
        # One cell more is another distribution.
        assert stats.binomtest(below, len(gammas), gamma_pvalue(limit, 50, 31)).pvalue < 0.01


@pytest.mark.parametrize("spoil", ["location", "scale", "one end"])
def test_gamma_sees_ranks_that_are_not_uniform(spoil: str) -> None:
    rng = np.random.default_rng(2)
    truth, draws = rng.normal(size=1_000), rng.normal(size=(N_DRAWS, 1_000))
    good = gamma_statistic(ranks_of(truth, draws, 0), N_DRAWS)
    assert gamma_pvalue(good, 1_000, N_DRAWS) > FALSE_ALARM_RATE
    bad = {"location": truth + 0.3, "scale": 1.3 * truth, "one end": np.full(1_000, 9.0)}[spoil]
    seen = gamma_statistic(ranks_of(bad, draws, 0), N_DRAWS)
    assert gamma_pvalue(seen, 1_000, N_DRAWS) < FALSE_ALARM_RATE


def test_ties_are_broken_evenly() -> None:
    ranks = ranks_of(np.zeros(5_000), np.zeros((3, 5_000)), 0)
    assert stats.chisquare(np.bincount(ranks, minlength=4)).pvalue > FALSE_ALARM_RATE


def test_effective_share_of_an_autoregression() -> None:
    """(1 - r) / (1 + r), to a tenth."""
    rng = np.random.default_rng(3)
    for r in (0.0, 0.3, 0.6):
        draws = [rng.normal(size=2_000)]
        for _ in range(N_DRAWS - 1):
            draws.append(r * draws[-1] + np.sqrt(1 - r**2) * rng.normal(size=2_000))
        assert effective_share(np.stack(draws)) == pytest.approx((1 - r) / (1 + r), abs=0.1)


def test_paired_comparison_sees_location_and_spread() -> None:
    rng = np.random.default_rng(4)
    shared, before, after = rng.normal(size=(3, 4_000))
    assert paired_pvalue(shared + before, shared + after) > FALSE_ALARM_RATE
    assert paired_pvalue(shared + before, shared + after + 0.15) < FALSE_ALARM_RATE
    assert paired_pvalue(shared + before, 1.2 * (shared + after)) < FALSE_ALARM_RATE
    assert paired_pvalue(before, np.where(after > 3, np.nan, after)) == 0
