"""Where the holes are: row by row, and cluster by cluster."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jaxmice.missingness import cluster_missing
from jaxmice.missingness._look import clusters_of, look
from jaxmice.plots._canvas import IMPUTED, INK, name_ticks, room, single, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from jaxmice.frame import Frame

SPORADIC = "#e8a09b"
"""A missing cell in a cluster that has values of the column."""
SEEN = "#d3e1f1"
"""An observed cell, where the holes are the subject."""
DISTINCT = 600
"""More rows than that share lines of the picture."""


def plot_miss(data: pd.DataFrame, ordered: bool = False, *, ax: "Axes | None" = None) -> "Axes":
    """Draw every cell of a frame: missing ones red, observed ones pale blue.

    Parameters
    ----------
    data
        (n, p) frame with missing values.
    ordered
        Sort columns by their number of holes and rows by their pattern, so that rows
        which miss the same columns stand together.
    ax
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    DataError
        `data` is no usable frame.
    """
    frame = look(data)
    names, missing = list(frame.columns), _missing(frame)
    if ordered:
        by_holes = np.argsort(missing.sum(axis=0), kind="stable")
        names, missing = [names[j] for j in by_holes], missing[:, by_holes]
        missing = missing[np.lexsort(missing.T)]
    ax = single(ax, _size(len(names), 4.8))
    _draw_cells(ax, names, missing, missing)
    ax.set_ylabel("row, sorted by pattern" if ordered else "row")
    _legend(ax, {"observed": SEEN, "missing": IMPUTED})
    return ax


def plot_layout(data: pd.DataFrame, cluster: str, *, ax: "Axes | None" = None) -> "Axes":
    """Draw every cell with the rows of a cluster together, to tell the kinds of holes apart.

    A hole is sporadic (pale red) where the cluster has values of the column, and systematic
    (dark red) where it has none.

    Parameters
    ----------
    data
        Frame with missing values.
    cluster
        Its cluster column.
    ax
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    DataError
        As `jaxmice.cluster_missing`.

    References
    ----------
    Resche-Rigon, M., White, I. R., Bartlett, J. W., Peters, S. A. E., & Thompson, S. G.
    (2013). Multiple imputation for handling systematically missing confounders in
    meta-analysis of individual participant data. Statistics in Medicine, 32(28).
    """
    frame = look(data, cluster)
    codes, J = clusters_of(frame)
    kept = [j for j, name in enumerate(frame.columns) if name != cluster]
    names, missing = [list(frame.columns)[j] for j in kept], _missing(frame)[:, kept]
    rows = np.argsort(codes, kind="stable")
    whole = cluster_missing(data, cluster).type.to_numpy() == "systematic"
    ax = single(ax, _size(len(names), 5.0))
    _draw_cells(ax, names, missing[rows], whole[codes][rows])

    ends = np.cumsum(np.bincount(codes, minlength=J))
    if room(ax, "y", J) > 0.08:
        ax.hlines(ends[:-1] - 0.5, -0.5, len(names) - 0.5, color=INK, linewidth=0.6)
    _name_clusters(ax, frame, (ends + np.concatenate([[0], ends[:-1]]) - 1) / 2)
    ax.set_ylabel(cluster)
    _legend(ax, {"observed": SEEN, "sporadic": SPORADIC, "systematic": IMPUTED})
    return ax


def plot_cluster_miss(data: pd.DataFrame, cluster: str, *, ax: "Axes | None" = None) -> "Axes":
    """Draw which share of every column each cluster misses; hatched where it misses all.

    Parameters
    ----------
    data
        Frame with missing values.
    cluster
        Its cluster column.
    ax
        Axes to draw on; by default those of a new figure. A scale of colours is placed
        beside them.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    DataError
        As `jaxmice.cluster_missing`, which gives the numbers.
    """
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Patch

    table = cluster_missing(data, cluster)
    J, p = table.share.shape
    ax = single(ax, _size(p, min(max(2.4, 0.2 * J + 1.2), 7.5), 1.0))
    colours = LinearSegmentedColormap.from_list(
        "missing", [(0, SEEN), (0.001, "#f9e4e1"), (1, IMPUTED)], N=512
    )
    tiles = ax.imshow(
        table.share.to_numpy(), cmap=colours, vmin=0, vmax=1, aspect="auto", interpolation="nearest"
    )
    j, k = np.nonzero(table.type.to_numpy() == "systematic")
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    hatched: dict[str, Any] = {"hatch": "////", "edgecolor": "white", "linewidth": 0}
    squares = np.column_stack([k, j])[:, None] + corners
    ax.add_collection(PolyCollection(squares, facecolor="none", **hatched))
    name_ticks(ax, "x", list(table.share.columns))
    ax.xaxis.tick_top()
    name_ticks(ax, "y", list(table.share.index))
    ax.set_ylabel(cluster)
    tidy(ax, frame=False)
    bar = ax.figure.colorbar(tiles, ax=ax, fraction=0.04, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=9, labelcolor=INK, length=0)
    bar.set_label("share missing", color=INK, fontsize=9.5)
    if len(squares):
        _below(ax, [Patch(facecolor=IMPUTED, label="systematic", **hatched)])
    return ax


def _missing(frame: "Frame") -> np.ndarray:
    return np.column_stack([column.missing for column in frame.columns.values()])


def _size(columns: int, height: float, beside: float = 0.0) -> tuple[float, float]:
    return min(max(3.6, 0.6 * columns + 1.2), 10.0) + beside, height


def _draw_cells(ax: "Axes", names: list[str], missing: np.ndarray, whole: np.ndarray) -> None:
    """Draw an (n, p) picture; `whole` marks holes that are a whole cluster's."""
    from matplotlib.colors import to_rgb

    palette = np.array([to_rgb(colour) for colour in (SEEN, SPORADIC, IMPUTED)])
    picture, n = palette[np.where(missing, np.where(whole, 2, 1), 0)], len(missing)
    if n > DISTINCT:
        # A screen would show some rows and drop others; means keep them all.
        first = np.arange(DISTINCT) * n // DISTINCT
        counts = np.diff(np.append(first, n))[:, None, None]
        picture = np.add.reduceat(picture, first, axis=0) / counts
    whole_picture = (-0.5, len(names) - 0.5, n - 0.5, -0.5)
    ax.imshow(picture, aspect="auto", interpolation="nearest", extent=whole_picture)
    ax.vlines(np.arange(1, len(names)) - 0.5, -0.5, len(missing) - 0.5, color="white", linewidth=1)
    ax.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(missing) - 0.5, -0.5))
    name_ticks(ax, "x", names)
    ax.xaxis.tick_top()
    tidy(ax, frame=False)
    ax.tick_params(length=0)


def _name_clusters(ax: "Axes", frame: "Frame", middle: np.ndarray) -> None:
    """Name the clusters at the middle of their rows, as many as there is room for."""
    assert frame.clusters is not None
    gap = (middle[-1] - middle[0]) / max(1, int(room(ax, "y", 1) / 0.16)) if len(middle) > 1 else 0
    shown, last = [], -np.inf
    for j, at in enumerate(middle):
        if at - last >= gap:
            shown.append(j)
            last = at
    ax.set_yticks(middle[shown], [str(frame.clusters.labels[j]) for j in shown])


def _legend(ax: "Axes", colours: dict[str, str]) -> None:
    from matplotlib.patches import Patch

    _below(ax, [Patch(facecolor=colour, label=label) for label, colour in colours.items()])


def _below(ax: "Axes", handles: list[Any]) -> None:
    ax.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.01),
        ncols=len(handles),
        frameon=False,
        labelcolor=INK,
        fontsize=9,
    )
