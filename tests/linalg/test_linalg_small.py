"""Stacks of small matrices against numpy's linear algebra, one matrix at a time."""

import re
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmice.linalg import (
    UNROLLED,
    cholesky,
    contract,
    draw_normal,
    eigh,
    eliminate,
    least_squares,
    solve_half,
    solve_lower,
    solve_lower_pseudo,
    solve_lower_transposed,
)
from jaxmice.linalg.library import COST, LARGEST

CASES = (
    ("float64", 1),
    ("float64", 3),
    ("float64", 8),
    ("float64", 10),
    ("float32", 4),
    ("float32", 9),
)
"""Precision and size, both written out and in a loop."""

BATCH, COLUMNS = 5, 2

TOLERANCE = {"float64": 1e-11, "float32": 2e-3}
"""Rounding times the condition number, at most about 1e4 (1e3 in 32 bits) here."""


@pytest.fixture
def dtype(request: pytest.FixtureRequest) -> Iterator[str]:
    with jax.enable_x64(request.param == "float64"):
        yield request.param


def cases(*selected: tuple[str, int]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("dtype", "q"), selected, indirect=["dtype"])


def spread(rng: np.random.Generator, q: int, rank: int) -> np.ndarray:
    """Return matrices (BATCH, q, q) of a rank, of different sizes."""
    factor = rng.normal(size=(BATCH, q, rank))
    full = factor @ np.swapaxes(factor, 1, 2)
    if rank == q:
        full = full + 0.1 * np.eye(q)
    return full * np.logspace(-1, 1, BATCH)[:, None, None]


def last(stack: np.ndarray, dtype: str) -> jax.Array:
    """Put the batch axis last, where the package wants it."""
    return jnp.asarray(np.moveaxis(stack, 0, -1), dtype)


def first(stack: jax.Array) -> np.ndarray:
    return np.moveaxis(np.asarray(stack), -1, 0)


def close(actual: np.ndarray, expected: np.ndarray, dtype: str) -> None:
    scale = np.max(np.abs(expected)) or 1.0
    np.testing.assert_allclose(actual / scale, expected / scale, atol=TOLERANCE[dtype], rtol=0)


def test_sizes_take_both_branches() -> None:
    assert {q <= UNROLLED for _, q in CASES} == {True, False}


@cases(*CASES)
def test_factors_and_solutions_are_those_of_numpy(q: int, dtype: str) -> None:
    rng = np.random.default_rng(q)
    a, b = spread(rng, q, q), rng.normal(size=(BATCH, q, COLUMNS))
    lower = np.linalg.cholesky(a)

    @jax.jit
    def everything(a: jax.Array, b: jax.Array) -> tuple[jax.Array, ...]:
        factor, half = eliminate(a, b)
        full = solve_lower_transposed(factor, half)
        return factor, half, full, cholesky(a), solve_lower(factor, b)

    factor, half, full, also_factor, also_half = everything(last(a, dtype), last(b, dtype))

    close(first(factor), lower, dtype)
    close(first(also_factor), lower, dtype)
    close(first(half), np.linalg.solve(lower, b), dtype)
    close(first(also_half), np.linalg.solve(lower, b), dtype)
    close(first(full), np.linalg.solve(a, b), dtype)
    assert factor.dtype == half.dtype == full.dtype == dtype
    assert np.all(np.triu(first(factor), 1) == 0)


@cases(*CASES, ("float64", 20))
@pytest.mark.parametrize("batch", [1, BATCH])
def test_contractions_are_those_of_numpy(q: int, dtype: str, batch: int) -> None:
    rng = np.random.default_rng(q)
    a, b = rng.normal(size=(BATCH, q, 3)), rng.normal(size=(batch, q, COLUMNS))
    product = contract(last(a, dtype), last(b, dtype))
    close(first(product), np.swapaxes(a, 1, 2) @ b, dtype)
    assert product.dtype == dtype


