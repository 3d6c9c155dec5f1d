"""Logarithms of gamma variates against the closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxmice.random import log_gamma
from tests.statistics import FALSE_ALARM_RATE, bonferroni

pytestmark = pytest.mark.usefixtures("double_precision")

SHAPES = np.array([0.02, 0.1, 0.5, 0.99, 1.0, 1.5, 4.0, 30.0, 1e3, 1e6])
N = 20_000


@pytest.fixture(scope="module")
def draws() -> np.ndarray:
    with jax.enable_x64(True):
        shape = jnp.broadcast_to(jnp.asarray(SHAPES), (N, len(SHAPES)))
        return np.asarray(jax.jit(log_gamma)(jax.random.key(1), jnp.asarray(0), shape))


def log_gamma_pvalues(draws: np.ndarray, shapes: np.ndarray) -> list[float]:
    """Return a Kolmogorov-Smirnov p-value per column.

    Below the smallest positive number the distribution function is its leading term,
    ``x^s / Gamma(s + 1)``, exact there to every digit.
    """

    def cdf(x: np.ndarray, shape: float) -> np.ndarray:
        tail = np.exp(shape * np.minimum(x, -30) - special.gammaln(shape + 1))
        return np.where(x < -30, tail, special.gammainc(shape, np.exp(np.maximum(x, -30))))

    return [
        float(stats.kstest(column, cdf, args=(shape,)).pvalue)
        for column, shape in zip(draws.T, shapes, strict=True)
    ]


def test_draws_follow_the_gamma_distribution(draws: np.ndarray) -> None:
    assert np.all(np.isfinite(draws))
    # A shape of 0.02 is far below what a number, rather than its logarithm, could hold.
    assert np.min(draws[:, 0]) < np.log(np.finfo(float).tiny) / 2
    assert bonferroni(log_gamma_pvalues(draws, SHAPES)) > FALSE_ALARM_RATE


def test_variates_are_independent(draws: np.ndarray) -> None:
    u = np.stack([special.gammainc(s, np.exp(x)) for s, x in zip(SHAPES, draws.T, strict=True)])
    law = stats.triang(0.5, 0, 2).cdf
    neighbours = [stats.kstest(u[i] + u[i + 1], law).pvalue for i in range(3, len(u) - 1)]
    in_order = [stats.kstest(row[::2] + row[1::2], law).pvalue for row in u[3:]]
    assert bonferroni(neighbours + in_order) > FALSE_ALARM_RATE


def test_a_shape_that_is_slightly_off_is_seen(draws: np.ndarray) -> None:
    """Half a degree of freedom in 60, and a correction that was forgotten, raise the alarm."""
    wrong = SHAPES + np.array([0, 0, 0, 0, 0, 0, 0, 0.25, 0, 0])
    forgotten = np.where(SHAPES < 1, SHAPES + 1, SHAPES)
    assert bonferroni(log_gamma_pvalues(draws[:, 7:8], wrong[7:8])) < 1e-2
    assert bonferroni(log_gamma_pvalues(draws, forgotten)) < FALSE_ALARM_RATE


def test_single_precision_keeps_the_law() -> None:
    with jax.enable_x64(False):
        shapes = jnp.broadcast_to(jnp.asarray(SHAPES[[0, 2, 5, 7]], "float32"), (N, 4))
        draws = log_gamma(jax.random.key(2), jnp.asarray(0), shapes)
    assert draws.dtype == "float32"
    values = np.asarray(draws, float)
    assert np.all(np.isfinite(values))
    assert bonferroni(log_gamma_pvalues(values, SHAPES[[0, 2, 5, 7]])) > FALSE_ALARM_RATE
