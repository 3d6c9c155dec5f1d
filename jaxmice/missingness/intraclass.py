"""How much of a variable lies between clusters."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jaxmice.errors import DataError
from jaxmice.missingness._look import clusters_of, column_of, look

if TYPE_CHECKING:
    from jaxmice.imputed import ImputedData

NUMERIC = frozenset({"continuous", "integer", "binary_numeric", "binary"})
"""Kinds of columns that have an ICC on the scale of their values."""


def icc(
    data: "pd.DataFrame | ImputedData",
    cluster: str | None = None,
    columns: Sequence[str] | None = None,
    *,
    conf: float = 0.95,
    truncate: bool = False,
) -> pd.DataFrame:
    """Intraclass correlation by one-way analysis of variance.

    With MSB and MSW the mean squares between and within J clusters of n_j observed
    values, N in all, and n0 = (N - sum n_j^2 / N) / (J - 1)::

        icc = (MSB - MSW) / (MSB + (n0 - 1) MSW)

    Parameters
    ----------
    data
        Frame, or the result of an imputation: then every imputation is a block of
        rows, after one for the observed values.
    cluster
        Cluster column; may be left out for the result of an imputation that knows it (of
        several the first).
    columns
        Numeric columns to look at; by default all of them (of an imputation: the
        imputed ones).
    conf
        Level of the interval. It inverts the F distribution of MSB / MSW, which is exact
        for normal values in clusters of equal size and approximate otherwise.
    truncate
        Report negative values as 0; by default they are reported as they are.

    Returns
    -------
    pandas.DataFrame
        Columns ``variable``, ``level`` (1 row, 2 cluster), ``n``, ``J``, ``n0``,
        ``between`` and ``within`` (mean squares, squared units of the variable),
        ``icc``, ``ci_low``, ``ci_high``, ``F``, ``p``, ``design_effect``; for an
        imputation also ``imputation`` (0 the observed values), in front.

    Raises
    ------
    DataError
        An unknown or non-numeric column, a missing cluster id, or fewer than two
        clusters, or no cluster with two observed values.
    ValueError
        `conf` is not between 0 and 1.

    References
    ----------
    Donner, A. (1986). A review of inference procedures for the intraclass correlation
    coefficient in the one-way random effects model. International Statistical Review,
    54(1), 67-82.
    """
    if not 0 < conf < 1:
        raise ValueError(f"conf must lie between 0 and 1, got {conf}")
    if not hasattr(data, "imp"):
        return _icc_of_frame(data, cluster, columns, conf, truncate)

    if columns is None:
        known = look(data.data).columns
        columns = [
            name for name, cells in data.imp.items() if len(cells) and known[name].kind in NUMERIC
        ]
    blocks = []
    own = data.model.frame.clusters
    for i, frame in enumerate([data.data, *(data.complete(k + 1) for k in range(data.m))]):
        if own is not None and cluster in (None, own.name):
            # As the imputation knew them: ids that count anew in every school, rows left out.
            frame = frame.assign(**{own.name: own.codes})[own.codes >= 0]
        name = cluster or data.model.cluster
        block = _icc_of_frame(frame, name, columns, conf, truncate)
        block.insert(0, "imputation", i)
        blocks.append(block)
    return pd.concat(blocks, ignore_index=True)


def _icc_of_frame(
    data: Any,
    cluster: str | None,
    columns: Sequence[str] | None,
    conf: float,
    truncate: bool,
) -> pd.DataFrame:
    frame = look(data, cluster)
    codes, _ = clusters_of(frame)
    if columns is None:
        columns = [name for name, column in frame.columns.items() if column.kind in NUMERIC]
    rows = []
    for name in columns:
        column = column_of(frame, name)
        if column.kind not in NUMERIC:
            raise DataError(
                "E06", f"column {name!r} is {column.kind}; an ICC is for numbers: recode it"
            )
        rows.append(
            {"variable": name, "level": column.level}
            | _anova(name, column.values[~column.missing], codes[~column.missing], conf, truncate)
        )
    return pd.DataFrame(rows)


def _anova(
    name: str, y: np.ndarray, codes: np.ndarray, conf: float, truncate: bool
) -> dict[str, float]:
    from scipy import stats

    _, group = np.unique(codes, return_inverse=True)
    sizes = np.bincount(group)
    n, J = len(y), len(sizes)
    if J < 2 or n <= J:
        raise DataError(
            "E16",
            f"column {name!r}: an ICC needs two clusters with observed values and one with at "
            f"least two of them; found {n} values in {J} clusters",
        )
    means = np.bincount(group, y) / sizes
    msb = float(sizes @ (means - y.mean()) ** 2) / (J - 1)
    msw = float(((y - means[group]) ** 2).sum()) / (n - J)
    n0 = (n - float(sizes @ sizes) / n) / (J - 1)

    with np.errstate(divide="ignore", invalid="ignore"):
        # A level-2 column has MSW = 0: F is infinite and the ICC is 1, interval included.
        F = np.float64(msb) / msw
        rho = np.float64(msb - msw) / (msb + (n0 - 1) * msw)
    tails = stats.f.ppf([(1 + conf) / 2, (1 - conf) / 2], J - 1, n - J)
    if np.isinf(F):
        low, high = 1.0, 1.0
    else:
        low, high = (F / tails - 1) / (F / tails + n0 - 1)
    if truncate:
        rho, low, high = np.maximum([rho, low, high], 0.0)
    return {
        "n": n,
        "J": J,
        "n0": n0,
        "between": msb,
        "within": msw,
        "icc": float(rho),
        "ci_low": float(low),
        "ci_high": float(high),
        "F": float(F),
        "p": float(stats.f.sf(F, J - 1, n - J)),
        "design_effect": float(1 + (n0 - 1) * rho),
    }
