"""Observed cells treated as missing, to see whether the model finds them again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jaxmice.diagnostics.rerun import drawn_columns, draws, held_out, observed_cells
from jaxmice.errors import DataError

if TYPE_CHECKING:
    from jaxmice.imputed import ImputedData
    from jaxmice.model import ImputationModel


@dataclass(frozen=True, repr=False)
class Overimputed:
    """Observed cells and what was drawn for them.

    Attributes
    ----------
    cells
        One row per cell: ``variable``, ``row`` (label), ``cluster`` (where there are
        clusters), ``observed``, ``mean``, ``low``, ``high`` (of the draws), ``covered``
        (True if the interval holds the observed value) and ``missing`` (share of the other
        columns that the row misses). In units of the data; categories count 1..K.
    coverage
        Per variable: number of ``cells``, share ``covered``, ``bias`` (mean of draws less
        observed) and mean ``width`` of the intervals.
    by_cluster
        The same per variable and cluster; without clusters empty.
    level
        What the share covered should be.
    """

    cells: pd.DataFrame
    coverage: pd.DataFrame
    by_cluster: pd.DataFrame
    level: float

    def __repr__(self) -> str:
        head = f"Overimputed: {len(self.cells)} observed cells, intervals at {self.level:.0%}"
        return f"{head}\n{self.coverage.round(3).to_string(index=False)}"


def overimpute(
    imp: "ImputedData",
    columns: Sequence[str] | str | None = None,
    cells: Any = None,
    n: int = 100,
    alpha: float = 0.1,
    *,
    folds: int = 10,
    seed: int | None = None,
) -> Overimputed:
    """Treat observed cells as missing, and draw each n times from the model.

    The cells are divided into folds, spread over the clusters. For every fold there is a data
    set in which its cells are missing; all data sets are imputed side by side in one run. No
    cell has an influence on its own draws. With as many folds as cells every cell is held
    out alone.

    Parameters
    ----------
    imp
        Result of an imputation; its model, seed and number of iterations are used.
    columns
        Variables to look at; by default all that a method draws, unordered categories
        apart.
    cells
        (n, p) True for cells to hold out, as `where` of `jaxmice.mice`; missing cells do not
        count. By default all observed cells of the columns.
    n
        Draws per cell.
    alpha
        The intervals should hold a share 1 - alpha of the observed values.
    folds
        Data sets side by side. Fewer are faster but make more cells missing at once.
    seed
        Seed of draws and folds; by default that of `imp`.

    Returns
    -------
    Overimputed
        Cells, coverage by variable and coverage by cluster. A share covered far from
        1 - alpha tells of a model that does not fit. A column that is constant in clusters
        has one cell per cluster.

    Raises
    ------
    DataError
        E12, E06: a column that cannot be overimputed; E20: `cells` has another shape, or no
        observed cell; E24: a cluster would be emptied under a method with fixed clusters.
    RunError
        E71: `imp` has no iterations.
    ValueError
        `alpha` is not between 0 and 1, or `n` or `folds` is below 2.

    References
    ----------
    Blackwell, M., Honaker, J., & King, G. (2017). A unified approach to measurement error
    and missing data. Sociological Methods & Research, 46(3).
    """
    if not 0 < alpha < 1 or min(n, folds) < 2:
        raise ValueError(
            f"need alpha between 0 and 1, n and folds of 2 or more; got {alpha}, {n}, {folds}"
        )
    model, names = imp.model, drawn_columns(imp, columns)
    chosen = _chosen(model, names, cells)
    rng = np.random.default_rng(imp.info.get("seed", 0) if seed is None else seed)
    fold = {name: _folds(model, name, mask, folds, rng) for name, mask in chosen.items()}
    n_folds = 1 + max(int(of.max()) for of in fold.values())
    models = [held_out(model, {name: of == k for name, of in fold.items()}) for k in range(n_folds)]
    results = draws(imp, models, n, seed)
    frames = []
    for name, of in fold.items():
        parts = [(of == k, *result[name]) for k, result in enumerate(results)]
        frames.append(_summary(model, name, parts, alpha))
    table = pd.concat(frames, ignore_index=True)
    has_clusters = "cluster" in table
    by_cluster = _coverage(table, ["variable", "cluster"]) if has_clusters else pd.DataFrame()
    return Overimputed(table, _coverage(table, ["variable"]), by_cluster, 1 - alpha)


def _chosen(model: "ImputationModel", names: list[str], cells: Any) -> dict[str, np.ndarray]:
    """Return the cells to hold out, by column."""
    observed = observed_cells(model, names)
    if cells is not None:
        own = list(model.original.columns)
        values = np.asarray(cells[own] if isinstance(cells, pd.DataFrame) else cells)
        if values.shape != model.original.shape or values.dtype != bool:
            raise DataError(
                "E20",
                f"cells must be boolean of shape {model.original.shape}, got {values.dtype} of "
                f"shape {values.shape}",
            )
        observed = {name: mask & values[:, own.index(name)] for name, mask in observed.items()}
    chosen = {name: mask for name, mask in observed.items() if mask.any()}
    if not chosen:
        raise DataError("E20", f"no observed cell of {', '.join(names)} was chosen")
    return chosen


def _folds(
    model: "ImputationModel", name: str, mask: np.ndarray, folds: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the (n,) fold of every chosen cell, -1 for others; whole clusters at level 2."""
    out, rows = np.full(len(mask), -1), np.flatnonzero(mask)
    clusters = model.frame.clusters
    if clusters is None:
        out[rng.permutation(rows)] = np.arange(len(rows)) % folds
        return out
    codes = clusters.codes
    if model.levels[name] == 2:
        held = np.unique(codes[rows])
        of = np.full(clusters.J, -1)
        of[rng.permutation(held)] = np.arange(len(held)) % folds
        return np.where(np.isin(codes, held) & ~model.frame.columns[name].missing, of[codes], -1)
    # In order of the clusters: no fold takes two cells of a cluster before each took one.
    rows = rng.permutation(rows)
    rows = rows[np.argsort(rng.permutation(clusters.J)[codes[rows]], kind="stable")]
    out[rows] = np.arange(len(rows)) % folds
    return out


