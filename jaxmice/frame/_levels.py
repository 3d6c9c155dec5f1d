"""Finding out which columns describe clusters (level 2) and which rows (level 1).

All counts are made by codes over whole columns; nothing loops over clusters.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from jaxmice.events import EventLog
from jaxmice.frame.columns import Clusters, Column
from jaxmice.wording import near, raise_all, some

ALMOST_CONSTANT = 0.01
"""Share of varying clusters below which a column looks like level 2 with errors in it."""


def first_observed(
    column: Column, clusters: Clusters
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows in which the column is observed, and per cluster the first of them (-1: none)."""
    rows = np.flatnonzero(~column.missing & (clusters.codes >= 0))
    first = np.full(clusters.J, -1, dtype=np.intp)
    # Of repeated targets numpy keeps the last assignment; backwards, that is the first row.
    first[clusters.codes[rows[::-1]]] = rows[::-1]
    return rows, first


def variation(column: Column, clusters: Clusters) -> tuple[int, npt.NDArray[np.intp]]:
    """Count the clusters with at least two observed values, and list those where they differ."""
    rows, first = first_observed(column, clusters)
    if rows.size < column.values.size:
        codes, values = clusters.codes[rows], column.values[rows]
    else:
        codes, values = clusters.codes, column.values
    # Clusters without any value read an arbitrary cell here, which no row compares with.
    differs = values != column.values[first][codes]
    informative = int((np.bincount(codes, minlength=clusters.J) >= 2).sum())
    varying = np.zeros(clusters.J, dtype=bool)
    varying[codes[differs]] = True
    return informative, np.flatnonzero(varying)


def find_levels(
    columns: Iterable[Column],
    clusters: Clusters | None,
    declared: Mapping[str, int] | None,
    events: EventLog,
) -> tuple[dict[str, Column], list[str]]:
    """Give every column its level.

    Returns
    -------
    dict
        The columns with their levels.
    list of str
        Warnings (W09).

    Raises
    ------
    DataError
        E12 (a declared level for an unknown column) or E14 (declared level 2, but varying).
    """
    out = {c.name: c for c in columns}
    declared = declared or {}
    _check_declared(declared, out, clusters)
    if clusters is None:
        return out, []
    complaints, notes = [], []
    for name, column in out.items():
        if name in clusters.names:
            out[name] = replace(column, level=0)
            continue
        level = declared.get(name)
        if level == 1:
            continue
        informative, varying = variation(column, clusters)
        labels = [clusters.labels[j] for j in varying[:100]]
        if level == 2:
            if varying.size:
                complaints.append(
                    (
                        "E14",
                        f"column {name!r} declared level 2 but varies in "
                        f"{varying.size} clusters: {some(labels)}; correct the data or "
                        f"leave {name!r} out of levels=",
                    )
                )
        elif informative == 0:
            level = 1
            events.add(
                "level_undecided",
                f"no cluster has two observed values of {name!r}; it is taken as level 1 "
                f"(levels={{{name!r}: 2}} says otherwise)",
                dep=name,
            )
        else:
            level = 1 if varying.size else 2
            if 0 < varying.size < ALMOST_CONSTANT * informative:
                notes.append(
                    f"W09: column {name!r} is constant in all but {varying.size} of "
                    f"{informative} clusters ({some(labels)}): probably a level-2 column with "
                    "errors in the data; it is treated as level 1"
                )
        out[name] = replace(column, level=level)
    raise_all(complaints)
    return out, notes


def _check_declared(
    declared: Mapping[str, int], columns: Mapping[str, Column], clusters: Clusters | None
) -> None:
    complaints = []
    for name, level in declared.items():
        if name not in columns:
            complaints.append(
                ("E12", f"levels names {name!r}, which is not in data; {near(name, columns)}")
            )
        elif level not in (1, 2):
            complaints.append(("E14", f"levels[{name!r}] must be 1 or 2, got {level!r}"))
        elif clusters is None and level == 2:
            complaints.append(
                ("E14", f"column {name!r} declared level 2, but no cluster column is given")
            )
        elif clusters is not None and name in clusters.names:
            complaints.append(("E14", f"{name!r} is a cluster column; take it out of levels="))
    raise_all(complaints)
