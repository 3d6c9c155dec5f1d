"""Which columns are worth having as predictors, by their holes."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxmice.missingness import flux
from jaxmice.plots._canvas import FAINT, INK, LINE, OBSERVED, SUPPORT, room, single, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED = 3
"""So many columns at one place are named, the others are counted."""


def plot_flux(data: pd.DataFrame, *, ax: "Axes | None" = None) -> "Axes":
    """Draw outflux against influx, one point per column.

    Complete columns are at the upper left, empty ones at the lower right. Columns high
    above the others are strong predictors; one far below the diagonal's end carries little
    about the holes of the others and may be left out.

    Parameters
    ----------
    data
        Frame with missing values.
    ax
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    DataError
        As `jaxmice.flux`, which gives the numbers.

    References
    ----------
    van Buuren, S. (2018). Flexible Imputation of Missing Data, section 4.1.3. CRC Press.
    """
    table = flux(data)
    x, y = table["influx"].to_numpy(), table["outflux"].to_numpy()
    ax = single(ax, (5.4, 4.2))
    ax.plot([0, 1], [1, 0], color=SUPPORT, linewidth=1, linestyle="--")
    ax.plot(x, y, "o", color=OBSERVED, markersize=5, clip_on=False, zorder=3)
    ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="influx", ylabel="outflux")
    tidy(ax, lines="both")
    _name_points(ax, x, y, [str(name) for name in table.index])
    return ax


def _name_points(ax: "Axes", x: np.ndarray, y: np.ndarray, names: list[str]) -> None:
    """Name points in a column right of the axes, so that labels never overlap."""
    groups: dict[tuple[float, float], list[str]] = {}
    for at_x, at_y, name in zip(x, y, names, strict=True):
        groups.setdefault((round(at_x, 2), round(at_y, 2)), []).append(name)
    order = sorted(groups, key=lambda at: -at[1])
    places = _spread(np.array([at[1] for at in order]), LINE * 1.02 / room(ax, "y", 1))
    for (at_x, at_y), place in zip(order, places, strict=True):
        members = groups[at_x, at_y]
        rest = f" + {len(members) - NAMED}" if len(members) > NAMED else ""
        ax.annotate(
            ", ".join(members[:NAMED]) + rest,
            (at_x, at_y),
            (1.03, place),
            va="center",
            fontsize=8,
            color=INK,
            arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.6, "shrinkB": 3},
            annotation_clip=False,
        )


def _spread(wanted: np.ndarray, gap: float) -> np.ndarray:
    """Return falling places near those wanted (falling, from 1), `gap` or more apart."""
    places = wanted.copy()
    for i in range(1, len(places)):
        places[i] = min(places[i], places[i - 1] - gap)
    # Where the column ends below the axes, it is moved up, from its end.
    low = -0.02
    for i in reversed(range(len(places))):
        places[i] = max(places[i], low)
        low = places[i] + gap
    return places
