"""Missingness cluster by cluster: sporadic or systematic."""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from jaxmice.errors import JaxMiceWarning
from jaxmice.missingness._look import clusters_of, look
from jaxmice.model import find_default_method


@dataclass(frozen=True, repr=False)
class ClusterMissing:
    """Missingness per cluster; J clusters, p columns besides the cluster column.

    Attributes
    ----------
    share
        (J, p) share of the cluster's rows in which the column is missing, 0 to 1.
    type
        (J, p) ``"complete"``, ``"sporadic"`` (some rows missing) or ``"systematic"``
        (all rows missing).
    summary
        Per column: ``level``, ``share`` missing over all rows, the number of clusters of
        each type, those with an ``observed`` value, the ``smallest`` and ``largest`` share
        of a cluster, and for incomplete columns the ``branch`` of
        `jaxmice.find_default_method` that applies (empty for others).
    by_cluster
        Per cluster: ``size`` in rows, and the number of ``sporadic`` and
        ``systematic`` columns.
    """

    share: pd.DataFrame
    type: pd.DataFrame
    summary: pd.DataFrame
    by_cluster: pd.DataFrame

    def __repr__(self) -> str:
        n, J = self.by_cluster["size"].sum(), len(self.by_cluster)
        head = f"ClusterMissing: {n} rows in {J} clusters of {self.by_cluster.index.name!r}"
        return f"{head}\n{self.summary.round(3).to_string()}"


def cluster_missing(data: pd.DataFrame, cluster: str) -> ClusterMissing:
    """Tabulate missingness by cluster.

    Parameters
    ----------
    data
        (n, p + 1) frame.
    cluster
        Its cluster column, without missing ids.

    Returns
    -------
    ClusterMissing
        Four tables; clusters in order of first appearance.

    Raises
    ------
    DataError
        `data` is no usable frame, or `cluster` is not one of its columns or has missing
        ids.

    References
    ----------
    Resche-Rigon, M., White, I. R., Bartlett, J. W., Peters, S. A. E., & Thompson, S. G.
    (2013). Multiple imputation for handling systematically missing confounders in
    meta-analysis of individual participant data. Statistics in Medicine, 32(28).
    """
    frame = look(data, cluster)
    codes, J = clusters_of(frame)
    columns = {name: column for name, column in frame.columns.items() if name != cluster}
    size = np.bincount(codes, minlength=J)
    holes = {
        name: np.bincount(codes, column.missing, minlength=J) for name, column in columns.items()
    }
    labels = pd.Index(frame.clusters.labels if frame.clusters else (), name=cluster)
    share = pd.DataFrame(holes, index=labels) / size[:, None]
    kind = pd.DataFrame(
        np.select([share == 0, share == 1], ["complete", "systematic"], "sporadic"),
        index=labels,
        columns=share.columns,
    )
    summary = pd.DataFrame(
        {
            "level": [column.level for column in columns.values()],
            "share": [column.missing.mean() for column in columns.values()],
            "complete": (kind == "complete").sum(),
            "sporadic": (kind == "sporadic").sum(),
            "systematic": (kind == "systematic").sum(),
            "observed": (kind != "systematic").sum(),
            "smallest": share.min(),
            "largest": share.max(),
            "branch": _branches(frame.data, cluster).reindex(share.columns, fill_value=""),
        },
        index=share.columns,
    )
    by_cluster = pd.DataFrame(
        {
            "size": size,
            "sporadic": (kind == "sporadic").sum(axis=1),
            "systematic": (kind == "systematic").sum(axis=1),
        },
        index=labels,
    )
    return ClusterMissing(share, kind, summary, by_cluster)


def _branches(data: pd.DataFrame, cluster: str) -> pd.Series:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JaxMiceWarning)
        return find_default_method(data, cluster, explain=True)["branch"].astype(str)
