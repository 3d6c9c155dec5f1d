"""A two-level regression of latent normal variables with unit residual variance.

    g_ij = x_ij' beta + z_ij' b_j + e_ij,    b_j ~ N(0, Psi),    e_ij ~ N(0, 1)

What the samplers of categories share. The latent variables g change in every step and
the design does not: of the sums of a visit only those that involve g are made anew.
"""

import dataclasses
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmice.linalg import (
    cluster_sums,
    draw_normal,
    solve_lower_pseudo,
    to_blocks,
    total_products,
)
from jaxmice.samplers import linear_mixed as lm
from jaxmice.samplers.sums import Sums
from jaxmice.target import Target

SLOPE_SCALE, INTERCEPT_SCALE = 2.5, 10.0
"""Deviations of the normal priors of fixed effects; scale of the half-t prior of effects."""


class Regression(eqx.Module):
    """One draw of the regression, for one chain."""

    beta: Float[Array, " p"]
    """Fixed effects of X = [Z, F]."""

    b: Float[Array, "q J"]
    """Random effects of every cluster, those without an observed row included."""

    root_psi: Float[Array, "q q"]
    """Lower Cholesky factor of Psi."""


def make_prior(target: Target) -> lm.Prior:
    """Return the prior: proper, so that separated categories leave everything finite.

    Fixed effects are normal with deviation 2.5, the intercept 10; the deviations of the
    random effects are half-t with scale 2.5 (Huang and Wand).
    """
    dtype = target.y.dtype
    q, f = target.z_live.shape[0], target.f_live.shape[0]
    column = jnp.arange(q + f)
    first = (column == 0) & target.z_intercept if q else column < 0
    intercept = first | ((column == q) & target.f_intercept)
    deviation = jnp.where(intercept, INTERCEPT_SCALE, SLOPE_SCALE).astype(dtype)
    zero = jnp.zeros((), dtype)
    return lm.Prior(
        sigma2_df=zero,
        sigma2_rate=zero,
        beta_precision=deviation**-2,
        psi_df=zero,
        psi_scale=jnp.zeros((q, q), dtype),
        half_t=jnp.full((q,), lm.HALF_T_SCALE, dtype),
    )


def start(sums: Sums) -> Regression:
    """Return no effects, and half of the residual deviation between clusters."""
    beta = jnp.zeros(sums.x_live.shape, sums.k.dtype)
    root_psi = lm.start_root(sums, jnp.ones((), sums.k.dtype))
    return Regression(beta=beta, b=jnp.zeros_like(sums.k), root_psi=root_psi)


def predictors(regressions: Regression, target: Target) -> Float[Array, "c K B"]:
    """Return the linear predictors of several regressions, stacked on a leading axis."""
    return jax.vmap(predictor, in_axes=(0, None))(regressions, target)


def predictor(regression: Regression, target: Target) -> Float[Array, "K B"]:
    """Return the linear predictor of every row."""
    q = target.z_live.shape[0]
    beta = regression.beta
    effects = to_blocks(regression.b + beta[:q, None], target.layout)
    return target.linear_predictor(effects, beta[q:])


class Outcome(NamedTuple):
    """The sums that involve the outcome; see `Sums`."""

    k: Float[Array, "q J"]
    s: Float[Array, " f"]
    rho: Float[Array, ""]

    def put(self, sums: Sums) -> Sums:
        """Return the sums of a design with this outcome."""
        return dataclasses.replace(sums, k=self.k, s=self.s, rho=self.rho)


def read_outcome(g: Float[Array, "K B"], target: Target, sums: Sums) -> Outcome:
    """Return the sums of latent variables that are zero in rows that are not fitted."""
    layout, outcome = target.layout, g[None]

    def by_cluster(columns: Float[Array, "c K B"]) -> Float[Array, "c J"]:
        # Faster than products, which copy; its rounding depends on the shape of the rows.
        return cluster_sums(columns * outcome, layout)

    z = [by_cluster(part) for part in (target.z_shared, target.z_chain) if part.shape[0]]
    f = [
        *(total_products(outcome, part)[0] for part in (target.f_shared,) if part.shape[0]),
        *(total_products(part, outcome)[:, 0] for part in (target.f_chain,) if part.shape[0]),
    ]
    q = sums.z_live.shape[0]
    k = solve_lower_pseudo(sums.root, jnp.concatenate(z)[:, None])[:, 0] if q else sums.k
    s = jnp.concatenate(f) if f else sums.s
    if f and q:
        K = sums.K[:, q:]
        if target.f_mean is not None:
            K = K - sums.root[0][:, None] * target.f_mean
        s = s - jnp.einsum("kfj,kj->f", K, k)
    rho = jnp.maximum(jnp.sum(g * g) - jnp.sum(k * k), 0)
    return Outcome(k, s, rho)


def regress(
    noise: lm.Noise,
    growth: Float[Array, ""],
    root_psi: Float[Array, "q q"],
    sums: Sums,
    prior: lm.Prior,
) -> Regression:
    """Draw the regression given the latent variables, all multiplied by ``growth``.

    The sums may be by cluster or over all rows.
    """
    one = jnp.ones_like(sums.rho)
    grown = Outcome(growth * sums.k, growth * sums.s, sums.rho).put(sums)
    beta = lm.draw_beta(noise.beta, root_psi, one, grown, prior)
    _, b = lm.draw_b(noise.b, beta, root_psi, one, grown)
    root = lm.draw_root_psi(noise.gammas, noise.psi, b, root_psi, sums, prior)
    return Regression(beta=beta, b=b, root_psi=root)


def misfit(root_psi: Float[Array, "q q"], sums: Sums, prior: lm.Prior) -> Float[Array, ""]:
    """Return ``g' V^-1 g`` with V the covariance of g given Psi alone.

    It is the least of all penalised sums of squares: that at the posterior mean of the
    effects, where the draws without noise lie. The sums may be by cluster or over all rows.
    """
    one = jnp.ones_like(sums.rho)
    precision, shift, held = lm.beta_equations(root_psi, one, sums, prior)
    none = jnp.zeros_like(shift)
    beta = jnp.where(sums.x_live, draw_normal(none, precision, shift, held), 0)
    eta, _ = lm.draw_b(jnp.zeros_like(sums.k), beta, root_psi, one, sums)
    rss = jnp.sum(sums.rho + lm.outside(beta, sums))
    rss = rss + jnp.sum(lm.misfit(eta, beta, root_psi, sums) ** 2)
    return rss + jnp.sum(held * beta**2) + jnp.sum(eta**2)
