"""Selection models of many clusters at once, against one optimiser run per cluster."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from jaxmice.estimators import selection as se
from jaxmice.linalg import Layout

pytestmark = pytest.mark.usefixtures("double_precision")

J, N = 4, 90
EXPLAINS, SELECTS = np.array([True, True, False]), np.array([True, True, True])
SMALL = 3
"""Cluster with three values, too few for its own fit."""


def simulate(*, binary: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return columns (3, J, N), y (J, N) and where it is selected."""
    rng = np.random.default_rng(4)
    x = np.concatenate([np.ones((1, J, N)), rng.normal(size=(2, J, N))])
    d, e = rng.normal(size=(2, J, N))
    s = 0.3 + 0.5 * x[1] + x[2] + d
    y = 0.2 + 0.7 * x[1] + 0.4 * rng.normal(size=(J, 1)) + 1.2 * (0.6 * d + 0.8 * e)
    s[SMALL, 3:] = -1
    s[SMALL, :3] = 1
    return x, (y > 0).astype(float) if binary else y, s > 0


def bivariate(h: np.ndarray, k: np.ndarray, rho: np.ndarray) -> np.ndarray:
    """Integrate the probability that the second is below k over the first below h."""
    u = (np.arange(2000) + 0.5) / 2000
    first = stats.norm.ppf(u * stats.norm.cdf(h)[:, None])
    second = (k[:, None] - rho[:, None] * first) / np.sqrt(1 - rho[:, None] ** 2)
    return stats.norm.cdf(h) * stats.norm.cdf(second).mean(axis=1)


def objective(
    theta: np.ndarray, x: np.ndarray, y: np.ndarray, seen: np.ndarray, *, binary: bool
) -> float:
    """Return minus the penalised log-likelihood of one cluster."""
    m, a = x[:2].T @ theta[:2], x.T @ theta[2:5]
    rho, sigma = np.tanh(theta[5]), np.exp(theta[6])
    total = stats.norm.logcdf(-a[~seen]).sum()
    m, a, y = m[seen], a[seen], y[seen]
    if binary:
        side = 2 * y - 1
        total += np.log(bivariate(a, side * m, side * rho)).sum()
    else:
        e = (y - m) / sigma
        total += stats.norm.logpdf(y, m, sigma).sum()
        total += stats.norm.logcdf((a + rho * e) / np.sqrt(1 - rho**2)).sum()
    ridge = se.RIDGE * np.sum(theta[[0, 1, 2, 3, 4, 6]] ** 2)
    return (ridge + (theta[5] / se.ATANH_RHO_DEVIATION) ** 2) / 2 - total


