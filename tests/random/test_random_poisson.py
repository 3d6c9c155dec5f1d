"""Poisson variates against the distribution function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxmice.random import poisson
from tests.statistics import FALSE_ALARM_RATE, bonferroni

pytestmark = pytest.mark.usefixtures("double_precision")

MEANS = np.array([1e-9, 0.03, 0.7, 4.0, 29.9, 30.1, 100.0, 2.5e3, 1e6, 1e10])
N = 40_000


def draw(seed: int, means: np.ndarray, dtype: str = "float64") -> np.ndarray:
    log_mean = jnp.broadcast_to(jnp.asarray(np.log(means), dtype), (N, len(means)))
    drawn = jax.jit(poisson)(jax.random.key(seed), jnp.asarray(0), log_mean)
    assert drawn.dtype == dtype
    return np.asarray(drawn, float)


@pytest.fixture(scope="module")
def draws() -> np.ndarray:
    with jax.enable_x64(True):
        return draw(1, MEANS)


def uniform_pvalues(draws: np.ndarray, means: np.ndarray, seed: int = 0) -> list[float]:
    """Return Kolmogorov-Smirnov p-values of the distribution function, its jumps smoothed."""
    v = np.random.default_rng(seed).random(draws.shape)
    u = stats.poisson.cdf(draws - 1, means) + v * stats.poisson.pmf(draws, means)
    return [float(stats.kstest(column, "uniform").pvalue) for column in u.T]


def test_draws_follow_the_poisson_distribution(draws: np.ndarray) -> None:
    np.testing.assert_array_equal(draws, np.round(draws))
    assert np.min(draws) == 0
    assert bonferroni(uniform_pvalues(draws, MEANS)) > FALSE_ALARM_RATE


def test_a_mean_that_is_slightly_off_is_seen(draws: np.ndarray) -> None:
    """Four percent of a standard deviation, and a normal distribution of the same moments."""
    for i in (3, 5, 6, 8):
        wrong = MEANS[i] + 0.04 * np.sqrt(MEANS[i])
        assert bonferroni(uniform_pvalues(draws[:, [i]], np.array([wrong]))) < FALSE_ALARM_RATE
    z = (draws[:, 5] + np.random.default_rng(1).random(N) - 0.5 - MEANS[5]) / np.sqrt(MEANS[5])
    assert stats.kstest(z, "norm").pvalue < FALSE_ALARM_RATE


def test_single_precision_keeps_the_law() -> None:
    with jax.enable_x64(False):
        means = MEANS[[1, 3, 4, 5, 7]]
        assert bonferroni(uniform_pvalues(draw(2, means, "float32"), means)) > FALSE_ALARM_RATE


def test_means_out_of_range_do_not_hang() -> None:
    log_mean = jnp.asarray([-jnp.inf, jnp.nan, jnp.inf, 1.0])
    drawn = np.asarray(poisson(jax.random.key(3), jnp.asarray(0), log_mean))
    assert drawn[0] == 0
    assert np.all(np.isnan(drawn[1:3]))
    assert np.isfinite(drawn[3])
