"""Poisson draws without a loop over elements."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxmice.random.bits import uniforms, words

SMALL = 30.0
"""Largest mean whose distribution function is summed up."""

MOST = 128
"""Bound of that sum: a variate of mean 30 exceeds it once in 10^40 draws."""


def poisson(
    key: Key[Array, ""], counter: Int[Array, ""], log_mean: Float[Array, "*n"]
) -> Float[Array, "*n"]:
    """Draw Poisson variates, whole numbers in the dtype of ``log_mean``.

    Parameters
    ----------
    key
        Key whose counters the caller hands out.
    counter
        Counter of this draw; a few thousand further ones may be used.
    log_mean
        Logarithm of each mean (NaN comes back for NaN and infinity).

    Notes
    -----
    Means up to 30 by inversion of the distribution function, larger ones by transformed
    rejection: Hoermann (1993), Insurance: Mathematics and Economics 12, 39-45, algorithm
    PTRS, exact, with at least 85 % of proposals accepted.
    """
    flat = jnp.ravel(log_mean)
    small = flat <= math.log(SMALL)
    u = uniforms(key, jnp.asarray(counter), flat.shape, flat.dtype)
    low = _invert(u, jnp.exp(jnp.where(small, flat, -jnp.inf)))
    high = _reject(key, jnp.asarray(counter) + 1, jnp.where(small, math.log(SMALL), flat), ~small)
    drawn = jnp.where(small, low, high)
    return jnp.where(flat < jnp.inf, drawn, jnp.nan).reshape(log_mean.shape)


def _invert(u: Float[Array, " n"], mean: Float[Array, " n"]) -> Float[Array, " n"]:
    """Return the quantiles of u for means up to `SMALL`."""
    term = jnp.exp(-mean)

    def unfinished(carry: tuple[Array, Array, Array, Array]) -> Bool[Array, ""]:
        k, _, cumulative, _ = carry
        return jnp.any(cumulative <= u) & (k < MOST)

    def add(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        k, count, cumulative, term = carry
        term = term * mean / (k + 1)
        return k + 1, count + (cumulative <= u), cumulative + term, term

    begin = (jnp.zeros((), u.dtype), jnp.zeros_like(u), term, term)
    return jax.lax.while_loop(unfinished, add, begin)[1]


def _reject(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    log_mean: Float[Array, " n"],
    wanted: Bool[Array, " n"],
) -> Float[Array, " n"]:
    """Draw variates of large mean where they are wanted."""

    def unfinished(carry: tuple[Array, Array]) -> Bool[Array, ""]:
        return jnp.any(carry[1] == jnp.inf)

    def propose(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        at, chosen = carry
        proposal = _propose(key, at, log_mean)
        return at + 1, jnp.where(chosen == jnp.inf, proposal, chosen)

    # A mean that is no number must not keep the loop waiting.
    pending = jnp.where(wanted & (log_mean < jnp.inf), jnp.inf, 0.0).astype(log_mean.dtype)
    return jax.lax.while_loop(unfinished, propose, (counter, pending))[1]


def _propose(
    key: Key[Array, ""], counter: Int[Array, ""], log_mean: Float[Array, " n"]
) -> Float[Array, " n"]:
    """Propose every variate once; infinity where the proposal is rejected."""
    mean = jnp.exp(log_mean)
    b = 0.931 + 2.53 * jnp.sqrt(mean)
    a = -0.059 + 0.02483 * b
    first, v = words(key, counter, log_mean.shape, log_mean.dtype)
    u = first - 0.5
    inner = 0.5 - jnp.abs(u)
    k = jnp.floor((2 * a / inner + b) * u + mean + 0.43)
    height = jnp.log(v * (1.1239 + 1.1328 / (b - 3.4)) / (a / inner**2 + b))
    quick = (inner >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))
    outside = (k < 0) | ((inner < 0.013) & (v > inner))
    accepted = quick | (~outside & (height <= _log_density(jnp.maximum(k, 1), mean)))
    return jnp.where(accepted, k, jnp.inf)


def _log_density(k: Float[Array, " n"], mean: Float[Array, " n"]) -> Float[Array, " n"]:
    """Return the log probability of k, free of large terms that cancel.

    The series of the logarithm of k! is good to 1e-11 from k = 10 on; with a mean of 30
    and more, smaller values come once in 100,000 draws and smaller ones than 5 never.
    """
    gap = (mean - k) / k
    series = (1 / 12 - (1 / 360 - 1 / (1260 * k**2)) / k**2) / k
    return k * (jnp.log1p(gap) - gap) - 0.5 * jnp.log(2 * math.pi * k) - series
