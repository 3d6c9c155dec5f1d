"""What a data frame is inside: coded columns, cluster codes, and the frame they came from."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

Kind = Literal[
    "continuous", "integer", "binary_numeric", "binary", "nominal", "ordinal", "id", "time"
]
"""What a column measures; it decides the coding, the default method and the dtype handed back."""


@dataclass(frozen=True, eq=False)
class Column:
    """One coded column.

    Attributes
    ----------
    name
        Label in the data frame.
    kind
        One of `Kind`.
    dtype
        Dtype of the original column, which the completed column gets back.
    values
        Shape ``(n,)``, float64. Numbers stand in their original unit, a ``time`` column in days
        since its first date, categories and ids as codes ``0..K-1``; NaN where missing.
    missing
        Shape ``(n,)``, True where no value was observed.
    categories
        Categories in the order of their codes for the kinds ``binary``, ``nominal`` and
        ``ordinal`` (only those that occur), otherwise empty.
    level
        1 or 2; 0 for the cluster columns themselves.
    """

    name: str
    kind: Kind
    dtype: Any
    values: npt.NDArray[np.float64]
    missing: npt.NDArray[np.bool_]
    categories: tuple[Any, ...] = ()
    level: int = 1


@dataclass(frozen=True, eq=False)
class Clusters:
    """Which cluster every row belongs to.

    Attributes
    ----------
    name
        Label of the cluster column.
    codes
        Shape ``(n,)``, int64: 0..J-1 in the order in which the ids first appear; -1 for a row
        that takes no part.
    labels
        The original id of every code.
    further
        Further cluster columns, nested or crossed with this one.
    """

    name: str
    codes: npt.NDArray[np.int64]
    labels: tuple[Any, ...]
    further: tuple["Clusters", ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of all cluster columns."""
        return (self.name, *(clusters.name for clusters in self.further))

    @property
    def J(self) -> int:
        """Number of clusters."""
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Frame:
    """A data frame and its coded columns, in the same order.

    Attributes
    ----------
    data
        The caller's frame itself; it is never modified.
    columns
        One `Column` per label, in the order of the data.
    clusters
        The clusters, or None when the data have a single level.
    """

    data: pd.DataFrame
    columns: dict[str, Column]
    clusters: Clusters | None = None

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.data)
