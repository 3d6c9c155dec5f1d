"""Which columns tell something about a target, or about why it is missing."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from jaxmice.errors import ModelError
from jaxmice.events import EventLog
from jaxmice.frame import Column, Frame, deduce_level2, encode
from jaxmice.model.groups import Groups
from jaxmice.model.moments import MIN_PAIRS
from jaxmice.model.names import check_names
from jaxmice.wording import near, some

Kind = Literal["pearson", "spearman", "kendall"]
KINDS = ("pearson", "spearman", "kendall")


def quickpred(
    data: pd.DataFrame,
    mincor: float = 0.1,
    minpuc: float = 0.0,
    include: Sequence[str] | str = (),
    exclude: Sequence[str] | str = (),
    method: Kind = "pearson",
    cluster: str | None = None,
) -> pd.DataFrame:
    """Choose predictors by their correlation with targets and with missingness.

    Column k predicts target j if the larger of abs(cor(y_j, x_k)) and abs(cor(r_j, x_k))
    exceeds `mincor`, where r_j says whether y_j is observed; both over the rows where both
    are known. Categories count by their dummies, of which the best decides.

    Parameters
    ----------
    data
        The data frame, n rows.
    mincor
        Least correlation.
    minpuc
        Least proportion of usable cases: of the rows where the target is missing, those
        that show the predictor.
    include, exclude
        Names of columns that always, or never, predict.
    method
        ``"pearson"``, ``"spearman"`` or ``"kendall"``.
    cluster
        The cluster column. Correlations are then those within clusters and those of cluster
        means, of which the larger decides, and the column itself gets code -2.

    Returns
    -------
    pandas.DataFrame
        (p, p) codes 0 and 1 for ``predictor_matrix=``; rows of complete columns are 0.

    Raises
    ------
    ModelError
        E27: an unknown column; E51: another argument that has no meaning.

    References
    ----------
    van Buuren S, Boshuizen HC, Knook DL (1999). Multiple imputation of missing blood
    pressure covariates in survival analysis. Statistics in Medicine 18(6), section 3.

    Examples
    --------
    >>> import jaxmice as jm
    >>> d = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
    >>> jm.quickpred(d, cluster="school").loc["popular"].to_dict()
    {'school': -2, 'popular': 0, 'sex': 1, 'texp': 1}
    """
    for name, value in (("mincor", mincor), ("minpuc", minpuc)):
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
            raise ModelError("E51", f"{name} must be a number from 0 to 1, got {value!r}")
        if not 0 <= value <= 1:
            raise ModelError("E51", f"{name} must be a number from 0 to 1, got {value!r}")
    if method not in KINDS:
        message = f"method must be one of {some(KINDS)}, got {method!r}; {near(method, KINDS)}"
        raise ModelError("E51", message)
    include, exclude = ([n] if isinstance(n, str) else list(n) for n in (include, exclude))
    log = EventLog()
    frame = deduce_level2(encode(data, cluster=cluster, events=log), log)
    groups = Groups(frame.clusters) if frame.clusters else None
    names = list(frame.columns)
    check_names([*include, *exclude], names, "E27", "quickpred: {} not in data")
    targets = [n for n, column in frame.columns.items() if column.missing.any() and column.level]
    within, between = relevance(frame, groups, targets, method)
    seen = np.array([~frame.columns[name].missing for name in names], float)
    out = pd.DataFrame(0, index=names, columns=names)
    for name in targets:
        holes = frame.columns[name].missing
        usable = seen[:, holes].mean(axis=1) >= minpuc
        best = np.maximum(within.loc[name].to_numpy(), between.loc[name].to_numpy())
        out.loc[name] = ((best > mincor) & usable).astype(int)
        out.loc[name, include] = 1
        out.loc[name, exclude] = 0
        out.loc[name, name] = 0
        if frame.clusters:
            out.loc[name, frame.clusters.name] = -2
    return out


def relevance(
    frame: Frame, groups: Groups | None, targets: Sequence[str], method: Kind = "pearson"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return how strongly each column is correlated with targets or with their missingness.

    Returns
    -------
    within, between : pandas.DataFrame
        Rows targets, columns columns: absolute correlations from 0 to 1, within clusters and
        of cluster means. Without clusters all rows count as one, and there is none between.
    """
    parts = {
        name: numbers(column)
        for name, column in frame.columns.items()
        if column.level != 0 and column.kind != "id"
    }
    seen = {name: (~frame.columns[name].missing).astype(float) for name in targets}
    columns = {(name, k): part for name, found in parts.items() for k, part in enumerate(found)}
    columns |= {(name, -1): values for name, values in seen.items()}
    if groups is None:
        return (_strongest(columns, frame, targets, method), _nothing(frame, targets))
    means = {key: _means(values, groups) for key, values in columns.items()}
    inside = {key: _inside(values, means[key], groups) for key, values in columns.items()}
    return (
        _strongest(inside, frame, targets, method),
        _strongest(means, frame, targets, method),
    )


def numbers(column: Column) -> list[np.ndarray]:
    """Return a column as numbers: itself, or a dummy for every category."""
    if column.kind not in {"nominal", "ordinal"}:
        return [column.values]
    dummies = [(column.values == k).astype(float) for k in range(len(column.categories))]
    return [np.where(column.missing, np.nan, dummy) for dummy in dummies]


def _means(values: np.ndarray, groups: Groups) -> np.ndarray:
    """Return (J,) cluster means of what is known, NaN where nothing is."""
    known = ~np.isnan(values)
    return np.where(groups.count(known) > 0, groups.means(values, known), np.nan)


def _inside(values: np.ndarray, means: np.ndarray, groups: Groups) -> np.ndarray:
    """Return (n,) deviations from cluster means, rounding apart; NaN outside of clusters."""
    out = np.where(groups.member, values - means[groups.codes], np.nan)
    return np.where(np.abs(out) <= 1e-12 * np.nanmax(np.abs(values), initial=0.0), 0.0, out)


def _strongest(
    columns: dict[tuple[str, int], np.ndarray], frame: Frame, targets: Sequence[str], method: Kind
) -> pd.DataFrame:
    """Return the largest correlation of any part of a column with a target or its missingness."""
    if not targets:
        return _nothing(frame, targets)
    table = {}
    for key, values in columns.items():
        size = np.nanmax(np.abs(values), initial=0.0)
        table[key] = values / size if size > 0 else values
    found = pd.DataFrame(table).corr(method, min_periods=MIN_PAIRS).abs().fillna(0.0)
    strongest = found.groupby(level=0).max()
    parts = strongest.loc[:, [key for key in columns if key[1] >= 0]]
    by_column = parts.T.groupby(level=0).max().T
    return by_column.reindex(index=list(targets), columns=list(frame.columns), fill_value=0.0)


def _nothing(frame: Frame, targets: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(0.0, index=list(targets), columns=list(frame.columns))
