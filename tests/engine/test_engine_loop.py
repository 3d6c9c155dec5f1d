"""The whole loop of chained equations against the joint model whose conditionals it draws.

Three normal columns under the prior ``|Sigma|^-1`` have normal regressions under the prior
``1 / sigma^2`` as their conditionals, each independent of the law of its predictors, so the loop
is a Gibbs sampler of the joint model (Hughes, White, Seaman, Carpenter, Tilling and Sterne 2014,
BMC Medical Research Methodology 14, 28). Complete rows that every data set shares make the prior
proper, and parameters can be drawn from it: the truth ranks evenly among its imputations.
"""

import functools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import jaxmice as jm
from benchmarks.calibration.ranks import gamma_pvalue, gamma_statistic, ranks_of
from tests.statistics import FALSE_ALARM_RATE, bonferroni

N, M, SHARED, ROWS = 400, 31, 10, 12
COLUMNS = ["x1", "x2", "x3"]
FIXED = np.random.default_rng(1).multivariate_normal(
    [0, 1, -1], [[1, 0.8, 0.5], [0.8, 2, -0.3], [0.5, -0.3, 1]], SHARED
)


@functools.cache
def simulate() -> tuple[np.ndarray, np.ndarray]:
    """Return complete rows of every simulation, and where they have holes."""
    rng = np.random.default_rng(2)
    centre = FIXED - FIXED.mean(axis=0)
    law = stats.invwishart(SHARED - len(COLUMNS), centre.T @ centre)
    root = np.linalg.cholesky(law.rvs(N, random_state=rng))
    mean = FIXED.mean(axis=0) + (root @ rng.normal(size=(N, 3, 1)))[..., 0] / np.sqrt(SHARED)
    rows = mean[:, None] + rng.normal(size=(N, ROWS, 3)) @ np.swapaxes(root, 1, 2)
    holes = rng.random(rows.shape) < 0.4
    # Data sets of one form have holes in the same columns, and no row is all hole.
    holes[:, :3] = np.eye(3, dtype=bool)
    return rows, holes & ~np.all(holes, axis=2, keepdims=True)


def quantities(rows: np.ndarray) -> np.ndarray:
    """Return sums, squares and products of columns, ``(..., ROWS, 3)`` to ``(..., 9)``."""
    rows = rows - FIXED.mean(axis=0)
    products = np.einsum("...na,...nb->...ab", rows, rows)
    return np.concatenate([rows.sum(axis=-2), products[..., *np.triu_indices(3)]], axis=-1)


def pvalue(method: str, maxit: int) -> float:
    """Return one p-value for "the truth ranks evenly", for every quantity."""
    rows, holes = simulate()
    frames = [
        pd.DataFrame(np.concatenate([FIXED, np.where(hole, np.nan, row)]), columns=COLUMNS)
        for row, hole in zip(rows, holes, strict=True)
    ]
    found = jm.replicate(frames, M, method, maxit=maxit, seed=3, screen="off", precision="float64")
    drawn = np.repeat(rows[None], M, axis=0)
    for imp, hole, row in zip(found, holes, np.swapaxes(drawn, 0, 1), strict=True):
        for k, name in enumerate(COLUMNS):
            row[:, hole[:, k], k] = imp.imp[name].to_numpy().T
    truth, draws = quantities(rows), quantities(drawn)
    ranks = [ranks_of(truth[:, k], draws[:, :, k], seed=k) for k in range(truth.shape[1])]
    return bonferroni([gamma_pvalue(gamma_statistic(rank, M), N, M) for rank in ranks])


def test_the_loop_draws_from_the_joint_model() -> None:
    assert pvalue("norm", 12) > FALSE_ALARM_RATE


@pytest.mark.parametrize(
    ("method", "maxit"),
    [("norm", 1), ("norm.nob", 12)],
    ids=["one iteration", "no parameters drawn"],
)
def test_the_alarm_works(method: str, maxit: int) -> None:
    """Predictors that are still random starts, and parameters that are estimates, are seen."""
    assert pvalue(method, maxit) < FALSE_ALARM_RATE
