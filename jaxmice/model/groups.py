"""Counts, means and ranges within clusters, on the host and without a loop over them."""

from collections.abc import Iterable, Iterator
from functools import cached_property

import numpy as np

from jaxmice.frame import Clusters


class Groups:
    """The rows of every cluster.

    Parameters
    ----------
    clusters
        Cluster codes; rows with code -1 belong to no cluster.
    """

    def __init__(self, clusters: Clusters) -> None:
        self.codes = np.asarray(clusters.codes)
        self.J = clusters.J
        self.member = self.codes >= 0
        """(n,) True for rows that belong to a cluster."""

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows by cluster, first place of every non-empty cluster, and its code."""
        order = np.argsort(self.codes, kind="stable")[int((~self.member).sum()) :]
        present, starts = np.unique(self.codes[order], return_index=True)
        return order, starts, present

    def count(self, rows: np.ndarray) -> np.ndarray:
        """Return (J,) how many of the rows (n,) each cluster has."""
        return np.bincount(self.codes[rows & self.member], minlength=self.J)

    def mixed(self, rows: np.ndarray) -> np.ndarray:
        """Return (J,) True where a mask of rows (n,) is neither all True nor all False."""
        inside = self.count(rows)
        return (inside > 0) & (inside < self.count(self.member))

    def means(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return (J,) means of `values` (n,) over some rows; 0 where there is none."""
        rows = rows & self.member
        total = np.bincount(self.codes[rows], values[rows], minlength=self.J)
        return total / np.maximum(self.count(rows), 1)

    def ranges(self, values: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (J,) minimum and maximum over some rows; inf and -inf where there is none."""
        order, starts, present = self._sorted
        low = np.full(self.J, np.inf)
        high = np.full(self.J, -np.inf)
        if len(order):
            chosen, inside = values[order], rows[order]
            low[present] = np.minimum.reduceat(np.where(inside, chosen, np.inf), starts)
            high[present] = np.maximum.reduceat(np.where(inside, chosen, -np.inf), starts)
        return low, high

    def deviations(self, columns: Iterable[np.ndarray], rows: np.ndarray) -> Iterator[np.ndarray]:
        """Yield for every column (n,) its deviations from the cluster means, over some rows.

        Both means and deviations are over `rows` (n,), k of them; a deviation is (k,).
        """
        rows = rows & self.member
        codes = self.codes[rows]
        counts = np.maximum(np.bincount(codes, minlength=self.J), 1)
        for column in columns:
            values = column[rows]
            means = np.bincount(codes, values, minlength=self.J) / counts
            yield values - means[codes]
