"""Where the rows of further factors lie: schools, where the clusters are classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxmice.linalg import Factor, Link
from jaxmice.linalg.layout import Blocks, plan_blocks


def plan_factors(
    blocks: Sequence[Blocks], codes: Sequence[Sequence[np.ndarray]]
) -> list[tuple[Factor, ...]]:
    """Lay out the further factors of several data sets in one common shape.

    Parameters
    ----------
    blocks
        For every data set where its rows lie.
    codes
        For every data set and further factor the group of each row, 0..G-1, or -1 for
        rows that take no part.

    Returns
    -------
    For every data set its factors, without slopes.
    """
    if not codes[0]:
        return [() for _ in blocks]
    placed = [_place(layout, own) for layout, own in zip(blocks, codes, strict=True)]
    factors: list[list[Factor]] = [[] for _ in blocks]
    for v in range(1, len(placed[0])):
        groups = [own[v] for own in placed]
        if all(map(_in_blocks, groups)):
            groups = [group.max(axis=1, keepdims=True) for group in groups]
        flat = [group.ravel() for group in groups]
        layouts = plan_blocks(flat, [int(group.max(initial=-1)) + 1 for group in flat])
        for data_set, (group, layout) in enumerate(zip(groups, layouts, strict=True)):
            own = placed[data_set]
            sizes = [len(blocks[data_set].cluster_live)]
            sizes += [len(factor.live) for factor in factors[data_set]]
            links = [_link(own[v], len(layout.cluster_live), own[w], sizes[w]) for w in range(v)]
            factors[data_set].append(_factor(group, layout, own[v].shape, links))
    return [tuple(own) for own in factors]


def _place(layout: Blocks, codes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the cluster and the groups of what lies at every place, -1 for nothing."""
    live = layout.row >= 0
    cluster = np.where(live, layout.block_cluster[:, None], -1)
    return [cluster, *(layout.to_blocks(np.where(code < 0, -1, code), fill=-1) for code in codes)]


def _in_blocks(group: np.ndarray) -> bool:
    """Return whether all rows of every block belong to one group."""
    lowest = np.where(group < 0, np.iinfo(group.dtype).max, group).min(axis=1)
    return bool(np.all((group.max(axis=1) < 0) | (lowest == group.max(axis=1))))


def _factor(group: np.ndarray, layout: Blocks, shape: tuple[int, ...], links: list[Link]) -> Factor:
    leaves: tuple[Any, ...] = (
        np.maximum(group, 0).astype(np.int32),
        np.maximum(layout.row, 0).astype(np.int32),
        layout.device_layout(),
        np.zeros((0, *shape)),
        np.zeros(0, bool),
        np.eye(1),
        tuple(links),
    )
    return Factor(*leaves)


def _link(own: np.ndarray, n_own: int, other: np.ndarray, n_other: int) -> Link:
    """Return the connected parts of two groupings of the same rows."""
    live = (own >= 0) & (other >= 0)
    row, column = own[live], n_own + other[live]
    size = n_own + n_other
    # Here, since few runs need them and they take long to import.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(row)), (row, column)), shape=(size, size))
    label = connected_components(graph, directed=False)[1]
    # Numbered by the groups themselves: never more parts than groups.
    parts, inverse = np.unique(label[:n_own], return_inverse=True)
    found = np.minimum(np.searchsorted(parts, label[n_own:]), len(parts) - 1)
    found = np.where(parts[found] == label[n_own:], found, 0)
    leaves: tuple[Any, ...] = (inverse.astype(np.int32), found.astype(np.int32))
    return Link(*leaves)
