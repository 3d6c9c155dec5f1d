"""The logarithm in short arithmetic, which fuses where XLA's own does not."""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

ROOT_HALF = 0x3FE6A09E667F3BCD
"""Bits of the square root of one half."""

TERMS = 10
"""Terms of the series of log((1 + t) / (1 - t)); the rest is below rounding for |t| < 0.172."""


def log(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return logarithms of positive normal numbers, to rounding; others give garbage.

    In double precision about three times as fast as `jnp.log` by itself, and no call that
    keeps what surrounds it from fusing.
    """
    if x.dtype != jnp.float64:
        return jnp.log(x)
    bits = lax.bitcast_convert_type(x, jnp.int64)
    # x = 2^power m with m between the roots of one half and of two.
    power = (bits - ROOT_HALF) >> 52
    m = lax.bitcast_convert_type(bits - (power << 52), jnp.float64)
    t = (m - 1) / (m + 1)
    square, total = t * t, jnp.full_like(t, 1 / (2 * TERMS - 1))
    for k in reversed(range(TERMS - 1)):
        total = total * square + 1 / (2 * k + 1)
    return power.astype(jnp.float64) * math.log(2) + 2 * t * total