@cases(("float64", 1), ("float64", 4), ("float64", 9), ("float32", 3))
def test_the_factor_in_pieces_solves_the_same(q: int, dtype: str) -> None:
    rng = np.random.default_rng(q)
    a, b = spread(rng, q, q), rng.normal(size=(BATCH, q, COLUMNS))

    @jax.jit
    def both(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
        mean = draw_normal(jnp.zeros_like(b[:, 0]), a, b[:, 0])
        return jnp.swapaxes(solve_half(a, b), 0, 1), mean

    half, full = both(last(a, dtype), last(b, dtype))

    close(first(half), np.linalg.solve(np.linalg.cholesky(a), b), dtype)
    close(first(full), np.linalg.solve(a, b)[:, :, 0], dtype)


@cases(("float64", 3), ("float64", 9))
def test_one_matrix_needs_no_batch_axis(q: int, dtype: str) -> None:
    rng = np.random.default_rng(q)
    a, b = spread(rng, q, q)[0], rng.normal(size=(q, COLUMNS))

    factor, half = eliminate(jnp.asarray(a, dtype), jnp.asarray(b, dtype))

    close(np.asarray(factor), np.linalg.cholesky(a), dtype)
    close(np.asarray(solve_lower_transposed(factor, half)), np.linalg.solve(a, b), dtype)


@cases(("float64", 4), ("float64", 9), ("float32", 3))
def test_singular_matrices_get_zero_columns(q: int, dtype: str) -> None:
    """The factor reproduces the matrix; a solution exists and reproduces the right side."""
    rng = np.random.default_rng(q)
    columns = rng.normal(size=(BATCH, 12, q))
    # Repeated columns, wherever they stand, and one that is zero.
    columns[:, :, 1] = -2 * columns[:, :, 0]
    columns[:, :, q - 1] = 0
    a = np.swapaxes(columns, 1, 2) @ columns
    y = rng.normal(size=(BATCH, 12, COLUMNS))
    b = np.swapaxes(columns, 1, 2) @ y

    tolerance = 64 * float(jnp.finfo(dtype).eps)
    factor, half = jax.jit(lambda a, b: eliminate(a, b, tolerance))(last(a, dtype), last(b, dtype))

    lower, x = first(factor), first(half)
    close(lower @ np.swapaxes(lower, 1, 2), a, dtype)
    close(first(jax.jit(solve_lower_pseudo)(factor, last(b, dtype))), x, dtype)
    # On the rows and columns that are left it is the ordinary inverse.
    own = np.flatnonzero(np.diagonal(lower, axis1=1, axis2=2)[0])
    close(np.linalg.solve(lower[:, own[:, None], own], b[:, own]), x[:, own], dtype)
    close(lower @ x, b, dtype)
    for i in (1, q - 1):
        assert np.all(lower[:, :, i] == 0)
        assert np.all(x[:, i] == 0)
    # What is left of y outside the columns follows without any inverse.
    projected = np.stack(
        [c @ np.linalg.lstsq(c, t, rcond=None)[0] for c, t in zip(columns, y, strict=True)]
    )
    inside = np.sum(projected**2, axis=1)
    close(np.sum(x**2, axis=1), inside, dtype)


@cases(("float64", 3), ("float32", 9))
def test_zero_matrices_give_zeros(q: int, dtype: str) -> None:
    zero = jnp.zeros((q, q, BATCH), dtype)
    factor, half = jax.jit(eliminate)(zero, jnp.zeros((q, COLUMNS, BATCH), dtype), 1e-12)
    assert np.all(np.asarray(factor) == 0)
    assert np.all(np.asarray(half) == 0)


def test_matrices_without_rows_pass_through() -> None:
    a, b = jnp.zeros((0, 0, BATCH)), jnp.zeros((0, COLUMNS, BATCH))
    factor, half = eliminate(a, b)
    assert factor.shape == a.shape
    assert half.shape == b.shape


def stacks(rng: np.random.Generator, q: int) -> np.ndarray:
    """Return symmetric matrices (3, 40, q, q)."""
    a = rng.normal(size=(3, 40, q, q))
    return a + np.swapaxes(a, 2, 3)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("q", [1, 7])
def test_decompositions_of_stacks_of_stacks_are_those_of_single_matrices(q: int) -> None:
    rng = np.random.default_rng(q)
    a, b = stacks(rng, q), rng.normal(size=(3, 1, q))

    values, vectors = jax.jit(jax.vmap(jax.vmap(eigh)))(a)
    # One right-hand side for all the matrices of a stack.
    x = jax.jit(jax.vmap(jax.vmap(least_squares, (0, None))))(a, b[:, 0])

    again = np.einsum("abij,abj,abkj->abik", vectors, values, vectors)
    np.testing.assert_allclose(again, a, atol=1e-12)
    np.testing.assert_allclose(np.einsum("abij,abj->abi", a, x), b + 0 * x, atol=1e-9)


def test_the_library_gets_no_stack_that_it_would_divide_among_threads() -> None:
    program = str(jax.make_jaxpr(jax.vmap(jax.vmap(eigh)))(jnp.zeros((3, 40, 7, 7))))

    # 120 matrices in portions of nine.
    assert LARGEST // (COST * 7**3) == 9
    assert re.findall(r"(\d+),7,7\] \w+:f\d+\[\d+,7\] = eigh\[", program) == ["9", "3"]
