"""Columns that show one value only."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from jaxmice.errors import DataError
from jaxmice.events import EventLog
from jaxmice.frame import Frame


def find_constants(frame: Frame, ignore: np.ndarray) -> dict[str, int | None]:
    """Return columns without variation and a row that shows their value, or None."""
    out: dict[str, int | None] = {}
    for name, column in frame.columns.items():
        if column.level == 0:
            continue
        values = column.values[~column.missing & ~ignore]
        if not len(values):
            out[name] = None
        elif values.min() == values.max():
            out[name] = int(np.argmax(~column.missing & ~ignore))
    return out


def fill_constants(
    frame: Frame,
    method: dict[str, str],
    members: Mapping[str, Sequence[str]],
    where: np.ndarray,
    constants: Mapping[str, int | None],
    events: EventLog,
) -> tuple[Frame, dict[str, str], dict[str, tuple[str, ...]]]:
    """Fill targets that show one value with it; they need no method.

    The cells count as observed from then on, in the codes and in a new ``data``.

    Returns
    -------
    frame : Frame
        The filled data.
    method, members : dict
        Without the filled columns.

    Raises
    ------
    DataError
        E15 for a target without any observed value.
    """
    names = list(frame.columns)
    targets = {
        name for block, columns in members.items() if method[block] for name in columns
    } & set(constants)
    empty = [name for name in names if name in targets and constants[name] is None]
    if empty:
        raise DataError(
            "E15",
            "\n".join(
                f"column {name!r} has no observed values; remove it or give it the method ''"
                for name in empty
            ),
        )
    columns, data = dict(frame.columns), frame.data
    for name in names:
        source = constants.get(name)
        if name not in targets or source is None:
            continue
        column = columns[name]
        fill = column.missing & where[:, names.index(name)]
        if data is frame.data:
            data = data.copy(deep=False)
        series = frame.data[name].take(np.where(fill, source, np.arange(frame.n)))
        series.index = data.index
        data[name] = series
        values = np.where(fill, column.values[source], column.values)
        columns[name] = replace(column, values=values, missing=column.missing & ~fill)
        events.add(
            "constant_filled",
            f"column {name!r} shows the value {frame.data[name].iloc[source]} only; "
            f"{int(fill.sum())} missing cells are filled with it",
            dep=name,
        )
    left = {block: tuple(n for n in cols if n not in targets) for block, cols in members.items()}
    left = {block: cols for block, cols in left.items() if cols}
    frame = Frame(data, columns, frame.clusters) if targets else frame
    return frame, {block: method[block] for block in left}, left
