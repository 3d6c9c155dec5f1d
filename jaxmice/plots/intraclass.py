"""What lies between clusters, before and after imputation."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from jaxmice.missingness import icc
from jaxmice.plots._canvas import (
    IMPUTED,
    OBSERVED,
    SUPPORT,
    jitter,
    legend,
    plain,
    single,
    tidy,
)
from jaxmice.plots._values import imputed_variables

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from jaxmice.imputed import ImputedData


def plot_icc(
    imp: "ImputedData | Mapping[str, ImputedData]",
    variable: str,
    *,
    cluster: str | None = None,
    reference: float | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the ICC of the observed values and of every completed data set.

    The blue line is the ICC of the observed values and the band its 95% interval; each
    red dot is an imputation, the bar their mean. Dots to the left of the band say that the
    imputation model leaves clusters out, dots to the right that it overstates them.

    Parameters
    ----------
    imp
        Result of an imputation, or several by the name of their strategy.
    variable
        A numeric imputed variable.
    cluster
        Cluster column; needed where the imputation itself ignored the clusters.
    reference
        A known ICC, such as that of the complete data of a simulation.
    ax
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    ValueError
        `variable` was not imputed.
    DataError
        As `jaxmice.missingness.icc`.
    """
    strategies = dict(imp) if isinstance(imp, Mapping) else {"": imp}
    ax = single(ax, (5.0, 0.42 * len(strategies) + 1.5))
    means = []
    for row, result in enumerate(strategies.values()):
        table = icc(result, cluster, imputed_variables(result, variable))
        seen, completed = table.iloc[0], table["icc"].to_numpy()[1:]
        if row == 0:
            ax.axvspan(seen["ci_low"], seen["ci_high"], color=OBSERVED, alpha=0.13, linewidth=0)
            ax.axvline(seen["icc"], color=OBSERVED, linewidth=1.8, label="observed values")
        spread = 0.3 if len(completed) > 1 else 0.0
        at = row + spread * jitter(len(completed))
        label = "one imputation" if row == 0 else None
        ax.plot(completed, at, "o", color=IMPUTED, markersize=3.5, alpha=0.6, label=label)
        mean = completed.mean()
        bar = "mean over imputations" if row == 0 else None
        ax.plot([mean, mean], [row - 0.28, row + 0.28], color=IMPUTED, linewidth=2.4, label=bar)
        means.append(f"{mean:.2f}")
    if reference is not None:
        ax.axvline(reference, color=SUPPORT, linewidth=1.4, linestyle="--", label="reference")
    ax.set_yticks(range(len(strategies)), list(strategies))
    ax.set(ylim=(len(strategies) - 0.5, -0.5), xlabel=f"ICC of {variable}")
    tidy(ax, lines="x")
    beside = ax.secondary_yaxis("right")
    beside.set_yticks(range(len(means)), means)
    plain(beside)
    legend(ax, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, columnspacing=1.2)
    return ax
