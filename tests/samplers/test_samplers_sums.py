"""The sums of a target against the rows they stand for."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmice.samplers.sums import Sums, make_sums
from jaxmice.target import Target
from tests.samplers.rows import Rows, ragged

pytestmark = pytest.mark.usefixtures("double_precision")

SIZES, SEEN = (9, 5, 0, 3, 1, 6, 2, 4), (7, 0, 0, 3, 1, 1, 2, 4)
"""Clusters with rows to fit on: many, none though it has rows, no rows, one row of six."""


def designs() -> dict[str, Rows]:
    """Return designs that differ in every way a design can."""
    plain = ragged(SIZES, SEEN, 2, 3, n_shared=(1, 2))
    no_chain = dataclasses.replace(plain, n_shared=(2, 3))
    all_chain = dataclasses.replace(plain, n_shared=(0, 0))
    # Constant inside clusters, equal to another column, a sum of others.
    Z = np.stack([plain.Z[0], plain.Z[1], 2 * plain.Z[1] - plain.Z[0]])
    level2 = np.arange(len(SIZES))[plain.cluster] / 3
    F = np.stack([level2, plain.Z[1] + level2, plain.F[0]])
    collinear = dataclasses.replace(plain, Z=Z, F=F, n_shared=(2, 1))
    dead = dataclasses.replace(
        plain, z_live=(True, False), f_live=(False, True, True), z_intercept=True
    )
    return {
        "plain": plain,
        "all shared": no_chain,
        "all by chain": all_chain,
        "collinear": collinear,
        "dead columns": dead,
        "single level": ragged(SIZES, SEEN, 0, 3, n_shared=(0, 1)),
        "all random": ragged(SIZES, SEEN, 2, 0, n_shared=(1, 0)),
    }


@jax.jit
def both(target: Target) -> tuple[Sums, Sums]:
    """Return the sums over all rows and by cluster."""
    return make_sums(target, by_cluster=False), make_sums(target, by_cluster=True)


def rss_of_sums(sums: Sums, beta: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the residual sum of squares by the formula of the module, by cluster if it can."""
    q = len(sums.z_live)
    beta_f = beta[q:]
    part = np.asarray(sums.rho) - 2 * np.tensordot(beta_f, np.asarray(sums.s), 1)
    part = part + np.tensordot(np.multiply.outer(beta_f, beta_f), np.asarray(sums.S), 2)
    k_beta = np.einsum("kaj,a->kj", np.asarray(sums.K), beta)
    inside = np.einsum("ikj,ij->kj", np.asarray(sums.root), b) - (np.asarray(sums.k) - k_beta)
    by_cluster = np.sum(inside**2, axis=0)
    return part + (by_cluster if np.ndim(part) else by_cluster.sum())


@pytest.mark.parametrize("name", designs())
def test_residual_sum_of_squares_is_that_of_the_rows(name: str) -> None:
    rows = designs()[name]
    rng = np.random.default_rng(1)
    y = 3 + 2 * rng.normal(size=len(rows.cluster)) + 5 * np.sin(rows.cluster)
    q, p = len(rows.Z), rows.X.shape[1]
    live = np.asarray((rows.z_live or (True,) * q) + (rows.f_live or (True,) * (p - q)))
    total, by_cluster = both(rows.target(y))

    J = len(by_cluster.cluster_live)
    for _ in range(3):
        beta, b = rng.normal(size=p), rng.normal(size=(q, J))
        beta, b = beta * live, b * live[:q, None]
        effects = np.sum(rows.Z.T * b.T[rows.cluster], axis=1)
        square = (y - rows.X @ beta - effects) ** 2 * rows.seen
        expected = np.bincount(rows.cluster, square, minlength=J)
        np.testing.assert_allclose(rss_of_sums(by_cluster, beta, b), expected, atol=1e-9)
        np.testing.assert_allclose(rss_of_sums(total, beta, b), expected.sum(), rtol=1e-11)


