"""Cells that follow from what was observed, filled before any imputation."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxmice.errors import DataError, JaxMiceWarning, ModelError
from jaxmice.events import EventLog
from jaxmice.frame import Column, Frame, complete_one, decode, deduce_level2, encode
from jaxmice.model.groups import Groups
from jaxmice.model.passive import compile_rules, fill_known
from jaxmice.wording import near

REPAIRS = ("error", "majority", "mean")


def impute_deductive(
    data: Any,
    cluster: str | None = None,
    rules: Sequence[tuple[str, str]] = (),
    *,
    levels: Mapping[str, int] | None = None,
    repair: str = "error",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fill missing cells whose value follows from observed ones, without error.

    A cell of a column that is constant in clusters gets the value that another row of the
    cluster shows; `mice` does so by itself. Rules then compute cells all of whose
    ingredients are known.

    Parameters
    ----------
    data
        Data frame with n rows; it is not modified.
    cluster
        Name of the cluster column.
    rules
        Pairs of a column and an expression (see `jaxmice.model.expressions`), applied in
        their order; a column may occur again.
    levels
        Levels that override what the data show, such as ``{"texp": 2}``.
    repair
        What to do where a column declared as level 2 varies inside a cluster:
        ``"error"``, or give all its observed rows the ``"majority"`` (of equally frequent
        values the least) or the ``"mean"`` of the cluster.

    Returns
    -------
    data : pandas.DataFrame
        The filled data, rows and columns as given.
    table : pandas.DataFrame
        By column that was incomplete or repaired: cells ``repaired``, ``filled`` and ``left``,
        and ``clusters_left``, the clusters without any value.

    Raises
    ------
    DataError
        E14: a column declared as level 2 varies inside clusters, or has no mean; or `data`
        is no usable frame. E05: a rule gives infinite values.
    ModelError
        E27 or E30: a rule for an unknown column, or one that cannot be read; E51: an unknown
        `repair`.

    Source: van Buuren S (2018), Flexible Imputation of Missing Data, 2nd ed., sections 6.4
    (deductive relations) and 7.7 (level-2 columns).

    Examples
    --------
    >>> import pandas as pd
    >>> import jaxmice as jm
    >>> d = pd.DataFrame({"g": [1, 1, 2, 2], "w": [3.0, None, 5.0, 5.0],
    ...                   "x": [2.0, 1.0, 4.0, 7.0], "wx": [None, 3.0, 20.0, 35.0]})
    >>> filled, table = jm.impute_deductive(d, "g", [("wx", "w * x")])
    >>> filled["wx"].tolist()
    [6.0, 3.0, 20.0, 35.0]
    """
    if repair not in REPAIRS:
        raise ModelError("E51", f"unknown repair {repair!r}; {near(repair, REPAIRS)}")
    events = EventLog()
    repaired: dict[str, int] = {}
    if repair != "error" and cluster is not None:
        data, repaired = _repair(data, cluster, levels or {}, repair)
    before = _coded(data, cluster, levels, events)
    frame = deduce_level2(before, events)
    groups = Groups(frame.clusters) if frame.clusters else None
    for target, text in rules:
        compiled = compile_rules({target: text}, frame)
        frame = fill_known(frame, compiled, groups, np.zeros(frame.n, bool), events)
    rows = {}
    for name, column in before.columns.items():
        left = frame.columns[name].missing
        if column.missing.any() or name in repaired:
            rows[name] = {
                "repaired": repaired.get(name, 0),
                "filled": int((column.missing & ~left).sum()),
                "left": int(left.sum()),
                "clusters_left": int((groups.count(~left) == 0).sum()) if groups else 0,
            }
    kinds = ["repaired", "filled", "left", "clusters_left"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=kinds)
    return frame.data, table.rename_axis("column")


def _coded(
    data: Any, cluster: str | None, levels: Mapping[str, int] | None, events: EventLog
) -> Frame:
    """Code the data without warnings, which are about models of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JaxMiceWarning)
        return encode(data, cluster=cluster, levels=levels, events=events)


def _repair(
    data: Any, cluster: str, levels: Mapping[str, int], repair: str
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Make declared columns constant in clusters; return the data and the cells changed."""
    frame = _coded(data, cluster, None, EventLog())
    assert frame.clusters is not None
    groups, cells = Groups(frame.clusters), {}
    for name in (n for n, level in levels.items() if level == 2 and n in frame.columns):
        column = frame.columns[name]
        rows = ~column.missing & groups.member
        if repair == "majority":
            shared = _majority(column, groups, rows)
        elif column.categories:
            raise DataError("E14", f"column {name!r} has no mean; use repair='majority'")
        else:
            shared = groups.means(np.nan_to_num(column.values), rows)
        wanted = shared[groups.codes]
        at = np.flatnonzero(rows & (wanted != column.values))
        if len(at):
            cells[name] = at, decode(column, wanted[at])
    return complete_one(frame.data, cells), {name: len(at) for name, (at, _) in cells.items()}


def _majority(column: Column, groups: Groups, rows: np.ndarray) -> np.ndarray:
    """Return (J,) the most frequent value of every cluster over some rows, or NaN."""
    pairs = np.stack([groups.codes[rows], column.values[rows]])
    (codes, values), counts = np.unique(pairs, axis=1, return_counts=True)
    out = np.full(groups.J, np.nan)
    # Of repeated places the last assignment stays: rare values first, and great ones.
    order = np.lexsort([-values, counts])
    out[codes[order].astype(int)] = values[order]
    return out
