"""Variance between clusters after imputation: closed forms for right and for wrong methods.

y = u + e in 500 clusters of n rows, of which m are observed, places at random. With
variances tau2 of u and sigma2 = 1 of e, the analysis-of-variance estimate of the variance
between clusters in completed data has expectation tau2 for a proper imputation,
tau2 m (m - 1) / (n (n - 1)) if clusters are ignored, and tau2 + 2 (n - m) / (n m) with one
dummy per cluster.
"""

from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm

R, J = 200, 500
SETTINGS = {"icc 0.2": (0.25, 8, 4), "icc 0.5": (1.0, 6, 2)}
PROPER_LIMIT = 0.006
"""Allowed departure in the first setting, besides what the prior moves."""


def data_sets(tau2: float, n: int, m: int) -> list[pd.DataFrame]:
    rng = np.random.default_rng(8)
    y = np.sqrt(tau2) * rng.normal(size=(R, J, 1)) + rng.normal(size=(R, J, n))
    y[rng.random((R, J, n)).argsort(axis=2) >= m] = np.nan
    g, noise = np.repeat(np.arange(J), n), rng.normal(size=J * n)
    return [pd.DataFrame({"g": g, "y": part.ravel(), "noise": noise}) for part in y]


@pytest.fixture(scope="module", params=SETTINGS)
def setting(request: pytest.FixtureRequest) -> tuple[float, int, int, list[pd.DataFrame]]:
    tau2, n, m = SETTINGS[request.param]
    return tau2, n, m, data_sets(tau2, n, m)


def between(frames: list[pd.DataFrame], method: str, code: int, **options: Any) -> np.ndarray:
    """Return the estimated variance between clusters of the completed data sets."""
    codes = {"y": {"g": code, "noise": 0}}
    results = jm.replicate(
        frames,
        m=1,
        method={"y": method},
        predictor_matrix=codes,
        cluster="g",
        seed=4,
        options={"y": options},
    )
    return np.array([imp.chain_between[0, -1, 0] for imp in results])


def prior_shift(tau2: float, m: int) -> float:
    """Return by how much the posterior mean of tau2 exceeds tau2 in typical data.

    The posterior of the balanced one-way layout with a flat prior of the standard
    deviation between clusters, on a grid, at the expected sums of squares.
    """
    t = np.linspace(0.2 * tau2, 2.5 * tau2, 600)[:, None]
    s = np.linspace(0.7, 1.4, 600)[None, :]
    within, total = J * (m - 1), s + m * t
    log_density = (
        -0.5 * np.log(t)
        - (within / 2 + 1) * np.log(s)
        - within / (2 * s)
        - (J - 1) / 2 * (np.log(total) + (1 + m * tau2) / total)
    )
    density = np.exp(log_density - log_density.max())
    return float((density * t).sum() / density.sum()) - tau2


@pytest.mark.parametrize("method", ["2l.pan", "2l.norm"])
def test_ladder_two_level_methods_keep_the_variance_between_clusters(
    setting: tuple[float, int, int, list[pd.DataFrame]], method: str
) -> None:
    tau2, _, m, frames = setting
    found = between(frames, method, -2)
    limit = PROPER_LIMIT if tau2 == 0.25 else 4 * found.std() / np.sqrt(R)
    assert abs(found.mean() - tau2) <= limit + abs(prior_shift(tau2, m))


@pytest.mark.filterwarnings("ignore:W1[34]")
def test_ladder_ignoring_clusters_loses_it(
    setting: tuple[float, int, int, list[pd.DataFrame]],
) -> None:
    tau2, n, m, frames = setting
    found = between(frames, "norm", 0)
    expected = tau2 * m * (m - 1) / (n * (n - 1))
    assert abs(found.mean() - expected) < 4 * found.std() / np.sqrt(R)


def test_ladder_dummies_add_to_it(setting: tuple[float, int, int, list[pd.DataFrame]]) -> None:
    tau2, n, m, frames = setting
    found = between(frames, "norm", 1)
    expected = tau2 + 2 * (n - m) / (n * m)
    assert abs(found.mean() - expected) < 4 * found.std() / np.sqrt(R)
