"""Newton's method for concave log-likelihoods, and draws from their normal approximation.

The number of steps is bounded and every step is checked, so that all chains run the same
program: a step that does not improve is taken back and the next one is shorter.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxmice.linalg import cholesky, eliminate, solve_lower_transposed
from jaxmice.random import normals

MAX_STEPS = 30
"""Convergence takes five to eight."""

TOLERANCE = 1e-9
"""Squared distance to the maximum, in standard errors, that counts as none."""


class Here(NamedTuple):
    """A log-likelihood, its gradient and its information at a point."""

    value: Float[Array, ""]
    score: Float[Array, " d"]
    information: Float[Array, "d d"]


def maximise(
    evaluate: Callable[[Float[Array, " d"]], Here], start: Float[Array, " d"]
) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
    """Return the maximum of a concave function and the information there.

    Parameters
    ----------
    evaluate
        The function; NaN or minus infinity stands for points that are not allowed. Its
        information must be positive definite.
    start
        An allowed point.
    """

    def unfinished(carry: tuple[Int[Array, ""], Array, Here, Array, Array]) -> Bool[Array, ""]:
        at, _, here, step, _ = carry
        return (at < MAX_STEPS) & (here.score @ step > TOLERANCE)

    def advance(
        carry: tuple[Int[Array, ""], Array, Here, Array, Array],
    ) -> tuple[Int[Array, ""], Array, Here, Array, Array]:
        at, point, here, step, damping = carry
        proposal = point + damping * step
        there = evaluate(proposal)
        # Near the maximum the gain is less than the rounding of a sum over many rows.
        slack = 8 * jnp.finfo(point.dtype).eps * jnp.abs(here.value)
        better = there.value >= here.value - slack
        point = jnp.where(better, proposal, point)
        here = jax.tree.map(lambda new, old: jnp.where(better, new, old), there, here)
        damping = jnp.where(better, jnp.minimum(2 * damping, 1), damping / 4)
        return at + 1, point, here, _step(here), damping

    here = evaluate(start)
    carry = (jnp.zeros((), int), start, here, _step(here), jnp.ones((), start.dtype))
    _, point, here, _, _ = jax.lax.while_loop(unfinished, advance, carry)
    return point, here.information


def _step(here: Here) -> Float[Array, " d"]:
    lower, half = eliminate(here.information, here.score[:, None], loop=True)
    return solve_lower_transposed(lower, half, loop=True)[:, 0]


def draw_normal(
    key: Key[Array, ""], mean: Float[Array, " d"], information: Float[Array, "d d"]
) -> Float[Array, " d"]:
    """Draw from the normal distribution with this mean and precision; uses counter 0."""
    lower = cholesky(information, loop=True)
    z = normals(key, jnp.zeros((), int), mean.shape, mean.dtype)
    return mean + solve_lower_transposed(lower, z[:, None], loop=True)[:, 0]
