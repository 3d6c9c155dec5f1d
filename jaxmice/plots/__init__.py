"""Figures: each function takes ``ax=`` and returns the axes it drew on.

Observed values are blue, imputed and missing ones red. Without ``ax`` a function makes its
own `matplotlib.figure.Figure`; save it with ``axes.figure.savefig("name.svg")``. Nothing
goes through pyplot, so no global state changes; a notebook shows ``axes.figure``.
"""

from jaxmice.plots._canvas import FAINT, IMPUTED, INK, OBSERVED, SUPPORT
from jaxmice.plots.compare import plot_box, plot_density, plot_hist, plot_strip
from jaxmice.plots.conditional import plot_conditional
from jaxmice.plots.diagnose import (
    plot_ciwidth,
    plot_convergence,
    plot_overimpute,
    plot_propensity,
)
from jaxmice.plots.estimates import plot_estimates
from jaxmice.plots.flux import plot_flux
from jaxmice.plots.holes import plot_cluster_miss, plot_layout, plot_miss
from jaxmice.plots.intraclass import plot_icc
from jaxmice.plots.pattern import plot_pattern
from jaxmice.plots.relations import plot_corr, plot_pred, plot_xy
from jaxmice.plots.sensitivity import plot_sensitivity
from jaxmice.plots.trace import plot_trace

__all__ = [
    "FAINT",
    "IMPUTED",
    "INK",
    "OBSERVED",
    "SUPPORT",
    "plot_box",
    "plot_ciwidth",
    "plot_cluster_miss",
    "plot_conditional",
    "plot_convergence",
    "plot_corr",
    "plot_density",
    "plot_estimates",
    "plot_flux",
    "plot_hist",
    "plot_icc",
    "plot_layout",
    "plot_miss",
    "plot_overimpute",
    "plot_pattern",
    "plot_pred",
    "plot_propensity",
    "plot_sensitivity",
    "plot_strip",
    "plot_trace",
    "plot_xy",
]
