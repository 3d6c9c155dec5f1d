"""How columns go together: correlations, scatter, and who predicts whom."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jaxmice.errors import DataError
from jaxmice.missingness._look import clusters_of, column_of, look
from jaxmice.plots._canvas import (
    FAINT,
    IMPUTED,
    INK,
    OBSERVED,
    grid,
    legend,
    name_ticks,
    plain,
    room,
    single,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW = 14
"""With at most so many columns, tiles show their numbers."""
ROLES = {
    -4: ("outcome only", "#7b5ea7"),
    -3: ("selection only", "#b39ad0"),
    -2: ("cluster", "#30343b"),
    1: ("fixed", "#9cc3ea"),
    2: ("random slope", "#2a6ebb"),
    3: ("fixed + mean", "#a9d5b5"),
    4: ("random slope + mean", "#3f8f5f"),
}
"""Codes of the predictor matrix, their names and colours."""


def plot_corr(
    data: pd.DataFrame, cluster: str | None = None, *, ax: "Axes | None" = None
) -> "Axes":
    """Draw the correlations of all pairs of columns, each over the rows that have both.

    Parameters
    ----------
    data
        Frame with or without missing values; categories enter as scores, unordered ones
        of more than two and ids are left out.
    cluster
        Cluster column: above the diagonal correlations within clusters (of deviations from
        the cluster means), below it those between (of the cluster means).
    ax
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on. A tile without colour is a correlation that is not defined.

    Raises
    ------
    DataError
        `data` is no usable frame or has fewer than two columns that have an order.
    """
    frame = look(data, cluster)
    columns = {
        name: column.values
        for name, column in frame.columns.items()
        if column.level and column.kind not in ("nominal", "id", "time")
    }
    names, p = list(columns), len(columns)
    if p < 2:
        raise DataError("E02", f"data has {p} columns with an order; need at least 2")
    codes = None if cluster is None else clusters_of(frame)[0]
    r = np.full((p, p), np.nan)
    for i in range(p):
        for j in range(i):
            x, y = columns[names[i]], columns[names[j]]
            r[j, i], r[i, j] = _correlations(x, y, codes)

    ax = single(ax, (min(0.5 * p + 2.4, 10.5), min(0.45 * p + 1.4, 9.5)))
    tiles = ax.imshow(r, cmap="PuOr", vmin=-1, vmax=1, aspect="auto")
    if p <= FEW:
        for i, j in np.argwhere(np.isfinite(r)):
            colour = "white" if abs(r[i, j]) > 0.7 else INK
            ax.text(j, i, f"{r[i, j]:.2f}", ha="center", va="center", fontsize=7.5, color=colour)
    name_ticks(ax, "x", names)
    ax.xaxis.tick_top()
    name_ticks(ax, "y", names)
    if cluster is not None:
        ax.set_xlabel("above the diagonal within clusters, below between")
    tidy(ax, frame=False)
    ax.tick_params(length=0)
    bar = ax.figure.colorbar(tiles, ax=ax, fraction=0.04, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label("correlation", color=INK, fontsize=9.5)
    bar.ax.tick_params(labelsize=9, labelcolor=INK, length=0)
    return ax


def _correlations(x: np.ndarray, y: np.ndarray, codes: np.ndarray | None) -> tuple[float, float]:
    """Return the correlation within and between clusters, or twice the one there is."""
    both = np.isfinite(x) & np.isfinite(y)
    pair = np.stack([x[both], y[both]])
    if codes is None:
        whole = _correlation(pair)
        return whole, whole
    _, group = np.unique(codes[both], return_inverse=True)
    sizes = np.bincount(group)
    means = np.stack([np.bincount(group, side) / sizes for side in pair])
    return _correlation(pair - means[:, group]), _correlation(means)


def _correlation(pair: np.ndarray) -> float:
    if pair.shape[1] < 3:
        return np.nan
    sd = pair.std(axis=1)
    if (sd <= 1e-10 * (np.abs(pair).max(axis=1) + 1e-300)).any():
        return np.nan
    return float(np.corrcoef(pair)[0, 1])


def plot_pred(model: Any, *, ax: "Axes | None" = None) -> "Axes":
    """Draw a predictor matrix: a row for every block, a column for every predictor.

    Parameters
    ----------
    model
        An `ImputationModel` or the result of an imputation, whose methods are written on
        the right; or a predictor matrix (a DataFrame of codes).
    ax
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    ValueError
        A code that does not exist, or something that is no matrix.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    matrix = getattr(model, "predictor_matrix", model)
    if not isinstance(matrix, pd.DataFrame):
        raise ValueError(f"need a predictor matrix or a model, got {type(model).__name__}")
    methods: Mapping[str, str] = getattr(model, "method", {})
    codes = matrix.to_numpy()
    if unknown := sorted(set(np.unique(codes).tolist()) - {0, *ROLES}):
        raise ValueError(f"there is no code {unknown[0]}; codes are {sorted([0, *ROLES])}")
    rows, columns = codes.shape
    ax = single(ax, (min(0.5 * columns + 3.4, 11.0), min(0.36 * rows + 1.6, 11.0)))
    palette = {0: "#eef0f3"} | {code: colour for code, (_, colour) in ROLES.items()}
    picture = np.array([[to_rgb(palette[int(code)]) for code in row] for row in codes])
    ax.imshow(picture, aspect="auto", interpolation="nearest")
    ax.set_xticks(np.arange(1, columns) - 0.5, minor=True)
    ax.set_yticks(np.arange(1, rows) - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1)
    if min(room(ax, "y", rows), room(ax, "x", columns)) > 0.14:
        for i, j in np.argwhere(codes):
            dark = int(codes[i, j]) in (-4, -2, 2, 4)
            style: dict[str, Any] = {
                "ha": "center",
                "va": "center",
                "color": "white" if dark else INK,
            }
            ax.text(j, i, str(int(codes[i, j])), fontsize=7.5, **style)
    name_ticks(ax, "x", list(matrix.columns))
    ax.xaxis.tick_top()
    name_ticks(ax, "y", list(matrix.index))
    tidy(ax, frame=False)
    ax.tick_params(which="both", length=0)
    if methods:
        beside = ax.secondary_yaxis("right")
        name_ticks(beside, "y", [methods.get(name, "") for name in matrix.index])
        plain(beside)
    used = [code for code in ROLES if (codes == code).any()]
    patches = [Patch(facecolor=ROLES[k][1], label=f"{k}  {ROLES[k][0]}") for k in used]
    if patches:
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.02), "ncols": 3}
        legend(ax, handles=patches, **place)
    return ax


