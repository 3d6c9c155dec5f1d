"""One slice-sampling update of a scalar."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.random.bits import uniforms

MAX_STEPS = 16
"""Bound on stepping out, in widths, on both sides together."""


def slice_step(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    u: Float[Array, "3"],
    x: Float[Array, ""],
    log_density: Callable[[Float[Array, " n"]], Float[Array, " n"]],
    width: Float[Array, ""],
    lower: float,
    upper: float,
) -> Float[Array, ""]:
    """Move a scalar by slice sampling with stepping out and shrinkage.

    The update leaves the density unchanged. Neal (2003), Annals of Statistics 31,
    705-767, figures 3 and 5, with the density zero outside ``(lower, upper)``.

    Parameters
    ----------
    key
        Key whose counters the caller hands out.
    counter
        Counter of this draw; a few hundred further ones may be used.
    u
        Uniforms on (0, 1) for the height, the place and the share of the first interval.
    x
        Current value.
    log_density
        Elementwise logarithm of the density, up to a constant.
    width
        Width of the first interval; a few standard deviations are best.
    lower, upper
        Bounds of the support.
    """
    height = log_density(x[None])[0] + jnp.log(u[0])

    def inside(at: Float[Array, " n"]) -> Array:
        return (at > lower) & (at < upper) & (log_density(at) > height)

    # Both edges move at once; each has its share of the steps.
    left = x - width * u[1]
    steps = jnp.floor(MAX_STEPS * u[2])
    edges = jnp.stack([left, left + width])
    budget = jnp.stack([steps, MAX_STEPS - 1 - steps])
    direction = jnp.array([-1.0, 1.0], x.dtype) * width

    def widening(carry: tuple[Array, Array, Array]) -> Array:
        return jnp.any(carry[2])

    def widen(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        edges, budget, _ = carry
        moving = (budget > 0) & inside(edges)
        return edges + jnp.where(moving, direction, 0), budget - moving, moving

    edges, _, _ = jax.lax.while_loop(widening, widen, (edges, budget, jnp.ones((2,), bool)))
    epsilon = 4 * jnp.finfo(x.dtype).eps * (1 + jnp.abs(x))

    def shrinking(carry: tuple[Array, Array, Array, Array, Array]) -> Array:
        return ~carry[4]

    def shrink(
        carry: tuple[Array, Array, Array, Array, Array],
    ) -> tuple[Array, Array, Array, Array, Array]:
        count, left, right, _, _ = carry
        share = uniforms(key, count, (1,), x.dtype)
        at = left + (right - left) * share
        # An interval that rounding has closed around x holds nothing but x.
        done = inside(at)[0] | (right - left < epsilon)
        at = at[0]
        return count + 1, jnp.where(at < x, at, left), jnp.where(at < x, right, at), at, done

    start = (jnp.asarray(counter), edges[0], edges[1], x, jnp.zeros((), bool))
    return jax.lax.while_loop(shrinking, shrink, start)[3]
