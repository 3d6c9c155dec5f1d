"""Observed against imputed values, imputation by imputation."""

from typing import TYPE_CHECKING

import numpy as np

from jaxmice.plots._canvas import IMPUTED, INK, OBSERVED, jitter, legend, single, tidy
from jaxmice.plots._values import observed_and_imputed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from jaxmice.imputed import ImputedData


def plot_box(imp: "ImputedData", variable: str, *, ax: "Axes | None" = None) -> "Axes":
    """Draw a box of the observed values (0) and one of each imputation (1, 2, ...).

    The box holds the middle half, the whiskers reach to the furthest value within one and
    a half box lengths.

    Parameters
    ----------
    imp
        Result of an imputation.
    variable
        A numeric imputed variable.
    ax
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    ValueError
        `variable` was not imputed or is not numeric.
    """
    groups = observed_and_imputed(imp, variable)
    ax = single(ax, _size(imp.m))
    for i, values in enumerate(groups):
        colour = IMPUTED if i else OBSERVED
        edge = {"color": colour, "linewidth": 1.2}
        ax.boxplot(
            values,
            positions=[i],
            widths=0.6,
            patch_artist=True,
            boxprops={"facecolor": (colour, 0.25), "edgecolor": colour},
            medianprops=edge | {"linewidth": 2},
            whiskerprops=edge,
            capprops=edge,
            flierprops={"marker": ".", "markersize": 3, "markeredgecolor": colour},
            manage_ticks=False,
        )
    _by_imputation(ax, imp.m, variable)
    return ax


def plot_strip(imp: "ImputedData", variable: str, *, ax: "Axes | None" = None) -> "Axes":
    """Draw every observed value (0) and every imputed one (1, 2, ...) as a point.

    Points are spread sideways by a fixed rule; their horizontal place means nothing.

    Parameters
    ----------
    imp
        Result of an imputation.
    variable
        A numeric imputed variable.
    ax
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    ValueError
        `variable` was not imputed or is not numeric.
    """
    groups = observed_and_imputed(imp, variable)
    ax = single(ax, _size(imp.m))
    for i, values in enumerate(groups):
        at = i + 0.62 * jitter(len(values))
        colour = IMPUTED if i else OBSERVED
        # Thousands of points would make a vector picture heavy.
        ax.plot(at, values, ".", color=colour, alpha=0.35, markersize=2.5, rasterized=True)
    _by_imputation(ax, imp.m, variable)
    return ax


def plot_density(imp: "ImputedData", variable: str, *, ax: "Axes | None" = None) -> "Axes":
    """Draw smoothed densities of the observed values and of each imputation.

    Gaussian kernel, bandwidth by Scott's rule.

    Parameters
    ----------
    imp
        Result of an imputation.
    variable
        A numeric imputed variable.
    ax
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    ValueError
        `variable` was not imputed or is not numeric, or has fewer than two distinct
        values in one of the groups.
    """
    from scipy.stats import gaussian_kde

    groups = observed_and_imputed(imp, variable)
    if any(np.ptp(values) == 0 for values in groups):
        raise ValueError(f"{variable!r} does not vary in every group; use plot_strip")
    ax = single(ax, (4.6, 3.0))
    smooth = [gaussian_kde(values) for values in groups]
    widest = max(
        kernel.factor * values.std() for kernel, values in zip(smooth, groups, strict=True)
    )
    low = min(values.min() for values in groups) - 2 * widest
    high = max(values.max() for values in groups) + 2 * widest
    at = np.linspace(low, high, 256)
    for i, kernel in enumerate(smooth[1:]):
        label = f"{imp.m} imputations" if i == 0 else None
        ax.plot(at, kernel(at), color=IMPUTED, alpha=0.45, linewidth=1, label=label)
    ax.plot(at, smooth[0](at), color=OBSERVED, linewidth=2.2, label="observed")
    ax.set(xlabel=variable, ylabel="density", ylim=(0, None))
    tidy(ax)
    legend(ax)
    return ax


def plot_hist(imp: "ImputedData", variable: str, *, ax: "Axes | None" = None) -> "Axes":
    """Draw a histogram of the observed values and the outlines of those of each imputation.

    Heights are shares of their own values, so that all compare directly.

    Parameters
    ----------
    imp
        Result of an imputation.
    variable
        A numeric imputed variable.
    ax
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    ValueError
        `variable` was not imputed or is not numeric.
    """
    groups = observed_and_imputed(imp, variable)
    ax = single(ax, (4.6, 3.0))
    edges = np.histogram_bin_edges(np.concatenate(groups[:2]), bins="sturges")
    if np.ptp(groups[0]) <= 30 and (groups[0] == np.round(groups[0])).all():
        # Whole numbers have a bar each.
        edges = np.arange(groups[0].min() - 0.5, groups[0].max() + 1)
    ends = [min(values.min() for values in groups), max(values.max() for values in groups)]
    edges[[0, -1]] = min(ends[0], edges[0]), max(ends[1], edges[-1])
    for i, values in enumerate(groups):
        share = np.histogram(values, edges)[0] / len(values)
        if i == 0:
            ax.stairs(share, edges, fill=True, color=OBSERVED, alpha=0.35, label="observed")
        else:
            label = f"{imp.m} imputations" if i == 1 else None
            ax.stairs(share, edges, color=IMPUTED, alpha=0.6, label=label)
    ax.set(xlabel=variable, ylabel="share of values", ylim=(0, None))
    tidy(ax, lines="y")
    legend(ax)
    return ax


def _size(m: int) -> tuple[float, float]:
    return min(max(3.6, 0.28 * (m + 1) + 0.8), 9.0), 3.0


def _by_imputation(ax: "Axes", m: int, variable: str) -> None:
    step = 1 if m <= 10 else 5
    ticks = [0, *range(step, m + 1, step)]
    ax.set_xticks(ticks, [str(i) for i in ticks])
    ax.set(xlim=(-0.7, m + 0.7), xlabel="imputation (0 = observed values)", ylabel=variable)
    ax.axvline(0.5, color=INK, linewidth=0.6, alpha=0.4)
    tidy(ax, lines="y")
