"""How an estimate depends on what is assumed of the missing values."""

from typing import TYPE_CHECKING

import pandas as pd

from jaxmice.plots._canvas import FAINT, INK, OBSERVED, single, tidy
from jaxmice.wording import near

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NEEDED = ["delta", "term", "estimate", "conf.low", "conf.high"]
"""Columns of a table of estimates by shift that are drawn."""


def plot_sensitivity(table: pd.DataFrame, term: str, ax: "Axes | None" = None) -> "Axes":
    """Draw an estimate with its interval against the shift of the missing values.

    Every shift that was imputed is a point; shift 0, values missing at random, is marked.
    A horizontal line is the estimate 0, where the interval comes near it.

    Parameters
    ----------
    table
        What `DeltaAdjustment.estimate` returns, or any table with the columns delta, term,
        estimate, conf.low and conf.high.
    term
        The term to draw.
    ax
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    ValueError
        A table that lacks one of the columns, or has no such term.

    Examples
    --------
    >>> import jaxmice as jm
    >>> d = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
    >>> shifted = jm.delta_adjustment(d, "school", target="popular", deltas=[-1, 0, 1],
    ...                               method={"popular": "2l.pan"}, m=2, seed=1)
    >>> axes = jm.plots.plot_sensitivity(shifted.estimate("popular ~ sex + (1 | school)"), "sex")
    >>> axes.get_ylabel()
    'sex'
    """
    absent = [column for column in NEEDED if column not in getattr(table, "columns", ())]
    if absent:
        raise ValueError(f"the table lacks the columns {', '.join(absent)}")
    rows = table[table["term"] == term].sort_values("delta")
    if rows.empty:
        raise ValueError(f"no term {term!r}; {near(term, table['term'].unique())}")
    delta, value, low, high = (rows[name].to_numpy(float) for name in NEEDED if name != "term")
    ax = single(ax, (4.6, 3.0))
    ax.fill_between(delta, low, high, color=OBSERVED, alpha=0.13, linewidth=0)
    ax.plot(delta, value, color=OBSERVED, linewidth=1.6)
    ax.errorbar(delta, value, [value - low, high - value], fmt="o", color=OBSERVED, markersize=5)
    if (delta == 0).any():
        ax.axvline(0, color=FAINT, linewidth=1, zorder=0)
        at = ax.get_xaxis_transform()
        ax.text(0, 1.01, "missing at random", transform=at, ha="center", color=INK, fontsize=8.5)
    reach = high.max() - low.min()
    if low.min() - 0.3 * reach < 0 < high.max() + 0.3 * reach:
        ax.axhline(0, color=INK, linewidth=0.8, linestyle="--")
    ax.set(xlabel="shift of the missing values (delta)", ylabel=term)
    tidy(ax, lines="y")
    return ax