@pytest.mark.parametrize("name", designs())
def test_counts_and_squares_are_those_of_the_rows(name: str) -> None:
    rows = designs()[name]
    sums = both(rows.target(np.zeros(len(rows.cluster))))[1]
    J, p = len(sums.cluster_live), rows.X.shape[1]
    live = np.asarray(sums.x_live)

    np.testing.assert_array_equal(sums.n, np.bincount(rows.cluster, rows.seen, minlength=J))
    np.testing.assert_allclose(
        sums.x_square, np.sum(rows.X[rows.seen] ** 2, axis=0) * live, rtol=1e-12
    )
    # No ridge on an intercept, a minute one on the other columns.
    penalised = np.arange(p) > 0
    np.testing.assert_allclose(sums.penalty, np.where(penalised, 1e-8 * sums.x_square, 0))
    assert int(np.sum(sums.cluster_live)) == rows.n_clusters


def test_collinear_columns_get_zero_pivots_and_lose_nothing() -> None:
    rows = designs()["collinear"]
    sums = both(rows.target(np.zeros(len(rows.cluster))))[1]
    root = np.asarray(sums.root)
    # Z has rank two wherever it has two rows or more, and rank one where it has one.
    rank = np.sum(np.abs(np.einsum("iij->ij", root)) > 0, axis=0)
    np.testing.assert_array_equal(rank[: rows.n_clusters], np.minimum(SEEN, 2))
    np.testing.assert_array_equal(rank[rows.n_clusters :], 0)


def test_a_large_mean_costs_no_digits() -> None:
    """A cluster mean a million residual deviations away leaves the residuals their digits."""
    rows = designs()["plain"]
    rng = np.random.default_rng(2)
    noise = rng.normal(size=len(rows.cluster))
    shift = 1e6 * (1 + np.arange(rows.n_clusters))
    near = both(rows.target(noise))[0]
    far = both(rows.target(noise + shift[rows.cluster]))[0]
    # The shift itself is stored in y: 1e7 times the rounding of one number.
    np.testing.assert_allclose(far.rho, near.rho, rtol=1e-8)
    np.testing.assert_allclose(far.s, near.s, atol=1e-7)


def test_empty_clusters_that_fill_the_shape_change_nothing() -> None:
    rows = designs()["plain"]
    y = np.random.default_rng(3).normal(size=len(rows.cluster))
    small, wide = (
        both(dataclasses.replace(rows, filled=filled).target(y))[1] for filled in ((0, 0), (3, 5))
    )
    J = rows.n_clusters
    for name in ("root", "K", "k", "S", "s", "rho", "n"):
        narrow, padded = np.asarray(getattr(small, name)), np.asarray(getattr(wide, name))
        np.testing.assert_allclose(padded[..., :J], narrow, atol=1e-12)
        np.testing.assert_array_equal(padded[..., J:], 0)
    assert not np.any(wide.cluster_live[J:])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("by_chain", [False, True])
def test_what_is_constant_in_clusters_leaves_nothing_outside_them(
    dtype: type, by_chain: bool
) -> None:
    """Of 300,000 rows a difference of large sums would leave more than clusters tell."""
    J, size, chains = 30, 10_000, 3
    rng = np.random.default_rng(1)
    cluster = np.repeat(np.arange(J), size)
    level2, inside = rng.normal(size=J)[cluster], rng.normal(size=J * size)
    rows = Rows(
        cluster=cluster,
        n_clusters=J,
        Z=np.ones((1, J * size)),
        F=np.stack([level2, level2 + inside / 10]),
        seen=np.ones(J * size, bool),
        z_intercept=True,
        n_shared=(1, 0 if by_chain else 2),
        block=size,
    )
    y = rng.normal(size=(chains, J))[:, cluster]
    target = jax.tree.map(
        lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf,
        rows.target(y[0]),
    )

    def sums_of(chain: jax.Array) -> Sums:
        own = dataclasses.replace(target, y=target.y + chain.astype(dtype))
        own = dataclasses.replace(own, f_chain=own.f_chain + 0 * chain.astype(dtype))
        return make_sums(own, by_cluster=False)

    sums = jax.jit(jax.vmap(sums_of))(jnp.arange(chains))
    n, unit = J * size, np.sum(inside**2) / 100
    np.testing.assert_allclose(sums.S[:, 0, 0], 0, atol=1e-9 * n)
    np.testing.assert_allclose(sums.S[:, 1, 1], unit * J * (size - 1) / n, rtol=1e-2)
    np.testing.assert_allclose(sums.s[:, 0], 0, atol=1e-9 * n)
    np.testing.assert_allclose(
        sums.x_square[:, 1:], np.broadcast_to(np.sum(rows.F**2, axis=1), (chains, 2)), rtol=1e-3
    )
