"""Inverse-Wishart draws against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxmice.random import inverse_wishart_factor, log_gamma, normals, wishart_shapes
from tests.statistics import FALSE_ALARM_RATE, bonferroni, wishart_pvalues

pytestmark = pytest.mark.usefixtures("double_precision")

N = 20_000
SIZES = (1, 2, 5)
EXTRA_DF = (-0.5, 0.5, 6.0)
"""Degrees of freedom above q: from half of one above the bound q - 1."""


def scale_matrix(q: int) -> np.ndarray:
    rng = np.random.default_rng(q)
    a = rng.normal(size=(q, q))
    return a @ a.T + np.diag(np.arange(1, q + 1))


def draw_factors(df: np.ndarray, scale: np.ndarray, live: np.ndarray, seed: int) -> np.ndarray:
    """Return N factors for every number of degrees of freedom: (df, N, q, q)."""
    q = len(scale)

    def one(key: jax.Array, df: jax.Array) -> jax.Array:
        gammas = jnp.exp(log_gamma(key, jnp.asarray(1), wishart_shapes(df, jnp.asarray(live))))
        z = normals(key, jnp.asarray(0), (q, q), jnp.dtype("float64"))
        return inverse_wishart_factor(gammas, z, jnp.asarray(scale), jnp.asarray(live))

    keys = jax.random.split(jax.random.key(seed), (len(df), N))
    return np.asarray(jax.jit(jax.vmap(jax.vmap(one, (0, None))))(keys, jnp.asarray(df)))


@pytest.mark.parametrize("q", SIZES)
def test_draws_follow_the_inverse_wishart_distribution(q: int) -> None:
    df, scale = q + np.asarray(EXTRA_DF), scale_matrix(q)
    lower = draw_factors(df, scale, np.ones(q, bool), seed=q)

    assert np.all(np.triu(lower, 1) == 0)
    assert np.all(np.diagonal(lower, axis1=-2, axis2=-1) > 0)
    pvalues = [wishart_pvalues(lower[i], df[i], scale) for i in range(len(df))]
    assert bonferroni(np.concatenate(pvalues)) > FALSE_ALARM_RATE
    # E[Psi^-1] = df scale^-1, with the standard error of the draws.
    inverse = np.linalg.inv(lower[-1] @ np.swapaxes(lower[-1], 1, 2))
    error = inverse.std(axis=0) / np.sqrt(N)
    z = (inverse.mean(axis=0) - df[-1] * np.linalg.inv(scale)) / error
    assert bonferroni(2 * stats.norm.sf(np.abs(z))) > FALSE_ALARM_RATE


def test_one_degree_of_freedom_is_seen() -> None:
    df, scale = np.array([7.0]), scale_matrix(2)
    lower = draw_factors(df, scale, np.ones(2, bool), seed=9)[0]
    assert bonferroni(wishart_pvalues(lower, 7.0, scale)) > FALSE_ALARM_RATE
    assert bonferroni(wishart_pvalues(lower, 6.0, scale)) < FALSE_ALARM_RATE
    assert bonferroni(wishart_pvalues(lower, 7.0, 1.1 * scale)) < FALSE_ALARM_RATE
    assert bonferroni(wishart_pvalues(lower, 7.0, np.diag(np.diag(scale)))) < FALSE_ALARM_RATE


def test_dimensions_that_are_not_there_touch_nothing() -> None:
    """Given the same standard draws, the live block is the factor without the others."""
    live = np.array([True, False, True, True, False])
    at = np.flatnonzero(live)
    scale = scale_matrix(5)
    rng = np.random.default_rng(3)
    df = jnp.asarray(4.5)
    shapes = np.asarray(wishart_shapes(df, jnp.asarray(live)))
    few = np.asarray(wishart_shapes(df, jnp.ones(3, bool)))
    np.testing.assert_array_equal(shapes[at], few)
    np.testing.assert_array_equal(shapes[~live], 1)

    gammas, z = rng.gamma(shapes), rng.normal(size=(5, 5))
    factor = jax.jit(inverse_wishart_factor)
    wide = factor(*map(jnp.asarray, (gammas, z, scale, live)))
    cut = (gammas[at], z[np.ix_(at, at)], scale[np.ix_(at, at)], np.ones(3, bool))
    narrow = factor(*map(jnp.asarray, cut))

    np.testing.assert_allclose(np.asarray(wide)[np.ix_(at, at)], narrow, rtol=1e-12)
    rest = np.asarray(wide).copy()
    rest[np.ix_(at, at)] = np.eye(3)
    np.testing.assert_array_equal(rest, np.eye(5))
