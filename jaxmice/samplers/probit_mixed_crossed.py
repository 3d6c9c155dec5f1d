"""Probit regression of a binary variable with the effects of several factors.

    y_i = 1 where g_i > 0, else 0;    g_i as y_i of `linear_mixed_crossed`, sigma2 = 1

One step draws the latent variables g given all else (Albert and Chib 1993, Journal of the
American Statistical Association 88, 669-679), then the effects of all factors and their
covariances as for any normal response.
"""

from dataclasses import replace

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.random import normal_tail, once, uniforms
from jaxmice.samplers import linear_mixed as lm, linear_mixed_crossed as crossed


def start(data: crossed.Data) -> crossed.Parameters:
    """Return a start: no effects, and half of the residual deviation in every factor."""
    begun = crossed.start(data)
    one = jnp.ones_like(begun.first.sigma2)
    first = replace(begun.first, sigma2=one, root_psi=lm.start_root(data.first, one))
    further = tuple(
        crossed.Effects(effects.u, lm.start_root(sums, one))
        for effects, sums in zip(begun.further, data.further, strict=True)
    )
    return crossed.Parameters(first, further)


def run(
    key: Key[Array, ""],
    parameters: crossed.Parameters,
    data: crossed.Data,
    prior: crossed.Prior,
    n_steps: Int[Array, ""],
) -> crossed.Parameters:
    """Take some Gibbs steps; ``data.target.y`` is 0 or 1, the rest as for the normal model."""
    target = data.target

    def one(
        counter: Int[Array, ""], noise: lm.Noise, parameters: crossed.Parameters
    ) -> crossed.Parameters:
        own = crossed.further_noise(key, counter, noise.gammas, data, prior, n_steps)
        at = counter + 1 + len(target.factors)
        residuals = once(
            n_steps,
            lambda: draw_residuals(
                uniforms(key, at, target.y.shape, jnp.float32), parameters, data
            ),
            jnp.zeros_like(target.y),
        )
        parameters, _ = crossed.draw_effects(noise, own, parameters, residuals, data, prior)
        return crossed.draw_covariances(noise, own, parameters, data, prior)

    shapes = crossed.gamma_shapes(data, prior)
    return lm.in_batches(key, shapes, data.first, one, parameters, n_steps)


def draw_residuals(
    u: Float[Array, "K B"], parameters: crossed.Parameters, data: crossed.Data
) -> Float[Array, "K B"]:
    """Draw the latent variables of the fitted rows less their expectation; zero elsewhere."""
    target = data.target
    side = jnp.where(target.y > 0.5, 1, -1)
    mean = side * crossed.fitted(parameters, target)
    return jnp.where(target.ry, side * normal_tail(u, -mean), 0)
