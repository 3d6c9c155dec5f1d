"""Statistics of the imputed values along the iterations."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxmice.plots._canvas import IMPUTED, INK, grid, tidy
from jaxmice.plots._values import imputed_variables

if TYPE_CHECKING:
    from jaxmice.imputed import ImputedData

LABELS = {"mean": "mean", "sd": "standard deviation", "icc": "ICC, completed"}
"""Traced statistics: mean and standard deviation of the imputed cells, ICC of the column."""


def plot_trace(
    imp: "ImputedData",
    variables: Sequence[str] | str | None = None,
    stat: Sequence[str] | str | None = None,
    *,
    trend: bool = False,
    ax: Any = None,
) -> np.ndarray:
    """Draw statistics of the imputed values against the iteration, one line per imputation.

    Lines that cross and show no trend are what a converged run looks like.

    Parameters
    ----------
    imp
        Result of an imputation.
    variables
        One row of panels each; by default every imputed variable.
    stat
        One column of panels each: ``"mean"`` and ``"sd"`` of the imputed cells, ``"icc"`` of
        the completed column. By default all three, without clusters the first two.
    trend
        Add the mean over imputations as a dark line.
    ax
        As many axes as panels; by default those of a new figure.

    Returns
    -------
    numpy.ndarray
        (variables, statistics) array of the axes drawn on.

    Raises
    ------
    ValueError
        A variable that was not imputed, or an unknown statistic.
    """
    from matplotlib.ticker import MaxNLocator

    if stat is None:
        stat = list(LABELS) if imp.model.cluster is not None else ["mean", "sd"]
    stats = [stat] if isinstance(stat, str) else list(stat)
    unknown = [name for name in stats if name not in LABELS]
    if unknown:
        raise ValueError(f"stat {unknown[0]!r} is not traced; choose from {', '.join(LABELS)}")
    traced = list(imp.variables)
    names = traced if variables is None else imputed_variables(imp, list(np.atleast_1d(variables)))
    traces = {"mean": imp.chain_mean, "sd": np.sqrt(imp.chain_var), "icc": imp.chain_icc}

    shape = (len(names), len(stats))
    height = 1.9 if len(names) <= 6 else 1.1
    axes = grid(ax, shape, (2.5 * shape[1] + 0.4, height * shape[0] + 0.6), sharex=True)
    for row, name in zip(axes, names, strict=True):
        for panel, what in zip(row, stats, strict=True):
            lines = np.asarray(traces[what])[traced.index(name)]
            iterations = np.arange(1, len(lines) + 1)
            # A single iteration makes no line; a dot shows it all the same.
            style = {"marker": "o", "markersize": 3} if len(lines) == 1 else {}
            panel.plot(iterations, lines, color=IMPUTED, alpha=0.45, linewidth=1, **style)
            if trend:
                panel.plot(iterations, lines.mean(axis=1), color=INK, linewidth=1.6)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
            panel.yaxis.set_major_locator(MaxNLocator(nbins=4))
            tidy(panel, lines="y")
        row[0].set_ylabel(name)
    for panel, what in zip(axes[0], stats, strict=True):
        panel.set_title(LABELS[what])
        tidy(panel, lines="y")
    for panel in axes[-1]:
        panel.set_xlabel("iteration")
    return axes
