"""Stacks of small matrices, written out over the matrix and elementwise over the stack.

A stack has shape ``(q, q, ...)``: the matrix first, the batch (clusters) last. Up to
`UNROLLED` rows every operation is a short sequence of elementwise array operations,
which is many times faster than a library call per matrix; above it they are in a loop.

The library is not called at all, for single matrices neither, since ``vmap`` makes stacks
of them: jaxlib hands parts of a large stack to the threads that it may be running on, and
two calls at once then wait for each other forever on two processors (jaxlib 0.10).
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

UNROLLED = 8
"""Largest matrix that is written out; compile time grows with its square."""

CONTRACTED = 16
"""Most terms that are written out of a product; above, it is the library's (15 % slower at 15)."""


def eliminate(
    a: Float[Array, "q q *batch"],
    rhs: Float[Array, "q k *batch"],
    tolerance: float = 0.0,
    *,
    loop: bool = False,
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
    loop
        Never write the operations out: for what is not done often, to compile faster.

    Returns
    -------
    The lower factor ``l`` with ``a = l l'`` and ``l^+ rhs``, the solution with zero
    rows where a pivot is zero.
    """
    q = a.shape[0]
    if q == 0:
        return a, rhs
    if loop or q > UNROLLED:
        return _eliminate_in_loop(a, rhs, tolerance)
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


def contract(
    a: Float[Array, "k m *batch"], b: Float[Array, "k n *#batch"]
) -> Float[Array, "m n *batch"]:
    """Return ``a' b`` for every pair of matrices."""
    if len(a) > CONTRACTED:
        left, right = (jnp.moveaxis(part, (0, 1), (-2, -1)) for part in (a, b))
        return jnp.moveaxis(jnp.matmul(jnp.swapaxes(left, -1, -2), right), (-2, -1), (0, 1))
    terms = [x[:, None] * y[None] for x, y in zip(a, b, strict=True)]
    if not terms:
        return jnp.zeros((a.shape[1], b.shape[1], *a.shape[2:]), a.dtype)
    return sum(terms[1:], terms[0])


def _eliminate_in_loop(
    a: Float[Array, "q q *batch"], rhs: Float[Array, "q k *batch"], tolerance: float
) -> tuple[Float[Array, "q q *batch"], Float[Array, "q k *batch"]]:
    """Do the same row by row in a loop."""
    q = a.shape[0]
    number = jnp.arange(q)
    column = jnp.arange(q + rhs.shape[1]).reshape(-1, *[1] * (a.ndim - 2))

    def step(work: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        i, diagonal = at
        row = work[i]
        pivot = row[i]
        positive = pivot > tolerance * diagonal
        scale = jnp.where(positive, 1 / jnp.sqrt(jnp.where(positive, pivot, 1)), 0)
        row = jnp.where(column >= i, row * scale, 0)
        return work - row[:q, None] * row[None], row

    work = jnp.concatenate([a, rhs], axis=1)
    rows = lax.scan(step, work, (number, a[number, number]))[1]
    return jnp.swapaxes(rows[:, :q], 0, 1), rows[:, q:]


def cholesky(a: Float[Array, "q q *batch"], *, loop: bool = False) -> Float[Array, "q q *batch"]:
    """Return lower Cholesky factors of positive definite matrices."""
    return eliminate(a, a[:, :0], loop=loop)[0]


def solve_lower(
    l: Float[Array, "q q *batch"],  # noqa: E741 (the textbook's name)
    b: Float[Array, "q k *batch"],
    *,
    loop: bool = False,
) -> Float[Array, "q k *batch"]:
    """Solve ``l x = b`` for lower triangular ``l``."""
    q = l.shape[0]
    if q == 0:
        return b
    if loop or q > UNROLLED:
        return _solve_in_loop(jnp.swapaxes(l, 0, 1), b, backward=False)
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
    *,
    loop: bool = False,
) -> Float[Array, "q k *batch"]:
    """Solve ``l' x = b`` for lower triangular ``l``."""
    q = l.shape[0]
    if q == 0:
        return b
    if loop or q > UNROLLED:
        return _solve_in_loop(l, b, backward=True)
    rows: list[Array] = [b[0]] * q
    for i in reversed(range(q)):
        row = b[i]
        for k in range(i + 1, q):
            row = row - l[k, i] * rows[k]
        rows[i] = row / l[i, i]
    return jnp.stack(rows)


def _solve_in_loop(
    lines: Float[Array, "q q *batch"], b: Float[Array, "q k *batch"], *, backward: bool
) -> Float[Array, "q k *batch"]:
    """Solve, where ``lines[i]`` is what the other equations have of unknown i."""
    number = jnp.arange(len(b))
    place = number.reshape(-1, *[1] * (b.ndim - 2))

    def step(left: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        i, line = at
        row = left[i] / line[i]
        others = jnp.where(place == i, 0, line)
        return left - others[:, None] * row[None], row

    return lax.scan(step, b, (number, lines), reverse=backward)[1]
