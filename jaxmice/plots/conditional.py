"""Missingness of one variable against the values of another."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jaxmice.missingness._look import column_of, look
from jaxmice.plots._canvas import IMPUTED, OBSERVED, legend, single, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW = 12
"""With at most so many distinct values, each gets its own pair of bars."""


def plot_conditional(
    data: pd.DataFrame, x: str, by_missing_of: str, *, ax: "Axes | None" = None
) -> "Axes":
    """Draw the distribution of `x` where another variable is observed and where it is missing.

    Both are shares of their own rows, so the two add up to one each and compare directly.
    Equal shapes mean that missingness does not depend on `x`.

    Parameters
    ----------
    data
        Frame with missing values.
    x
        Column to draw; numbers as a histogram, few distinct values or categories as bars.
    by_missing_of
        Column whose missingness divides the rows.
    ax
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    DataError
        An unknown column.
    ValueError
        `by_missing_of` is complete or has no observed value, or `x` is never observed
        on one of the two sides.
    """
    frame = look(data)
    column = column_of(frame, x)
    missing = column_of(frame, by_missing_of).missing
    sides = {}
    for label, rows in (
        (f"{by_missing_of} observed", ~missing),
        (f"{by_missing_of} missing", missing),
    ):
        sides[label] = column.values[rows & ~column.missing]
        if sides[label].size == 0:
            raise ValueError(f"no row has {x!r} and {label}; there is nothing to compare")

    ax = single(ax, (4.6, 3.0))
    values = np.unique(column.values[~column.missing])
    colours = dict(zip(sides, (OBSERVED, IMPUTED), strict=True))
    if column.categories or len(values) <= FEW:
        for offset, (label, side) in zip((-0.2, 0.2), sides.items(), strict=True):
            share = (side[:, None] == values).mean(axis=0)
            at = np.arange(len(values)) + offset
            ax.bar(at, share, width=0.36, color=colours[label], label=label)
        names = column.categories or [f"{value:g}" for value in values]
        ax.set_xticks(range(len(values)), [str(name) for name in names])
    else:
        edges = np.histogram_bin_edges(column.values[~column.missing], bins="sturges")
        for label, side in sides.items():
            shape: dict[str, Any] = {
                "bins": edges,
                "weights": np.full(side.size, 1 / side.size),
                "color": colours[label],
            }
            ax.hist(side, alpha=0.18, **shape)
            ax.hist(side, histtype="step", linewidth=1.8, label=label, **shape)
    ax.set(xlabel=x, ylabel="share of rows")
    tidy(ax, lines="y")
    legend(ax, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2)
    return ax
