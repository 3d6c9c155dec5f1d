"""Methods for columns that are constant in clusters: a single-level method on the clusters.

The rows of a target are replaced by its clusters, one row each; any method without random
effects then works as it is.
"""

from dataclasses import replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from jaxmice.errors import ModelError
from jaxmice.linalg import Layout, cluster_sums, counting_rows, to_rows
from jaxmice.methods._base import Method
from jaxmice.target import Target


class LevelTwo(Method):
    """Lets the single-level method that follows it among the bases work on clusters."""

    codes: ClassVar[frozenset[int]] = frozenset({1, 3})
    cluster_codes: ClassVar[frozenset[int]] = frozenset({-2})
    needs_cluster: ClassVar[bool] = True
    levels: ClassVar[frozenset[int]] = frozenset({2})

    def check(self, n_random: int, n_observed_clusters: int, where: str) -> None:
        """Raise a `ModelError` where there is hardly a cluster to learn from."""
        del n_random
        if n_observed_clusters <= 2:
            message = (
                f"{where}: {n_observed_clusters} clusters show a value; {self.name!r} needs "
                "at least 3"
            )
            raise ModelError("E16", message)

    def read(self, target: Target) -> Any:
        """Return what the single-level method reads from the clusters."""
        return super().read(to_clusters(target))

    def impute(self, key: Key[Array, ""], state: Any, target: Target) -> Float[Array, "K B"]:
        """Draw every cluster and give its value to its rows."""
        drawn = super().impute(key, state, to_clusters(target))  # type: ignore[safe-super]
        return to_all_rows(drawn[0], target)


def to_clusters(target: Target) -> Target:
    """Return the target with one row per cluster.

    Predictors are their means over the rows of the cluster that are not ignored; those that
    are constant in clusters stay as they are. The cluster shows the value that its observed
    rows share.
    """
    layout, dtype = target.layout, target.y.dtype
    rows, wanted = layout.row_live.astype(dtype), target.wy.astype(dtype)
    counting = counting_rows(target.used, layout).astype(dtype)
    used = target.used.astype(dtype)
    parts = [rows, used, counting, target.ry.astype(dtype), wanted, target.delta * wanted]
    size, n_used, n, n_seen, n_wanted, shift = cluster_sums(jnp.stack(parts), layout)

    def means(columns: Float[Array, "c K B"]) -> Float[Array, "c 1 J"]:
        return (cluster_sums(columns * counting, layout) / jnp.maximum(n, 1))[:, None]

    qs, has_z = target.z_shared.shape[0], target.z_live.shape[0] > 0
    fs = target.f_shared.shape[0]
    return replace(
        target,
        y=jnp.where(n_seen > 0, _shown(target), 0)[None],
        ry=(n_seen > 0)[None],
        wy=(n_wanted > 0)[None],
        used=(n_used > 0)[None],
        delta=(shift / jnp.maximum(n_wanted, 1))[None],
        z_shared=jnp.zeros((0, 1, size.shape[0]), dtype),
        z_chain=jnp.zeros((0, 1, size.shape[0]), dtype),
        f_shared=jnp.concatenate([means(target.z_shared), means(target.f_shared)]),
        f_chain=jnp.concatenate([means(target.z_chain), means(target.f_chain)]),
        z_live=target.z_live[:0],
        f_live=jnp.concatenate(
            [target.z_live[:qs], target.f_live[:fs], target.z_live[qs:], target.f_live[fs:]]
        ),
        z_intercept=jnp.zeros((), bool),
        f_intercept=target.z_intercept if has_z else target.f_intercept,
        z_units=target.z_units[:0, :0],
        layout=_one_row_each(layout, size > 0),
        factors=(),
    )


def _shown(target: Target) -> Float[Array, " J"]:
    """Return the value that every cluster shows; a mean of equal values would round it."""
    layout = target.layout
    blocks = jnp.max(jnp.where(target.ry, target.y, -jnp.inf), axis=1)
    if layout.block_cluster.shape == layout.cluster_live.shape:
        return blocks
    return jax.ops.segment_max(
        blocks,
        layout.block_cluster,
        num_segments=layout.cluster_live.shape[0],
        indices_are_sorted=True,
    )


def _one_row_each(layout: Layout, has_rows: Bool[Array, " J"]) -> Layout:
    """Return a layout of clusters as rows, in one block."""
    return Layout(
        row_live=(layout.cluster_live & has_rows)[None],
        block_cluster=jnp.zeros(1, layout.block_cluster.dtype),
        cluster_live=jnp.ones(1, bool),
    )


def to_all_rows(by_cluster: Float[Array, " J"], target: Target) -> Float[Array, "K B"]:
    """Give the value of a cluster to all of its rows."""
    return jnp.broadcast_to(to_rows(by_cluster[None], target.layout)[0], target.y.shape)
