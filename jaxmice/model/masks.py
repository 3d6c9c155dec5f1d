"""Which cells are imputed (`where`) and which rows have no influence (`ignore`)."""

from typing import Any

import numpy as np
import pandas as pd

from jaxmice.errors import DataError
from jaxmice.frame import Frame, in_row_order
from jaxmice.model.groups import Groups
from jaxmice.model.names import warn
from jaxmice.wording import near, some

KEYWORDS = ("missing", "observed", "all", "none")


def where_of_mask(missing: np.ndarray, keyword: str) -> np.ndarray:
    """Return the cells that a keyword stands for, given the missing ones."""
    if keyword not in KEYWORDS:
        raise DataError(
            "E20",
            f"where must be a boolean frame or a keyword, got {keyword!r}; "
            f"{near(keyword, KEYWORDS)}",
        )
    if keyword == "missing":
        return missing.copy()
    if keyword == "observed":
        return ~missing
    return np.full(missing.shape, keyword == "all")


def compile_where(
    where: Any, frame: Frame, deduced: np.ndarray, groups: Groups | None
) -> np.ndarray:
    """Return the (n, p) mask of cells to impute.

    Parameters
    ----------
    where
        Keyword, boolean frame or boolean array.
    frame
        The data after deductive imputation.
    deduced
        (n, p) cells that deductive imputation filled; they need no imputation.
    groups
        The clusters; rows that belong to none are never imputed.

    Raises
    ------
    DataError
        E20: wrong shape or labels of rows or columns, not boolean, or not constant inside the
        clusters for a level-2 column.
    """
    names = list(frame.columns)
    if isinstance(where, str):
        mask = where_of_mask(
            np.column_stack([column.missing for column in frame.columns.values()]), where
        )
    else:
        mask = _as_mask(where, frame, names)
    if groups is not None:
        mask[~groups.member] = False
        for j, name in enumerate(names):
            if frame.columns[name].level != 2 or not mask[:, j].any():
                continue
            if groups.mixed(mask[:, j]).any():
                mask[:, j] &= ~deduced[:, j]
            differs = np.flatnonzero(groups.mixed(mask[:, j]))
            if len(differs):
                assert frame.clusters is not None
                labels = [frame.clusters.labels[k] for k in differs]
                raise DataError(
                    "E20",
                    f"where for level-2 column {name!r} differs inside clusters {some(labels)}; "
                    "set it for whole clusters, or keep deductive=True so that values known "
                    "from other rows of a cluster are filled in",
                )
    return mask


def _as_mask(where: Any, frame: Frame, names: list[str]) -> np.ndarray:
    shape = (frame.n, len(names))
    where = in_row_order(where, frame.data.index, "E20", "where")
    values = where.to_numpy() if isinstance(where, pd.DataFrame) else np.asarray(where)
    if values.shape != shape:
        raise DataError("E20", f"where has shape {values.shape}, data {shape}")
    if isinstance(where, pd.DataFrame):
        absent = [name for name in names if name not in where.columns]
        if absent:
            raise DataError("E20", f"where lacks the columns {some(absent)} of data")
        values = where[names].to_numpy()
    if pd.isna(values).any():
        raise DataError("E20", "where has missing values; every cell must be True or False")
    if not _boolean(values):
        raise DataError("E20", f"where must be boolean, got {values.dtype}")
    return values.astype(bool, copy=True)


def compile_ignore(ignore: Any, frame: Frame, groups: Groups | None) -> np.ndarray:
    """Return the (n,) mask of rows without influence; rows without a cluster are added.

    Raises
    ------
    DataError
        E46 if it is not a boolean vector of length n, or its labels are not those of the rows.
    """
    n = frame.n
    if ignore is None:
        mask = np.zeros(n, dtype=bool)
    else:
        values = np.asarray(in_row_order(ignore, frame.data.index, "E46", "ignore"))
        if values.shape != (n,) or pd.isna(values).any() or not _boolean(values):
            raise DataError(
                "E46",
                f"ignore must be a boolean vector of length {n}, got {values.dtype} of shape "
                f"{values.shape}",
            )
        mask = values.astype(bool, copy=True)
        left = ~mask if groups is None else ~mask & groups.member
        clusters = None if groups is None else int((groups.count(left) > 0).sum())
        if not left.any():
            raise DataError("E46", "ignore leaves no row to estimate from")
        if left.sum() < 10 or (clusters is not None and clusters < 2):
            inside = "" if clusters is None else f" in {clusters} clusters"
            warn(
                "W10",
                f"ignore leaves {int(left.sum())} rows{inside} to estimate from; ignore fewer rows",
            )
    if groups is not None:
        mask |= ~groups.member
    return mask


def _boolean(values: np.ndarray) -> bool:
    # Nullable booleans arrive as objects.
    return values.dtype == bool or (
        values.dtype == object and all(isinstance(x, bool | np.bool_) for x in values.flat)
    )
