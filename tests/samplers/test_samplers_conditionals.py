"""Draws of the effects against dense Gaussian posteriors, variances known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from jaxmice.methods import REGISTRY
from jaxmice.random import log_gamma, normals
from jaxmice.samplers import linear_mixed as lm
from jaxmice.samplers.sums import make_sums
from jaxmice.target import Target
from tests.samplers.rows import Rows, ragged
from tests.statistics import FALSE_ALARM_RATE, bonferroni, normal_pvalues, wishart_pvalues

pytestmark = pytest.mark.usefixtures("double_precision")

N = 8_000
SIZES, SEEN = (6, 2, 0, 3, 1, 5), (5, 0, 0, 3, 1, 2)
SIGMA2_BY_CLUSTER = np.array([0.5, 1.0, 2.0, 0.1, 1.5, 0.7])
PSI = {
    "regular": np.array([[1.0, 0.4], [0.4, 0.8]]),
    "singular": np.array([[1.0, 0.5], [0.5, 0.25]]),
    "zero": np.zeros((2, 2)),
}


def root_of(psi: np.ndarray) -> np.ndarray:
    """Return a lower root, also of a singular matrix."""
    first = np.sqrt(psi[0, 0])
    below = psi[1, 0] / first if first else 0.0
    return np.array([[first, 0], [below, np.sqrt(max(psi[1, 1] - below**2, 0))]])


def prior(p: int, q: int, precision: float = 0.0) -> lm.Prior:
    zero = jnp.asarray(0.0)
    return lm.Prior(zero, zero, jnp.full(p, precision), zero + q, jnp.eye(q))


@jax.jit
def draw_effects(
    keys: jax.Array, target: Target, root: jax.Array, sigma2: jax.Array, prior: lm.Prior
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Draw (beta, b) many times: fixed effects, whitened effects, effects."""
    sums = make_sums(target, by_cluster=sigma2.ndim > 0)
    p, (q, J) = len(sums.x_live), sums.k.shape

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        z = normals(key, jnp.asarray(0), (p + q * J,), root.dtype)
        beta = lm.draw_beta(z[:p], root, sigma2, sums, prior)
        return beta, *lm.draw_b(z[p:].reshape(q, J), beta, root, sigma2, sums)

    return jax.vmap(one)(keys)


