"""Rubin's rules for one quantity at a time."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmice.errors import PoolError
from jaxmice.wording import warn_user

Numbers = NDArray[np.float64]
Rule = str | Callable[[int, Numbers, Numbers, Numbers], tuple[Numbers, Numbers]]
"""``"rubin1987"``, ``"reiter2003"``, or a function of m, ubar, b, dfcom giving t and df."""

RULES = ("rubin1987", "reiter2003")
SMALLEST_DF = 1e-3


@dataclass(frozen=True)
class ScalarPool:
    """Pooled quantities; every attribute has the shape of one data set's estimate.

    Attributes
    ----------
    m
        Number of imputations.
    estimate
        Mean of the estimates.
    ubar, b, t
        Variance within imputations, between them, and in total.
    df
        Degrees of freedom of the reference t distribution.
    riv, lambda_, fmi
        Relative increase in variance due to nonresponse, the share of the total
        variance it makes up, and the fraction of missing information.
    dfcom
        Degrees of freedom that complete data would have.
    """

    m: int
    estimate: Numbers
    ubar: Numbers
    b: Numbers
    t: Numbers
    df: Numbers
    riv: Numbers
    lambda_: Numbers
    fmi: Numbers
    dfcom: Numbers

    @property
    def std_error(self) -> Numbers:
        """Square root of the total variance."""
        return np.sqrt(self.t)

    def statistic(self) -> Numbers:
        """Return the estimate over its standard error."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.estimate / self.std_error

    def p_value(self) -> Numbers:
        """Return the two-sided p-value of an estimate of zero."""
        x, df = np.abs(self.statistic()), np.maximum(self.df, SMALLEST_DF)
        finite = np.isfinite(df)
        from scipy import special

        tail = special.stdtr(np.where(finite, df, 1.0), -x)
        return 2 * np.where(np.isinf(df), special.ndtr(-x), tail)

    def quantile(self, level: float = 0.95) -> Numbers:
        """Return the half width of the interval of a given level in standard errors."""
        if not 0 < level < 1:
            raise PoolError("E65", f"level must be between 0 and 1, got {level!r}")
        df, upper = np.maximum(self.df, SMALLEST_DF), 0.5 + level / 2
        from scipy import special

        quantile = special.stdtrit(np.where(np.isfinite(df), df, 1.0), upper)
        quantile = np.where(np.isinf(df), special.ndtri(upper), quantile)
        return np.asarray(quantile)

    def interval(self, level: float = 0.95) -> tuple[Numbers, Numbers]:
        """Return the limits of the confidence interval of a given level."""
        half = self.quantile(level) * self.std_error
        return self.estimate - half, self.estimate + half


def pool_scalar(
    estimates: ArrayLike,
    variances: ArrayLike,
    dfcom: ArrayLike = np.inf,
    rule: Rule = "rubin1987",
) -> ScalarPool:
    """Pool one estimate, or several independently of each other.

    Parameters
    ----------
    estimates
        One row per imputation: shape (m,), or (m, ...) for several quantities.
    variances
        Squared standard errors, of the same shape.
    dfcom
        Degrees of freedom of the complete-data analysis: a number or one for each
        quantity; infinite by default.
    rule
        ``"rubin1987"`` for multiple imputation, ``"reiter2003"`` for partially
        synthetic data, or a function of ``(m, ubar, b, dfcom)`` that returns total
        variance and degrees of freedom.

    Returns
    -------
    ScalarPool

    Raises
    ------
    PoolError
        E64, when shapes differ, a variance is negative, or the rule is unknown.

    Warns
    -----
    JaxMiceWarning
        W27, when there is one imputation only: nothing is known about the variance
        between imputations.

    Notes
    -----
    Rubin 1987, section 3.3; degrees of freedom of Barnard and Rubin 1999 when `dfcom`
    is finite; Reiter 2003 for synthetic data.

    Examples
    --------
    >>> from jaxmice.pooling import pool_scalar
    >>> pooled = pool_scalar([1.10, 1.32, 0.95, 1.21, 1.07], [0.040, 0.036, 0.044, 0.038, 0.041])
    >>> round(float(pooled.estimate), 2), round(float(pooled.t), 5)
    (1.13, 0.06362)
    """
    q = np.asarray(estimates, dtype=np.float64)
    u = np.asarray(variances, dtype=np.float64)
    if q.ndim == 0 or q.shape != u.shape or q.shape[0] == 0:
        raise PoolError(
            "E64",
            f"estimates and variances need one row per imputation and equal shapes, "
            f"got {q.shape} and {u.shape}",
        )
    if np.any(u < 0):
        raise PoolError("E64", "variances must not be negative; pass squared standard errors")
    if isinstance(rule, str) and rule not in RULES:
        raise PoolError("E64", f"unknown rule {rule!r}; available: {', '.join(RULES)}")
    m = q.shape[0]
    complete = np.broadcast_to(np.asarray(dfcom, dtype=np.float64), q.shape[1:])
    if np.any(complete <= 0):
        raise PoolError("E64", f"dfcom must be positive, got {float(complete.min()):g}")
    estimate, ubar = q.mean(axis=0), u.mean(axis=0)
    if m == 1:
        warn_user(
            "W27: m = 1, so the variance between imputations is unknown and the results "
            "are those of the single data set; impute with m = 5 or more"
        )
        unknown = np.full(estimate.shape, np.nan)
        return ScalarPool(
            1, estimate, ubar, unknown, ubar, complete, unknown, unknown, unknown, complete
        )
    b = q.var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        if callable(rule):
            t, df = rule(m, ubar, b, complete)
            riv, lambda_ = t / ubar - 1, 1 - ubar / t
        elif rule == "reiter2003":
            t = ubar + b / m
            riv, lambda_ = (b / m) / ubar, (b / m) / t
            df = np.where(b > 0, (m - 1) * (1 + ubar / (b / m)) ** 2, np.inf)
        else:
            extra = (1 + 1 / m) * b
            t = ubar + extra
            riv = np.where(extra > 0, extra / ubar, 0.0)
            lambda_ = np.where(extra > 0, extra / t, 0.0)
            df = _barnard_rubin(m, lambda_, complete)
        if rule == "reiter2003":
            fmi = np.full(estimate.shape, np.nan)
        else:
            fmi = np.where(np.isinf(riv), 1.0, (riv + 2 / (df + 3)) / (riv + 1))
    unusable = ~np.isfinite(q).all(axis=0) | ~np.isfinite(u).all(axis=0)
    if np.any(unusable):
        riv, lambda_, fmi, df = (np.where(unusable, np.nan, a) for a in (riv, lambda_, fmi, df))
    return ScalarPool(m, estimate, ubar, b, t, df, riv, lambda_, fmi, complete)


def _barnard_rubin(m: int, lambda_: Numbers, dfcom: Numbers) -> Numbers:
    old = np.where(lambda_ > 0, (m - 1) / lambda_**2, np.inf)
    finite = np.isfinite(dfcom)
    known = np.where(finite, dfcom, 1.0)
    observed = (known + 1) / (known + 3) * known * (1 - lambda_)
    # As 1 / (1/old + 1/observed), which also holds where old is infinite.
    small = np.where(observed > 0, 1 / (1 / old + 1 / observed), 0.0)
    # With ubar = 0 all information is missing: only the imputations count.
    small = np.where(lambda_ >= 1, m - 1.0, small)
    return np.where(finite, small, old)
