"""Imputed beside observed values."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jaxmice.errors import DataError
from jaxmice.wording import near

if TYPE_CHECKING:
    from jaxmice.frame import Column
    from jaxmice.imputed import ImputedData

SUMMARIES = ("mean", "sd", "min", "q25", "median", "q75", "max")


def compare(
    imp: "ImputedData", columns: Sequence[str] | str | None = None, by: Any = None
) -> pd.DataFrame:
    """Compare imputed with observed values, column by column.

    Under missingness at random they need not agree overall, only among rows with the same
    other values: use `by`.

    Parameters
    ----------
    imp
        Result of an imputation; the values of all imputations are taken together.
    columns
        Variables to compare; by default all imputed ones.
    by
        Groups of rows to compare within: a complete column of the data, or (n,) labels, such
        as fifths of a propensity of being missing.

    Returns
    -------
    pandas.DataFrame
        One row per variable and, with `by`, group: ``variable``, ``category`` (variables
        with categories have one row for each, and the values are 1 for it and 0 for others;
        empty for numbers), ``group``, ``n_observed`` and ``n_imputed`` cells (clusters, for
        a column that is constant in them); ``mean``, ``sd``, ``min``, ``q25``, ``median``,
        ``q75`` and ``max``, each ``_observed`` and ``_imputed``; ``std_diff`` (imputed less
        observed mean, in standard deviations of the observed), ``var_ratio`` (imputed over
        observed), ``ks`` (Kolmogorov-Smirnov distance), ``outside`` (imputed values, on
        average over imputations, beyond the observed range); and without `by` and with
        clusters ``icc_observed`` and ``icc_completed`` (mean over imputations; numbers only).
        NaN where undefined.

    Raises
    ------
    DataError
        E12: a column that was not imputed, or an unknown `by`; E46: labels of the wrong
        length, or missing.

    References
    ----------
    Abayomi, K., Gelman, A., & Levy, M. (2008). Diagnostics for multivariate imputations.
    Applied Statistics, 57(3), 273-291.
    """
    imputed = [name for name, cells in imp.imp.items() if len(cells)]
    names = imputed if columns is None else [columns] if isinstance(columns, str) else list(columns)
    for name in names:
        if name not in imputed:
            raise DataError("E12", f"{name!r} was not imputed; {near(name, imputed)}")
    groups = row_groups(imp, by)
    rows = []
    for name in names:
        column = imp.model.frame.columns[name]
        for category, observed, drawn in _values(imp, name):
            for group, member in groups.items():
                row = {"variable": name, "category": category, "group": group}
                kept = member[observed.index], member[drawn.index]
                row |= _contrast(observed.to_numpy()[kept[0]], drawn.to_numpy()[kept[1]])
                if by is None and imp.model.cluster is not None:
                    row |= _icc(imp, column)
                rows.append(row)
    table = pd.DataFrame(rows)
    return table.drop(columns="group") if by is None and len(table) else table


def row_groups(imp: "ImputedData", by: Any) -> dict[Any, np.ndarray]:
    """Return the (n,) rows of every group."""
    n = len(imp.data)
    if by is None:
        return {None: np.ones(n, bool)}
    if isinstance(by, str):
        if by not in imp.data.columns:
            raise DataError("E12", f"column {by!r} not found; {near(by, imp.data.columns)}")
        by = imp.data[by]
    labels = pd.Series(np.asarray(by, dtype=object) if not isinstance(by, pd.Series) else by)
    if len(labels) != n or labels.isna().any():
        raise DataError(
            "E46",
            f"by must be {n} labels, none of them missing; got {len(labels)}, of which "
            f"{int(labels.isna().sum())} missing",
        )
    labels = labels.reset_index(drop=True)
    return {label: (labels == label).to_numpy() for label in pd.unique(labels.sort_values())}


def _values(imp: "ImputedData", name: str) -> list[tuple[Any, pd.Series, pd.DataFrame]]:
    """Return observed and imputed values as numbers by row position, for each category."""
    column = imp.model.frame.columns[name]
    rows, _ = imp._cells[name]
    observed = pd.Series(imp.data[name].array).dropna()
    drawn = pd.DataFrame(
        {i: part.array for i, part in imp.imp[name].items()}, index=np.asarray(rows)
    )
    if column.level == 2:
        observed, drawn = (_one_by_cluster(imp, table) for table in (observed, drawn))
    if not column.categories:
        return [("", observed.astype(float), drawn.astype(float))]
    return [
        (label, (observed == label).astype(float), (drawn == label).astype(float))
        for label in column.categories
    ]


def _one_by_cluster(imp: "ImputedData", table: Any) -> Any:
    clusters = imp.model.frame.clusters
    if clusters is None:
        return table
    return table[~pd.Series(clusters.codes[table.index]).duplicated().to_numpy()]


def _contrast(observed: np.ndarray, drawn: np.ndarray) -> dict[str, float]:
    """Compare (k,) observed with (l, m) imputed values."""
    from scipy.stats import ks_2samp

    out: dict[str, float] = {"n_observed": len(observed), "n_imputed": len(drawn)}
    sides = {"observed": observed, "imputed": drawn.ravel()}
    for name, rule in zip(SUMMARIES, _rules(), strict=True):
        for side, values in sides.items():
            enough = len(values) > (name == "sd")
            out[f"{name}_{side}"] = float(rule(values)) if enough else np.nan
    sd = out["sd_observed"] or np.nan
    out["std_diff"] = (out["mean_imputed"] - out["mean_observed"]) / sd
    out["var_ratio"] = (out["sd_imputed"] / sd) ** 2
    both = len(observed) and drawn.size
    out["ks"] = float(ks_2samp(*sides.values(), method="asymp").statistic) if both else np.nan
    beyond = (drawn < out["min_observed"]) | (drawn > out["max_observed"])
    out["outside"] = float(beyond.sum(axis=0).mean()) if both else np.nan
    return out


def _rules() -> list[Any]:
    quartiles = [lambda x, q=q: np.quantile(x, q) for q in (0.25, 0.5, 0.75)]
    return [np.mean, lambda x: np.std(x, ddof=1), np.min, *quartiles, np.max]


def _icc(imp: "ImputedData", column: "Column") -> dict[str, float]:
    from jaxmice.missingness import icc
    from jaxmice.missingness.intraclass import NUMERIC

    if column.categories or column.kind not in NUMERIC or column.level == 2:
        return {"icc_observed": np.nan, "icc_completed": np.nan}
    table = icc(imp, columns=[column.name])["icc"]
    return {"icc_observed": table.iloc[0], "icc_completed": table.iloc[1:].mean()}
