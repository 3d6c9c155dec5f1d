"""The law of a regression of latent variables, and mistakes in its steps, for tests."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmice.samplers import latent, linear_mixed as lm
from jaxmice.samplers.sums import Sums
from tests.samplers.test_samplers_invariance import (
    BETA_PRECISION,
    ROWS,
    common_quantities,
    draw_effects,
    draw_root,
    laws,
    mean_of,
)
from tests.samplers.twins import Draws, Made, check_joint_law
from tests.statistics import Cdf

N_REPLICATE, N_STEP = 5_000, 3
N_SEEN = int(np.sum(ROWS.seen))
Quantities = dict[str, jax.Array]


def draw_regression(key: jax.Array) -> latent.Regression:
    """Draw effects from the prior."""
    key_psi, key_effects = jax.random.split(key)
    root = draw_root(key_psi, half_t=True)
    beta, b = draw_effects(key_effects, root)
    return latent.Regression(beta=beta, b=b, root_psi=root)


def predictor(regression: latent.Regression) -> jax.Array:
    """Return the linear predictor, row by row as in the table."""
    return mean_of(regression.beta, regression.b)


def between(key: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """Draw standard normal variates between bounds, by plain inversion of the lower tail."""
    ndtr = jax.scipy.special.ndtr
    mirrored = low > 0
    low, high = jnp.where(mirrored, -high, low), jnp.where(mirrored, -low, high)
    u = jax.random.uniform(key, low.shape, minval=1e-12)
    e = jax.scipy.special.ndtri(ndtr(low) + u * (ndtr(high) - ndtr(low)))
    return jnp.where(mirrored, -e, e)


def quantities(after: latent.Regression, e: jax.Array) -> Quantities:
    """Return what is compared, given residuals that the model says are standard normal."""
    # A missing value says nothing of its residual, which may lie where no digits are left.
    e = jnp.where(jnp.asarray(ROWS.seen), e, 0)
    return common_quantities(predictor(after) + e, after, jnp.asarray(1.0))


def regression_laws() -> dict[str, Cdf]:
    """Return the laws of `quantities`."""
    return laws(half_t=True)


COMMON = (
    "beta drops its prior",
    "effects from their marginal law",
    "psi misses a degree of freedom",
    "latent variables without random effects",
    "growth forgets the effects",
)


def common_twins(patch: pytest.MonkeyPatch, made: Made) -> None:
    """Put mistakes into the steps that all samplers share."""
    beta, effects, shapes = lm.draw_beta, lm.draw_b, lm.psi_shapes
    predict, misfit = latent.predictor, latent.misfit

    def draw_beta(
        z: jax.Array, root: jax.Array, sigma2: jax.Array, sums: Sums, prior: lm.Prior
    ) -> jax.Array:
        flat = jnp.where(made("beta drops its prior"), 0.0, prior.beta_precision)
        return beta(z, root, sigma2, sums, lm.Prior(**{**vars(prior), "beta_precision": flat}))

    def draw_b(
        z: jax.Array, beta: jax.Array, root: jax.Array, sigma2: jax.Array, sums: Sums
    ) -> tuple[jax.Array, jax.Array]:
        eta, b = effects(z, beta, root, sigma2, sums)
        marginal = jnp.where(sums.z_live[:, None] & sums.cluster_live, root @ z, 0)
        blind = made("effects from their marginal law")
        return jnp.where(blind, z, eta), jnp.where(blind, marginal, b)

    def psi_shapes(sums: Sums, prior: lm.Prior) -> jax.Array:
        right = shapes(sums, prior)
        few = right.at[:3].add(-0.5 * sums.z_live)
        return jnp.where(made("psi misses a degree of freedom"), few, right)

    def predictor(regression: latent.Regression, target: Any) -> jax.Array:
        none = made("latent variables without random effects")
        b = jnp.where(none, 0, regression.b)
        return predict(latent.Regression(regression.beta, b, regression.root_psi), target)

    def forgetful(root: jax.Array, sums: Sums, prior: lm.Prior) -> jax.Array:
        square = sums.rho + jnp.sum(sums.k**2)
        return jnp.where(made("growth forgets the effects"), square, misfit(root, sums, prior))

    for function in (draw_beta, draw_b, psi_shapes):
        patch.setattr(lm, function.__name__, function)
    patch.setattr(latent, "predictor", predictor)
    patch.setattr(latent, "misfit", forgetful)


def check(
    patch: pytest.MonkeyPatch,
    replicate: Callable[[jax.Array], Quantities],
    expected: dict[str, Cdf],
    put_twins: Callable[[pytest.MonkeyPatch, Made], None],
    twins: tuple[str, ...],
    seed: int,
) -> Draws:
    """Check the sampler and its wrong twins, the common ones too; return its draws."""

    def put_all(patch: pytest.MonkeyPatch, made: Made) -> None:
        common_twins(patch, made)
        put_twins(patch, made)

    return check_joint_law(
        patch, replicate, expected, put_all, twins, n_replicates=N_REPLICATE, seed=seed
    )


__all__ = [
    "BETA_PRECISION",
    "COMMON",
    "N_SEEN",
    "N_STEP",
    "ROWS",
    "between",
    "check",
    "draw_regression",
    "predictor",
    "quantities",
    "regression_laws",
]
