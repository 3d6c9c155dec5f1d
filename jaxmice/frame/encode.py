"""From a data frame to coded columns."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from jaxmice.errors import DataError
from jaxmice.events import EventLog
from jaxmice.frame._clusters import cluster_names, code_clusters
from jaxmice.frame._input import as_frame, check_shape
from jaxmice.frame._kinds import code_column, code_ids
from jaxmice.frame._levels import find_levels
from jaxmice.frame.columns import Clusters, Column, Frame
from jaxmice.wording import raise_all, some, warn_user

MIN_CELL = 5
"""A category seen less often than this is reported."""

SENTINELS = (-999, -99, -9, 99, 999, 9999)
"""Numbers that often stand for a missing value."""


def encode(
    data: Any,
    *,
    cluster: str | Sequence[str] | None = None,
    levels: Mapping[str, int] | None = None,
    max_categories: int = 20,
    missing_cluster: str = "error",
    relabel_nested: bool | None = None,
    columns: Sequence[str] | None = None,
    least_rows: int = 2,
    events: EventLog,
) -> Frame:
    """Code every column of a data frame and find its level.

    Parameters
    ----------
    data
        A pandas DataFrame with n rows, a frame with a ``to_pandas`` method, or a 2-D array
        together with `columns`. It is never modified.
    cluster
        Name of the column with the cluster ids (of any hashable type); None for one level.
        A list names several, nested ones from the innermost to the outermost.
    levels
        Levels that override what the data show, such as ``{"texp": 2}``.
    max_categories
        A text column with more distinct values than this is an id, not a category.
    missing_cluster
        What a row without cluster id is: an ``"error"``, its ``"own"`` cluster, or a row to
        ``"drop"``, which takes no part but stays in the data.
    columns
        Labels for the columns of an array.
    least_rows
        Rows below which there is nothing to learn from (E02).
    events
        Log to which automatic decisions are added.

    Returns
    -------
    Frame
        The coded columns.

    Raises
    ------
    DataError
        E01 to E04 (not a usable data frame), E05 (infinite values), E06 (unsupported dtype),
        E08 (mixed types), E11 (missing cluster ids), E12 (unknown name), E13 (cluster columns
        that are not nested), E14 (declared level 2, but varying inside clusters).

    Warns
    -----
    JaxMiceWarning
        W05 (date as predictor), W06 (number that may stand for missing), W08 (fewer than five
        clusters), W09 (almost constant inside clusters).
    """
    frame = as_frame(data, columns)
    check_shape(frame, least_rows, events)
    names = cluster_names(cluster, frame)
    clusters: Clusters | None = None
    notes: list[str] = []
    if names:
        clusters, notes = code_clusters(frame, names, missing_cluster, relabel_nested, events)
    coded = _code_columns(frame, names, max_categories, events, notes)
    with_levels, odd = find_levels(coded, clusters, levels, events)
    for note in notes + odd:
        warn_user(note)
    return Frame(frame, with_levels, clusters)


def _code_columns(
    data: pd.DataFrame,
    clusters: Sequence[str],
    max_categories: int,
    events: EventLog,
    notes: list[str],
) -> list[Column]:
    """Code all columns; everything wrong with them is raised together."""
    out: list[Column] = []
    complaints: list[tuple[str, str]] = []
    for name in data.columns:
        series = cast(pd.Series, data[name])
        if name in clusters:
            coded = code_ids(series)
        else:
            try:
                coded = code_column(series, max_categories)
            except DataError as error:
                complaints.append((error.code, str(error).removeprefix(f"{error.code}: ")))
                continue
        missing = np.isnan(coded.values)
        column = Column(name, coded.kind, series.dtype, coded.values, missing, coded.categories)
        out.append(column)
        if coded.from_text and not missing.all():
            events.add(
                "string_to_category",
                f"text column {name!r} with {len(coded.categories)} distinct values "
                f"is used as {coded.kind}",
                dep=name,
            )
        if coded.categories:
            _note_sparse(column, events)
            _note_unseen(column, events)
        elif coded.kind == "time":
            notes.append(
                f"W05: column {name!r} is a date or duration; as predictor it counts days since "
                "its minimum, and it cannot be imputed"
            )
        elif coded.kind in {"continuous", "integer"}:
            notes.extend(_sentinels(column))
    raise_all(complaints)
    return out


def _note_sparse(column: Column, events: EventLog) -> None:
    observed = column.values[~column.missing].astype(np.int64)
    counts = np.bincount(observed, minlength=len(column.categories))
    rare = [
        f"{category!r} ({count})"
        for category, count in zip(column.categories, counts.tolist(), strict=True)
        if 0 < count < MIN_CELL
    ]
    if rare:
        events.add(
            "sparse_category",
            f"column {column.name!r} has categories seen fewer than {MIN_CELL} times: "
            f"{', '.join(rare[:5])}{', ...' if len(rare) > 5 else ''}; consider merging them",
            dep=column.name,
        )


def _note_unseen(column: Column, events: EventLog) -> None:
    """Say which categories of an incomplete column can never be imputed."""
    seen = set(column.categories)
    unseen = [
        category for category in getattr(column.dtype, "categories", ()) if category not in seen
    ]
    if unseen and column.missing.any():
        events.add(
            "unseen_category",
            f"column {column.name!r} has categories that no row shows, {some(unseen)}; they are "
            "never imputed",
            dep=column.name,
        )


def _sentinels(column: Column) -> list[str]:
    """Word the suspicion that numbers far from all others stand for missing values (W06)."""
    values = column.values
    found = [s for s in SENTINELS if np.count_nonzero(values == s) >= 2 and _is_far(s, values)]
    if not found:
        return []
    return [
        f"W06: column {column.name!r} repeats {some(found)}, far from its other values; "
        "if this stands for missing, set it to NA first"
    ]


def _is_far(number: float, values: npt.NDArray[np.float64]) -> bool:
    rest = values[~np.isnan(values) & (values != number)]
    if rest.size == 0:
        return False
    low, high = np.quantile(rest, [0.25, 0.75])
    # With more than half of the values tied the quartiles may coincide; then the range serves.
    spread = high - low or np.ptp(rest)
    return bool(number < low - 5 * spread or number > high + 5 * spread)
