"""Two-level cumulative probit regression of an ordered variable with K categories.

    y_ij = k where c_k-1 < g_ij <= c_k;    g_ij = x_ij' beta + z_ij' b_j + e_ij

with ``b_j ~ N(0, Psi)``, ``e_ij ~ N(0, 1)``, c_0 at minus and c_K at plus infinity and
c_1 = 0. Thresholds are kept as logarithms of the widths of the categories between the
first and the last, each normal a priori. One step moves them by Metropolis with the
latent variables g integrated out (Cowles 1996, Statistics and Computing 6, 101-111,
proposes on the scale of the thresholds), then draws g given all else (Albert and Chib
1993, Journal of the American Statistical Association 88, 669-679, section 4), rescales g
and the widths together, then draws (beta, b) jointly and Psi.

A category without an observed value has no width: it is never drawn, and no threshold
depends on it.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jaxtyping import Array, Bool, Float, Int, Key

from jaxmice.linalg import cholesky, solve_lower_transposed
from jaxmice.random import log_interval, normals, once, truncated_normals, uniforms
from jaxmice.samplers import latent, linear_mixed as lm, probit_mixed
from jaxmice.samplers.sums import Sums
from jaxmice.target import Target

WIDTH_DEVIATION = 1.5
"""Prior deviation of the logarithm of a width."""

JUMPS = (1.0, 0.3)
"""Sizes of the Metropolis moves of one step, in units of the usual one.

