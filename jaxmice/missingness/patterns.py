"""Which columns are missing together."""

import numpy as np
import pandas as pd

from jaxmice.errors import DataError
from jaxmice.missingness._look import clusters_of, look


def md_pattern(data: pd.DataFrame, by: str | None = None) -> pd.DataFrame:
    """Count the distinct patterns of observed and missing cells.

    Parameters
    ----------
    data
        (n, p) frame.
    by
        Cluster column; adds the share of clusters in which a pattern occurs.

    Returns
    -------
    pandas.DataFrame
        One row per pattern, the index ``n`` counts its rows; one column per variable
        (1 observed, 0 missing), those with fewer missing cells first; then
        ``n_missing`` (missing variables of the pattern) and, with `by`,
        ``cluster_share`` (0 to 1). The last row, ``"total"``, counts the missing cells
        of each variable and of the frame. Complete rows come first.

    Raises
    ------
    DataError
        `data` is no usable frame, `by` is not one of its columns or has missing ids, or
        a column already bears the name of one that is added (E03).

    References
    ----------
    van Buuren, S. (2018). Flexible Imputation of Missing Data, section 4.1. CRC Press.
    """
    frame = look(data, by)
    for name in ("n_missing", "cluster_share"):
        if name in frame.columns:
            raise DataError("E03", f"the result has a column {name!r} of its own; rename yours")

    missing = np.column_stack([column.missing for column in frame.columns.values()])
    counts = missing.sum(axis=0)
    order = np.argsort(counts, kind="stable")
    patterns, number, n = np.unique(
        missing[:, order], axis=0, return_inverse=True, return_counts=True
    )
    table = pd.DataFrame(1 - patterns.astype(int), columns=np.array(list(frame.columns))[order])
    table["n_missing"] = patterns.sum(axis=1)
    table.loc[len(table)] = [*counts[order], counts.sum()]
    if by is not None:
        codes, J = clusters_of(frame)
        present = np.unique(np.column_stack([number.ravel(), codes]), axis=0)
        table["cluster_share"] = [*np.bincount(present[:, 0]) / J, np.nan]
    table.index = pd.Index([*n.tolist(), "total"], name="n", dtype=object)
    return table


def is_monotone(data: pd.DataFrame) -> bool:
    """Tell whether columns can be ordered so that holes never give way to values.

    Parameters
    ----------
    data
        (n, p) frame.

    Returns
    -------
    bool
        True if, in some order of the columns, every row that misses a column misses all
        later ones: then one pass of imputation in that order is enough.

    Raises
    ------
    DataError
        `data` is no usable frame.

    References
    ----------
    van Buuren, S. (2018). Flexible Imputation of Missing Data, section 4.1.1. CRC Press.

    Examples
    --------
    >>> import jaxmice as jm
    >>> jm.is_monotone(pd.DataFrame({"a": [1, None, 3], "b": [1, 2, 3], "c": [None, None, 3]}))
    True
    """
    missing = np.column_stack([column.missing for column in look(data).columns.values()])
    ordered = missing[:, np.argsort(missing.sum(axis=0), kind="stable")]
    return bool((ordered[:, :-1] <= ordered[:, 1:]).all())
