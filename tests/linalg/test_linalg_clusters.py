"""Sums over clusters against a loop over rows."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmice.linalg import Layout, cluster_products, cluster_sums, to_rows, total_products

SIZES = (5, 0, 1, 9, 4, 1, 0)
"""Rows of the clusters: empty ones, single rows, one with two blocks and a half."""

B, N_CLUSTERS, N_BLOCKS = 4, 9, 11
"""The last two clusters and the last blocks only fill up the shape."""


@pytest.fixture(params=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> Iterator[str]:
    with jax.enable_x64(request.param == "float64"):
        yield request.param


@pytest.fixture
def layout(dtype: str) -> Layout:
    del dtype
    row_live = np.zeros((N_BLOCKS, B), bool)
    block_cluster = np.full(N_BLOCKS, N_CLUSTERS - 1)
    block = 0
    for cluster, size in enumerate(SIZES):
        for begin in range(0, size, B):
            row_live[block, : min(B, size - begin)] = True
            block_cluster[block] = cluster
            block += 1
    return Layout(
        row_live=jnp.asarray(row_live),
        block_cluster=jnp.asarray(block_cluster),
        cluster_live=jnp.arange(N_CLUSTERS) < len(SIZES),
    )


def columns(layout: Layout, count: int, seed: int, dtype: str) -> np.ndarray:
    """Return columns that are zero where there is no row."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, *layout.row_live.shape)) * np.asarray(layout.row_live)
    return values.astype(dtype)


def loop_over_rows(u: np.ndarray, v: np.ndarray, layout: Layout) -> np.ndarray:
    total = np.zeros((len(u), len(v), N_CLUSTERS))
    for block, cluster in enumerate(np.asarray(layout.block_cluster)):
        for place in range(B):
            if layout.row_live[block, place]:
                total[:, :, cluster] += np.outer(u[:, block, place], v[:, block, place])
    return total


def test_products_are_those_of_a_loop(layout: Layout, dtype: str) -> None:
    u, v = columns(layout, 3, 1, dtype), columns(layout, 2, 2, dtype)
    expected = loop_over_rows(u.astype(float), v.astype(float), layout)
    rounding = 100 * float(jnp.finfo(dtype).eps)

    actual = np.asarray(cluster_products(jnp.asarray(u), jnp.asarray(v), layout))
    total = np.asarray(total_products(jnp.asarray(u), jnp.asarray(v)))

    np.testing.assert_allclose(actual, expected, atol=rounding, rtol=0)
    np.testing.assert_allclose(total, expected.sum(axis=-1), atol=rounding, rtol=0)
    assert actual.dtype == total.dtype == dtype
    # Empty clusters and those that fill up the shape are exactly zero.
    assert np.all(actual[:, :, [1, 6, 7, 8]] == 0)


def test_sums_are_products_with_one(layout: Layout, dtype: str) -> None:
    u = columns(layout, 3, 3, dtype)
    one = np.asarray(layout.row_live)[None].astype(float)
    expected = loop_over_rows(u.astype(float), one, layout)[:, 0]

    actual = np.asarray(cluster_sums(jnp.asarray(u), layout))

    np.testing.assert_allclose(actual, expected, atol=100 * float(jnp.finfo(dtype).eps), rtol=0)


def test_rows_get_the_value_of_their_cluster(layout: Layout, dtype: str) -> None:
    values = jnp.asarray(np.arange(2 * N_CLUSTERS).reshape(2, N_CLUSTERS), dtype)

    rows = np.broadcast_to(np.asarray(to_rows(values, layout)), (2, N_BLOCKS, B))

    for block, cluster in enumerate(np.asarray(layout.block_cluster)):
        assert np.all(rows[:, block] == np.asarray(values)[:, cluster][:, None])


def test_no_columns_give_no_sums(layout: Layout, dtype: str) -> None:
    none = jnp.zeros((0, N_BLOCKS, B), dtype)
    one = jnp.asarray(columns(layout, 1, 4, dtype))
    assert cluster_products(none, one, layout).shape == (0, 1, N_CLUSTERS)
    assert total_products(none, none).shape == (0, 0)
    assert cluster_sums(none, layout).shape == (0, N_CLUSTERS)
