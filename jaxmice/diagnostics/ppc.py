"""Posterior predictive checks: replications of the observed cells."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxmice.diagnostics.rerun import drawn_columns, draws, observed_cells, replicated
from jaxmice.errors import DataError

if TYPE_CHECKING:
    from jaxmice.imputed import ImputedData

Statistic = Callable[[np.ndarray], float]


def ppc(
    imp: "ImputedData",
    statistic: Statistic | Mapping[str, Statistic],
    columns: Sequence[str] | str | None = None,
    n_rep: int = 100,
    *,
    by_cluster: bool = False,
    seed: int | None = None,
) -> pd.DataFrame:
    """Replicate the observed cells from the imputation models, and compare statistics.

    All observed cells of a column are drawn anew, each from the model that was fitted to
    them, by n_rep chains of as many iterations as `imp` has.

    Parameters
    ----------
    imp
        Result of an imputation; its model, seed and number of iterations are used.
    statistic
        Function of the (k,) values of a column that returns a number, or several by name.
        Values are in units of the data; categories count 1..K.
    columns
        Variables to look at; by default all that a method draws, unordered categories
        apart.
    n_rep
        Replications.
    by_cluster
        Compute the statistic inside every cluster.
    seed
        Seed of the draws; by default that of `imp`.

    Returns
    -------
    pandas.DataFrame
        One row per variable, statistic and, with `by_cluster`, cluster: ``observed``,
        ``mean``, ``low`` and ``high`` of the replications (the middle 95%), and ``p``, the
        share of replications above the observed statistic, equal ones counting half. Near
        0 or 1 the model does not give data like those observed. NaN where the statistic is
        not defined.

    Raises
    ------
    DataError
        E12, E06: a column that cannot be replicated; E12: `by_cluster` without clusters.
    RunError
        E71: `imp` has no iterations.
    TypeError
        A statistic that is no function, or does not return a number.
    ValueError
        `n_rep` is below 2.

    References
    ----------
    Gelman, A., Meng, X.-L., & Stern, H. (1996). Posterior predictive assessment of model
    fitness via realized discrepancies. Statistica Sinica, 6, 733-807.
    """
    functions = dict(statistic) if isinstance(statistic, Mapping) else {_name(statistic): statistic}
    if not functions or not all(callable(function) for function in functions.values()):
        raise TypeError("statistic must be a function of an array, or several by name")
    if n_rep < 2:
        raise ValueError(f"n_rep must be 2 or more, got {n_rep}")
    model, names = imp.model, drawn_columns(imp, columns)
    clusters = model.frame.clusters
    if by_cluster and clusters is None:
        raise DataError("E12", "by_cluster needs clusters, and the imputation knew of none")

    cells = observed_cells(model, names)
    (drawn,) = draws(imp, [replicated(model, cells)], n_rep, seed)
    rows = []
    for name, mask in cells.items():
        column = model.frame.columns[name]
        at, values = drawn[name]
        kept, shift = mask[at], bool(column.categories)
        at, values = at[kept], values[kept] + shift
        if column.level == 2 and clusters is not None:
            _, first = np.unique(clusters.codes[at], return_index=True)
            at, values = at[first], values[first]
        observed = column.values[at] + shift
        groups = {None: np.arange(len(at))}
        if by_cluster and clusters is not None:
            codes = clusters.codes[at]
            groups = {clusters.labels[j]: np.flatnonzero(codes == j) for j in np.unique(codes)}
        for group, members in groups.items():
            for label, function in functions.items():
                row = {"variable": name, "statistic": label, "cluster": group}
                rows.append(row | _compare(function, observed[members], values[members]))
    table = pd.DataFrame(rows)
    return table if by_cluster else table.drop(columns="cluster")


def _name(statistic: object) -> str:
    return str(getattr(statistic, "__name__", "statistic"))


def _compare(function: Statistic, observed: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """Compare a statistic of (k,) observed values with those of (k, n) replications."""
    with np.errstate(all="ignore"):
        seen = float(function(observed))
        found = np.array([float(function(np.ascontiguousarray(part))) for part in values.T])
    defined = np.isfinite(seen) and np.isfinite(found).all()
    # Rounding must not part equal numbers.
    gap = np.where(np.isclose(found, seen, rtol=1e-9, atol=1e-12), 0.0, found - seen)
    low, high = np.quantile(found, [0.025, 0.975])
    return {
        "observed": seen,
        "mean": found.mean(),
        "low": low,
        "high": high,
        "p": float(np.mean((gap > 0) + 0.5 * (gap == 0))) if defined else np.nan,
    }
