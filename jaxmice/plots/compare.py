"""Observed against imputed values, imputation by imputation."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxmice.diagnostics.plausibility import row_groups
from jaxmice.plots._canvas import IMPUTED, INK, OBSERVED, grid, jitter, legend, single, tidy
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


def plot_density(imp: "ImputedData", variable: str, by: Any = None, *, ax: Any = None) -> Any:
    """Draw smoothed densities of the observed values and of each imputation.

    Gaussian kernel, bandwidth by Scott's rule. With `by` every group has a panel of its own,
    all on the same axes: under missingness at random observed and imputed values agree within
    groups of like rows, not overall. Where a group has no two different values, these are
    marks on the axis; a group with nothing observed shows what was imputed.

    Parameters
    ----------
    imp
        Result of an imputation.
    variable
        A numeric imputed variable.
    by
        Groups of rows: a complete column of the data, such as the clusters, or (n,) labels,
        such as fifths of a propensity of being missing.
    ax
        Axes to draw on, with `by` as many as there are groups; by default those of a new
        figure.

    Returns
    -------
    matplotlib.axes.Axes or numpy.ndarray
        The axes drawn on; with `by` the (groups,) array of them, in the order of the labels.

    Raises
    ------
    DataError
        E12: an unknown `by`; E46: labels of the wrong length, or missing.
    ValueError
        `variable` was not imputed or is not numeric; without `by`, it has fewer than two
        distinct values in the observed or in imputed cells; `by` has too many groups.
    """
    if by is None:
        sides = observed_and_imputed(imp, variable)
        if any(np.ptp(values) == 0 for values in sides):
            raise ValueError(f"{variable!r} does not vary in every group; use plot_strip")
        ax = single(ax, (4.6, 3.0))
        _densities(ax, sides)
        ax.set(xlabel=variable, ylabel="density", ylim=(0, None))
        legend(ax)
        return ax
    rows = row_groups(imp, by)
    if len(rows) > MAX_PANELS:
        message = f"by has {len(rows)} groups, more than {MAX_PANELS} panels can show; cut it"
        raise ValueError(f"{message} into fewer, for instance by pandas.qcut")
    groups = {label: observed_and_imputed(imp, variable, kept) for label, kept in rows.items()}
    columns = min(4, len(groups)) if ax is None else len(groups)
    lines = -(-len(groups) // columns)
    size = (2.4 * columns + 0.6, 1.9 * lines + 0.6)
    axes = grid(ax, (lines, columns), size, sharex=True, sharey=True)
    panels = axes.ravel()[: len(groups)]
    for empty in axes.ravel()[len(groups) :]:
        empty.remove()
    for i, (panel, (label, sides)) in enumerate(zip(panels, groups.items(), strict=True)):
        panel.set_title(f"{by} {label}" if isinstance(by, str) else str(label))
        _densities(panel, sides)
        if i % columns == 0:
            panel.set_ylabel("density")
        if i + columns >= len(groups):
            panel.set_xlabel(variable)
            panel.tick_params(labelbottom=True)
    for panel in panels:
        panel.set_ylim(0, None)
    if ax is None:
        handles = panels[0].get_legend_handles_labels()[0]
        legend(panels[0].figure, handles=handles, loc="outside upper left", ncols=2)
    else:
        legend(panels[0])
    return panels


MAX_PANELS = 120
"""Groups that a figure shows side by side at most."""


def _densities(ax: "Axes", sides: list[np.ndarray]) -> None:
    """Draw the density of observed and of imputed values; marks where there is none."""
    from scipy.stats import gaussian_kde

    smooth = [gaussian_kde(values) if _varies(values) else None for values in sides]
    widest = max(
        (
            kernel.factor * values.std()
            for kernel, values in zip(smooth, sides, strict=True)
            if kernel
        ),
        default=0.0,
    )
    pooled = np.concatenate(sides)
    at = np.linspace(pooled.min() - 2 * widest, pooled.max() + 2 * widest, 256)
    # Observed values last, on top.
    for i in [*range(1, len(sides)), 0]:
        style: dict[str, Any] = {"color": IMPUTED, "alpha": 0.45, "linewidth": 1}
        label = f"{len(sides) - 1} imputations" if i == 1 else None
        if i == 0:
            style, label = {"color": OBSERVED, "linewidth": 2.2}, "observed"
        kernel = smooth[i]
        if kernel is not None:
            ax.plot(at, kernel(at), label=label, **style)
        else:
            marks = ax.get_xaxis_transform()
            at_axis = np.full(len(sides[i]), 0.03)
            ax.plot(sides[i], at_axis, "|", transform=marks, label=label, **style)
    tidy(ax)


def _varies(values: np.ndarray) -> bool:
    return len(values) > 1 and np.ptp(values) > 0


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
