"""Two-level rows for tests: as a plain table, and as the package wants them."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmice.linalg import Layout
from jaxmice.target import Target


@dataclass(frozen=True, eq=False)
class Rows:
    """Predictors of ragged clusters; the rows need not be sorted."""

    cluster: np.ndarray
    """(n,) cluster of each row."""

    n_clusters: int
    """Clusters, those without rows included."""

    Z: np.ndarray
    """(q, n) columns with a random effect."""

    F: np.ndarray
    """(f, n) columns with a fixed effect only."""

    seen: np.ndarray
    """(n,) whether the variable is observed."""

    z_live: tuple[bool, ...] = ()
    f_live: tuple[bool, ...] = ()
    z_intercept: bool = False
    f_intercept: bool = False
    n_shared: tuple[int, int] = (1, 1)
    """Leading columns of Z and F that all chains share."""

    filled: tuple[int, int] = field(default=(2, 2))
    """Clusters and blocks that only fill up the shape."""

    block: int = 4

    @property
    def X(self) -> np.ndarray:
        """(n, p) design of the fixed effects."""
        return np.concatenate([self.Z, self.F]).T

    @cached_property
    def place(self) -> np.ndarray:
        """(K, B) row at each place, -1 where there is none."""
        blocks = []
        for j in range(self.n_clusters):
            rows = np.flatnonzero(self.cluster == j)
            for begin in range(0, len(rows), self.block):
                cut = rows[begin : begin + self.block]
                blocks.append(np.pad(cut, (0, self.block - len(cut)), constant_values=-1))
        blocks += [np.full(self.block, -1)] * self.filled[1]
        if len(blocks) == self.n_clusters + self.filled[0]:
            # As many blocks as clusters would mean one each.
            blocks.append(np.full(self.block, -1))
        return np.stack(blocks)

    @cached_property
    def layout(self) -> Layout:
        """Where the rows lie."""
        last = self.n_clusters + self.filled[0] - 1
        first = np.where(self.place[:, 0] >= 0, self.cluster[self.place[:, 0]], last)
        # On the host: a constant of whatever program is compiled from it.
        leaves: tuple[Any, ...] = (
            self.place >= 0,
            first.astype(np.int32),
            np.arange(last + 1) < self.n_clusters,
        )
        return Layout(*leaves)

    def arrange(self, values: jax.Array | np.ndarray) -> jax.Array:
        """Arrange values by row, last axis n, in blocks."""
        return jnp.where(self.place >= 0, jnp.asarray(values)[..., self.place], 0)

    def table(self, blocks: jax.Array | np.ndarray) -> np.ndarray:
        """Return values in blocks, last axes (K, B), in the order of the rows."""
        live = self.place >= 0
        out = np.zeros((*np.shape(blocks)[:-2], len(self.cluster)))
        out[..., self.place[live]] = np.asarray(blocks)[..., live]
        return out

    def target(self, y: jax.Array | np.ndarray) -> Target:
        """Return the target with these values, which may be traced."""
        q, f = len(self.Z), len(self.F)
        qs, fs = self.n_shared
        z, columns = self.arrange(self.Z), self.arrange(self.F)
        seen = self.arrange(self.seen).astype(bool)
        z_live = jnp.asarray(self.z_live or (True,) * q, bool)
        f_live = jnp.asarray(self.f_live or (True,) * f, bool)
        z, columns = z * z_live[:, None, None], columns * f_live[:, None, None]
        return Target(
            y=jnp.where(seen, self.arrange(y), 0),
            ry=seen,
            wy=~seen & (self.place >= 0),
            used=self.layout.row_live,
            delta=jnp.zeros(seen.shape),
            z_shared=z[:qs],
            z_chain=z[qs:],
            f_shared=columns[:fs],
            f_chain=columns[fs:],
            z_live=z_live,
            f_live=f_live,
            z_intercept=jnp.asarray(self.z_intercept),
            f_intercept=jnp.asarray(self.f_intercept),
            y_scale=jnp.asarray(1.0),
            z_units=jnp.eye(q),
            layout=self.layout,
        )


def ragged(
    sizes: tuple[int, ...], seen: tuple[int, ...], q: int, f: int, seed: int = 0, **options
) -> Rows:
    """Return random rows: ``sizes`` of the clusters, of which ``seen`` are observed.

    Z begins with an intercept; without Z, F does.
    """
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    rank = np.concatenate([np.arange(size) for size in sizes])
    order = rng.permutation(len(cluster))
    cluster, rank = cluster[order], rank[order]
    Z, F = rng.normal(size=(q, len(cluster))), rng.normal(size=(f, len(cluster)))
    (Z if q else F)[0] = 1
    return Rows(
        cluster=cluster,
        n_clusters=len(sizes),
        Z=Z,
        F=F,
        seen=rank < np.asarray(seen)[cluster],
        z_intercept=q > 0,
        f_intercept=q == 0,
        **options,
    )
