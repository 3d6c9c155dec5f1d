"""One slice-sampling update of a scalar."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

MAX_STEPS = 16
"""Bound on stepping out, in widths, on both sides together."""


def slice_step(
    key: Key[Array, ""],
    x: Float[Array, ""],
    log_density: Callable[[Float[Array, ""]], Float[Array, ""]],
    width: Float[Array, ""],
    lower: float,
    upper: float,
) -> Float[Array, ""]:
    """Move a scalar by slice sampling with stepping out and shrinkage.

    The update leaves the density unchanged. Neal (2003), Annals of Statistics 31,
    705-767, figures 3 and 5, with the density zero outside ``(lower, upper)``.
    """
    key_height, key_place, key_share, key_shrink = jax.random.split(key, 4)

    def inside(at: Float[Array, ""], height: Float[Array, ""]) -> Array:
        return (at > lower) & (at < upper) & (log_density(at) > height)

    tiny, epsilon = jnp.finfo(x.dtype).tiny, 4 * jnp.finfo(x.dtype).eps
    height = log_density(x) + jnp.log(jax.random.uniform(key_height, (), x.dtype, minval=tiny))
    left = x - width * jax.random.uniform(key_place, (), x.dtype)
    right = left + width
    left_steps = jnp.floor(MAX_STEPS * jax.random.uniform(key_share, (), x.dtype))
    right_steps = MAX_STEPS - 1 - left_steps

    def widen(edge: Array, steps: Array, direction: int) -> Array:
        def unfinished(carry: tuple[Array, Array]) -> Array:
            return (carry[1] > 0) & inside(carry[0], height)

        def move(carry: tuple[Array, Array]) -> tuple[Array, Array]:
            return carry[0] + direction * width, carry[1] - 1

        return jax.lax.while_loop(unfinished, move, (edge, steps))[0]

    left = widen(left, left_steps, -1)
    right = widen(right, right_steps, 1)

    def rejected(carry: tuple[Array, ...]) -> Array:
        return ~carry[4]

    def shrink(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        key, left, right, _, _ = carry
        key, key_now = jax.random.split(key)
        at = left + (right - left) * jax.random.uniform(key_now, (), x.dtype)
        # An interval that rounding has closed around x holds nothing but x.
        done = inside(at, height) | (right - left < epsilon * (1 + jnp.abs(x)))
        return (
            key,
            jnp.where(done | (at >= x), left, at),
            jnp.where(done | (at < x), right, at),
            at,
            done,
        )

    start = (key_shrink, left, right, x, jnp.zeros((), bool))
    return jax.lax.while_loop(rejected, shrink, start)[3]