def plot_xy(data: Any, x: str, y: str, *, ax: Any = None) -> "Axes | np.ndarray":
    """Draw one column against another; values whose partner is missing lie on the axes.

    Parameters
    ----------
    data
        A frame: red marks on an axis are values whose other coordinate is missing. Or the
        result of an imputation: a panel for each, in which points with an imputed
        coordinate are red.
    x, y
        Columns; categories are drawn at their codes and named.
    ax
        Axes to draw on, for m imputations m of them; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes or numpy.ndarray
        The axes drawn on; for imputations an (m,) array.

    Raises
    ------
    DataError
        An unknown column.
    """
    imputed = hasattr(data, "imp")
    frame = look(data.data if imputed else data)
    sides = [column_of(frame, name) for name in (x, y)]
    missing = [side.missing for side in sides]
    style: dict[str, Any] = {"markersize": 3.5, "alpha": 0.5, "rasterized": True}
    if not imputed:
        ax = single(ax, (4.4, 3.8))
        both = ~missing[0] & ~missing[1]
        ax.plot(sides[0].values[both], sides[1].values[both], ".", color=OBSERVED, **style)
        edge = style | {"clip_on": False, "color": IMPUTED, "markersize": 5}
        alone = sides[0].values[~missing[0] & missing[1]]
        ax.plot(alone, np.zeros(len(alone)), "|", transform=ax.get_xaxis_transform(), **edge)
        alone = sides[1].values[missing[0] & ~missing[1]]
        ax.plot(np.zeros(len(alone)), alone, "_", transform=ax.get_yaxis_transform(), **edge)
        _label(ax, sides)
        return ax
    m = data.m
    columns = min(3, m) if ax is None else m
    lines = -(-m // columns)
    axes = grid(ax, (lines, columns), (2.7 * columns, 2.5 * lines), sharex=True, sharey=True)
    panels = axes.ravel()[:m]
    for empty in axes.ravel()[m:]:
        empty.remove()
    drawn = (data.where[[x, y]].any(axis=1)).to_numpy()
    for number, panel in enumerate(panels, 1):
        full = look(data.complete(number))
        at = [full.columns[name].values for name in (x, y)]
        for rows, colour in ((~drawn, OBSERVED), (drawn, IMPUTED)):
            panel.plot(at[0][rows], at[1][rows], ".", color=colour, **style)
        panel.set_title(f"imputation {number}")
        _label(panel, sides)
        panel.label_outer()
    return panels


def _label(ax: "Axes", sides: list[Any]) -> None:
    for side, axis in zip(sides, (ax.xaxis, ax.yaxis), strict=True):
        axis.set_label_text(side.name)
        if side.categories:
            axis.set_ticks(range(len(side.categories)), [str(c) for c in side.categories])
    tidy(ax, lines="both")
    ax.spines[["left", "bottom"]].set_color(FAINT)
