"""Where the rows of every cluster lie in memory.

Rows are sorted by cluster and every cluster is padded to whole blocks of B rows. The
numbers of blocks and clusters are rounded up a little, so that data sets of nearly the
same size share their compiled programs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxmice.linalg.clusters import Layout

BLOCK_SIZES = (*range(4, 33, 2), 40, 48, 56, 64, 80, 96, 112, 128)
"""Rows per block to choose from."""

BLOCK_COST = 4
"""Cost of a block besides its rows, in rows: larger values prefer fewer blocks."""


@dataclass(frozen=True)
class Blocks:
    """The layout of one data set, on the host."""

    row: np.ndarray
    """(K, B) position in the data of the row at each place, -1 where there is none."""

    block_cluster: np.ndarray
    """(K,) cluster of each block."""

    cluster_live: np.ndarray
    """(J,) False for clusters that only fill up the shape."""

    n: int
    """Rows of the data."""

    def to_blocks(self, values: np.ndarray, fill: float = 0) -> np.ndarray:
        """Arrange values by row, last axis n, as (..., K, B)."""
        out = values[..., np.maximum(self.row, 0)]
        return np.where(self.row >= 0, out, np.asarray(fill, values.dtype))

    def positions(self, rows: np.ndarray) -> np.ndarray:
        """Return the places of some rows in a flattened (K, B) array.

        Parameters
        ----------
        rows
            Positions of rows in the data.

        Returns
        -------
        Places of the same length, -1 for rows that take no part.
        """
        place = np.full(self.n, -1)
        live = self.row >= 0
        place[self.row[live]] = np.flatnonzero(live.ravel())
        return place[rows]

    def device_layout(self) -> Layout:
        """Return what compiled code needs of it."""
        leaves: tuple[Any, ...] = (
            self.row >= 0,
            self.block_cluster.astype(np.int32),
            self.cluster_live,
        )
        return Layout(*leaves)


def plan_blocks(codes: Sequence[np.ndarray], n_clusters: Sequence[int]) -> list[Blocks]:
    """Lay out several data sets in one common shape.

    Parameters
    ----------
    codes
        For every data set the cluster of each row, 0..J-1, or -1 for rows that take no
        part.
    n_clusters
        For every data set its number of clusters J.
    """
    sizes = [
        np.bincount(code[code >= 0], minlength=J) for code, J in zip(codes, n_clusters, strict=True)
    ]
    B = _block_size(np.concatenate(sizes))
    K = round_up(max(int(np.sum(-(-size // B))) for size in sizes))
    J = round_up(max(n_clusters))
    if all(size.max(initial=0) <= B for size in sizes):
        K = J  # one block per cluster, empty clusters included
    elif K == J:
        K = round_up(K + 1)
    return [_lay_out(code, size, B, K, J) for code, size in zip(codes, sizes, strict=True)]


def round_up(count: int) -> int:
    """Round up by at most an eighth, so that nearby sizes share a shape."""
    step = max(1, 2 ** (count.bit_length() - 4))
    return -(-count // step) * step


def _block_size(sizes: np.ndarray) -> int:
    def cost(B: int) -> float:
        padded = int(np.sum(-(-sizes // B))) * (B + BLOCK_COST)
        # One block per cluster needs no sum over blocks.
        return padded * (0.8 if sizes.max(initial=0) <= B else 1)

    return min(BLOCK_SIZES, key=cost)


def _lay_out(code: np.ndarray, size: np.ndarray, B: int, K: int, J: int) -> Blocks:
    live = np.arange(J) < len(size)
    order = np.argsort(code, kind="stable")
    order = order[np.sum(code < 0) :]
    one_each = K == len(live)
    blocks_per = np.ones_like(size) if one_each else -(-size // B)
    first_block = np.concatenate([[0], np.cumsum(blocks_per)[:-1]])
    first_row = np.concatenate([[0], np.cumsum(size)[:-1]])
    rank = np.arange(len(order)) - np.repeat(first_row, size)
    row = np.full(K * B, -1)
    row[np.repeat(first_block * B, size) + rank] = order
    block_cluster = np.repeat(np.arange(len(size)), blocks_per)
    spare = np.arange(len(block_cluster), K) if one_each else np.full(K - len(block_cluster), J - 1)
    return Blocks(
        row=row.reshape(K, B),
        block_cluster=np.concatenate([block_cluster, spare]),
        cluster_live=live,
        n=len(code),
    )
