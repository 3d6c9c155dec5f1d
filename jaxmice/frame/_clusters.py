"""Cluster ids to codes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from jaxmice.errors import DataError
from jaxmice.events import EventLog
from jaxmice.frame._kinds import factorize
from jaxmice.frame.columns import Clusters
from jaxmice.wording import near, rows_at, some

MISSING_CLUSTER = ("error", "own", "drop")


def cluster_name(cluster: str | Sequence[str] | None, data: pd.DataFrame) -> str | None:
    """Find the cluster column, given by name or as a list of one name."""
    if cluster is None:
        return None
    names = [cluster] if isinstance(cluster, str) else list(cluster)
    for name in names:
        if name not in data.columns:
            raise DataError("E12", f"cluster {name!r} not found; {near(name, data.columns)}")
    if len(names) != 1:
        raise DataError(
            "E13",
            f"cluster names {len(names)} columns ({some(names)}); two levels are supported: "
            "give the one column whose clusters matter",
        )
    return names[0]


def code_clusters(
    series: pd.Series, missing_cluster: str, events: EventLog
) -> tuple[Clusters, list[str]]:
    """Code the ids of the clusters, and word what is odd about them.

    Returns
    -------
    Clusters
        Codes in the order of first appearance.
    list of str
        Warnings (W08).
    """
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
    clusters = Clusters(name, codes.astype(np.int64), tuple(labels))
    sizes = np.bincount(clusters.codes[clusters.codes >= 0], minlength=clusters.J)
    singletons = int((sizes == 1).sum())
    if singletons:
        events.add(
            "singleton_clusters",
            f"{singletons} of {clusters.J} clusters have a single row; "
            "they tell nothing about variation within clusters",
            dep=name,
        )
    if clusters.J < 5:
        return clusters, [
            f"W08: cluster column {name!r} has {clusters.J} clusters; a variance between fewer "
            "than 5 clusters is hardly estimable: consider one dummy per cluster"
        ]
    return clusters, []
