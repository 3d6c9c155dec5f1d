"""One model, several ways to deal with the missing values."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd

from jaxmice.plots._canvas import OBSERVED, SUPPORT, grid, tidy

NEEDED = ["term", "estimate", "conf.low", "conf.high"]
"""Columns of a table of estimates that are drawn."""


def plot_estimates(
    results: Any,
    terms: Sequence[str] | None = None,
    *,
    reference: pd.DataFrame | None = None,
    ax: Any = None,
) -> np.ndarray:
    """Draw coefficients with their intervals, one panel per term, one line per strategy.

    Parameters
    ----------
    results
        One result, or several by name (strategy -> result): a table with the columns term,
        estimate, conf.low and conf.high, or anything whose method ``summary()`` returns one,
        such as pooled results.
    terms
        Terms to draw; by default those of the first strategy.
    reference
        A table of the same form, drawn as a line and a band across all strategies: the
        complete data of a simulation, say.
    ax
        As many axes as terms; by default those of a new figure.

    Returns
    -------
    numpy.ndarray
        (terms,) array of the axes drawn on.

    Raises
    ------
    ValueError
        No results, a table that lacks one of the four columns, or a strategy without
        one of the terms.
    """
    if hasattr(results, "summary") or isinstance(results, pd.DataFrame):
        results = {"": results}
    if not isinstance(results, Mapping):
        raise ValueError(f"plot_estimates takes results by name, got {type(results).__name__}")
    if not results:
        raise ValueError("plot_estimates needs at least one strategy")
    tables = {name: _table(name, result) for name, result in results.items()}
    if terms is None:
        terms = list(next(iter(tables.values())).index)
    truth = None if reference is None else _table("reference", reference)

    ncols = min(2, len(terms))
    nrows = -(-len(terms) // ncols) if ax is None else 1
    height = nrows * (0.26 * len(tables) + 0.85)
    shape = (nrows, ncols) if ax is None else (1, len(terms))
    axes = grid(ax, shape, (2.6 * ncols + 1.4, height), sharey="row").ravel()
    for panel in axes[len(terms) :]:
        panel.remove()
    axes = axes[: len(terms)]
    for panel, term in zip(axes, terms, strict=True):
        if truth is not None and term in truth.index:
            value, low, high = truth.loc[term]
            panel.axvspan(low, high, color=SUPPORT, alpha=0.16, linewidth=0)
            panel.axvline(value, color=SUPPORT, linewidth=1.4, linestyle="--")
        for row, (name, table) in enumerate(tables.items()):
            if term not in table.index:
                raise ValueError(f"strategy {name!r} has no term {term!r}")
            value, low, high = table.loc[term]
            panel.plot([low, high], [row, row], color=OBSERVED, linewidth=1.6)
            panel.plot(value, row, "o", color=OBSERVED, markersize=5)
        panel.set_title(fill(term, 30, break_long_words=False))
        panel.set_yticks(range(len(tables)), list(tables))
        panel.set_ylim(len(tables) - 0.5, -0.5)
        panel.locator_params(axis="x", nbins=5)
        tidy(panel, lines="x")
    return axes


def _table(name: str, result: Any) -> pd.DataFrame:
    result = result.pool() if callable(getattr(result, "pool", None)) else result
    table = result.summary() if callable(getattr(result, "summary", None)) else result
    absent = [column for column in NEEDED if column not in getattr(table, "columns", ())]
    if absent:
        raise ValueError(f"the table of {name!r} lacks the columns {', '.join(absent)}")
    return table.set_index("term")[NEEDED[1:]].astype(float)
