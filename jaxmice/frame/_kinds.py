"""From one pandas column to its kind and its codes."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types as pdt

from jaxmice.errors import DataError
from jaxmice.frame.columns import Kind
from jaxmice.wording import rows_at, some

OBJECT_NUMBERS = {"integer", "floating", "mixed-integer-float"}
"""Object columns that hold nothing but numbers; they are read as numbers."""


class Coded(NamedTuple):
    """Kind, values and categories of a column."""

    kind: Kind
    values: npt.NDArray[np.float64]
    categories: tuple[Any, ...] = ()
    from_text: bool = False


def code_column(series: pd.Series, max_categories: int) -> Coded:
    """Code one column by its dtype.

    Raises
    ------
    DataError
        E05 (infinite values), E06 (unsupported dtype) or E08 (mixed types).
    """
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _code_category(series.cat)
    if isinstance(dtype, pd.SparseDtype) or pdt.is_complex_dtype(dtype):
        raise _unsupported(series, "convert it to a dense real column")
    if pdt.is_bool_dtype(dtype):
        return Coded("binary", _numbers(series), (False, True))
    if pdt.is_integer_dtype(dtype) or pdt.is_float_dtype(dtype):
        return _code_numbers(series, pdt.is_integer_dtype(dtype))
    if pdt.is_datetime64_any_dtype(dtype) or pdt.is_timedelta64_dtype(dtype):
        since = series - series.min()
        return Coded("time", (since / pd.Timedelta(days=1)).to_numpy(np.float64, copy=True))
    if isinstance(dtype, pd.StringDtype) or (
        pdt.is_string_dtype(dtype) and not pdt.is_object_dtype(dtype)
    ):
        return _code_text(series, max_categories)
    if pdt.is_object_dtype(dtype):
        return _code_object(series, max_categories)
    raise _unsupported(series, "convert it to numbers or categories")


def code_ids(series: pd.Series) -> Coded:
    """Code the distinct values of a column of ids, in the order of their first appearance."""
    codes, _ = factorize(series)
    return Coded("id", _codes_to_float(codes))


def factorize(series: pd.Series) -> tuple[npt.NDArray[np.int64], list[Any]]:
    """Codes in order of first appearance (-1 where missing), and the value of each code."""
    try:
        codes, values = pd.factorize(series)
    except TypeError as error:  # lists, dicts and sets cannot be told apart by hashing
        raise _unsupported(series, "its values cannot be compared; use numbers or text") from error
    return codes.astype(np.int64), list(values.tolist())


def _unsupported(series: pd.Series, advice: str) -> DataError:
    return DataError(
        "E06", f"column {series.name!r} has unsupported dtype {series.dtype}; {advice}"
    )


def _codes_to_float(codes: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.where(codes < 0, np.nan, codes).astype(np.float64)


def _numbers(series: pd.Series) -> npt.NDArray[np.float64]:
    # Always a copy: the values of a numpy column would otherwise be the caller's own memory.
    return np.array(series.to_numpy(dtype=np.float64, na_value=np.nan))


def _code_numbers(series: pd.Series, whole: bool) -> Coded:
    values = _numbers(series)
    infinite = np.flatnonzero(np.isinf(values))
    if infinite.size:
        raise DataError(
            "E05",
            f"column {series.name!r} has {infinite.size} infinite values "
            f"(rows {rows_at(series.index, infinite.tolist())}); set them to NA or clip them",
        )
    zero, one = values == 0, values == 1
    if zero.any() and one.any() and bool((zero | one | np.isnan(values)).all()):
        return Coded("binary_numeric", values)
    return Coded("integer" if whole else "continuous", values)


def _code_category(categorical: Any) -> Coded:
    codes = categorical.codes.to_numpy().astype(np.int64)
    names = categorical.categories
    used = np.bincount(codes[codes >= 0], minlength=len(names)) > 0
    place = np.append(np.cumsum(used) - 1, -1)  # the last entry serves code -1, missing
    kind = _kind_of_categories(int(used.sum()), bool(categorical.ordered))
    return Coded(kind, _codes_to_float(place[codes]), tuple(names[used].tolist()))


def _kind_of_categories(number: int, ordered: bool) -> Kind:
    if number == 2:
        return "binary"
    return "ordinal" if ordered else "nominal"


def _code_text(series: pd.Series, max_categories: int) -> Coded:
    codes, found = factorize(series)
    if len(found) > max_categories:
        return Coded("id", _codes_to_float(codes))
    order = sorted(range(len(found)), key=found.__getitem__)
    place = np.full(len(found) + 1, -1)
    place[order] = np.arange(len(found))
    values = _codes_to_float(place[codes])
    kind = _kind_of_categories(len(found), ordered=False)
    return Coded(kind, values, tuple(found[i] for i in order), from_text=True)


def _code_object(series: pd.Series, max_categories: int) -> Coded:
    content = pdt.infer_dtype(series, skipna=True)
    if content in {"string", "empty"}:
        return _code_text(series, max_categories)
    if content == "boolean":
        values = _numbers(series)
        return Coded("binary", values, (False, True))
    if content in OBJECT_NUMBERS:
        return _code_numbers(series, content == "integer")
    present = series[series.notna()]
    found = sorted({type(x).__name__ for x in present})
    if len(found) > 1 and all(pdt.is_hashable(x) for x in present):
        raise DataError(
            "E08", f"column {series.name!r} mixes {some(found)}; convert it to one type first"
        )
    raise _unsupported(
        series, f"it holds values of type {some(found)}; convert it to numbers, text or dates first"
    )
