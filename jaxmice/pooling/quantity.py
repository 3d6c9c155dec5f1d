"""Pooling of quantities other than coefficients, each on a scale where it is nearly normal."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from jaxmice.errors import PoolError
from jaxmice.pooling.scalar import ScalarPool, pool_scalar
from jaxmice.pooling.transforms import NEGLIGIBLE, TRANSFORMS
from jaxmice.wording import warn_user

Numbers = NDArray[np.float64]
Variance = Callable[[Numbers, Numbers, int], Numbers]

SMALLEST_ICC = 1e-6

KINDS: dict[str, tuple[str, Variance | None]] = {
    "mean": ("identity", None),
    "correlation": ("fisher_z", lambda q, n, partial: 1 / (n - 3 - partial)),
    "spearman": ("fisher_z", lambda q, n, partial: 1.06 / (n - 3 - partial)),
    "r2": ("fisher_z_root", lambda q, n, partial: 1 / (n - 3)),
    "sd": ("log", lambda q, n, partial: 1 / (2 * (n - 1))),
    "variance": ("log", lambda q, n, partial: 2 / (n - 1)),
    "proportion": ("logit", lambda q, n, partial: 1 / (n * q * (1 - q))),
    "ratio": ("log", None),
    "icc": ("logit", None),
    "auc": ("logit", None),
    "survival": ("cloglog", None),
    "quantile": ("identity", None),
    "alpha": ("log_complement", None),
    "kappa": ("fisher_z", None),
}
"""Kind -> scale, and the variance on that scale given estimates, rows and covariates."""


@dataclass(frozen=True, repr=False)
class PooledQuantity:
    """A pooled quantity.

    Attributes
    ----------
    kind
        What it is.
    transform
        Scale on which it was pooled, a name in `jaxmice.pooling.transforms`.
    pooled
        The results of Rubin's rules on that scale.
    """

    kind: str
    transform: str
    pooled: ScalarPool

    @property
    def estimate(self) -> float:
        """The pooled quantity."""
        return float(TRANSFORMS[self.transform][1](self.pooled.estimate))

    @property
    def std_error(self) -> float:
        """Its standard error, by the delta method."""
        slope = TRANSFORMS[self.transform][2](np.asarray(self.estimate))
        return float(self.pooled.std_error / np.abs(slope))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the limits of the confidence interval of a given level."""
        back = TRANSFORMS[self.transform][1]
        low, high = sorted(float(back(limit)) for limit in self.pooled.interval(level))
        return low, high

    def summary(self, level: float = 0.95) -> pd.DataFrame:
        """Return one row ``kind, estimate, std.error, df, conf.low, conf.high, riv, fmi``."""
        low, high = self.interval(level)
        row = {"kind": self.kind, "estimate": self.estimate, "std.error": self.std_error}
        row |= {"df": float(self.pooled.df), "conf.low": low, "conf.high": high}
        row |= {"riv": float(self.pooled.riv), "fmi": float(self.pooled.fmi)}
        return pd.DataFrame([row])

    def __repr__(self) -> str:
        return self.summary().to_string(index=False, float_format=lambda x: f"{x:.4g}")


