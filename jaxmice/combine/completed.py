"""Results made of completed data from elsewhere."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types as pdt

from jaxmice.combine.assemble import assemble
from jaxmice.errors import DataError
from jaxmice.imputed import ImputedData
from jaxmice.wording import some


def as_imputed(
    long: pd.DataFrame,
    imp: str = ".imp",
    id: str = ".id",
    *,
    where: Any = None,
    cluster: Any = None,
) -> ImputedData:
    """Make a result of stacked data, such as ``imp.complete("long", include=True)``.

    Parameters
    ----------
    long
        The data sets one below the other; the incomplete original is number 0.
    imp
        Column with the number of the data set.
    id
        Column that identifies a row in every data set. Without it the rows must be in the same
        order.
    where
        (n, p) cells that were imputed; by default those that only the original lacks.
    cluster
        As for `mice`.

    Raises
    ------
    DataError
        E32: there is no number 0. E33: numbers are missing, or data sets have different
        rows. E34: observed values differ between data sets.

    Examples
    --------
    >>> import jaxmice as jm
    >>> d = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
    >>> imp = jm.mice(d, m=2, cluster="school", method="2l.pan", seed=1)
    >>> again = jm.as_imputed(imp.complete("long", include=True), cluster="school")
    >>> again.complete(2).equals(imp.complete(2))
    True
    """
    if imp not in long:
        raise DataError("E33", f"the number of the data set is needed: no column {imp!r}")
    numbers = pd.to_numeric(long[imp], errors="coerce")
    if numbers.isna().any() or (numbers != numbers.round()).any() or (numbers < 0).any():
        raise DataError("E33", f"{imp!r} must hold whole numbers from 0, without missing values")
    values, codes = long.drop(columns=imp), numbers.to_numpy(int)
    parts = {int(number): values[codes == number] for number in np.unique(codes)}
    if 0 not in parts:
        raise DataError("E32", f"rows with {imp} == 0 (the incomplete data) are required")
    ids = parts[0][id] if id in long else None
    for number, part in parts.items():
        if len(part) != len(parts[0]):
            message = f"imputation {number} has {len(part)} rows, imputation 0 {len(parts[0])}"
            raise DataError("E33", message)
        if ids is not None:
            twice = part[id][part[id].duplicated()].tolist()
            lacking = ids[~ids.isin(part[id])].tolist()
            if twice or lacking:
                what = f"repeats the ids {some(twice)}" if twice else f"lacks ids {some(lacking)}"
                raise DataError("E33", f"imputation {number} {what} in {id!r}")
            parts[number] = part.set_index(id)
        else:
            parts[number] = part.reset_index(drop=True)
    original = parts.pop(0)
    original.index.name = None
    completed = [part.loc[original.index] for part in parts.values()]
    return _imported(original, completed, where, cluster)


def from_list(
    frames: Sequence[pd.DataFrame],
    original: pd.DataFrame,
    *,
    where: Any = None,
    cluster: Any = None,
) -> ImputedData:
    """Make a result of completed data sets and the original, rows in the same order.

    Parameters
    ----------
    frames
        The completed data sets.
    original
        The incomplete data.
    where, cluster
        As for `as_imputed`.

    Raises
    ------
    DataError
        E33: rows or columns differ. E34: observed values differ, or a value is none of the
        categories of the original.
    """
    completed = []
    for number, frame in enumerate(frames, 1):
        if len(frame) != len(original) or set(frame) != set(original):
            message = f"imputation {number} has other rows or columns than the original"
            raise DataError("E33", message)
        cast = frame[original.columns].set_axis(original.index)
        for name in original:
            column, dtype = cast[name], original[name].dtype
            if isinstance(dtype, pd.CategoricalDtype):
                values = column.dropna().unique().tolist()
                if lost := [value for value in values if value not in dtype.categories]:
                    message = f"column {name!r}, imputation {number}: {some(lost)} is no category"
                    raise DataError("E34", f"{message} of the original")
            # Whole numbers may have become wider, never narrower.
            if not (pdt.is_integer_dtype(dtype) and pdt.is_float_dtype(column.dtype)):
                cast[name] = column.astype(dtype)
        completed.append(cast)
    return _imported(original, completed, where, cluster)


def _imported(
    original: pd.DataFrame, completed: list[pd.DataFrame], where: Any, cluster: Any
) -> ImputedData:
    if not completed:
        raise DataError("E33", "there are no imputations, only the original")
    mask = None if where is None else np.asarray(where)
    if mask is not None and (mask.shape != original.shape or mask.dtype != bool):
        message = f"where must be booleans of shape {original.shape}, got {mask.dtype}"
        raise DataError("E20", f"{message} of shape {mask.shape}")
    out = assemble(original, completed, where=mask, cluster=cluster)
    out.model.method.update(dict.fromkeys(out.variables, "imported"))
    return out
