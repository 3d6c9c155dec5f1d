"""Logistic regression with augmentation against an optimiser of its own."""

import jax
import numpy as np
import pytest
from scipy import optimize

from jaxmice.samplers import logistic
from jaxmice.target import Target
from tests.samplers.rows import Rows, ragged
from tests.statistics import FALSE_ALARM_RATE, bonferroni, normal_pvalues

pytestmark = pytest.mark.usefixtures("double_precision")

N = 20_000
SIZES, SEEN = (20, 20, 20), (18, 15, 0)


@jax.jit
def draw_many(keys: jax.Array, target: Target) -> jax.Array:
    return jax.vmap(lambda key: logistic.draw(key, target))(keys)


def augmented(rows: Rows, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, answers and weights with those of White, Daniel and Royston (2010)."""
    X = rows.X
    mean, deviation = X.mean(axis=0), X.std(axis=0)
    p = X.shape[1] - 1
    added, answers = [], []
    for i in range(1, p + 1):
        for answer in (0.0, 1.0):
            for side in (-0.5, 0.5):
                row = mean.copy()
                row[i] = np.clip(row[i] + side * deviation[i], X[:, i].min(), X[:, i].max())
                added.append(row)
                answers.append(answer)
    weight = np.full(len(added), (p + 1) / (4 * p))
    design = np.concatenate([X[rows.seen], added])
    weights = np.concatenate([np.ones(int(rows.seen.sum())), weight])
    return design, np.concatenate([y[rows.seen], answers]), weights


@pytest.mark.parametrize("separated", [False, True])
def test_draws_follow_the_normal_approximation_at_the_maximum(separated: bool) -> None:
    """Also where a predictor separates the answers, so that no maximum would exist."""
    rows = ragged(SIZES, SEEN, 0, 3, seed=2, n_shared=(0, 2))
    eta = 0.5 + rows.F[1] - 0.5 * rows.F[2]
    noise = 0 if separated else np.random.default_rng(1).logistic(size=len(eta))
    y = ((rows.F[1] if separated else eta + noise) > 0).astype(float)
    design, answer, weight = augmented(rows, y)

    def loss(beta: np.ndarray) -> float:
        linear = design @ beta
        return float(np.sum(weight * (np.logaddexp(0, linear) - answer * linear)))

    def slope(beta: np.ndarray) -> np.ndarray:
        return design.T @ (weight * (1 / (1 + np.exp(-design @ beta)) - answer))

    maximum = optimize.minimize(loss, np.zeros(3), jac=slope, method="BFGS", tol=1e-12).x
    mu = 1 / (1 + np.exp(-design @ maximum))
    covariance = np.linalg.inv(design.T @ ((weight * mu * (1 - mu))[:, None] * design))

    draws = draw_many(jax.random.split(jax.random.key(4), N), rows.target(y))

    assert np.all(np.isfinite(draws))
    assert bonferroni(normal_pvalues(draws, maximum, covariance)) > FALSE_ALARM_RATE
    assert bonferroni(normal_pvalues(draws, maximum, 1.1 * covariance)) < FALSE_ALARM_RATE


@pytest.mark.parametrize("answer", [0.0, 1.0])
def test_answers_all_alike_stay_finite(answer: float) -> None:
    rows = ragged(SIZES, SEEN, 0, 3, seed=2, n_shared=(0, 2), f_live=(True, True, False))
    draws = draw_many(
        jax.random.split(jax.random.key(5), N), rows.target(np.full(len(rows.cluster), answer))
    )
    assert np.all(np.isfinite(draws))
    assert np.all(np.asarray(draws)[:, 2] == 0)
    assert np.mean(np.sign(draws[:, 0]) == np.sign(answer - 0.5)) > 0.9
