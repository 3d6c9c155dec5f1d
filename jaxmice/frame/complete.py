"""Completed data: the incomplete frame with imputed cells filled in, in every layout."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from jaxmice.errors import DataError
from jaxmice.wording import near, some

Cells = Mapping[str, tuple[npt.NDArray[np.integer], pd.Series]]
"""Per column the row positions of imputed cells, and their decoded values."""

ACTIONS = ("all", "long", "stacked", "broad", "repeated")
"""Layouts that have a name."""

CODE = "E54"
"""Arguments of `complete` that cannot be understood."""


def complete_one(data: pd.DataFrame, cells: Cells) -> pd.DataFrame:
    """Fill imputed cells into a copy of the data.

    Parameters
    ----------
    data
        The incomplete data, n rows; not modified.
    cells
        Per column the row positions, shape ``(k,)``, and the decoded values, shape ``(k,)``.
        Values of another dtype than the column (whole numbers that became ``Float64``) give
        the whole column their dtype.

    Returns
    -------
    pandas.DataFrame
        Rows, index, columns and dtypes of `data`.
    """
    out = data.copy()
    for name, (positions, values) in cells.items():
        out[name] = _fill(cast(pd.Series, data[name]), positions, values)
    return out


def complete(
    data: pd.DataFrame,
    m: int,
    cell_getter: Callable[[int], Cells],
    action: int | str | Sequence[int] = 1,
    include: bool = False,
    order: str = "last",
    imp_column: str = ".imp",
    id_column: str = ".id",
    lazy: bool = False,
) -> Any:
    """Completed data in the layout asked for.

    Parameters
    ----------
    data
        The incomplete data, n rows.
    m
        Number of imputations.
    cell_getter
        Gives the cells of imputation 1, ..., m, see `complete_one`.
    action
        A number (0 is the original), a list of numbers (stacked in that order), ``"all"``
        (dict by number), ``"long"`` (stacked, with number and row label), ``"stacked"`` (without
        them), ``"broad"`` (side by side, columns ``name.i``), or ``"repeated"`` (the same, column
        by column).
    include
        Whether the original is added as number 0; not for a single number.
    order
        Whether `imp_column` and `id_column` come ``"last"`` or ``"first"`` in ``"long"``.
    imp_column, id_column
        Labels of the two columns that ``"long"`` adds.
    lazy
        An iterator that holds one completed frame at a time: of pairs (number, frame) for
        ``"all"``, of consecutive parts of the long frame for ``"long"``.

    Returns
    -------
    pandas.DataFrame, dict of int to pandas.DataFrame, or iterator
        Rows, columns and dtypes are in the order of `data`. Stacked frames get a fresh
        ``RangeIndex``, all others keep the index of `data`.

    Raises
    ------
    DataError
        E54, for an argument that cannot be understood.
    """
    numbers = _numbers(action, m, include)
    if order not in {"last", "first"}:
        raise DataError(CODE, f"order must be 'last' or 'first', got {order!r}")
    if lazy and not (isinstance(action, str) and action in {"all", "long"}):
        raise DataError(CODE, f"lazy=True needs action 'all' or 'long', got {action!r}")

    def one(i: int) -> pd.DataFrame:
        return complete_one(data, cell_getter(i) if i else {})

    if isinstance(action, (int, np.integer)):
        return one(numbers[0])
    if not isinstance(action, str) or action == "stacked":
        return _stack(data, numbers, cell_getter)
    if action == "all":
        pairs = ((i, one(i)) for i in numbers)
        return pairs if lazy else dict(pairs)
    if action == "long":
        _check_labels(data, imp_column, id_column)
        place = (0, 1) if order == "first" else (data.shape[1], data.shape[1] + 1)
        labels: dict[int, str] = dict(zip(place, (imp_column, id_column), strict=True))
        if lazy:
            return _long_parts(data, numbers, cell_getter, labels)
        return _long(data, numbers, cell_getter, labels)
    return _side_by_side([one(i) for i in numbers], numbers, by_column=action == "repeated")


def _numbers(action: Any, m: int, include: bool) -> list[int]:
    """Numbers of the data sets that an action asks for."""
    if isinstance(action, str):
        if action not in ACTIONS:
            raise DataError(
                CODE,
                f"unknown action {action!r}; {near(action, ACTIONS)} "
                f"(or a number from 0 to {m}, or a list of numbers)",
            )
        return list(range(0 if include else 1, m + 1))
    single = isinstance(action, (int, np.integer))
    if single and include:
        raise DataError(
            CODE, f"include=True needs several data sets; use action=[0, {action}] for a stack"
        )
    try:
        asked = [action] if single else list(action)
    except TypeError:
        asked = []
    wrong = [
        i
        for i in asked
        if isinstance(i, (bool, np.bool_))
        or not isinstance(i, (int, np.integer))
        or not 0 <= i <= m
    ]
    if wrong or not asked:
        raise DataError(
            CODE,
            f"action must be a number from 0 (the original) to {m}, a list of them, or one of "
            f"{some(ACTIONS)}; got {some(wrong) if wrong else repr(action)}",
        )
    numbers = [int(i) for i in asked]
    return [0, *numbers] if include and 0 not in numbers else numbers


def _check_labels(data: pd.DataFrame, imp_column: str, id_column: str) -> None:
    taken = [x for x in (imp_column, id_column) if x in data.columns]
    if taken or imp_column == id_column:
        raise DataError(
            CODE,
            f"the long frame cannot add the columns {imp_column!r} and {id_column!r}: "
            + (f"data already has {some(taken)}" if taken else "they are equal")
            + "; choose others by imp_column= and id_column=",
        )


def _fill(series: pd.Series, positions: npt.NDArray[np.integer], values: pd.Series) -> pd.Series:
    # Arrays, not series: no alignment by labels, and no change of dtype on assignment.
    series = series.astype(values.dtype) if len(values) else series
    array = series.array.copy()
    array[positions] = values.array
    # The dtype is stated because pandas would read an object array of text as strings.
    return pd.Series(array, index=series.index, dtype=series.dtype, name=series.name)


def _stack(
    data: pd.DataFrame, numbers: Sequence[int], cell_getter: Callable[[int], Cells]
) -> pd.DataFrame:
    """Stack data sets by one repetition of the data and one assignment per column."""
    n = len(data)
    out = data.take(np.tile(np.arange(n), len(numbers)))
    out.index = pd.RangeIndex(len(out))
    positions: dict[str, list[npt.NDArray[np.integer]]] = {}
    values: dict[str, list[pd.Series]] = {}
    for k, i in enumerate(numbers):
        for name, (where, drawn) in (cell_getter(i) if i else {}).items():
            positions.setdefault(name, []).append(np.asarray(where, dtype=np.intp) + k * n)
            values.setdefault(name, []).append(drawn)
    for name, drawn in values.items():
        out[name] = _fill(
            cast(pd.Series, out[name]), np.concatenate(positions[name]), pd.concat(drawn)
        )
    return out


def _long(
    data: pd.DataFrame,
    numbers: Sequence[int],
    cell_getter: Callable[[int], Cells],
    labels: Mapping[int, str],
) -> pd.DataFrame:
    """Stack data sets and add number and row label at the places that `labels` gives."""
    out = _stack(data, numbers, cell_getter)
    index = data.index.to_flat_index() if data.index.nlevels > 1 else data.index
    rows = index.take(np.tile(np.arange(len(data)), len(numbers)))
    added = (
        pd.Series(np.repeat(np.asarray(numbers, dtype=np.int64), len(data)), index=out.index),
        pd.Series(rows.array, index=out.index, dtype=rows.dtype),
    )
    for (place, label), column in zip(labels.items(), added, strict=True):
        out.insert(place, label, column)
    return out


def _long_parts(
    data: pd.DataFrame,
    numbers: Sequence[int],
    cell_getter: Callable[[int], Cells],
    labels: Mapping[int, str],
) -> Iterator[pd.DataFrame]:
    for k, i in enumerate(numbers):
        part = _long(data, [i], cell_getter, labels)
        part.index += k * len(data)  # the parts one after the other are the long frame
        yield part


def _side_by_side(
    frames: Sequence[pd.DataFrame], numbers: Sequence[int], by_column: bool
) -> pd.DataFrame:
    wide = pd.concat([f.add_suffix(f".{i}") for i, f in zip(numbers, frames, strict=True)], axis=1)
    if not by_column:
        return wide
    p = frames[0].shape[1]
    return wide.iloc[:, [k * p + j for j in range(p) for k in range(len(frames))]]
