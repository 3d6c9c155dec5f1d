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


class Eliminated(NamedTuple):
    """Lower Cholesky factors l of a stack of q x q matrices, and ``l^-1 rhs``.

    ``inverse[i]`` is ``1 / l[i, i]``, ``below[i]`` column i of l below its diagonal,
    ``(q - i - 1, *batch)``, and ``solved[i]`` row i of the solution, ``(k, *batch)``.
    Above `UNROLLED` rows ``whole`` holds l instead.
    """

    inverse: list[Float[Array, "*batch"]]
    below: list[Float[Array, "_ *batch"]]
    solved: list[Float[Array, "k *batch"]]
    whole: Float[Array, "q q *batch"] | None


def forward(
    a: Float[Array, "q q *batch"],
    rhs: Float[Array, "q k *batch"],
    least: Sequence[float | Array] | Float[Array, " q"] | None = None,
) -> Eliminated:
    """Factor symmetric positive definite matrices and solve with the factor.

    Parameters
    ----------
    a, rhs
        Matrices and right-hand sides.
    least
        Diagonal of a matrix that ``a`` exceeds: no pivot is smaller, and rounding makes
        none smaller. Unread above `UNROLLED` rows.
    """
    q = a.shape[0]
    if q > UNROLLED:
        whole, half = eliminate(a, rhs)
        return Eliminated([], [], list(half), whole)
    inverse, below, solved = [], [], []
    work = jnp.concatenate([a, rhs], axis=1)
    for i in range(q):
        scale = lax.rsqrt(work[0, 0] if least is None else jnp.maximum(work[0, 0], least[i]))
        row = work[0, 1:] * scale
        inverse.append(scale)
        below.append(row[: q - i - 1])
        solved.append(row[q - i - 1 :])
        work = work[1:, 1:] - row[: q - i - 1][:, None] * row[None]
    return Eliminated(inverse, below, solved, None)


def backward(
    l: Eliminated,  # noqa: E741 (the textbook's name)
    rhs: list[Float[Array, "*batch"]],
) -> list[Float[Array, "*batch"]]:
    """Solve ``l' x = rhs``; ``rhs[i]`` is row i."""
    if l.whole is not None:
        return list(solve_lower_transposed(l.whole, jnp.stack(rhs)[:, None])[:, 0])
    q = len(rhs)
    solved = list(rhs)
    for i in reversed(range(q)):
        row = rhs[i]
        for k in range(i + 1, q):
            row = row - l.below[i][k - i - 1] * solved[k]
        solved[i] = row * l.inverse[i]
    return solved