The usual size suits a guess of the posterior covariance; the smaller one helps where the
guess is too wide.
"""


class Parameters(eqx.Module):
    """One draw of the parameters, for one chain."""

    regression: latent.Regression
    """Effects."""

    log_width: Float[Array, " k"]
    """Logarithm of the width of each category; read for those between two others."""


class Categories(eqx.Module):
    """What is known of the categories before anything is drawn."""

    start: Float[Array, " k"]
    """Widths that reproduce the observed shares, in logarithms."""

    jump: Float[Array, "k k"]
    """Root of the covariance of the usual Metropolis move."""

    first: Int[Array, ""]
    """First category with an observed value."""

    last: Int[Array, ""]
    """Last category with an observed value."""

    inner: Bool[Array, " k"]
    """Categories with an observed value between these."""


def read_categories(target: Target, n_categories: int) -> Categories:
    """Return what the fitted rows tell about the categories.

    The covariance of the moves is the inverse information on the widths in a sample
    without predictors that has the same shares.
    """
    dtype, k = target.y.dtype, jnp.arange(n_categories)
    count = jnp.stack([jnp.sum(target.ry & (target.y == i)) for i in range(n_categories)])
    seen = count > 0
    first, last = jnp.argmax(seen), n_categories - 1 - jnp.argmax(seen[::-1])
    inner = seen & (k > first) & (k < last)
    n = jnp.maximum(jnp.sum(count), 1).astype(dtype)
    share = jnp.where(seen, count, 1) / n
    below = jnp.clip(jnp.cumsum(count) / n, 0.5 / n, 1 - 0.5 / n)
    upper = ndtri(below)
    width = jnp.where(inner, upper - jnp.concatenate([upper[:1], upper[:-1]]), 1)
    density = jnp.where((k >= first) & (k < last), jnp.exp(-0.5 * upper**2), 0)
    density = density / (2 * jnp.pi) ** 0.5
    # How the upper threshold of a category, and so its share, changes with a width.
    moved = density[:, None] * jnp.where(inner & (k <= k[:, None]), width, 0)
    change = moved - jnp.concatenate([jnp.zeros_like(moved[:1]), moved[:-1]])
    change = jnp.where(seen[:, None], change, 0)
    information = change.T @ (change * (n / share)[:, None])
    information = information + jnp.diag(jnp.where(inner, WIDTH_DEVIATION**-2, 1).astype(dtype))
    lower = cholesky(information)
    root = solve_lower_transposed(lower, jnp.eye(n_categories, dtype=dtype))
    scale = 2.4 / jnp.sqrt(jnp.maximum(jnp.sum(inner), 1))
    return Categories(
        start=jnp.log(width),
        jump=jnp.where(inner[:, None] & inner, scale * root, 0),
        first=first,
        last=last,
        inner=inner,
    )


def thresholds(log_width: Float[Array, " k"], categories: Categories) -> Float[Array, " k"]:
    """Return the upper threshold of every category."""
    k = jnp.arange(log_width.shape[0])
    upper = jnp.cumsum(jnp.where(categories.inner, jnp.exp(log_width), 0))
    upper = jnp.where(k < categories.first, -jnp.inf, upper)
    return jnp.where(k < categories.last, upper, jnp.inf)


def start(sums: Sums, categories: Categories) -> Parameters:
    """Return a start: no effects, and the widths of the observed shares."""
    return Parameters(regression=latent.start(sums), log_width=categories.start)


def run(
    key: Key[Array, ""],
    parameters: Parameters,
    target: Target,
    sums: Sums,
    prior: lm.Prior,
    categories: Categories,
    n_steps: Int[Array, ""],
) -> Parameters:
    """Take some steps.

    Parameters
    ----------
    key
        Key, consumed.
    parameters
        Where the chain stands.
    target
        The rows; ``target.y`` is a category from 0 on.
    sums, prior
        The sums of the target, of which those with y are not read, and the prior.
    categories
        What `read_categories` returned.
    n_steps
        Number of steps.
    """
    dtype, n_categories = target.y.dtype, categories.inner.shape[0]

    def one(counter: Int[Array, ""], noise: lm.Noise, parameters: Parameters) -> Parameters:
        regression, log_width = parameters.regression, parameters.log_width
        eta = once(n_steps, lambda: latent.predictor(regression, target), jnp.zeros_like(target.y))
        chances = uniforms(key, counter + 3, (len(JUMPS) + 1,), dtype)
        if n_categories > 2:
            z = normals(key, counter + 2, (len(JUMPS), n_categories), dtype)
            log_width = move_widths(z, chances[1:], log_width, eta, target, categories)
        g = once(
            n_steps,
            lambda: draw_latent(
                uniforms(key, counter + 1, target.y.shape, jnp.float32),
                eta,
                thresholds(log_width, categories),
                target,
            ),
            jnp.zeros_like(target.y),
        )
        moved = Parameters(regression, log_width)
        return step(noise, chances[0], g, moved, target, sums, prior, categories)

    shapes = probit_mixed.gamma_shapes(sums, prior)
    return lm.in_batches(key, shapes, sums, one, parameters, n_steps)


def bounds(
    upper: Float[Array, " k"], target: Target
) -> tuple[Float[Array, "K B"], Float[Array, "K B"]]:
    """Return the thresholds around the category of every row."""
    low, high = jnp.full_like(target.y, -jnp.inf), jnp.full_like(target.y, upper[0])
    for k in range(1, upper.shape[0]):
        low = jnp.where(target.y == k, upper[k - 1], low)
        high = jnp.where(target.y == k, upper[k], high)
    return low, high


def draw_latent(
    u: Float[Array, "K B"], eta: Float[Array, "K B"], upper: Float[Array, " k"], target: Target
) -> Float[Array, "K B"]:
    """Draw the latent variables of the fitted rows; zero elsewhere."""
    low, high = bounds(upper, target)
    return jnp.where(target.ry, eta + truncated_normals(u, low - eta, high - eta), 0)


def log_density(
    log_width: Float[Array, " k"],
    eta: Float[Array, "K B"],
    target: Target,
    categories: Categories,
) -> Float[Array, ""]:
    """Return the log posterior density of the widths given the effects, up to a constant.

    Single precision is enough for the probability of a row.
    """
    around = bounds(thresholds(log_width, categories), target)
    low, high = ((bound - eta).astype(jnp.float32) for bound in around)
    rows = jnp.where(target.ry, log_interval(low, high), 0).astype(eta.dtype)
    return jnp.sum(rows) + log_prior(log_width, categories)


def log_prior(log_width: Float[Array, " k"], categories: Categories) -> Float[Array, ""]:
    """Return the log prior density of the widths, up to a constant."""
    return -0.5 * jnp.sum(jnp.where(categories.inner, log_width / WIDTH_DEVIATION, 0) ** 2)


def move_widths(
    z: Float[Array, "s k"],
    chances: Float[Array, " s"],
    log_width: Float[Array, " k"],
    eta: Float[Array, "K B"],
    target: Target,
    categories: Categories,
) -> Float[Array, " k"]:
    """Take Metropolis steps of the widths with the latent variables integrated out."""
    # The first turn does not move but finds the density here: one copy of it is compiled.
    sizes = jnp.asarray((0.0, *JUMPS), z.dtype)
    z = jnp.concatenate([jnp.zeros_like(z[:1]), z])
    chances = jnp.concatenate([jnp.ones_like(chances[:1]), chances])

    def move(
        i: Int[Array, ""], carry: tuple[Float[Array, " k"], Float[Array, ""]]
    ) -> tuple[Float[Array, " k"], Float[Array, ""]]:
        here, value = carry
        there = here + sizes[i] * categories.jump @ z[i]
        proposed = log_density(there, eta, target, categories)
        accept = jnp.log(chances[i]) < proposed - value
        return jnp.where(accept, there, here), jnp.where(accept, proposed, value)

    begin = (log_width, jnp.asarray(-jnp.inf, z.dtype))
    return jax.lax.fori_loop(0, len(sizes), move, begin)[0]


def step(
    noise: lm.Noise,
    chance: Float[Array, ""],
    g: Float[Array, "K B"],
    parameters: Parameters,
    target: Target,
    sums: Sums,
    prior: lm.Prior,
    categories: Categories,
) -> Parameters:
    """Draw the effects given the latent variables, after rescaling these and the widths.

    The factor is drawn as if the widths had no prior and accepted by their prior.
    """
    root, log_width = parameters.regression.root_psi, parameters.log_width
    sums = latent.read_outcome(g, target, sums).put(sums)
    growth = probit_mixed.growth_of(noise.gammas[-1], latent.misfit(root, sums, prior))
    grown = jnp.where(categories.inner, log_width + jnp.log(growth), log_width)
    accept = jnp.log(chance) < log_prior(grown, categories) - log_prior(log_width, categories)
    own = dataclasses.replace(noise, gammas=noise.gammas[:-1])
    return Parameters(
        regression=latent.regress(own, jnp.where(accept, growth, 1), root, sums, prior),
        log_width=jnp.where(accept, grown, log_width),
    )
