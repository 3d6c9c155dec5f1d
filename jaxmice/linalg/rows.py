"""Gaussian elimination on stacks of small matrices, for inner loops.

Like `jaxmice.linalg.small`, but for matrices that are bounded away from singularity, and
with the factor kept in pieces: what the back substitution needs and no more.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxmice.linalg.small import UNROLLED, eliminate, solve_lower_transposed

Pivots = Sequence[float | Array] | Float[Array, " q"] | None


class Eliminated(NamedTuple):
    """Lower Cholesky factors l of a stack of q x q matrices, and ``l^-1 rhs``.

    ``inverse[i]`` is ``1 / l[i, i]``, ``below[i]`` column i of l below its diagonal,
    ``(q - i - 1, *batch)``, and ``solved[i]`` row i of the solution, ``(k, *batch)``.
    """

    inverse: list[Float[Array, "*batch"]]
    below: list[Float[Array, "_ *batch"]]
    solved: list[Float[Array, "k *batch"]]


def solve_half(
    a: Float[Array, "q q *batch"], rhs: Float[Array, "q k *batch"], least: Pivots = None
) -> Float[Array, "k q *batch"]:
    """Return ``(l^-1 rhs)'`` with the lower Cholesky factors l of positive definite matrices.

    Parameters
    ----------
    a, rhs
        Matrices and right-hand sides.
    least
        Diagonal of a matrix that ``a`` exceeds: no pivot is smaller, and rounding makes
        none smaller. Unread above `UNROLLED` rows.
    """
    if a.shape[0] > UNROLLED:
        return jnp.swapaxes(eliminate(a, rhs)[1], 0, 1)
    return jnp.stack(_forward(a, rhs, least).solved, axis=1)


def draw_normal(
    z: Float[Array, "q *batch"],
    precision: Float[Array, "q q *batch"],
    shift: Float[Array, "q *batch"],
    least: Pivots = None,
) -> Float[Array, "q *batch"]:
    """Draw from normal distributions given by their precision and precision times mean.

    Parameters
    ----------
    z
        Standard normal variates.
    precision, shift
        Precision, and its product with the mean.
    least
        See `solve_half`.
    """
    if z.shape[0] > UNROLLED:
        lower, mean = eliminate(precision, shift[:, None])
        return solve_lower_transposed(lower, mean + z[:, None])[:, 0]
    half = _forward(precision, shift[:, None], least)
    return jnp.stack(_backward(half, [row[0] + z[i] for i, row in enumerate(half.solved)]))


def _forward(
    a: Float[Array, "q q *batch"], rhs: Float[Array, "q k *batch"], least: Pivots
) -> Eliminated:
    q = a.shape[0]
    inverse, below, solved = [], [], []
    work = jnp.concatenate([a, rhs], axis=1)
    for i in range(q):
        scale = lax.rsqrt(work[0, 0] if least is None else jnp.maximum(work[0, 0], least[i]))
        row = work[0, 1:] * scale
        inverse.append(scale)
        below.append(row[: q - i - 1])
        solved.append(row[q - i - 1 :])
        work = work[1:, 1:] - row[: q - i - 1][:, None] * row[None]
    return Eliminated(inverse, below, solved)


def _backward(
    l: Eliminated,  # noqa: E741 (the textbook's name)
    rhs: list[Float[Array, "*batch"]],
) -> list[Float[Array, "*batch"]]:
    """Solve ``l' x = rhs``; ``rhs[i]`` is row i."""
    q = len(rhs)
    solved = list(rhs)
    for i in reversed(range(q)):
        row = rhs[i]
        for k in range(i + 1, q):
            row = row - l.below[i][k - i - 1] * solved[k]
        solved[i] = row * l.inverse[i]
    return solved
