"""What goes with missing values: differences between rows with and without a value."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from jaxmice.errors import DataError
from jaxmice.frame import Column
from jaxmice.missingness._look import clusters_of, column_of, look

Numbers = NDArray[np.float64]


def missingness_table(data: pd.DataFrame, target: str, cluster: str | None = None) -> pd.DataFrame:
    """Compare rows in which a column is missing with those in which it is observed.

    Parameters
    ----------
    data
        (n, p) frame.
    target
        The incomplete column.
    cluster
        Cluster column; p-values then allow for rows of one cluster being alike, and the
        difference is also split.

    Returns
    -------
    pandas.DataFrame
        One row per other column, or per category of one (all but the first): ``variable``,
        ``category``, ``n_observed`` and ``n_missing`` (rows with the variable, by the
        target), the means ``mean_observed`` and ``mean_missing``, ``smd`` (their
        difference, missing less observed, in standard deviations of the variable) and its
        ``p``. With `cluster` also ``smd_within`` (cluster means taken off) and
        ``smd_between`` (cluster means against the share missing of the cluster: the
        difference between a cluster without and one with all values), with ``p_within``
        and ``p_between``. Missing where either side does not vary.

    Raises
    ------
    DataError
        E12 (unknown column), E57 (the target has no missing or no observed values), or
        `data` is no usable frame.

    Notes
    -----
    Differences are slopes on the indicator of a missing target. Standard errors are
    robust to different variances and, with `cluster`, to any dependence within
    clusters, with the factor G / (G - 1) (N - 1) / (N - 2) for N rows in G clusters, and t
    distributions with G - 1 degrees of freedom (without `cluster`, rows are the clusters).

    References
    ----------
    Cameron, A. C., & Miller, D. L. (2015). A practitioner's guide to cluster-robust
    inference. Journal of Human Resources, 50(2), section II.

    Examples
    --------
    >>> import jaxmice as jm
    >>> d = jm.datasets.load_popmis()[["school", "popular", "texp"]]
    >>> table = jm.missingness_table(d, "popular", "school")
    >>> bool(table["smd_within"].isna().item())
    True
    """
    frame = look(data, cluster)
    missing = column_of(frame, target).missing
    if missing.all() or not missing.any():
        raise DataError("E57", f"column {target!r} needs both missing and observed values")
    codes = np.arange(frame.n) if cluster is None else clusters_of(frame)[0]
    rows = []
    for name, column in frame.columns.items():
        if name in (target, cluster) or column.kind == "id":
            continue
        seen = ~column.missing
        m = missing[seen].astype(np.float64)
        for category, x in indicators(column):
            row = {"variable": name, "category": category}
            row |= {"n_observed": int((m == 0).sum()), "n_missing": int((m == 1).sum())}
            row |= _difference(x[seen], m, codes[seen], cluster is not None)
            rows.append(row)
    return pd.DataFrame(rows)


def indicators(column: Column) -> list[tuple[object, Numbers]]:
    """Return a column as numbers: categories as indicators of all but the first."""
    if not column.categories:
        return [("", column.values)]
    return [
        (category, (column.values == k).astype(np.float64))
        for k, category in enumerate(column.categories)
        if k
    ]


def _difference(x: Numbers, m: Numbers, codes: np.ndarray, split: bool) -> dict[str, float]:
    group = np.unique(codes, return_inverse=True)[1]
    out = {
        "mean_observed": x[m == 0].mean() if (m == 0).any() else np.nan,
        "mean_missing": x[m == 1].mean() if (m == 1).any() else np.nan,
    }
    out["smd"], out["p"] = _slope(x, m, group)
    if split and len(x):
        size = np.bincount(group)
        means, share = np.bincount(group, x) / size, np.bincount(group, m) / size
        inside = x - means[group]
        # What is left of a column that is constant in clusters is rounding.
        inside[np.abs(inside) <= 1e-10 * np.abs(x).max()] = 0.0
        out["smd_within"], out["p_within"] = _slope(inside, m - share[group], group)
        out["smd_between"], out["p_between"] = _slope(means, share, np.arange(len(size)))
    return out


def _slope(x: Numbers, m: Numbers, group: np.ndarray) -> tuple[float, float]:
    """Return the slope of x, in its standard deviations, on m, and a robust p-value."""
    n, G = len(x), int(group.max(initial=-1)) + 1
    if n < 3 or G < 2:
        return np.nan, np.nan
    d = m - m.mean()
    centred, total = x - x.mean(), float(d @ d)
    sd = np.sqrt(centred @ centred / (n - 1))
    if sd <= 1e-10 * np.abs(x).max() or total <= 1e-10 or not np.isfinite(sd):
        return np.nan, np.nan
    slope = float(d @ centred) / total
    scores = np.bincount(group, d * (centred - slope * d))
    error = np.sqrt(scores @ scores * G / (G - 1) * (n - 1) / (n - 2)) / total
    with np.errstate(divide="ignore"):
        return slope / sd, float(2 * stats.t.sf(abs(np.float64(slope) / error), G - 1))
