"""Accepting data: what counts as a data frame, and the requirements on its shape and labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxmice.errors import DataError
from jaxmice.events import EventLog
from jaxmice.wording import raise_all, some

COPIES_ON_WRITE = int(pd.__version__.split(".")[0]) >= 3
"""Whether a shallow copy of a frame is independent of it, so that a deep one is not needed."""


def as_frame(data: Any, columns: Sequence[str] | None) -> pd.DataFrame:
    """Turn the accepted inputs into a pandas frame that later changes of them do not reach."""
    if isinstance(data, np.ndarray) and data.ndim == 2 and columns is not None:
        if len(columns) != data.shape[1]:
            raise DataError(
                "E01", f"columns= has {len(columns)} names, the array {data.shape[1]} columns"
            )
        return pd.DataFrame(data.copy(), columns=list(columns))
    convert = getattr(data, "to_pandas", None)  # polars and its kin
    frame = convert() if callable(convert) else data
    if isinstance(frame, pd.DataFrame):
        if columns is not None:
            raise DataError(
                "E01", "columns= names the columns of an array; a data frame has its own labels"
            )
        return frame.copy(deep=not COPIES_ON_WRITE)
    shape = f" of shape {data.shape}" if isinstance(data, np.ndarray) else ""
    raise DataError(
        "E01",
        f"data must be a pandas DataFrame, got {type(data).__name__}{shape}; "
        "make a 2-D array one by pd.DataFrame(array, columns=[...])",
    )


def in_row_order(values: Any, index: pd.Index, code: str, what: str) -> Any:
    """Return values by row in the order of the data; labels decide where there are any.

    Raises
    ------
    DataError
        The given code, where the labels are not those of the data.
    """
    if not isinstance(values, pd.Series | pd.DataFrame) or len(values) != len(index):
        return values
    if values.index.equals(index):
        return values
    if values.index.is_unique and index.is_unique and index.isin(values.index).all():
        return values.reindex(index)
    raise DataError(
        code,
        f"{what} has other row labels than the data; give it their index, or pass "
        ".to_numpy() of it to go by position",
    )


def check_shape(data: pd.DataFrame, least_rows: int, events: EventLog) -> None:
    """Check size and labels, and note an index that does not identify rows."""
    complaints: list[tuple[str, str]] = []
    n, p = data.shape
    if n < least_rows or p < 2:
        need = "2 of each" if least_rows == 2 else "1 row and 2 columns"
        complaints.append(("E02", f"data has {n} rows and {p} columns; need at least {need}"))
    if not data.columns.is_unique:
        names = data.columns[data.columns.duplicated()].unique().tolist()
        complaints.append(("E03", f"duplicate column names: {some(names)}; rename them"))
    others = [x for x in data.columns.tolist() if not isinstance(x, str)]
    if others:
        complaints.append(
            (
                "E04",
                f"column names must be strings; rename {some(others)}, "
                "for example by data.columns = data.columns.map(str)",
            )
        )
    raise_all(complaints)
    if not data.index.is_unique:
        events.add(
            "index_not_unique",
            f"{int(data.index.duplicated().sum())} row labels repeat an earlier one; "
            "imputed cells are listed by position",
        )
