"""Cells of level-2 columns that other rows of the same cluster show."""

from dataclasses import replace

import numpy as np

from jaxmice.events import EventLog
from jaxmice.frame._levels import first_observed
from jaxmice.frame.columns import Frame


def deduce_level2(frame: Frame, events: EventLog) -> Frame:
    """Fill missing cells of level-2 columns with the value that their cluster shows elsewhere.

    Parameters
    ----------
    frame
        The coded data.
    events
        Log to which one ``deduced`` per filled column is added.

    Returns
    -------
    Frame
        A frame with the cells filled both in the codes and in a new ``data``, where they count
        as observed; `frame` itself if there is nothing to fill. Clusters in which a column is
        missing altogether keep their missing cells. The given frame is left as it was.
    """
    clusters = frame.clusters
    if clusters is None:
        return frame
    columns = dict(frame.columns)
    data = frame.data
    for name, column in frame.columns.items():
        if column.level != 2 or not column.missing.any():
            continue
        _, first = first_observed(column, clusters)
        source = np.where(clusters.codes >= 0, first[clusters.codes], -1)
        cells = np.flatnonzero(column.missing & (source >= 0))
        if cells.size == 0:
            continue
        values, missing = column.values.copy(), column.missing.copy()
        values[cells], missing[cells] = values[source[cells]], False
        columns[name] = replace(column, values=values, missing=missing)
        if data is frame.data:
            data = data.copy(deep=False)
        rows = np.arange(frame.n)
        rows[cells] = source[cells]
        filled = frame.data[name].take(rows)
        filled.index = data.index
        data[name] = filled
        left = int(missing.sum())
        events.add(
            "deduced",
            f"{cells.size} missing cells of level-2 column {name!r} filled from other rows of "
            f"their cluster; {left} left, in clusters without any value",
            dep=name,
        )
    return Frame(data, columns, clusters) if data is not frame.data else frame
