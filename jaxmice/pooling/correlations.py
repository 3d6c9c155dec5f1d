"""Pooled correlations between columns of imputed data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxmice.errors import PoolError
from jaxmice.pooling.scalar import pool_scalar

Numbers = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class PooledCorrelations:
    """Correlations pooled on Fisher's z scale.

    Attributes
    ----------
    table
        One row for each pair: ``component, x, y, estimate, df, p.value, conf.low,
        conf.high, riv, fmi``.
    matrices
        Square matrices by component: ``"total"``, or ``"within"`` and ``"between"``.
    """

    table: pd.DataFrame
    matrices: dict[str, pd.DataFrame]

    def __repr__(self) -> str:
        return self.table.to_string(index=False, float_format=lambda x: f"{x:.4g}")


def pool_correlations(
    imp: Any,
    columns: Sequence[str],
    method: str = "pearson",
    partial: Sequence[str] = (),
    cluster: str | None = None,
    level: float = 0.95,
) -> PooledCorrelations:
    """Pool the correlations of columns over completed data sets.

    Parameters
    ----------
    imp
        Imputed data.
    columns
        Two or more numeric columns.
    method
        ``"pearson"``, or ``"spearman"`` for correlations of ranks.
    partial
        Numeric columns to hold constant.
    cluster
        Cluster column: gives correlations within clusters (of deviations from the means
        of clusters) and between them (of the means, each cluster counting once).
    level
        Level of the confidence intervals.

    Returns
    -------
    PooledCorrelations

    Raises
    ------
    PoolError
        E64: columns that do not exist, are not numeric, do not vary or keep missing
        values; too few rows.

    Notes
    -----
    Variances on the z scale are ``1 / (n - 3 - k)`` with k columns held constant, times
    1.06 for ranks; within J clusters n is the number of rows less ``J - 1``, between
    them it is J. Correlations of observed means contain sampling error of the means.
    """
    if method not in ("pearson", "spearman"):
        raise PoolError("E64", f"method must be 'pearson' or 'spearman', got {method!r}")
    if not hasattr(imp, "complete"):
        raise PoolError("E64", f"pool_correlations() takes imputed data, got {type(imp).__name__}")
    columns, partial = list(columns), list(partial)
    if len(columns) < 2 or len(set(columns + partial)) < len(columns) + len(partial):
        raise PoolError("E64", "name two or more different columns to correlate")
    parts: dict[str, list[Numbers]] = {}
    rows: dict[str, float] = {}
    for number in range(1, imp.m + 1):
        frame = imp.complete(number)
        values = _numbers(frame, columns + partial)
        if method == "spearman":
            values = values.rank()
        for name, (part, n) in _components(values, frame, cluster).items():
            rows[name] = n - 3 - len(partial)
            parts.setdefault(name, []).append(_correlate(part, len(columns), columns))
    few = [name for name, n in rows.items() if n <= 0]
    if few:
        raise PoolError("E64", f"too few rows or clusters for correlations ({', '.join(few)})")
    tables, matrices = [], {}
    for name, found in parts.items():
        variance = (1.06 if method == "spearman" else 1.0) / rows[name]
        table, matrices[name] = _pooled(np.stack(found), variance, columns, level)
        table.insert(0, "component", name)
        tables.append(table)
    return PooledCorrelations(pd.concat(tables, ignore_index=True), matrices)


def _numbers(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    for name in names:
        if name not in frame:
            raise PoolError("E64", f"there is no column {name!r}")
        if not pd.api.types.is_numeric_dtype(frame[name]) or frame[name].isna().any():
            raise PoolError(
                "E64", f"column {name!r} is not numeric or keeps missing values after imputation"
            )
    return frame[names].astype(float)


def _components(
    values: pd.DataFrame, frame: pd.DataFrame, cluster: str | None
) -> dict[str, tuple[Numbers, float]]:
    """Return the rows to correlate, and how many count, by component."""
    if cluster is None:
        return {"total": (values.to_numpy(), len(values))}
    if cluster not in frame:
        raise PoolError("E64", f"there is no cluster column {cluster!r}")
    groups = values.groupby(frame[cluster].to_numpy())
    within = (values - groups.transform("mean")).to_numpy()
    means = groups.mean().to_numpy()
    return {"within": (within, len(values) - len(means) + 1), "between": (means, len(means))}


def _correlate(values: Numbers, k: int, names: list[str]) -> Numbers:
    """Return the correlations (k, k) of the first k columns, given the others."""
    centred = values - values.mean(axis=0)
    target, held = centred[:, :k], centred[:, k:]
    if held.shape[1]:
        target = target - held @ np.linalg.lstsq(held, target, rcond=None)[0]
    scale = np.sqrt((target**2).sum(axis=0))
    flat = scale <= 1e-10 * np.sqrt((values[:, :k] ** 2).sum(axis=0))
    if flat.any():
        raise PoolError("E64", f"column {names[int(np.argmax(flat))]!r} does not vary here")
    return (target / scale).T @ (target / scale)


def _pooled(
    found: Numbers, variance: float, columns: list[str], level: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    first, second = np.triu_indices(len(columns), 1)
    # Columns that are copies of each other correlate by one but for rounding.
    z = np.arctanh(np.clip(found[:, first, second], -1 + 1e-15, 1 - 1e-15))
    pooled = pool_scalar(z, np.full(z.shape, variance))
    low, high = pooled.interval(level)
    estimate = np.tanh(pooled.estimate)
    table = pd.DataFrame(
        {
            "x": [columns[i] for i in first],
            "y": [columns[i] for i in second],
            "estimate": estimate,
            "df": pooled.df,
            "p.value": pooled.p_value(),
            "conf.low": np.tanh(low),
            "conf.high": np.tanh(high),
            "riv": pooled.riv,
            "fmi": pooled.fmi,
        }
    )
    matrix = np.eye(len(columns))
    matrix[first, second] = matrix[second, first] = estimate
    return table, pd.DataFrame(matrix, index=columns, columns=columns)
