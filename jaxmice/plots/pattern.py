"""Which columns are missing together, as tiles."""

from typing import TYPE_CHECKING

import pandas as pd

from jaxmice.missingness import md_pattern
from jaxmice.plots._canvas import IMPUTED, INK, OBSERVED, name_ticks, plain, single, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_pattern(
    data: pd.DataFrame,
    *,
    cluster: str | None = None,
    npat: int | None = None,
    rotate: bool | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the missing-data patterns, one row of tiles each.

    Blue is observed, red is missing. On the left how many rows have the pattern, on the
    right how many variables it lacks, below how many cells each variable lacks.

    Parameters
    ----------
    data
        Frame with missing values.
    cluster
        Cluster column: a pattern is the paler, the fewer clusters show it.
    npat
        Show only the patterns with the most rows.
    rotate
        Turn the names of the variables upright; by default where they are too long.
    ax
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    DataError
        As `jaxmice.missingness.md_pattern`.
    """
    from matplotlib.patches import Rectangle

    table = md_pattern(data, by=cluster)
    total, patterns = table.iloc[-1], table.iloc[:-1]
    n_patterns = len(patterns)
    if npat is not None and npat < n_patterns:
        counts = pd.Series(patterns.index.to_numpy(dtype=int))
        # stable: of two patterns with as many rows the one with fewer holes stays
        kept = counts.sort_values(ascending=False, kind="stable").index[:npat]
        patterns = patterns.iloc[sorted(kept)]
    names = [name for name in table.columns if name not in ("n_missing", "cluster_share")]

    rows, columns = len(patterns), len(names)
    width = 0.85 if columns <= 10 else 0.4
    ax = single(ax, (max(3.6, width * columns + 1.6), 0.42 * rows + (1.7 if rotate else 1.3)))
    for y, (_, pattern) in enumerate(patterns.iterrows()):
        share = 1.0 if cluster is None else 0.25 + 0.75 * float(pattern["cluster_share"])
        for x, name in enumerate(names):
            colour = OBSERVED if pattern[name] else IMPUTED
            tile = Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, facecolor=colour, alpha=share)
            ax.add_patch(tile)
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    name_ticks(ax, "x", names, upright=rotate)
    ax.xaxis.tick_top()
    ax.set_yticks(range(rows), [f"{count:,}" for count in patterns.index])
    ax.set_ylabel("rows with the pattern")
    tidy(ax, frame=False)
    ax.tick_params(length=0)

    below = ax.secondary_xaxis("bottom")
    name_ticks(below, "x", [f"{int(total[name]):,}" for name in names])
    below.set_xlabel(f"missing cells ({int(total['n_missing']):,} in all)")
    beside = ax.secondary_yaxis("right")
    beside.set_yticks(range(rows), [str(int(count)) for count in patterns["n_missing"]])
    beside.set_ylabel("missing variables")
    for axis in (below, beside):
        plain(axis)
    if rows < n_patterns:
        ax.set_title(f"the {rows} most frequent of {n_patterns} patterns", color=INK, fontsize=10)
    return ax
