"""Regressions for categories without predictors against closed forms, and wrong twins."""

from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jaxmice.samplers import logistic, multinomial, proportional_odds
from tests.samplers.rows import Rows, ragged
from tests.statistics import FALSE_ALARM_RATE, bonferroni, normal_pvalues

pytestmark = pytest.mark.usefixtures("double_precision")

N = 10_000
COUNTS = np.array([6, 20, 12])


def intercept_only() -> Rows:
    n = int(COUNTS.sum())
    return ragged((n,), (n,), 0, 2, seed=2, n_shared=(0, 1), filled=(0, 0), f_live=(True, False))


def two_categories(key: jax.Array) -> jax.Array:
    y = np.repeat([0.0, 1, 1], COUNTS)
    return logistic.draw(key, intercept_only().target(y))[:1]


def named(key: jax.Array) -> jax.Array:
    y = np.repeat([0.0, 1, 2], COUNTS)
    return multinomial.draw(key, intercept_only().target(y), 3).beta[jnp.array([0, 2]), 0]


def ordered(key: jax.Array) -> jax.Array:
    y = np.repeat([0.0, 1, 2], COUNTS)
    cuts = proportional_odds.draw(key, intercept_only().target(y), 3).cuts
    return jnp.stack([cuts[0], jnp.log(cuts[1] - cuts[0])])


def law(module: ModuleType) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance by the delta method, exact for a saturated model."""
    n, (first, second, third) = COUNTS.sum(), COUNTS
    if module is logistic:
        return np.log([(n - first) / first]), np.array([[1 / first + 1 / (n - first)]])
    if module is multinomial:
        return np.log([first / second, third / second]), 1 / second + np.diag(
            [1 / first, 1 / third]
        )
    below = np.cumsum(COUNTS)[:2] / n
    slope = np.diag(1 / (below * (1 - below)))
    spread = slope @ (np.minimum.outer(below, below) - np.outer(below, below)) @ slope / n
    cuts = special.logit(below)
    gap = cuts[1] - cuts[0]
    turn = np.array([[1, 0], [-1 / gap, 1 / gap]])
    return np.array([cuts[0], np.log(gap)]), turn @ spread @ turn.T


@pytest.mark.parametrize(
    ("module", "draw"),
    [(logistic, two_categories), (multinomial, named), (proportional_odds, ordered)],
)
def test_draws_follow_the_closed_form_and_a_wrong_twin_does_not(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, draw
) -> None:
    """The twin takes the curvature at no effects, or coefficients as if independent."""
    maximise = module.maximise

    @jax.jit
    def many(keys: jax.Array, wrong: jax.Array) -> jax.Array:
        def twin(evaluate, start):
            point, information = maximise(evaluate, start)
            mistaken = evaluate(start).information
            if len(start) > 2:
                mistaken = jnp.diag(jnp.diag(information))
            return point, jnp.where(wrong, mistaken, information)

        monkeypatch.setattr(module, "maximise", twin)
        return jax.vmap(lambda key: draw(key))(keys)

    keys = jax.random.split(jax.random.key(6), N)
    right, wrong = (np.asarray(many(keys, jnp.asarray(mistake))) for mistake in (False, True))
    assert bonferroni(normal_pvalues(right, *law(module))) > FALSE_ALARM_RATE
    assert bonferroni(normal_pvalues(wrong, *law(module))) < FALSE_ALARM_RATE
