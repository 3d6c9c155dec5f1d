"""Rubin's rules for several quantities at once: the F tests known as D1 to D4."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from jaxmice.errors import PoolError
from jaxmice.wording import warn_user

Numbers = NDArray[np.float64]


def d1(estimates: Numbers, covariances: Numbers, dfcom: float = np.inf) -> pd.DataFrame:
    """Test that k quantities are zero, from their estimates and covariances.

    Parameters
    ----------
    estimates, covariances
        Shapes (m, k) and (m, k, k).
    dfcom
        Degrees of freedom of the complete-data analysis.

    Returns
    -------
    pandas.DataFrame
        One row ``F.value, df1, df2, p.value, riv``.

    Notes
    -----
    Li, Raghunathan and Rubin 1991; Reiter 2007 where `dfcom` is finite.
    """
    m, k = estimates.shape
    _need_two(m)
    mean, within = estimates.mean(axis=0), covariances.mean(axis=0)
    between = np.atleast_2d(np.cov(estimates, rowvar=False))
    solved = _solve(within, np.column_stack([mean, between]))
    r = (1 + 1 / m) * np.trace(solved[:, 1:]) / k
    value = mean @ solved[:, 0] / (k * (1 + r))
    t = k * (m - 1)
    if np.isinf(dfcom):
        return _table("D1", value, k, _df_li(t, k, r), r)
    if t <= 4:
        warn_user(
            f"W29: {m} imputations are too few for small-sample degrees of freedom of "
            f"{k} parameters; those of large samples were used"
        )
        return _table("D1", value, k, _df_li(t, k, r), r)
    return _table("D1", value, k, _df_reiter(t, r, dfcom), r)


def pool_chi2(values: ArrayLike, df: float) -> pd.DataFrame:
    """Pool chi-square statistics of the m completed data sets (test D2).

    Parameters
    ----------
    values
        One statistic per imputation (m,), from Wald, score or likelihood-ratio tests.
    df
        Their degrees of freedom.

    Returns
    -------
    pandas.DataFrame
        One row ``F.value, df1, df2, p.value, riv``: the statistic, its degrees of
        freedom, the p-value, and the relative increase in variance due to nonresponse.

    Raises
    ------
    PoolError
        E64, for fewer than two statistics, a negative one, or ``df`` not above zero.

    Notes
    -----
    Li, Meng, Raghunathan and Rubin 1991. It knows less than `compare_models` by ``"D1"``
    and is meant for statistics that come without estimates.

    Examples
    --------
    >>> from jaxmice.pooling import pool_chi2
    >>> round(float(pool_chi2([4.2, 5.1, 3.8, 4.6], df=2)["p.value"].iloc[0]), 3)
    0.119
    """
    d = np.asarray(values, dtype=np.float64)
    if d.ndim != 1 or not np.isfinite(d).all() or (d < 0).any() or not df > 0:
        raise PoolError(
            "E64", "pass one chi-square statistic per imputation, none negative, and df above 0"
        )
    m = len(d)
    _need_two(m)
    r = (1 + 1 / m) * np.sqrt(d).var(ddof=1)
    value = (d.mean() / df - r * (m + 1) / (m - 1)) / (1 + r)
    with np.errstate(divide="ignore"):
        df2 = df ** (-3 / m) * (m - 1) * (1 + 1 / r) ** 2
    return _table("D2", value, df, df2, r)


def pool_F(values: ArrayLike, df1: float) -> pd.DataFrame:
    """Pool F statistics of the m completed data sets, as `pool_chi2` of F times ``df1``.

    Parameters
    ----------
    values
        One statistic per imputation (m,).
    df1
        Their numerator degrees of freedom.
    """
    return pool_chi2(np.asarray(values, dtype=np.float64) * df1, df1)


def d3(ratios: Numbers, ratios_at_pooled: Numbers, k: int, ariv: str = "default") -> pd.DataFrame:
    """Pool likelihood-ratio statistics.

    Parameters
    ----------
    ratios
        Twice the difference in log-likelihood in each imputation, at its own estimates (m,).
    ratios_at_pooled
        The same at the pooled estimates of each model (m,).
    k
        Number of restrictions.
    ariv
        ``"positive"`` keeps the relative increase in variance from being negative.

    Notes
    -----
    Meng and Rubin 1992.
    """
    m = len(ratios)
    _need_two(m)
    pooled = float(ratios_at_pooled.mean())
    r = (m + 1) / (k * (m - 1)) * (float(ratios.mean()) - pooled)
    r = _usable(max(0.0, r) if ariv == "positive" else r)
    return _table("D3", pooled / (k * (1 + r)), k, _df_li(k * (m - 1), k, r), r)


def d4(
    full: Numbers, null: Numbers, stacked: tuple[float, float], k: int, h: int, ariv: str
) -> pd.DataFrame:
    """Pool likelihood-ratio statistics by the likelihood of the stacked data.

    Parameters
    ----------
    full, null
        Log-likelihoods of the two models in each imputation (m,).
    stacked
        Log-likelihoods of the two models on all completed data sets at once.
    k, h
        Number of restrictions, and of parameters of the full model.
    ariv
        ``"default"``, ``"positive"`` or ``"robust"``: how the relative increase in
        variance is estimated.

    Notes
    -----
    Chan and Meng 2022.
    """
    m = len(full)
    _need_two(m)
    value = 2 * (stacked[0] - stacked[1]) / m
    if ariv == "robust":
        lost, parts = 2 * (full.mean() - stacked[0] / m), h
    else:
        lost, parts = 2 * (full.mean() - null.mean()) - value, k
    r = (m + 1) / (parts * (m - 1)) * lost
    r = _usable(max(0.0, r) if ariv == "positive" else r)
    with np.errstate(divide="ignore"):
        df2 = parts * (m - 1) * (1 + np.divide(1, r)) ** 2
    return _table("D4", value / (k * (1 + r)), k, df2, r)


def _df_li(t: int, k: int, r: float) -> float:
    with np.errstate(divide="ignore"):
        inverse = float(np.divide(1, r))
    if t > 4:
        return 4 + (t - 4) * (1 + (1 - 2 / t) * inverse) ** 2
    return t * (1 + 1 / k) * (1 + inverse) ** 2 / 2


def _df_reiter(t: int, r: float, dfcom: float) -> float:
    a = r * t / (t - 2)
    v = dfcom * (dfcom + 1) / (dfcom + 3)
    c1, c2 = v - 2 * (1 + a), v - 4 * (1 + a)
    if c2 <= 0:
        raise PoolError(
            "E64",
            f"dfcom={dfcom:g} is too small for a relative increase in variance of {r:.2g}; "
            "use more imputations or leave dfcom out",
        )
    z = (
        a**2 * c1 / ((1 + a) ** 2 * c2)
        + 8 * a**2 * c1 / ((1 + a) * c2**2)
        + 4 * a**2 / ((1 + a) * c2)
        + 4 * a**2 / (c1 * c2)
        + 16 * a**2 * c1 / c2**3
        + 8 * a**2 / c2**2
    )
    return float(4 + 1 / (1 / c2 + z / (t - 4)))


def _solve(within: Numbers, right: Numbers) -> Numbers:
    if not np.isfinite(within).all() or np.linalg.matrix_rank(within) < len(within):
        raise PoolError(
            "E64",
            "the pooled covariance of what is tested is singular or unknown; drop restrictions "
            "that follow from others",
        )
    return np.asarray(np.linalg.solve(within, right), dtype=np.float64)


def _usable(r: float) -> float:
    if r > -1:
        return r
    raise PoolError(
        "E64",
        f"the relative increase in variance is estimated at {r:.3g}; pass ariv='positive', use "
        "more imputations, or method 'D1'",
    )


def _need_two(m: int) -> None:
    if m < 2:
        raise PoolError("E64", f"a pooled test needs at least 2 imputations, got {m}")


def _table(name: str, value: float, df1: float, df2: float, r: float) -> pd.DataFrame:
    from scipy import special

    # Negative values, which D2 can give, are no evidence against the null model.
    if value <= 0:
        p = 1.0
    elif np.isinf(df2):
        p = special.chdtrc(df1, df1 * value)
    else:
        p = special.fdtrc(df1, df2, value)
    row = {"F.value": value, "df1": df1, "df2": df2, "p.value": p, "riv": r}
    return pd.DataFrame({k: [float(v)] for k, v in row.items()}, index=[name])
