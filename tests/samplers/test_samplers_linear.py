"""Bayesian linear regression against its closed form."""

import jax
import numpy as np
import pytest
from scipy import stats

from jaxmice.samplers import linear
from jaxmice.samplers.sums import make_sums
from jaxmice.target import Target
from tests.samplers.rows import Rows, ragged
from tests.statistics import FALSE_ALARM_RATE, Cdf, adjusted_pvalue

pytestmark = pytest.mark.usefixtures("double_precision")

N = 20_000
SIZES, SEEN = (6, 3, 0, 4, 2), (4, 3, 0, 3, 0)


@jax.jit
def draw_many(keys: jax.Array, target: Target) -> linear.Parameters:
    sums = make_sums(target, by_cluster=False)
    return jax.vmap(lambda key: linear.draw(key, sums))(keys)


def outcome(rows: Rows) -> np.ndarray:
    return 1 + np.random.default_rng(1).normal(size=len(rows.cluster)) + rows.cluster


def compare(
    design: np.ndarray, y: np.ndarray, draws: np.ndarray, sigma2: np.ndarray, df_off: int = 0
) -> float:
    """Return the p-value of draws of the first coefficients of a regression.

    Scaled by the draw of sigma they are normal, by the estimate t with n - p degrees of
    freedom, and sigma2 itself is a scaled inverse chi-square.
    """
    V = np.linalg.inv(design.T @ design)
    estimate = V @ design.T @ y
    df, rss = len(y) - design.shape[1] + df_off, np.sum((y - design @ estimate) ** 2)
    sample = {"sigma2": rss / sigma2}
    laws: dict[str, Cdf] = {"sigma2": stats.chi2(df).cdf}
    for i in range(draws.shape[1]):
        error = draws[:, i] - estimate[i]
        sample[f"t[{i}]"] = error / np.sqrt(V[i, i] * rss / df)
        sample[f"normal[{i}]"] = error / np.sqrt(V[i, i] * sigma2)
        laws |= {f"t[{i}]": stats.t(df).cdf, f"normal[{i}]": stats.norm.cdf}
    # A combination of all: their correlations.
    d = draws.shape[1]
    c = np.arange(1.0, d + 1)
    combination = (draws - estimate[:d]) @ c / np.sqrt(c @ V[:d, :d] @ c * sigma2)
    return adjusted_pvalue(sample | {"all": combination}, laws | {"all": stats.norm.cdf})


def test_draws_follow_the_exact_posterior() -> None:
    rows = ragged(SIZES, SEEN, 0, 3, n_shared=(0, 2), f_live=(True, True, True))
    y = outcome(rows)
    after = draw_many(jax.random.split(jax.random.key(1), N), rows.target(y))

    X, seen = rows.X[rows.seen], y[rows.seen]
    beta, sigma2 = np.asarray(after.beta), np.asarray(after.sigma2)
    estimate = np.linalg.lstsq(X, seen, rcond=None)[0]
    np.testing.assert_allclose(after.beta_hat[0], estimate, atol=1e-6)
    assert compare(X, seen, beta, sigma2) > FALSE_ALARM_RATE
    assert compare(X, seen, beta, sigma2, df_off=1) < FALSE_ALARM_RATE


def test_absorbed_clusters_are_the_regression_on_dummies() -> None:
    rows = ragged(SIZES, SEEN, 1, 2, n_shared=(1, 1))
    y = outcome(rows)
    after = draw_many(jax.random.split(jax.random.key(2), N), rows.target(y))

    here = [0, 1, 3]  # clusters with an observed row
    dummies = (rows.cluster[:, None] == here).astype(float)
    X, seen = np.concatenate([rows.F.T, dummies], axis=1)[rows.seen], y[rows.seen]
    draws = np.concatenate([np.asarray(after.beta), np.asarray(after.b)[:, 0, here]], axis=1)
    estimate = np.linalg.lstsq(X, seen, rcond=None)[0]
    np.testing.assert_allclose(after.beta_hat[0], estimate[:2], atol=1e-6)
    np.testing.assert_allclose(np.asarray(after.b_hat)[0, 0, here], estimate[2:], atol=1e-6)
    assert compare(X, seen, draws, np.asarray(after.sigma2)) > FALSE_ALARM_RATE
    assert compare(X, seen, draws, np.asarray(after.sigma2), df_off=3) < FALSE_ALARM_RATE


def test_more_columns_than_rows_stay_finite() -> None:
    rows = ragged((3, 2), (2, 1), 0, 6, n_shared=(0, 6))
    after = draw_many(jax.random.split(jax.random.key(3), 10), rows.target(outcome(rows)))
    assert all(np.all(np.isfinite(part)) for part in jax.tree.leaves(after))


@pytest.mark.parametrize("residual", [1, 1e-3])
def test_residual_variance_leaves_the_ridge_out(residual: float) -> None:
    """Of a close fit the ridge of the coefficients would be a share of what is left."""
    rows = ragged((200,), (200,), 0, 3, n_shared=(0, 3), block=200)
    noise = np.random.default_rng(1).normal(size=200)
    y = rows.X @ np.array([1.0, 2.0, -1.0]) + residual * noise
    found = linear.estimate(make_sums(rows.target(y), by_cluster=False)).sigma2
    rss = np.linalg.lstsq(rows.X, y, rcond=None)[1][0]
    np.testing.assert_allclose(found, rss / 197, rtol=1e-6)
