"""Stacks of small matrices, written out over the matrix and elementwise over the stack.

A stack has shape ``(q, q, ...)``: the matrix first, the batch (clusters) last. Up to
`UNROLLED` rows every operation is a short sequence of elementwise array operations,
which is many times faster than a library call per matrix; above it the library is used.
"""

import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

UNROLLED = 8
"""Largest matrix that is written out; compile time grows with its square."""


def eliminate(
    a: Float[Array, "q q *batch"],
    rhs: Float[Array, "q k *batch"],
    tolerance: float = 0.0,
) -> tuple[Float[Array, "q q *batch"], Float[Array, "q k *batch"]]:
    """Factor symmetric matrices and solve with the factor, in one sweep.

    Parameters
    ----------
    a
        Symmetric positive (semi)definite matrices.
    rhs
        Right-hand sides; each column must lie in the range of its matrix where that
        is singular.
    tolerance
        A pivot not above this fraction of the matrix's own diagonal entry counts as
        zero: its column of the factor and its row of the solution are zero.

    Returns
    -------
    The lower factor ``l`` with ``a = l l'`` and ``l^+ rhs``, the solution with zero
    rows where a pivot is zero.
    """
    q = a.shape[0]
    if q == 0:
        return a, rhs
    if q > UNROLLED:
        return _eliminate_library(a, rhs, tolerance)
    diagonal = [a[i, i] for i in range(q)]
    work = jnp.concatenate([a, rhs], axis=1)
    columns, solved = [], []
    for i in range(q):
        pivot = work[0, 0]
        floor = tolerance * diagonal[i]
        # The safe value keeps the unused branch finite.
        positive = pivot > floor
        scale = jnp.where(positive, 1 / jnp.sqrt(jnp.where(positive, pivot, 1)), 0)
        row = work[0] * scale
        left = q - i
        columns.append(jnp.concatenate([jnp.zeros((i, *row.shape[1:]), row.dtype), row[:left]]))
        solved.append(row[left:])
        work = work[1:, 1:] - row[1:left][:, None] * row[None, 1:]
    return jnp.stack(columns, axis=1), jnp.stack(solved)


def _eliminate_library(
    a: Float[Array, "q q *batch"], rhs: Float[Array, "q k *batch"], tolerance: float
) -> tuple[Float[Array, "q q *batch"], Float[Array, "q k *batch"]]:
    """Do the same with a loop over columns of library-sized matrices."""
    q = a.shape[0]
    diagonal = jnp.stack([a[i, i] for i in range(q)])
    work = jnp.concatenate([a, rhs], axis=1)
    index = jnp.arange(q + rhs.shape[1]).reshape(-1, *[1] * (a.ndim - 2))
    rows = []
    for i in range(q):
        pivot = work[i, i]
        positive = pivot > tolerance * diagonal[i]
        scale = jnp.where(positive, 1 / jnp.sqrt(jnp.where(positive, pivot, 1)), 0)
        row = jnp.where(index >= i, work[i] * scale, 0)
        rows.append(row)
        work = work - row[:q, None] * row[None]
    stacked = jnp.stack(rows)
    return jnp.swapaxes(stacked[:, :q], 0, 1), stacked[:, q:]


def cholesky(a: Float[Array, "q q *batch"]) -> Float[Array, "q q *batch"]:
    """Return lower Cholesky factors of positive definite matrices."""
    return eliminate(a, a[:, :0])[0]


def solve_lower(
    l: Float[Array, "q q *batch"],  # noqa: E741 (the textbook's name)
    b: Float[Array, "q k *batch"],
) -> Float[Array, "q k *batch"]:
    """Solve ``l x = b`` for lower triangular ``l``."""
    q = l.shape[0]
    if q > UNROLLED:
        return _library_solve(l, b, trans=0)
    rows: list[Array] = []
    for i in range(q):
        row = b[i]
        for k in range(i):
            row = row - l[i, k] * rows[k]
        rows.append(row / l[i, i])
    return jnp.stack(rows)


def solve_lower_pseudo(
    l: Float[Array, "q q *batch"],  # noqa: E741
    b: Float[Array, "q k *batch"],
) -> Float[Array, "q k *batch"]:
    """Return ``l^+ b`` for a factor of `eliminate`: rows of zero pivots are zero."""
    diagonal = jnp.eye(l.shape[0], dtype=bool).reshape(*l.shape[:2], *[1] * (l.ndim - 2))
    return solve_lower(jnp.where(diagonal & (l == 0), jnp.inf, l), b)


def solve_lower_transposed(
    l: Float[Array, "q q *batch"],  # noqa: E741
    b: Float[Array, "q k *batch"],
) -> Float[Array, "q k *batch"]:
    """Solve ``l' x = b`` for lower triangular ``l``."""
    q = l.shape[0]
    if q > UNROLLED:
        return _library_solve(l, b, trans=1)
    rows: list[Array] = [b[0]] * q
    for i in reversed(range(q)):
        row = b[i]
        for k in range(i + 1, q):
            row = row - l[k, i] * rows[k]
        rows[i] = row / l[i, i]
    return jnp.stack(rows)


def _library_solve(
    l: Float[Array, "q q *batch"],  # noqa: E741
    b: Float[Array, "q k *batch"],
    trans: int,
) -> Float[Array, "q k *batch"]:
    first = jnp.moveaxis(l, (0, 1), (-2, -1))
    right = jnp.moveaxis(b, (0, 1), (-2, -1))
    solved = solve_triangular(first, right, lower=True, trans=trans)
    return jnp.moveaxis(solved, (-2, -1), (0, 1))
