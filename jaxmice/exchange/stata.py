"""Stata: all data sets one below the other, the style that Stata calls flong."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.api.types import is_string_dtype

from jaxmice.combine import as_imputed
from jaxmice.errors import DataError
from jaxmice.exchange.columns import as_text, simple
from jaxmice.files import CODE, reading, replacing

if TYPE_CHECKING:
    from jaxmice.imputed import ImputedData


def load(path: Path) -> pd.DataFrame:
    """Read a Stata file; a column is categories if all its values have labels."""
    frame = pd.read_stata(path, order_categoricals=False)
    categories = frame.select_dtypes("category")
    mixed = [
        str(name)
        for name in categories
        if not all(isinstance(label, str) for label in categories[name].cat.categories)
    ]
    if mixed:
        frame[mixed] = pd.read_stata(path, convert_categoricals=False, columns=mixed)[mixed]
    texts = [name for name in frame if is_string_dtype(frame[name].dtype)]
    frame[texts] = frame[texts].replace("", np.nan)
    return frame


def to_stata(imp: "ImputedData", path: Any) -> None:
    """Write completed data for Stata, the original being number 0.

    In Stata: ``use file``, then ``mi import flong, m(_mi_m) id(_mi_id) imputed(...)``.
    Categories have value labels. Names that Stata does not allow are changed, with a warning
    of pandas.

    Parameters
    ----------
    imp
        The imputations.
    path
        File to write, ``.dta`` of Stata 14 and later.

    Raises
    ------
    DataError
        E70: a column starts with ``_mi_``, or Stata has no type for it.
    """
    if taken := [name for name in imp.data if str(name).startswith("_mi_")]:
        raise DataError(CODE, f"the columns {taken} are reserved by Stata; rename them")
    n = len(imp.data)
    long = imp.complete("stacked", include=True)
    out = pd.DataFrame({name: _column(long[name]) for name in long})
    out.insert(0, "_mi_m", np.repeat(np.arange(imp.m + 1, dtype=np.int32), n))
    out.insert(1, "_mi_id", np.tile(np.arange(1, n + 1, dtype=np.int32), imp.m + 1))
    out.insert(2, "_mi_miss", np.nan)
    out.loc[: n - 1, "_mi_miss"] = imp.data.isna().any(axis=1).to_numpy(float)
    with replacing(path) as part:
        out.to_stata(part, write_index=False, version=118)


def _column(series: pd.Series) -> pd.Series:
    series = simple(series)
    if isinstance(series.dtype, pd.CategoricalDtype):
        return series.cat.rename_categories(as_text)
    return series


def read_stata_mi(path: Any, **options: Any) -> "ImputedData":
    """Read imputations from a Stata file in the styles flong or mlong.

    Parameters
    ----------
    path
        File with the columns ``_mi_m`` and ``_mi_id``.
    **options
        Those of `as_imputed`.

    Raises
    ------
    DataError
        E70: not such a file; E32 to E34: see `as_imputed`.
    """
    with reading(path, "a Stata file of imputations") as source:
        long = load(source)
        if lacking := {"_mi_m", "_mi_id"} - set(long):
            raise ValueError(f"it lacks the columns {sorted(lacking)}")
    long = long.drop(columns="_mi_miss", errors="ignore")
    original = long[long["_mi_m"] == 0]
    parts = [original]
    for number, part in long[long["_mi_m"] > 0].groupby("_mi_m"):
        # In mlong the complete rows stand in the original only.
        rest = original[~original["_mi_id"].isin(part["_mi_id"])]
        parts += [part, rest.assign(_mi_m=number)]
    return as_imputed(pd.concat(parts), imp="_mi_m", id="_mi_id", **options)
