"""Columns as programs with few types know them: numbers, text, and labelled codes."""

from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types as pdt

from jaxmice.errors import DataError
from jaxmice.files import CODE


def simple(series: pd.Series) -> pd.Series:
    """Return a column as numbers, text ("" where missing), dates or categories.

    Raises
    ------
    DataError
        E70: it is none of these.
    """
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype) or pdt.is_datetime64_any_dtype(dtype):
        return series
    if pdt.is_numeric_dtype(dtype) and not series.isna().any() and not pdt.is_bool_dtype(dtype):
        return series.astype(getattr(dtype, "numpy_dtype", dtype))
    content = pdt.infer_dtype(series, skipna=True)
    if content in {"string", "empty"}:
        return series.astype(object).where(series.notna(), "")
    if pdt.is_numeric_dtype(dtype) or content in {"boolean", "integer", "floating"}:
        return pd.Series(series.to_numpy(np.float64, na_value=np.nan), index=series.index)
    raise DataError(CODE, f"column {series.name!r} of type {dtype} has no place in such a file")


def coded(series: pd.Series) -> tuple[pd.Series, dict[int, Any]]:
    """Return a column of categories as codes 1..K, NaN where missing, and what they mean."""
    codes = series.cat.codes.astype(np.float64) + 1
    return codes.where(codes > 0), dict(enumerate(series.cat.categories, 1))


def as_text(label: Any) -> str:
    """Return a category as a label."""
    return str(label)
