"""What amputation returns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from jaxmice.errors import AmputeError
from jaxmice.frame import Frame
from jaxmice.missingness import icc
from jaxmice.wording import is_whole

CELLS = 2**22
"""Numbers that the arrays of one batch of replicates may hold."""


@dataclass(frozen=True, eq=False)
class Draw:
    """R replicates of the holes.

    Attributes
    ----------
    mask
        (R, n, c) True for a hole; c amputed columns.
    candidate
        (R, n) pattern that a row is a candidate of, from 0; -1 for none.
    scores, prob
        (R, n) standardised score and probability of a row.
    details
        Whatever else the first replicate is reported with.
    """

    mask: np.ndarray
    candidate: np.ndarray
    scores: np.ndarray
    prob: np.ndarray
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, repr=False)
class AmputedData:
    """Data made incomplete (``mads`` in R).

    Attributes
    ----------
    data, amp
        The complete data, and the same with holes; integer and boolean columns with holes
        have pandas' nullable dtypes.
    where
        (n, p) True for a hole.
    patterns
        (K, p) 0 for what a pattern makes missing, 1 for what stays.
    freq
        (K,) share of the rows that are candidates of a pattern.
    prop
        (K,) probability of a candidate (of a cluster, for holes in whole clusters) to
        get the holes of its pattern, on average.
    weights
        (K, terms) weights of the scores, as far as they are the same for all clusters.
    cand
        (n,) label of the pattern that a row is a candidate of; None for none.
    scores
        (n,) score of every row, standardised over the candidates of its pattern.
    prob
        (n,) probability of every row to get the holes of its pattern.
    seed
        Seed that gives the same holes again.
    amputed
        Columns that get holes in some pattern, in the order of the data.
    """

    data: pd.DataFrame
    amp: pd.DataFrame
    where: pd.DataFrame
    patterns: pd.DataFrame
    freq: pd.Series
    prop: pd.Series
    weights: pd.DataFrame
    cand: pd.Series
    scores: pd.Series
    prob: pd.Series
    seed: int
    amputed: tuple[str, ...]
    _frame: Frame
    _table: pd.DataFrame
    _draw: Callable[[Sequence[int]], Draw]
    _width: int

    def realised(self) -> pd.DataFrame:
        """Compare what was asked for with what came out.

        Returns
        -------
        pandas.DataFrame
            One row per pattern: ``unit`` (row or cluster), ``candidates`` (their number),
            the ``asked`` share of them, the ``expected`` one (their mean probability) and
            the ``obtained`` one, all 0 to 1 (missing or 0 where there are no candidates);
            with clusters also ``undone``, the number of holes that were undone to keep
            enough values.
        """
        return self._table.copy()

    def replicates(self, R: int, *, missing_as_float: bool = False) -> np.ndarray:
        """Draw the holes R times, in batches of array operations.

        Parameters
        ----------
        R
            Number of replicates. The first one is `where`; replicate r is the same
            whatever their number.
        missing_as_float
            Return the values instead, NaN where missing; categories as 0, 1, 2, ...

        Returns
        -------
        numpy.ndarray
            (R, n, c) True for a hole, for the c columns `amputed`; or float64 values.

        Raises
        ------
        AmputeError
            E57: R is no positive integer.
        """
        if not is_whole(R, 1):
            raise AmputeError("E57", f"R must be a positive integer, got {R!r}")
        n, step = len(self.data), max(1, CELLS // (len(self.data) * self._width))
        out = np.empty((R, n, len(self.amputed)), dtype=float if missing_as_float else bool)
        values = np.column_stack([self._frame.columns[name].values for name in self.amputed])
        for start in range(0, R, step):
            batch = range(start, min(start + step, R))
            mask = self._draw(batch).mask
            out[batch.start : batch.stop] = (
                np.where(mask, np.nan, values) if missing_as_float else mask
            )
        return out

    def __repr__(self) -> str:
        n, p = self.data.shape
        holes = int(self.where.to_numpy().sum())
        rows = int(self.where.to_numpy().any(axis=1).sum())
        return "\n".join(
            [
                f"{type(self).__name__}: {holes} of {n * p} cells missing, in {rows} of {n} rows",
                repr(self._table.round(3)),
            ]
        )


@dataclass(frozen=True, eq=False, repr=False)
class MultilevelAmputedData(AmputedData):
    """Clustered data made incomplete.

    Attributes
    ----------
    cluster
        The cluster column.
    cluster_table
        One row per cluster: its ``size``; for each amputed column the ``intended`` share
        of holes (1 where the whole cluster was drawn, else the mean probability of its
        rows), the ``realised`` share, and whether it is ``systematic`` (or, for a column
        of clusters, missing); for each pattern of scattered holes the effect ``u`` of the
        cluster and the ``shift`` on the log-odds, for each pattern of whole clusters the
        probability ``prob`` of the cluster.
    """

    cluster: str = ""
    cluster_table: pd.DataFrame = field(default_factory=pd.DataFrame)

    def icc_missing(self) -> pd.DataFrame:
        """Return the intraclass correlation of the indicators of missing values.

        Returns
        -------
        pandas.DataFrame
            As `jaxmice.icc`, one row per amputed column that has both holes and values.
        """
        holes = self.where[list(self.amputed)]
        holes = holes.loc[:, holes.any() & ~holes.all()].astype(int)
        return icc(
            holes.assign(**{self.cluster: self.data[self.cluster]}),
            self.cluster,
            holes.columns.tolist(),
        )
