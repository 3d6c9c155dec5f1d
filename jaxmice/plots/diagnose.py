"""Was the run good enough: convergence, overimputation, propensity, interval widths."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxmice.diagnostics import Overimputed, convergence
from jaxmice.plots._canvas import FAINT, IMPUTED, INK, OBSERVED, SUPPORT, grid, legend, single, tidy
from jaxmice.plots._values import imputed_variables
from jaxmice.pooling import pool
from jaxmice.pooling.pool import as_stack

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from jaxmice.imputed import ImputedData

LIMITS = {"psrf": 1.05, "ac": 0.2}
"""What counts as converged, see `jaxmice.diagnostics.converged`."""
WORST = 5
"""So many variables are named, the others are pale."""


def plot_convergence(imp: "ImputedData", parameter: str = "mean", *, ax: Any = None) -> np.ndarray:
    """Draw R-hat and autocorrelation against the iteration, one line per variable.

    The dashed lines are the limits of `jaxmice.diagnostics.converged`. The variables with
    the largest values at the end are red and named.

    Parameters
    ----------
    imp
        Result of an imputation with at least one iteration.
    parameter
        Traced statistic, as for `jaxmice.diagnostics.convergence`, which gives the numbers.
    ax
        Two axes; by default those of a new figure.

    Returns
    -------
    numpy.ndarray
        (2,) array of the axes drawn on.

    Raises
    ------
    DataError
        An unknown parameter.
    ValueError
        R-hat is undefined: there are fewer than four iterations or two imputations.
    """
    from matplotlib.ticker import MaxNLocator

    table = convergence(imp, "all", parameter)
    if table.empty or table["psrf"].isna().all():
        raise ValueError("R-hat needs four iterations and two imputations; continue the run")
    axes = grid(ax, (1, 2), (8.6, 3.2)).ravel()
    labels = {"psrf": "R-hat", "ac": "autocorrelation"}
    for panel, (what, limit) in zip(axes, LIMITS.items(), strict=True):
        wide = table.pivot(index=".it", columns="variable", values=what).sort_index()
        worst = wide.iloc[-1].nlargest(WORST)
        for name in wide.columns:
            style: dict[str, Any] = {"color": FAINT, "linewidth": 1}
            if name in worst.index:
                shade = 1 - 0.7 * list(worst.index).index(name) / WORST
                style = {"color": IMPUTED, "alpha": shade, "linewidth": 1.6, "label": name}
            panel.plot(wide.index, wide[name], **style)
        panel.axhline(limit, color=SUPPORT, linewidth=1, linestyle="--")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        panel.set(xlabel="iteration", ylabel=f"{labels[what]} of the {parameter}")
        tidy(panel, lines="y")
        handles, names = panel.get_legend_handles_labels()
        order = [names.index(name) for name in worst.index]
        legend(
            panel,
            handles=[handles[i] for i in order],
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            title="largest" if len(wide.columns) > WORST else None,
        )
    return axes


def plot_overimpute(result: Overimputed, variable: str, *, ax: "Axes | None" = None) -> "Axes":
    """Draw the intervals of overimputed cells against their observed values.

    Red intervals do not reach the diagonal, which is where draws equal what was observed.

    Parameters
    ----------
    result
        What `ImputedData.overimpute` returned.
    variable
        One of its variables.
    ax
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    ValueError
        `variable` was not overimputed.
    """
    known = list(result.coverage["variable"])
    if variable not in known:
        raise ValueError(f"{variable!r} was not overimputed; there is {', '.join(known)}")
    cells = result.cells[result.cells["variable"] == variable]
    ax = single(ax, (4.4, 4.2))
    faint = float(np.clip(60 / len(cells), 0.08, 0.7))
    for covered, colour in ((True, OBSERVED), (False, IMPUTED)):
        part = cells[cells["covered"] == covered]
        at = part["observed"]
        style: dict[str, Any] = {"color": colour, "rasterized": True}
        ax.vlines(at, part["low"], part["high"], alpha=faint, linewidth=1, **style)
        label = f"{'covered' if covered else 'not covered'} ({len(part):,})"
        ax.plot(at, part["mean"], ".", alpha=max(faint, 0.3), markersize=4, label=label, **style)
    ends = [cells["observed"].min(), cells["observed"].max()]
    ax.plot(ends, ends, color=INK, linewidth=1)
    share = float(cells["covered"].mean())
    ax.set_title(f"{share:.1%} of the {result.level:.0%} intervals cover")
    ax.set(xlabel=f"{variable}, observed", ylabel="overimputed")
    tidy(ax, lines="both")
    legend(ax, loc="upper left", markerscale=2)
    return ax


def plot_propensity(
    imp: "ImputedData", variable: str, score: "ArrayLike", number: int = 1, *, ax: Any = None
) -> "Axes":
    """Draw observed and imputed values against the propensity of being missing.

    At the same propensity the two should lie alike if values are missing at random.

    Parameters
    ----------
    imp
        Result of an imputation.
    variable
        A numeric imputed variable.
    score
        (n,) probabilities that the variable is missing, in the rows of the data, such as
        those of `jaxmice.propensity`.
    number
        Imputation to draw.
    ax
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    ValueError
        `variable` was not imputed, `score` has another length, or there is no imputation of
        that number.

    References
    ----------
    Raghunathan, T., & Bondarenko, I. (2007). Diagnostics for multiple imputations. SSRN
    1031750.
    """
    imputed_variables(imp, variable)
    scores = np.asarray(score, dtype=float)
    if scores.shape != (len(imp.data),):
        raise ValueError(f"score has shape {scores.shape}; need one for {len(imp.data)} rows")
    if not 1 <= number <= imp.m:
        raise ValueError(f"there is no imputation {number}; they are 1 to {imp.m}")
    values = imp.complete(number)[variable].to_numpy(dtype=float)
    drawn = imp.where[variable].to_numpy()
    ax = single(ax, (4.6, 3.4))
    for rows, colour, label in ((~drawn, OBSERVED, "observed"), (drawn, IMPUTED, "imputed")):
        style: dict[str, Any] = {
            "color": colour,
            "alpha": 0.5,
            "markersize": 3.5,
            "rasterized": True,
        }
        ax.plot(scores[rows], values[rows], ".", label=label, **style)
    ax.set(xlabel=f"propensity that {variable} is missing", ylabel=variable)
    tidy(ax, lines="both")
    legend(ax, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, markerscale=2)
    return ax


def plot_ciwidth(analyses: Any, *, ax: "Axes | None" = None) -> "Axes":
    """Draw the width of pooled intervals against the number of imputations.

    One line per coefficient, the width relative to that with all imputations. Lines that
    still move at the end say that more imputations would change the result.

    Parameters
    ----------
    analyses
        Whatever `jaxmice.pool` takes, of three or more imputations.
    ax
        Axes to draw on; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    PoolError
        As `jaxmice.pool`.
    ValueError
        There are fewer than three imputations.
    """
    from matplotlib.ticker import MaxNLocator

    stack = as_stack(analyses)
    stack.need_errors()
    if stack.m < 3:
        raise ValueError(f"need three imputations or more, got {stack.m}")
    numbers, widths = range(2, stack.m + 1), []
    by_fit = ("params", "cov", "df_resid", "nobs", "loglik", "converged")
    for k in numbers:
        first = {name: getattr(stack, name)[:k] for name in by_fit}
        table = pool(replace(stack, components=None, **first)).summary()
        widths.append(table["conf.high"] - table["conf.low"])
    relative = np.array(widths) / np.array(widths[-1])
    ax = single(ax, (5.4, 3.2))
    for k, term in enumerate(stack.terms):
        shade = 1 - 0.65 * k / len(stack.terms)
        ax.plot(numbers, relative[:, k], color=OBSERVED, alpha=shade, linewidth=1.5, label=term)
    ax.axhline(1, color=SUPPORT, linewidth=1, linestyle="--")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    ax.set(xlabel="number of imputations", ylabel="relative width of the interval")
    tidy(ax, lines="y")
    legend(ax, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax
