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
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt32

from jaxmice.random.logarithm import log

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
    key: Key[Array, ""], counter: Int[Array, ""], shape: tuple[int, ...], dtype: jnp.dtype
) -> Float[Array, "..."]:
    """Draw uniforms on the open interval (0, 1).

    Parameters
    ----------
    key
        Key whose counters the caller hands out.
    counter
        Counter of this draw.
    shape, dtype
        Shape, of fewer than 2^32 elements, and dtype. The element at a place is the same
        for every shape that has the same trailing axes.
    """
    high, low = _bits(key, counter, shape)
    if dtype == jnp.float64:
        bits = (high.astype(jnp.uint64) << jnp.uint64(32)) | low.astype(jnp.uint64)
        mantissa = (bits >> jnp.uint64(12)) | jnp.uint64(0x3FF0000000000000)
        # Half a step up: the centre of its interval, so neither 0 nor 1.
        return jax.lax.bitcast_convert_type(mantissa, jnp.float64) - (1 - 2.0**-53)
    mantissa = (high >> jnp.uint32(9)) | jnp.uint32(0x3F800000)
    return jax.lax.bitcast_convert_type(mantissa, jnp.float32) - jnp.float32(1 - 2.0**-24)


def once(
    bound: Int[Array, ""], draw: Callable[[], Float[Array, "*n"]], blank: Float[Array, "*n"]
) -> Float[Array, "*n"]:
    """Evaluate a draw in a loop of one turn; ``blank`` has its shape.

    What leaves a loop exists in memory. Otherwise XLA repeats the arithmetic of a random
    number in everything that uses it: several times the compile and run time. The bound,
    one or more, must be traced, or XLA would take the loop apart.
    """
    return jax.lax.fori_loop(0, jnp.minimum(bound, 1), lambda _, __: draw(), blank)


def words(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    shape: tuple[int, ...],
    dtype: jnp.dtype,
    place: UInt32[Array, "..."] | None = None,
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Draw two uniforms on (0, 1) for every place, on a grid of 2^-32 (float32: 2^-23).

    Arguments as for `uniforms`, and ``place``, the second part of the address of every
    element; by default its place in the array, row by row.
    """
    n_bits = 32 if dtype == jnp.float64 else 23
    pair = _bits(key, counter, shape, place)
    high, low = (word >> np.uint32(32 - n_bits) for word in pair)
    step = jnp.asarray(2.0**-n_bits, dtype)
    return (high.astype(dtype) + 0.5) * step, (low.astype(dtype) + 0.5) * step


def _bits(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    shape: tuple[int, ...],
    place: UInt32[Array, "..."] | None = None,
) -> Any:
    """Return two random words of 32 bits for every place of a draw."""
    if place is None:
        place = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    first = jnp.full(shape, counter).astype(jnp.uint32)
    word = jax.random.key_data(key)
    return threefry(word[0], word[1], first, place)


def normals(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    shape: tuple[int, ...],
    dtype: jnp.dtype,
    place: UInt32[Array, "..."] | None = None,
) -> Float[Array, "..."]:
    """Draw standard normals; arguments as for `words`.

    Values reach 6.7 (float32: 5.8), beyond which a normal variate falls once in 10^10
    (10^8) draws.
    """
    return box_muller(*words(key, counter, shape, dtype, place))


def row_words(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    shape: tuple[int, ...],
    dtype: jnp.dtype,
) -> tuple[Float[Array, "k *n"], Float[Array, "k *n"]]:
    """Draw two uniforms, as `words`, for some numbers of every row.

    Parameters
    ----------
    key, counter, dtype
        See `uniforms`.
    shape
        (k, *n): k pairs for every row. Addressed by row within a pair: rows that fill up
        the shape at its end move no number.
    """
    k, n = shape[0], math.prod(shape[1:])
    begin = jax.lax.iota(jnp.uint32, k) * np.uint32(2**32 // max(k, 2))
    place = begin[:, None] + jax.lax.iota(jnp.uint32, n)
    first, second = words(key, counter, (k, n), dtype, place)
    return first.reshape(shape), second.reshape(shape)


def row_uniforms(
    key: Key[Array, ""], counter: Int[Array, ""], shape: tuple[int, ...], dtype: jnp.dtype
) -> Float[Array, "k *n"]:
    """Draw uniforms on (0, 1), some for every row; arguments as for `row_words`."""
    half = (-(-shape[0] // 2), *shape[1:])
    return jnp.concatenate(row_words(key, counter, half, dtype))[: shape[0]]


def row_normals(
    key: Key[Array, ""], counter: Int[Array, ""], shape: tuple[int, ...], dtype: jnp.dtype
) -> Float[Array, "k *n"]:
    """Draw standard normals, some for every row; arguments as for `row_words`."""
    half = (-(-shape[0] // 2), *shape[1:])
    return jnp.concatenate(box_muller_pair(*row_words(key, counter, half, dtype)))[: shape[0]]


def box_muller(radius: Float[Array, "*n"], angle: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Turn pairs of uniforms on (0, 1) into one standard normal each.

    Box and Muller (1958), Annals of Mathematical Statistics 29, 610-611. Some times
    faster than inversion in double precision.
    """
    # cos(pi v) = 1 - 2 sin(pi v / 2)^2, and half a turn is enough for its law.
    return jnp.sqrt(-2 * log(radius)) * (1 - 2 * _sine(angle) ** 2)


def box_muller_pair(
    radius: Float[Array, "*n"], angle: Float[Array, "*n"]
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Turn pairs of uniforms on (0, 1) into two independent standard normals each."""
    # Cosine and sine of a full turn from the sine of half of it.
    sine = _sine(2 * angle - 1)
    length = jnp.sqrt(-2 * log(radius))
    square = sine * sine
    across = 2 * sine * jnp.sqrt(jnp.maximum(1 - square, 0))
    return length * (1 - 2 * square), length * across


def _sine(v: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return sin(pi v / 2) for v in (-1, 1) by its series, to 1e-13."""
    square = v * v
    total = jnp.zeros_like(v)
    for power in reversed(range(1, 20, 2)):
        term = (-1) ** (power // 2) * (math.pi / 2) ** power / math.factorial(power)
        total = total * square + term
    return total * v
