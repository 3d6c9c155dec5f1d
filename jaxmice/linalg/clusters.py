"""Sums over the rows of every cluster, all clusters at once.

Rows are sorted by cluster and cut into blocks of equal length; a block belongs to one
cluster. A column is an array ``(K, B)`` of K blocks, several columns ``(c, K, B)``. A
sum by cluster is then a batched product inside the blocks and a short sum over blocks:
no scatter per row, and the same code for 50,000 clusters of 4 rows as for 15 of 700.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Layout(eqx.Module):
    """Where the rows of every cluster lie.

    As many blocks as clusters (K = J) means that block j is all of cluster j.
    """

    row_live: Bool[Array, "K B"]
    """False where a place of a block holds no row."""

    block_cluster: Int[Array, " K"]
    """Cluster of each block, in increasing order."""

    cluster_live: Bool[Array, " J"]
    """False for the empty clusters that fill up the shape."""


def cluster_products(
    u: Float[Array, "a K B"], v: Float[Array, "c K B"], layout: Layout
) -> Float[Array, "a c J"]:
    """Return the cross products of two sets of columns within every cluster.

    Of two large sets, one that differs between chains comes first: the second is copied.
    """
    blocks = jnp.einsum("akb,ckb->kac", u, v)
    return jnp.moveaxis(over_blocks(blocks, layout), 0, -1)


def total_products(u: Float[Array, "a K B"], v: Float[Array, "c K B"]) -> Float[Array, "a c"]:
    """Return the cross products of two sets of columns over all rows.

    A set that differs between chains comes first: the second is copied.
    """
    flat, other = (a.reshape(len(a), a.shape[1] * a.shape[2]) for a in (u, v))
    return jnp.matmul(flat, other.T)


def cluster_sums(u: Float[Array, "a K B"], layout: Layout) -> Float[Array, "a J"]:
    """Return the sum of each column within every cluster."""
    return over_blocks(jnp.sum(u, axis=-1).T, layout).T


def over_blocks(blocks: Float[Array, "K ..."], layout: Layout) -> Float[Array, "J ..."]:
    """Sum over the blocks of every cluster.

    As many blocks as clusters means one block each: the layout sees to that.
    """
    if layout.block_cluster.shape == layout.cluster_live.shape:
        return blocks
    return jax.ops.segment_sum(
        blocks,
        layout.block_cluster,
        num_segments=layout.cluster_live.shape[0],
        indices_are_sorted=True,
    )


def counting_rows(used: Bool[Array, "K B"], layout: Layout) -> Bool[Array, "K B"]:
    """Return the rows that count in cluster means: those in use, or all where none is."""
    used = used & layout.row_live
    inside = to_rows(cluster_sums(used[None].astype(float), layout), layout)[0]
    return used | (layout.row_live & (inside == 0))


def to_rows(values: Float[Array, "a J"], layout: Layout) -> Float[Array, "a K 1"]:
    """Spread one value per cluster over its blocks, ready to broadcast over rows."""
    return to_blocks(values, layout)[..., None]


def to_blocks(values: Float[Array, "a J"], layout: Layout) -> Float[Array, "a K"]:
    """Spread one value per cluster over its blocks."""
    if layout.block_cluster.shape == layout.cluster_live.shape:
        return values
    return jnp.take(values, layout.block_cluster, axis=-1)
