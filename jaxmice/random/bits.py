"""Random numbers by counter: one short elementwise program, no state, no splitting.

The generator is Threefry-2x32 with 20 rounds, the one behind JAX's own keys (Salmon,
Moraes, Dror and Shaw 2011, Parallel random numbers: as easy as 1, 2, 3, SC11). JAX's
calls are compiled to loops of their own, each with a cost in compile and run time;
inside a Gibbs step, which draws a few small arrays hundreds of times, writing the rounds
out lets them fuse with the arithmetic that uses them.

A draw is addressed by (key, counter, place in the array). A counter must not be used
twice with one key.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


def threefry(k0: Any, k1: Any, x0: Any, x1: Any) -> tuple[Any, Any]:
    """Return two words of random bits for every pair of counter words.

    Works on arrays of 32-bit words of JAX and of numpy alike. With a first counter word
    of zero the result is the key that `jax.random.fold_in` derives from the second.
    """
    words = (k0, k1, k0 ^ k1 ^ np.uint32(PARITY))
    x0, x1 = x0 + words[0], x1 + words[1]
    for group in range(5):
        for turn in ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = (x1 << np.uint32(turn)) | (x1 >> np.uint32(32 - turn))
            x1 = x0 ^ x1
        x0 = x0 + words[(group + 1) % 3]
        x1 = x1 + words[(group + 2) % 3] + np.uint32(group + 1)
    return x0, x1


def uniforms(
    key: Key[Array, ""], counter: Int[Array, "*b"], shape: tuple[int, ...], dtype: jnp.dtype
) -> Float[Array, "..."]:
    """Draw uniforms on the open interval (0, 1).

    Parameters
    ----------
    key
        Key whose counters the caller hands out.
    counter
        Counter of this draw; or several, which are several draws: a leading axis.
    shape, dtype
        Shape of a draw, of fewer than 2^32 elements, and dtype. The element at a place is
        the same for every shape that has the same trailing axes.
    """
    place = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    first = jnp.asarray(counter).astype(jnp.uint32)
    first = first.reshape(first.shape + (1,) * len(shape))
    first, place = jnp.broadcast_arrays(first, place)
    word = jax.random.key_data(key)
    high, low = threefry(word[0], word[1], first, place)
    if dtype == jnp.float64:
        bits = (high.astype(jnp.uint64) << jnp.uint64(32)) | low.astype(jnp.uint64)
        mantissa = (bits >> jnp.uint64(12)) | jnp.uint64(0x3FF0000000000000)
        # Half a step up: the centre of its interval, so neither 0 nor 1.
        return jax.lax.bitcast_convert_type(mantissa, jnp.float64) - (1 - 2.0**-53)
    mantissa = (high >> jnp.uint32(9)) | jnp.uint32(0x3F800000)
    return jax.lax.bitcast_convert_type(mantissa, jnp.float32) - jnp.float32(1 - 2.0**-24)


def normals(
    key: Key[Array, ""], counter: Int[Array, "*b"], shape: tuple[int, ...], dtype: jnp.dtype
) -> Float[Array, "..."]:
    """Draw standard normals by inversion; arguments as for `uniforms`."""
    return to_normal(uniforms(key, counter, shape, dtype))


def to_normal(u: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Turn uniforms on (0, 1) into standard normals."""
    return math.sqrt(2) * jax.lax.erf_inv(2 * u - 1)
