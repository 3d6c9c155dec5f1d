"""Sums over the groups of a second, third ... grouping of rows that lie sorted by cluster.

The rows stay where the clusters put them. A further factor knows the group of every row,
and where its own rows lie once they are sorted by group: values are gathered into that
order and summed as clusters are. No scatter, so the same sums on every device.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxmice.linalg.clusters import Layout, cluster_sums


class Link(eqx.Module):
    """Which groups of two factors share rows, directly or through other groups.

    Rows of one part belong, in both factors, to groups of that part alone. Of a factor
    nested in another every group of the outer one is a part with the groups inside it;
    factors that cross are mostly one single part.
    """

    own: Int[Array, " G"]
    """Part of every group of the factor itself."""

    other: Int[Array, " H"]
    """Part of every group of the other factor."""


class Factor(eqx.Module):
    """A further grouping of the rows: schools, where the clusters are classes."""

    index: Int[Array, "K b"]
    """Group of every row; b is one where all rows of every block belong to one group."""

    order: Int[Array, "k c"]
    """Place in a flattened ``index`` of what lies at each place of ``layout``."""

    layout: Layout
    """Where the rows, or the blocks, of every group lie once they are gathered."""

    slopes: Float[Array, "s K B"]
    """Columns with an effect that varies over the groups, besides the intercept."""

    slopes_live: Bool[Array, " s"]
    """Those that predict; the others are zero."""

    units: Float[Array, "q q"]
    """Matrix T: effects in the user's units u give effects ``T u`` on the sampler's scale."""

    links: tuple[Link, ...]
    """To the clusters and to every further factor before this one."""

    @property
    def live(self) -> Bool[Array, " G"]:
        """Groups that exist."""
        return self.layout.cluster_live


def group_sums(values: Float[Array, "a K B"], factor: Factor) -> Float[Array, "a G"]:
    """Return the sum of each column within every group."""
    if factor.index.shape[1] == 1:
        values = jnp.sum(values, axis=-1, keepdims=True)
    flat = values.reshape(values.shape[0], -1)
    sorted_rows = jnp.where(factor.layout.row_live, flat[:, factor.order], 0)
    return cluster_sums(sorted_rows, factor.layout)


def to_group_rows(values: Float[Array, "a G"], factor: Factor) -> Float[Array, "a K b"]:
    """Spread one value per group over its rows, ready to broadcast."""
    return jnp.take(values, factor.index, axis=-1)