def dense_posterior(
    rows: Rows, y: np.ndarray, root: np.ndarray, sigma2: np.ndarray, precision: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of (beta, eta of all clusters), written out in full."""
    q, J, p = len(rows.Z), rows.n_clusters, rows.X.shape[1]
    effects = np.zeros((len(y), q, J))
    effects[np.arange(len(y)), :, rows.cluster] = rows.Z.T @ root
    W = np.concatenate([rows.X, effects.reshape(len(y), q * J)], axis=1)[rows.seen]
    weight = 1 / np.broadcast_to(sigma2, J)[rows.cluster[rows.seen]]
    prior = np.diag(np.concatenate([np.full(p, precision), np.ones(q * J)]))
    covariance = linalg.inv(W.T @ (weight[:, None] * W) + prior)
    return covariance @ (W.T @ (weight * y[rows.seen])), covariance


@pytest.fixture(scope="module")
def rows() -> Rows:
    return ragged(SIZES, SEEN, 2, 2)


@pytest.fixture(scope="module")
def y(rows: Rows) -> np.ndarray:
    rng = np.random.default_rng(7)
    return 1 + rng.normal(size=len(rows.cluster)) + 0.7 * np.cos(3 * rows.cluster)


@pytest.mark.parametrize("by_cluster", [False, True])
@pytest.mark.parametrize("kind", PSI)
def test_effects_follow_the_dense_posterior(
    rows: Rows, y: np.ndarray, kind: str, by_cluster: bool
) -> None:
    """Also for a singular Psi, an empty cluster, a single row, rows without a value."""
    root = root_of(PSI[kind])
    J, filled = rows.n_clusters, rows.n_clusters + rows.filled[0]
    sigma2 = SIGMA2_BY_CLUSTER if by_cluster else np.asarray(0.8)
    padded = np.pad(sigma2, (0, filled - J), constant_values=1) if by_cluster else sigma2
    keys = jax.random.split(jax.random.key(11), N)

    beta, eta, b = draw_effects(
        keys, rows.target(y), jnp.asarray(root), jnp.asarray(padded), prior(4, 2, 0.3)
    )

    draws = np.concatenate([np.asarray(beta), np.asarray(eta)[:, :, :J].reshape(N, -1)], axis=1)
    mean, covariance = dense_posterior(rows, y, root, sigma2, 0.3)
    assert bonferroni(normal_pvalues(draws, mean, covariance)) > FALSE_ALARM_RATE
    np.testing.assert_allclose(
        np.asarray(b)[:, :, :J],
        np.einsum("ik,nkj->nij", root, np.asarray(eta)[:, :, :J]),
        atol=1e-12,
    )
    np.testing.assert_array_equal(np.asarray(b)[:, :, J:], 0)
    # The test can fail: a tenth of a standard deviation is nine errors of the mean.
    off = mean + 0.1 * np.sqrt(np.diag(covariance))
    assert bonferroni(normal_pvalues(draws, off, covariance)) < FALSE_ALARM_RATE


def test_empty_clusters_and_random_intercept_in_closed_form() -> None:
    """Imputations of ``2l.pan``, variances known and the mean flat.

    With ``B = tau2 / (tau2 + sigma2 / m)`` and ``w = 1 / (tau2 + sigma2 / m)`` a missing
    value has mean ``(1 - B) mu + B ybar`` and variance
    ``sigma2 + B sigma2 / m + (1 - B)^2 / sum w``; two of an empty cluster share
    ``tau2 + 1 / sum w``.
    """
    sizes, m = (5, 3, 2, 4), np.array([3, 1, 0, 4])
    rows = ragged(sizes, tuple(m), 1, 0, seed=3, n_shared=(1, 0))
    rng = np.random.default_rng(5)
    y = 2 + rng.normal(size=len(rows.cluster)) + rows.cluster
    tau2, sigma2 = 0.6, 1.3
    method = REGISTRY["2l.pan"]()

    @jax.jit
    def impute(keys: jax.Array, y: jax.Array) -> jax.Array:
        target = rows.target(y)
        sums = make_sums(target, by_cluster=False)

        def one(key: jax.Array) -> jax.Array:
            key_draw, key_rows = jax.random.split(key)
            J = sums.k.shape[1]
            z = normals(key_draw, jnp.asarray(0), (1 + J,), y.dtype)
            root, variance = jnp.full((1, 1), tau2**0.5), jnp.asarray(sigma2)
            beta = lm.draw_beta(z[:1], root, variance, sums, prior(1, 1))
            _, b = lm.draw_b(z[1:].reshape(1, J), beta, root, variance, sums)
            return method.impute(key_rows, lm.Parameters(beta, b, root, variance), target)

        return jax.vmap(one)(keys)

    drawn = rows.table(impute(jax.random.split(jax.random.key(2), N), jnp.asarray(y)))
    ybar = np.array([y[rows.seen & (rows.cluster == j)].mean() if m[j] else 0 for j in range(4)])
    with np.errstate(divide="ignore"):
        w = np.where(m > 0, 1 / (tau2 + sigma2 / m), 0)
        B = np.where(m > 0, tau2 * w, 0)
    mu = np.sum(w * ybar) / np.sum(w)
    at = np.array(
        [
            np.flatnonzero(~rows.seen & (rows.cluster == j))[i]
            for j, i in ((0, 0), (1, 0), (2, 0), (2, 1))
        ]
    )
    j = rows.cluster[at]
    mean = (1 - B[j]) * mu + B[j] * ybar[j]
    covariance = np.multiply.outer(1 - B[j], 1 - B[j]) / np.sum(w)
    within = np.where(m > 0, B * sigma2 / np.maximum(m, 1), tau2)
    covariance += np.where(j[:, None] == j[None], within[j][:, None], 0) + sigma2 * np.eye(4)
    assert covariance[2, 3] == pytest.approx(tau2 + 1 / np.sum(w))
    assert bonferroni(normal_pvalues(drawn[:, at], mean, covariance)) > FALSE_ALARM_RATE
    marginal = covariance + 0
    marginal[2, 3] = marginal[3, 2] = 1 / np.sum(w)
    assert bonferroni(normal_pvalues(drawn[:, at], mean, marginal)) < FALSE_ALARM_RATE


def test_all_predictors_random_in_closed_form() -> None:
    """The mean is generalised least squares of the clusters' own estimates (E3)."""
    sizes = (6, 5, 4, 7)
    rows = ragged(sizes, sizes, 2, 0, seed=4, n_shared=(2, 0), filled=(0, 0))
    rng = np.random.default_rng(6)
    y = rng.normal(size=len(rows.cluster))
    sigma2, psi = SIGMA2_BY_CLUSTER[:4], PSI["regular"]
    keys = jax.random.split(jax.random.key(12), N)
    beta, _, b = draw_effects(
        keys, rows.target(y), jnp.asarray(root_of(psi)), jnp.asarray(sigma2), prior(2, 2)
    )
    own, precision, shift = [], np.zeros((2, 2)), np.zeros(2)
    for j in range(4):
        X, yj = rows.X[rows.cluster == j], y[rows.cluster == j]
        own.append(np.linalg.solve(X.T @ X, X.T @ yj))
        weight = np.linalg.inv(psi + sigma2[j] * np.linalg.inv(X.T @ X))
        precision, shift = precision + weight, shift + weight @ own[-1]
    mean = np.linalg.solve(precision, shift)
    pvalues = normal_pvalues(beta, mean, np.linalg.inv(precision))
    # b_j + mu given mu is normal around the precision-weighted mean of mu and the data.
    for j in range(4):
        X, yj = rows.X[rows.cluster == j], y[rows.cluster == j]
        V = np.linalg.inv(X.T @ X / sigma2[j] + np.linalg.inv(psi))
        centre = (X.T @ yj / sigma2[j] + np.asarray(beta) @ np.linalg.inv(psi)) @ V
        effect = np.asarray(beta) + np.asarray(b)[:, :, j]
        pvalues += normal_pvalues(effect - centre, np.zeros(2), V)
    assert bonferroni(pvalues) > FALSE_ALARM_RATE


@pytest.mark.parametrize("q", [1, 2])
def test_psi_given_effects_is_inverse_wishart(q: int) -> None:
    """All clusters that exist count, also those without rows (E5)."""
    rows = ragged(SIZES, SEEN, q, 1)
    rng = np.random.default_rng(q)
    J, filled = rows.n_clusters, rows.n_clusters + rows.filled[0]
    b = np.zeros((q, filled))
    b[:, :J] = rng.normal(size=(q, J))
    scale = np.diag(np.arange(1.0, q + 1))
    proper = dataclasses.replace(prior(q + 1, q), psi_df=jnp.asarray(q + 1.5), psi_scale=scale)

    @jax.jit
    def draw(keys: jax.Array) -> jax.Array:
        sums = make_sums(rows.target(np.zeros(len(rows.cluster))), by_cluster=False)

        def one(key: jax.Array) -> jax.Array:
            gammas = jnp.exp(log_gamma(key, jnp.asarray(1), lm.psi_shapes(sums, proper)))
            z = normals(key, jnp.asarray(0), (q, q), b.dtype)
            return lm.draw_root_psi(gammas, z, jnp.asarray(b), jnp.eye(q), sums, proper)

        return jax.vmap(one)(keys)

    lower = np.asarray(draw(jax.random.split(jax.random.key(q), N)))
    assert bonferroni(wishart_pvalues(lower, q + 1.5 + J, scale + b @ b.T)) > FALSE_ALARM_RATE
    assert bonferroni(wishart_pvalues(lower, q + 0.5 + J, scale + b @ b.T)) < FALSE_ALARM_RATE