def _summary(
    model: "ImputationModel", name: str, parts: list[tuple[np.ndarray, Any, Any]], alpha: float
) -> pd.DataFrame:
    """Return the table of one column from the held-out cells, rows and draws of each fold."""
    column, clusters = model.frame.columns[name], model.frame.clusters
    rows = np.concatenate([at[mask[at]] for mask, at, _ in parts])
    values = np.concatenate([drawn[mask[at]] for mask, at, drawn in parts])
    order = np.argsort(rows, kind="stable")
    if column.level == 2 and clusters is not None:
        _, order = np.unique(clusters.codes[rows], return_index=True)
    rows, values = rows[order], values[order] + bool(column.categories)
    observed = column.values[rows] + bool(column.categories)
    # At places i / (n + 1) the interval holds a further draw with probability 1 - alpha.
    low, high = np.quantile(values, [alpha / 2, 1 - alpha / 2], axis=1, method="weibull")
    others = [other for key, other in model.frame.columns.items() if key != name and other.level]
    table = pd.DataFrame(
        {
            "variable": name,
            "row": model.original.index[rows],
            "observed": observed,
            "mean": values.mean(axis=1),
            "low": low,
            "high": high,
            "covered": (low <= observed) & (observed <= high),
            "missing": np.mean([other.missing[rows] for other in others], axis=0),
        }
    )
    if clusters is not None:
        labels = [clusters.labels[code] for code in clusters.codes[rows]]
        table.insert(2, "cluster", labels)
    return table


def _coverage(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    extra = table.assign(bias=table["mean"] - table["observed"], width=table["high"] - table["low"])
    return (
        extra.groupby(by, sort=False)
        .agg(
            cells=("covered", "size"),
            covered=("covered", "mean"),
            bias=("bias", "mean"),
            width=("width", "mean"),
        )
        .reset_index()
    )
