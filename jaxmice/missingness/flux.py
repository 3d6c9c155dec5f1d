"""How columns are tied together by their missing values: pairs, influx and outflux."""

import numpy as np
import pandas as pd

from jaxmice.errors import DataError
from jaxmice.frame import Frame
from jaxmice.missingness._look import clusters_of, look


def md_pairs(data: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Count the rows in which pairs of columns are observed or missing together.

    Parameters
    ----------
    data
        (n, p) frame.

    Returns
    -------
    dict of pandas.DataFrame
        Four (p, p) tables of counts, which add up to n: ``"rr"``, ``"rm"``, ``"mr"`` and
        ``"mm"``. The first letter is about the row's column, the second about the
        column's, r for observed and m for missing.

    Raises
    ------
    DataError
        `data` is no usable frame.

    References
    ----------
    van Buuren, S. (2018). Flexible Imputation of Missing Data, section 4.1.3. CRC Press.

    Examples
    --------
    >>> import jaxmice as jm
    >>> d = pd.DataFrame({"a": [1, 2, 3], "b": [1, None, None]})
    >>> int(jm.md_pairs(d)["rm"].loc["a", "b"])
    2
    """
    frame = look(data)
    names = list(frame.columns)
    pairs = _pairs(_missing(frame))
    return {key: pd.DataFrame(count, names, names) for key, count in pairs.items()}


def flux(data: pd.DataFrame, by: str | None = None) -> pd.DataFrame:
    r"""Measure how well each column can use the others, and be used by them.

    With the counts of `md_pairs`, for column j of p:

    .. math::

        influx_j = \frac{\sum_k mr_{jk}}{\sum_k (mr_{jk} + rr_{jk})}, \qquad
        outflux_j = \frac{\sum_k rm_{jk}}{\sum_k (rm_{jk} + mm_{jk})}

    Parameters
    ----------
    data
        (n, p) frame.
    by
        Cluster column, which then is no column of the result: every measure is computed
        inside each cluster, and its quartiles over clusters are returned.

    Returns
    -------
    pandas.DataFrame
        One row per column, all measures from 0 to 1: ``pobs`` (share observed),
        ``influx`` (high: its holes stand beside observed values), ``outflux`` (high: its
        values stand beside holes), ``ainb`` and ``aout`` (means over the other columns of
        mr / (mr + mm) and rm / (rm + rr), where 0 / 0 counts 0) and ``fico`` (share of
        incomplete rows among its observed ones). A ratio without cases (the outflux of
        complete data, the fico of an empty column) is 0. With `by`, the columns have two
        levels, the measure and ``"q25"``, ``"median"`` or ``"q75"``.

    Raises
    ------
    DataError
        `data` is no usable frame, has no column beside `by`, or `by` is not one of its
        columns or has missing ids.

    References
    ----------
    van Buuren, S. (2018). Flexible Imputation of Missing Data, section 4.1.3. CRC Press.

    Examples
    --------
    >>> import jaxmice as jm
    >>> d = pd.DataFrame({"a": [1, 2, 3, 4], "b": [1, None, None, 4]})
    >>> jm.flux(d)[["pobs", "influx", "outflux"]].round(2).to_numpy().tolist()
    [[1.0, 0.0, 1.0], [0.5, 0.33, 0.0]]
    """
    frame = look(data, by)
    names = [name for name in frame.columns if name != by]
    missing = _missing(frame)[:, [name != by for name in frame.columns]]
    if by is None:
        return pd.DataFrame(_flux(missing), index=names)
    if len(names) < 2:
        raise DataError("E02", f"data has {len(names)} columns beside {by!r}; need at least 2")
    codes, J = clusters_of(frame)
    order = np.argsort(codes, kind="stable")
    parts = np.split(missing[order], np.cumsum(np.bincount(codes, minlength=J))[:-1])
    measures = [_flux(part) for part in parts]
    table = {
        (key, label): np.quantile([m[key] for m in measures], q, axis=0)
        for key in measures[0]
        for label, q in {"q25": 0.25, "median": 0.5, "q75": 0.75}.items()
    }
    return pd.DataFrame(table, index=names)


def fico(data: pd.DataFrame) -> pd.Series:
    """Return the share of incomplete rows among those in which a column is observed.

    Parameters
    ----------
    data
        (n, p) frame.

    Returns
    -------
    pandas.Series
        By column, 0 to 1: the column ``fico`` of `flux`.

    Raises
    ------
    DataError
        `data` is no usable frame.

    References
    ----------
    van Buuren, S. (2018). Flexible Imputation of Missing Data, section 4.1.3. CRC Press.
    """
    return flux(data)["fico"]


def _missing(frame: Frame) -> np.ndarray:
    return np.column_stack([column.missing for column in frame.columns.values()])


def _pairs(missing: np.ndarray) -> dict[str, np.ndarray]:
    """Return (p, p) counts of the pairs in an (n, p) mask."""
    is_missing = missing.astype(np.float64)
    sides = {"r": 1 - is_missing, "m": is_missing}
    return {a + b: np.rint(sides[a].T @ sides[b]).astype(np.int64) for a in sides for b in sides}


def _flux(missing: np.ndarray) -> dict[str, np.ndarray]:
    """Return the measures (p,) of an (n, p) mask."""
    pairs = _pairs(missing)
    rr, rm, mr, mm = (pairs[key] for key in ("rr", "rm", "mr", "mm"))
    p = missing.shape[1]
    observed = ~missing
    incomplete = missing.any(axis=1, keepdims=True)
    return {
        "pobs": observed.mean(axis=0),
        "influx": _ratio(mr.sum(axis=1), (mr + rr).sum(axis=1)),
        "outflux": _ratio(rm.sum(axis=1), (rm + mm).sum(axis=1)),
        "ainb": _ratio(mr, mr + mm).sum(axis=1) / (p - 1),
        "aout": _ratio(rm, rm + rr).sum(axis=1) / (p - 1),
        "fico": _ratio((observed & incomplete).sum(axis=0), observed.sum(axis=0)),
    }


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.divide(top, bottom, out=np.zeros(np.shape(top)), where=bottom > 0)
