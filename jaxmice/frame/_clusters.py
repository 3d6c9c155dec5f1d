"""Cluster ids to codes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from jaxmice.errors import DataError
from jaxmice.events import EventLog
from jaxmice.frame._kinds import factorize
from jaxmice.frame.columns import Clusters
from jaxmice.wording import near, rows_at, some

MISSING_CLUSTER = ("error", "own", "drop")


def cluster_names(cluster: str | Sequence[str] | None, data: pd.DataFrame) -> list[str]:
    """Find the cluster columns, given by name or as a list of names."""
    if cluster is None:
        return []
    names = [cluster] if isinstance(cluster, str) else list(cluster)
    for name in names:
        if name not in data.columns:
            raise DataError("E12", f"cluster {name!r} not found; {near(name, data.columns)}")
    if not names or len(set(names)) < len(names):
        raise DataError("E12", f"cluster must name different columns, got {names}")
    return names


def code_clusters(
    data: pd.DataFrame,
    names: Sequence[str],
    missing_cluster: str,
    relabel_nested: bool | None,
    events: EventLog,
) -> tuple[Clusters, list[str]]:
    """Code the ids of one or more cluster columns, and word what is odd about them.

    Parameters
    ----------
    data
        The data frame.
    names
        The cluster columns, from the innermost to the outermost where they are nested.
    missing_cluster
        What a row without id is; see `encode`.
    relabel_nested
        What an id is that occurs in several clusters of the next column; see `encode`.
    events
        Log to which automatic decisions are added.

    Returns
    -------
    Clusters
        Codes in the order of first appearance, the further columns inside.
    list of str
        Warnings (W08).
    """
    coded = [_code_column(data[name], missing_cluster, events) for name in names]
    if len(coded) > 1:
        coded = _nest(_drop_together(coded), relabel_nested, events)
    notes = [note for clusters in coded for note in _look(clusters, events)]
    return replace(coded[0], further=tuple(coded[1:])), notes


def _drop_together(coded: Sequence[Clusters]) -> list[Clusters]:
    """Drop a row from all columns where one of them has no id for it."""
    lost = np.any([clusters.codes < 0 for clusters in coded], axis=0)
    if not lost.any():
        return list(coded)
    return [_renumber(c, np.where(lost, -1, c.codes), c.labels) for c in coded]


def _renumber(clusters: Clusters, ids: np.ndarray, labels: Sequence[Any]) -> Clusters:
    """Return clusters by the ids of the rows, -1 for none, numbered as they first appear."""
    codes, order = pd.factorize(np.where(ids < 0, np.nan, ids))
    names = tuple(labels[int(i)] for i in order.tolist())
    return replace(clusters, codes=codes.astype(np.int64), labels=names)


def _nest(
    coded: Sequence[Clusters], relabel_nested: bool | None, events: EventLog
) -> list[Clusters]:
    """See to it that every column is nested in the next, unless they are said to cross.

    Raises
    ------
    DataError
        E13: an id occurs in several clusters of the next column, and nobody said why.
    """
    if relabel_nested is False:
        return list(coded)
    out = [coded[-1]]
    for inner in reversed(coded[:-1]):
        outer = out[0]
        rows = inner.codes >= 0
        pairs = np.where(rows, inner.codes * outer.J + outer.codes, -1)
        found = np.unique(pairs[rows])
        count = np.bincount(found // outer.J, minlength=inner.J)
        torn = np.flatnonzero(count > 1)
        if torn.size and relabel_nested is None:
            shown = some([inner.labels[j] for j in torn[:100]])
            raise DataError(
                "E13",
                f"{torn.size} ids of cluster column {inner.name!r} occur in several clusters of "
                f"{outer.name!r}: {shown}; pass relabel_nested=True if they count anew in every "
                f"{outer.name!r}, or relabel_nested=False if {inner.name!r} and {outer.name!r} "
                "cross",
            )
        if torn.size:
            order, place = np.unique(pairs, return_inverse=True)
            labels = [
                (inner.labels[i], outer.labels[k])
                for i, k in zip(*np.divmod(order[order >= 0], outer.J), strict=True)
            ]
            shift = int(np.sum(order < 0))
            inner = _renumber(inner, np.where(rows, place - shift, -1), labels)
            events.add(
                "clusters_relabelled",
                f"cluster column {inner.name!r} counts anew in every {outer.name!r}: "
                f"{inner.J} clusters by both ids",
                dep=inner.name,
            )
        out.insert(0, inner)
    return out


def _code_column(series: pd.Series, missing_cluster: str, events: EventLog) -> Clusters:
    """Code the ids of one cluster column in the order of first appearance."""
    name = str(series.name)
    if missing_cluster not in MISSING_CLUSTER:
        raise DataError(
            "E11",
            f"missing_cluster must be one of {some(MISSING_CLUSTER)}, got {missing_cluster!r}; "
            f"{near(missing_cluster, MISSING_CLUSTER)}",
        )
    codes, labels = factorize(series)
    lost = np.flatnonzero(codes < 0)
    if lost.size:
        where = f"(rows {rows_at(series.index, lost.tolist())})"
        if missing_cluster == "error":
            raise DataError(
                "E11",
                f"cluster column {name!r} has {lost.size} missing ids {where}; drop these rows, "
                "or use missing_cluster='own' or missing_cluster='drop'",
            )
        if missing_cluster == "drop":
            events.add(
                "row_dropped",
                f"{lost.size} rows without cluster id {where} are neither used nor imputed",
                dep=name,
            )
        else:
            codes[lost] = len(labels) + np.arange(lost.size)
            labels += [f"row {x}" for x in series.index[lost].tolist()]
            # Number again, so that these clusters also stand in the order of the rows.
            codes, order = pd.factorize(codes)
            labels = [labels[i] for i in order.tolist()]
    return Clusters(name, codes.astype(np.int64), tuple(labels))


def _look(clusters: Clusters, events: EventLog) -> list[str]:
    """Report clusters of a single row, and word the warning of too few clusters (W08)."""
    sizes = np.bincount(clusters.codes[clusters.codes >= 0], minlength=clusters.J)
    singletons = int((sizes == 1).sum())
    if singletons:
        events.add(
            "singleton_clusters",
            f"{singletons} of {clusters.J} clusters have a single row; "
            "they tell nothing about variation within clusters",
            dep=clusters.name,
        )
    if clusters.J < 5:
        return [
            f"W08: cluster column {clusters.name!r} has {clusters.J} clusters; a variance between "
            "fewer than 5 clusters is hardly estimable: consider one dummy per cluster"
        ]
    return []
