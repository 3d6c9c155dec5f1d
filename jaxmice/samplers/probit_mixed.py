"""Two-level probit regression of a binary variable.

    y_ij = 1 where g_ij > 0, else 0;    g_ij = x_ij' beta + z_ij' b_j + e_ij

with ``b_j ~ N(0, Psi)`` and ``e_ij ~ N(0, 1)``. One step draws the latent variables g
given all else (Albert and Chib 1993, Journal of the American Statistical Association 88,
669-679), rescales them all, then draws (beta, b) jointly and Psi. Rescaling moves g and
the effects together along the direction in which the chain would be slow (Liu and Wu
1999, Journal of the American Statistical Association 94, 1264-1274, scheme 2).
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.random import normal_tail, once, uniforms
from jaxmice.samplers import latent, linear_mixed as lm
from jaxmice.samplers.sums import Sums
from jaxmice.target import Target


def run(
    key: Key[Array, ""],
    regression: latent.Regression,
    target: Target,
    sums: Sums,
    prior: lm.Prior,
    n_steps: Int[Array, ""],
) -> latent.Regression:
    """Take some Gibbs steps.

    Parameters
    ----------
    key
        Key, consumed.
    regression
        Where the chain stands.
    target
        The rows; ``target.y`` is 0 or 1.
    sums, prior
        The sums of the target, of which those with y are not read, and the prior.
    n_steps
        Number of steps.
    """

    def one(
        counter: Int[Array, ""], noise: lm.Noise, regression: latent.Regression
    ) -> latent.Regression:
        g = once(
            n_steps,
            lambda: draw_latent(
                uniforms(key, counter + 1, target.y.shape, jnp.float32), regression, target
            ),
            jnp.zeros_like(target.y),
        )
        return step(noise, g, regression, target, sums, prior)

    shapes = gamma_shapes(sums, prior)
    return lm.in_batches(key, shapes, sums, one, regression, n_steps)


def gamma_shapes(sums: Sums, prior: lm.Prior) -> Float[Array, " g"]:
    """Return the shapes of the gamma variates of a step."""
    return jnp.concatenate([lm.psi_shapes(sums, prior), jnp.sum(sums.n)[None] / 2])


def draw_latent(
    u: Float[Array, "K B"], regression: latent.Regression, target: Target
) -> Float[Array, "K B"]:
    """Draw the latent variables of the fitted rows; zero elsewhere."""
    side = jnp.where(target.y > 0.5, 1, -1)
    mean = side * latent.predictor(regression, target)
    return jnp.where(target.ry, side * (mean + normal_tail(u, -mean)), 0)


def step(
    noise: lm.Noise,
    g: Float[Array, "K B"],
    regression: latent.Regression,
    target: Target,
    sums: Sums,
    prior: lm.Prior,
) -> latent.Regression:
    """Draw the regression given the latent variables, after rescaling these."""
    sums = latent.read_outcome(g, target, sums).put(sums)
    growth = growth_of(noise.gammas[-1], latent.misfit(regression.root_psi, sums, prior))
    own = dataclasses.replace(noise, gammas=noise.gammas[:-1])
    return latent.regress(own, growth, regression.root_psi, sums, prior)


def growth_of(gamma: Float[Array, ""], misfit: Float[Array, ""]) -> Float[Array, ""]:
    """Return the factor whose square is a gamma variate with rate ``misfit / 2``."""
    return jnp.where(misfit > 0, jnp.sqrt(2 * gamma / jnp.where(misfit > 0, misfit, 1)), 1)