@pytest.mark.parametrize(
    ("rho", "error", "single"),
    [(-0.3, 1e-12, 1e-6), (0.9, 1e-12, 1e-6), (0.99, 1e-9, 1e-6), (0.9999, 1e-6, 1e-4)],
)
def test_excess_is_that_of_a_bivariate_probability(rho: float, error: float, single: float) -> None:
    h, k = (grid.ravel() for grid in np.meshgrid(np.linspace(-3, 3, 7), np.linspace(-2.9, 3.1, 9)))
    # Plackett's identity, in steps that are small where the correlation is near one.
    nodes, weights = np.polynomial.legendre.leggauss(2000)
    t = np.arcsin(rho) * (nodes[:, None] + 1) / 2
    density = np.exp(-(h**2 + k**2 - 2 * h * k * np.sin(t)) / (2 * np.cos(t) ** 2))
    expected = np.arcsin(rho) * (weights @ density) / (4 * np.pi)
    u = np.arctanh(rho)
    np.testing.assert_allclose(se.excess(h, k, jnp.asarray(u)), expected, rtol=0, atol=error)
    short = se.excess(*(jnp.asarray(value, jnp.float32) for value in (h, k, u)))
    assert short.dtype == jnp.float32
    np.testing.assert_allclose(short, expected, rtol=0, atol=single)
    both = stats.multivariate_normal([0, 0], [[1, rho], [rho, 1]])
    found = stats.norm.cdf(h) * stats.norm.cdf(k) + expected
    np.testing.assert_allclose(found, both.cdf(np.stack([h, k], axis=1)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sign", [-1, 1])
def test_excess_without_bounds_of_the_correlation(dtype: type, sign: int) -> None:
    h, k = (grid.ravel() for grid in np.meshgrid(np.linspace(-3, 3, 7), np.linspace(-2.9, 3.1, 9)))
    u = np.asarray(sign * 1000, dtype)
    found = se.excess(h.astype(dtype), k.astype(dtype), jnp.asarray(u))
    p, q = stats.norm.cdf(h), stats.norm.cdf(k)
    # One variable, or one and its negative.
    both = np.minimum(p, q) if sign > 0 else np.maximum(p + q - 1, 0)
    np.testing.assert_allclose(found, both - p * q, rtol=0, atol=0.01)


@pytest.mark.parametrize("binary", [False, True])
def test_fits_are_those_of_one_optimiser_per_cluster(binary: bool) -> None:
    x, y, seen = simulate(binary=binary)
    layout = Layout(jnp.ones((J, N), bool), jnp.arange(J), jnp.ones(J, bool))
    marks = jnp.asarray(EXPLAINS), jnp.asarray(SELECTS)
    seen_y = jnp.asarray(np.where(seen, y, 0))
    rows = se.Rows(jnp.asarray(x), seen_y, jnp.asarray(seen), jnp.asarray(~seen), *marks, layout)
    evidence = jax.jit(partial(se.fit, binary=binary))(rows)
    np.testing.assert_array_equal(evidence.fitted, np.arange(J) != SMALL)
    assert not np.any(evidence.information[:, :, SMALL])
    assert not np.any(evidence.linear[:, SMALL])
    # In the order of `objective`; the third coefficient of y is not there.
    order = [0, 1, 3, 4, 5, 7, 6]
    np.testing.assert_allclose(evidence.theta[2], 0, atol=1e-12)
    for j in range(SMALL):
        alone = partial(objective, x=x[:, j], y=y[j], seen=seen[j], binary=binary)
        found = optimize.minimize(alone, np.zeros(7), method="BFGS", options={"gtol": 1e-6})
        theta = np.asarray(evidence.theta)[order, j]
        np.testing.assert_allclose(theta, found.x, atol=2e-4)
        curvature = np.asarray(evidence.information)[order][:, order][..., j]
        ridge = np.diag([se.RIDGE] * 5 + [se.ATANH_RHO_DEVIATION**-2, se.RIDGE])
        for i in range(7):
            step = 1e-3 * np.eye(7)[i]
            second = (alone(theta + step) - 2 * alone(theta) + alone(theta - step)) / 1e-6
            expected = second - ridge[i, i]
            assert curvature[i, i] == pytest.approx(expected, rel=1e-2, abs=1e-2)


def test_taking_the_penalty_out_moves_no_estimate_far() -> None:
    """Where the correlation is near one a parabola would put the maximum far out, and be sure."""
    clusters, n = 400, 30
    rng = np.random.default_rng(4)
    x = np.concatenate([np.ones((1, clusters, n)), rng.normal(size=(2, clusters, n))])
    d, e = rng.normal(size=(2, clusters, n))
    seen = 0.3 + 0.5 * x[1] + 2 * x[2] + d > 0
    y = np.where(seen, 0.2 + 0.7 * x[1] + 0.95 * d + 0.31 * e, 0)
    layout = Layout(jnp.ones((clusters, n), bool), jnp.arange(clusters), jnp.ones(clusters, bool))
    columns = map(jnp.asarray, (x, y, seen, ~seen, EXPLAINS, SELECTS))
    rows = se.Rows(*columns, layout)
    evidence = jax.jit(partial(se.fit, binary=False))(rows)
    live, penalty = map(np.asarray, se.weak_prior(rows, binary=False))
    theta, linear = np.asarray(evidence.theta)[live].T, np.asarray(evidence.linear)[live].T
    information = np.moveaxis(np.asarray(evidence.information)[live][:, live], -1, 0)
    inverse = np.linalg.pinv(information, rcond=1e-12, hermitian=True)
    taken = linear - np.einsum("jab,jb->ja", information, theta)
    whole = penalty[live] * theta * np.asarray(evidence.fitted)[:, None]

    def moved(gradient: np.ndarray) -> np.ndarray:
        return np.sqrt(np.einsum("ja,jab,jb->j", gradient, inverse, gradient))

    assert moved(whole).max() > 5 * se.MOST_REMOVED
    assert moved(taken).max() < 1.5 * se.MOST_REMOVED
    values = np.linalg.eigvalsh(information)
    usual = (moved(whole) < se.MOST_REMOVED) & (values[:, 0] > 1e-6 * values[:, -1])
    assert usual.mean() > 0.7
    assert moved(taken - whole)[usual].max() < 1e-3


def test_expectations_follow_skewed_likelihoods_once_refitted() -> None:
    """Of parameters with a known distribution over clusters, by importance sampling."""
    clusters, n, n_draws = 8, 120, 6_000
    rng = np.random.default_rng(6)
    x = np.concatenate([np.ones((1, clusters, n)), rng.normal(size=(1, clusters, n))])
    d, e = rng.normal(size=(2, clusters, n))
    effects = rng.normal(size=(2, clusters, 1))
    seen = 0.2 + 0.6 * effects[0] + x[1] + d > 0
    y = (1.0 + 0.6 * effects[1] + 0.6 * d + 0.8 * e > 0) & seen

    def rows_of(copies: int) -> se.Rows:
        def repeat(each: np.ndarray) -> jax.Array:
            return jnp.asarray(np.repeat(each, copies, axis=-2))

        J = clusters * copies
        layout = Layout(jnp.ones((J, n), bool), jnp.arange(J), jnp.ones(J, bool))
        columns = repeat(x), repeat(y.astype(float)), repeat(seen), repeat(~seen)
        # y has an intercept only.
        return se.Rows(*columns, jnp.array([True, False]), jnp.array([True, True]), layout)

    rows = rows_of(1)
    live = np.asarray(se.weak_prior(rows, binary=True)[0])
    mean = np.array([1.0, 0, 0.2, 1.0, 0, 0.7])
    deviation = np.array([0.6, 1, 0.6, 0.3, 1, 0.4])
    precision = np.diag(deviation**-2)
    before = jax.jit(partial(se.fit, binary=True))(rows)
    assert np.all(before.fitted)

    @jax.jit
    def log_likelihood(theta: jax.Array, rows: se.Rows) -> jax.Array:
        return se._by_cluster(theta, rows, binary=True)[0]

    def moments(evidence: se.Evidence) -> tuple[np.ndarray, np.ndarray]:
        information = np.moveaxis(np.asarray(evidence.information), -1, 0)
        covariance = np.linalg.inv(information + precision)
        return covariance, np.einsum("jab,jb->ja", covariance, evidence.linear.T + precision @ mean)

    refitted = jax.jit(se.refit)(rows, before, jnp.asarray(mean), jnp.asarray(precision))
    covariance, centre = moments(refitted)
    z = rng.standard_t(6, size=(clusters, n_draws, len(mean)))
    theta = centre[:, None] + np.einsum("jab,jnb->jna", 1.2 * np.linalg.cholesky(covariance), z)
    theta[..., ~live] = 0
    value = log_likelihood(jnp.asarray(theta.reshape(-1, len(mean))), rows_of(n_draws))
    log_weight = np.array(value).reshape(clusters, n_draws)
    log_weight -= np.sum(((theta - mean) / deviation)[..., live] ** 2, axis=-1) / 2
    log_weight -= np.sum(stats.t.logpdf(z, 6)[..., live], axis=-1)
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    expected = np.einsum("jn,jnd->jd", weight, theta)
    spread = np.sqrt(np.einsum("jn,jnd->jd", weight, (theta - expected[:, None]) ** 2))

    def away(evidence: se.Evidence) -> np.ndarray:
        return np.abs(moments(evidence)[1] - expected)[:, live] / spread[:, live]

    # Five deviations of the sampling: 32 numbers, one false alarm in 50,000.
    assert away(refitted).max() < 5 * np.sqrt(np.sum(weight**2, axis=1)).max() < 0.1
    assert away(before).mean() > 0.1