@dataclass(frozen=True, repr=False)
class WilsonProportion(PooledQuantity):
    """A pooled proportion of `n` rows with the interval of Wilson."""

    n: float

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the limits of the confidence interval of a given level."""
        q = float(self.pooled.estimate)
        c = float(self.pooled.quantile(level)) ** 2 / self.n * (1 + float(self.pooled.riv))
        middle, half = 2 * q + c, np.sqrt((2 * q + c) ** 2 - 4 * (1 + c) * q**2)
        return float((middle - half) / (2 * (1 + c))), float((middle + half) / (2 * (1 + c)))


def pool_quantity(
    kind: str,
    estimates: ArrayLike,
    variances: ArrayLike | None = None,
    *,
    n: float | None = None,
    partial: int = 0,
    dfcom: float = np.inf,
    method: str = "transform",
) -> PooledQuantity:
    """Pool one quantity on the scale that suits its kind.

    Parameters
    ----------
    kind
        ``"mean"``, ``"correlation"``, ``"spearman"``, ``"r2"``, ``"sd"``, ``"variance"``,
        ``"proportion"``, ``"ratio"`` (odds, risk or hazard), ``"icc"``, ``"auc"``,
        ``"survival"`` (probability), ``"quantile"``, ``"alpha"`` (Cronbach's) or ``"kappa"``.
    estimates
        One per imputation (m,), as they are usually reported.
    variances
        Their squared standard errors (m,), on the same scale. Correlations, R squared,
        standard deviations, variances and proportions need only `n` instead.
    n
        Rows of the data.
    partial
        Number of variables that were held constant, for partial correlations.
    dfcom
        Degrees of freedom of the complete-data analysis.
    method
        ``"wilson"`` gives a proportion the interval of Wilson.

    Returns
    -------
    PooledQuantity

    Raises
    ------
    PoolError
        E64: an unknown kind, estimates out of the range of their kind, or neither
        variances nor a number of rows.

    Warns
    -----
    JaxMiceWarning
        W35: a standard deviation, variance or ICC next to 0, which would decide the result.

    Notes
    -----
    Van Buuren 2018, section 5.2; for the interval of a proportion Lott and Reiter 2020.

    Examples
    --------
    >>> from jaxmice.pooling import pool_quantity
    >>> round(pool_quantity("correlation", [0.42, 0.47, 0.39, 0.45, 0.44], n=120).estimate, 4)
    0.4344
    """
    if kind not in KINDS:
        raise PoolError("E64", f"unknown kind {kind!r}; available: {', '.join(KINDS)}")
    if method not in ("transform", "wilson") or (method == "wilson" and kind != "proportion"):
        raise PoolError("E64", f"method {method!r} is not for {kind}; use 'transform'")
    q = given = np.asarray(estimates, dtype=np.float64)
    if kind == "icc":
        q = np.maximum(q, SMALLEST_ICC)
    if method == "wilson":
        if n is None or q.ndim != 1 or not ((q >= 0) & (q <= 1)).all() or not 0 < q.mean() < 1:
            raise PoolError("E64", "the interval of Wilson needs proportions (m,) and n")
        if variances is not None:
            raise PoolError("E64", "the interval of Wilson takes its variances from n")
        return WilsonProportion(kind, "identity", pool_scalar(q, q * (1 - q) / n, dfcom), n)
    transform, default = KINDS[kind]
    forward, _, derivative = TRANSFORMS[transform]
    with np.errstate(all="ignore"):
        moved = forward(q)
        if variances is not None:
            u = np.asarray(variances, dtype=np.float64) * derivative(q) ** 2
        elif default is not None and n is not None:
            u = np.broadcast_to(default(q, np.asarray(float(n)), partial), q.shape)
        else:
            raise PoolError("E64", f"pass variances= for {kind}{', or n=' if default else ''}")
    if q.ndim != 1 or not np.isfinite(moved).all() or not np.isfinite(u).all():
        raise PoolError(
            "E64",
            f"{kind} needs one estimate per imputation inside its range and rows enough for a "
            f"variance, got {q.tolist()}" + (f" and n={n:g}" if n is not None else ""),
        )
    if kind in ("sd", "variance", "icc") and given.min() < NEGLIGIBLE * q.mean():
        warn_user(
            f"W35: the {kind} of imputation {given.argmin() + 1} is {given.min():.1e}, that of all "
            f"{q.mean():.1e} on average; on the {transform} scale it pulls the pooled one towards "
            "0; look at that fit, or pool with kind 'mean' and variances="
        )
    return PooledQuantity(kind, transform, pool_scalar(moved, u, dfcom))


def pool_p_values(values: ArrayLike) -> float:
    """Return the median of p-values, where there is nothing else to pool.

    Parameters
    ----------
    values
        One p-value per imputation (m,).

    Notes
    -----
    Approximate, and not only for few imputations: prefer estimates, or `pool_chi2` of the
    statistics. Eekhout, van de Wiel and Heymans 2017 call it the median P rule.
    """
    p = np.asarray(values, dtype=np.float64)
    if p.ndim != 1 or not len(p) or not ((p >= 0) & (p <= 1)).all():
        raise PoolError("E64", "pass one p-value between 0 and 1 per imputation")
    return float(np.median(p))
