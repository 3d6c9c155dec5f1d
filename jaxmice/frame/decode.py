"""From draws back to values of the dtype of the column."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types as pdt

from jaxmice.errors import DataError, ModelError
from jaxmice.events import EventLog
from jaxmice.frame.columns import Column


def check_target(column: Column) -> None:
    """Refuse columns whose kind can never be imputed.

    Raises
    ------
    DataError
        E07, for a date.
    ModelError
        E22, for an id.
    """
    if column.kind == "time":
        raise DataError(
            "E07",
            f"column {column.name!r} is a date or duration; convert it to a number before "
            "imputing it, or give it the method '' and no role: "
            f"roles={{'*': {{{column.name!r}: 'none'}}}}",
        )
    if column.kind == "id":
        raise ModelError(
            "E22",
            f"column {column.name!r} is text with many distinct values, as an id has, and is not "
            "imputed; make it categories or raise max_categories=, or give it the method ''",
        )


def decode(
    column: Column,
    values: npt.ArrayLike,
    *,
    events: EventLog | None = None,
    method: str = "",
) -> pd.Series:
    """Turn coded values into values of the dtype that the completed column must have.

    The dtype is that of the original column, except that integers become ``Float64`` when any
    value is not a whole number or does not fit (event ``dtype_widened``). To give all
    completed data sets the same dtype, decode the draws of all imputations in one call.

    Parameters
    ----------
    column
        The coded column.
    values
        Shape ``(k,)``: numbers in original units, or category codes; NaN stands for missing.
        Either a whole column or only some of its cells.
    events
        Log to which ``dtype_widened`` is added.
    method
        Name of the imputation method, for the log.

    Returns
    -------
    pandas.Series
        Shape ``(k,)``, with a fresh index and the name of the column.

    Raises
    ------
    DataError, ModelError
        E07 and E22, see `check_target`.
    ValueError
        If a category code is none of the codes of the column.
    """
    check_target(column)
    numbers = np.asarray(values, dtype=np.float64)
    if column.categories or column.kind in {"binary", "nominal", "ordinal"}:
        return _decode_categories(column, numbers)
    dtype = column.dtype
    if pdt.is_integer_dtype(dtype):
        return _decode_integers(column, numbers, events, method)
    if pdt.is_object_dtype(dtype):
        return pd.Series(_as_objects(column, numbers), dtype=object, name=column.name)
    if isinstance(dtype, np.dtype):
        return pd.Series(numbers.astype(dtype), name=column.name)
    return pd.Series(_with_na(numbers).astype(dtype), name=column.name)


def _with_na(numbers: npt.NDArray[np.float64]) -> Any:
    # A mask made here, so that missing is NA whatever this pandas makes of NaN.
    return pd.arrays.FloatingArray(numbers.copy(), np.isnan(numbers))


def _decode_integers(
    column: Column, numbers: npt.NDArray[np.float64], events: EventLog | None, method: str
) -> pd.Series:
    dtype = column.dtype
    numpy_dtype = np.dtype(getattr(dtype, "numpy_dtype", dtype))
    missing = np.isnan(numbers)
    present = numbers[~missing]
    bounds = np.iinfo(numpy_dtype)
    # The upper bound of 64 bits is no double; the next double above it is out of range.
    fits = (present >= bounds.min) & (present < float(bounds.max) + (bounds.bits < 64))
    whole = bool(((present == np.rint(present)) & fits).all())
    if whole and isinstance(dtype, np.dtype) and not missing.any():
        return pd.Series(numbers.astype(dtype), name=column.name)
    if whole and not isinstance(dtype, np.dtype):
        integers = np.where(missing, 0, numbers).astype(numpy_dtype)
        array = pd.array(integers, dtype=dtype)
        array[missing] = pd.NA
        return pd.Series(array, name=column.name)
    if events is not None:
        events.add(
            "dtype_widened",
            f"column {column.name!r} of dtype {dtype} got values that it cannot hold; "
            "it becomes Float64 (method 'pmm' keeps whole numbers)",
            dep=column.name,
            meth=method,
        )
    return pd.Series(_with_na(numbers), name=column.name)


def _as_objects(column: Column, numbers: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    present = numbers[~np.isnan(numbers)]
    whole = column.kind != "continuous" and bool((present == np.rint(present)).all())
    out = np.empty(numbers.shape, dtype=object)
    out[:] = [int(x) if whole and x == x else x for x in numbers.tolist()]
    return out


def _decode_categories(column: Column, numbers: npt.NDArray[np.float64]) -> pd.Series:
    missing = np.isnan(numbers)
    codes = np.where(missing, -1, numbers).astype(np.int64)
    number = len(column.categories)
    if bool(((codes != np.where(missing, -1, numbers)) | (codes >= number)).any()) or bool(
        (codes[~missing] < 0).any()
    ):
        raise ValueError(
            f"column {column.name!r} has the codes 0 to {number - 1}; got other values to decode"
        )
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        # Codes count the categories in use; the dtype may hold others between them.
        place = np.append(dtype.categories.get_indexer(pd.Index(column.categories)), -1)
        return pd.Series(pd.Categorical.from_codes(place[codes], dtype=dtype), name=column.name)
    if isinstance(dtype, np.dtype) and dtype.kind == "b":
        if missing.any():
            raise ValueError(f"column {column.name!r} of dtype bool cannot hold missing values")
        return pd.Series(codes.astype(bool), name=column.name)
    lookup = np.empty(number + 1, dtype=object)
    lookup[:number] = column.categories
    lookup[number] = np.nan if pdt.is_object_dtype(dtype) else pd.NA
    return pd.Series(lookup[codes], dtype=dtype, name=column.name)
