"""How much of a variable lies between clusters."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import expit, ndtri

from jaxmice.errors import DataError
from jaxmice.missingness._look import clusters_of, column_of, look
from jaxmice.pooling import pool_scalar

if TYPE_CHECKING:
    from jaxmice.imputed import ImputedData

NUMERIC = frozenset({"continuous", "integer", "binary_numeric", "binary"})
"""Kinds of columns that have an ICC on the scale of their values."""

METHODS = ("anova", "reml", "latent")

NEGLIGIBLE, NOTABLE = 0.01, 0.05
"""Intraclass correlations below which clusters do not matter, and from which they do."""

NODES = 15
"""Points of the adaptive quadrature of a logistic model."""


def icc(
    data: "pd.DataFrame | ImputedData",
    cluster: str | None = None,
    columns: Sequence[str] | None = None,
    method: str = "anova",
    *,
    conf: float = 0.95,
    truncate: bool = False,
    pooled: bool = False,
) -> pd.DataFrame:
    """Intraclass correlation, by one-way analysis of variance or a mixed model.

    With MSB and MSW the mean squares between and within J clusters of n_j observed
    values, N in all, and n0 = (N - sum n_j^2 / N) / (J - 1)::

        icc = (MSB - MSW) / (MSB + (n0 - 1) MSW)

    Parameters
    ----------
    data
        Frame, or the result of an imputation: then every imputation is a block of
        rows, after one for the observed values.
    cluster
        Cluster column; may be left out for the result of an imputation that knows it (of
        several the first).
    columns
        Numeric columns to look at; by default all of them (of an imputation: the
        imputed ones).
    method
        ``"anova"``; ``"reml"``, between / (between + within) variance of a random-intercept
        model; or ``"latent"``, for columns of two values, between / (between + pi**2 / 3)
        of a logistic one by maximum likelihood.
    conf
        Level of the interval. It inverts the F distribution of MSB / MSW, which is exact
        for normal values in clusters of equal size and approximate otherwise. That of
        a mixed model is of Wald type on the logit scale, and missing where the variance
        between clusters is estimated as zero.
    truncate
        Report negative values as 0; by default they are reported as they are.

    pooled
        For an imputation: pool over the imputations on Fisher's scale, ln(F) / 2, with
        variance (1 / (J - 1) + 1 / (n - J)) / 2.

    Returns
    -------
    pandas.DataFrame
        Columns ``variable``, ``level`` (1 row, 2 cluster), ``n``, ``J``, ``n0``,
        ``between`` and ``within`` (mean squares, or variances of a mixed model; squared
        units of the variable), ``icc``, ``ci_low``, ``ci_high``, ``F`` and ``p`` (of the
        analysis of variance in every case), ``design_effect``; for an imputation also
        ``imputation`` (0 the observed values), in front. With `pooled` one row for each
        variable: ``variable``, ``m``, ``n``, ``J``, ``n0``, ``icc``, ``ci_low``,
        ``ci_high``, ``fmi``.

    Raises
    ------
    DataError
        An unknown or non-numeric column (E06: for ``"latent"`` one of other than two
        values), a missing cluster id, or fewer than two clusters, or no cluster with two
        observed values.
    ValueError
        `conf` is not between 0 and 1, an unknown `method`, or `pooled` without
        imputations or with a mixed model.

    References
    ----------
    Donner, A. (1986). A review of inference procedures for the intraclass correlation
    coefficient in the one-way random effects model. International Statistical Review,
    54(1), 67-82.

    Fisher, R. A. (1925). Statistical Methods for Research Workers, chapter 7.

    Snijders, T. A. B., & Bosker, R. J. (2012). Multilevel Analysis, 2nd edition, section
    17.2.2 (latent scale). Sage.
    """
    if not 0 < conf < 1:
        raise ValueError(f"conf must lie between 0 and 1, got {conf}")
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    imputed = hasattr(data, "imp")
    if pooled and (not imputed or method != "anova"):
        raise ValueError("pooled=True is for the result of an imputation and method='anova'")
    if not imputed:
        return _icc_of_frame(data, cluster, columns, method, conf, truncate)

    if columns is None:
        known = look(data.data).columns
        columns = [
            name for name, cells in data.imp.items() if len(cells) and known[name].kind in NUMERIC
        ]
    blocks = []
    own = data.model.frame.clusters
    for i, frame in enumerate([data.data, *(data.complete(k + 1) for k in range(data.m))]):
        if own is not None and cluster in (None, own.name):
            # As the imputation knew them: ids that count anew in every school, rows left out.
            frame = frame.assign(**{own.name: own.codes})[own.codes >= 0]
        name = cluster or data.model.cluster
        block = _icc_of_frame(frame, name, columns, method, conf, truncate)
        block.insert(0, "imputation", i)
        blocks.append(block)
    table = pd.concat(blocks, ignore_index=True)
    return _pooled(table[table["imputation"] > 0], conf, truncate) if pooled else table


def _icc_of_frame(
    data: Any,
    cluster: str | None,
    columns: Sequence[str] | None,
    method: str,
    conf: float,
    truncate: bool,
) -> pd.DataFrame:
    frame = look(data, cluster)
    codes, _ = clusters_of(frame)
    if columns is None:
        columns = [name for name, column in frame.columns.items() if column.kind in NUMERIC]
    rows = []
    for name in columns:
        column = column_of(frame, name)
        if column.kind not in NUMERIC:
            raise DataError(
                "E06", f"column {name!r} is {column.kind}; an ICC is for numbers: recode it"
            )
        y, own = column.values[~column.missing], codes[~column.missing]
        row: dict[str, Any] = {"variable": name, "level": column.level}
        row |= _anova(name, y, own, conf, truncate)
        if method != "anova" and row["within"] > 0:
            row |= _mixed(name, y, np.unique(own, return_inverse=True)[1], method, conf)
            row["design_effect"] = 1 + (row["n0"] - 1) * row["icc"]
        rows.append(row)
    return pd.DataFrame(rows)


def _mixed(name: str, y: np.ndarray, group: np.ndarray, method: str, conf: float) -> dict[str, Any]:
    """Fit a random-intercept model by REML, or a logistic one by adaptive quadrature."""
    from jaxmice.engine.precision import precision_scope
    from jaxmice.estimators import fit_linear_mixed
    from jaxmice.estimators.generalised_mixed import fit_generalised_mixed

    ones = np.ones((len(y), 1))
    if method == "reml":
        fit: Any
        with precision_scope("float64"):
            fit = fit_linear_mixed(y[None], ones, ones, group)
        within, jacobian = float(fit.sigma2[0]), fit.psi_jacobian()[0, 0, 0]
        # The logit of the ICC is the log of the ratio of the variances, which is psi / sigma2.
        change = jacobian / fit.psi[0, 0, 0] - np.eye(len(jacobian))[-1]
    else:
        if len(np.unique(y)) != 2 or not np.isin(y, (0, 1)).all():
            raise DataError(
                "E06", f"column {name!r}: method 'latent' needs two observed values, 0 and 1"
            )
        with precision_scope("float64"):
            fit = fit_generalised_mixed(y[None], ones, ones, group, "binomial", nodes=NODES)
        within, jacobian = np.pi**2 / 3, fit.psi_jacobian[0, 0, 0]
        change = jacobian / fit.psi[0, 0, 0]
    upper = float(fit.psi[0, 0, 0])
    found = {"between": upper, "within": within, "icc": upper / (upper + within)}
    if not fit.converged[0]:
        raise DataError("E16", f"column {name!r}: the mixed model has not converged; use 'anova'")
    if fit.singular[0]:
        return found | {"icc": 0.0, "ci_low": np.nan, "ci_high": np.nan}
    error = np.sqrt(change @ fit.cov_factor[0] @ change)
    ends = np.log(upper / within) + error * ndtri((1 + conf) / 2) * np.array([-1, 1])
    return found | dict(zip(("ci_low", "ci_high"), expit(ends).tolist(), strict=True))


def _pooled(table: pd.DataFrame, conf: float, truncate: bool) -> pd.DataFrame:
    """Pool the ICC of the completed data by Rubin's rules, on the scale of ln(F) / 2."""
    rows = []
    for name, part in table.groupby("variable", sort=False):
        n, J, n0 = (part[column].iloc[0] for column in ("n", "J", "n0"))
        row = {"variable": name, "m": len(part), "n": n, "J": J, "n0": n0}
        if np.isinf(part["F"]).all():  # constant in clusters
            rows.append(row | {"icc": 1.0, "ci_low": 1.0, "ci_high": 1.0, "fmi": 0.0})
            continue
        variance = (1 / (J - 1) + 1 / (n - J)) / 2
        pool = pool_scalar(np.log(part["F"]) / 2, np.full(len(part), variance))
        F = np.exp(2 * np.array([float(pool.estimate), *map(float, pool.interval(conf))]))
        found = (F - 1) / (F + n0 - 1)
        found = np.maximum(found, 0) if truncate else found
        names = ("icc", "ci_low", "ci_high")
        rows.append(row | dict(zip(names, found.tolist(), strict=True)) | {"fmi": float(pool.fmi)})
    return pd.DataFrame(rows)


def _anova(
    name: str, y: np.ndarray, codes: np.ndarray, conf: float, truncate: bool
) -> dict[str, float]:
    from scipy import stats

    _, group = np.unique(codes, return_inverse=True)
    sizes = np.bincount(group)
    n, J = len(y), len(sizes)
    if J < 2 or n <= J:
        raise DataError(
            "E16",
            f"column {name!r}: an ICC needs two clusters with observed values and one with at "
            f"least two of them; found {n} values in {J} clusters",
        )
    means = np.bincount(group, y) / sizes
    msb = float(sizes @ (means - y.mean()) ** 2) / (J - 1)
    msw = float(((y - means[group]) ** 2).sum()) / (n - J)
    n0 = (n - float(sizes @ sizes) / n) / (J - 1)

    with np.errstate(divide="ignore", invalid="ignore"):
        # A level-2 column has MSW = 0: F is infinite and the ICC is 1, interval included.
        F = np.float64(msb) / msw
        rho = np.float64(msb - msw) / (msb + (n0 - 1) * msw)
    tails = stats.f.ppf([(1 + conf) / 2, (1 - conf) / 2], J - 1, n - J)
    if np.isinf(F):
        low, high = 1.0, 1.0
    else:
        low, high = (F / tails - 1) / (F / tails + n0 - 1)
    if truncate:
        rho, low, high = np.maximum([rho, low, high], 0.0)
    return {
        "n": n,
        "J": J,
        "n0": n0,
        "between": msb,
        "within": msw,
        "icc": float(rho),
        "ci_low": float(low),
        "ci_high": float(high),
        "F": float(F),
        "p": float(stats.f.sf(F, J - 1, n - J)),
        "design_effect": float(1 + (n0 - 1) * rho),
    }


def check_icc(data: pd.DataFrame, cluster: str, *, conf: float = 0.95) -> pd.DataFrame:
    """Say for every incomplete column whether its imputation needs the clusters.

    Nothing is decided by it: a two-level method is right in every case.

    Parameters
    ----------
    data
        (n, p) frame.
    cluster
        Its cluster column.
    conf
        Level of the interval.

    Returns
    -------
    pandas.DataFrame
        One row per incomplete column: ``variable``, ``icc``, ``ci_low``, ``ci_high``,
        ``design_effect`` (missing for columns that have no ICC) and ``advice``.

    Raises
    ------
    DataError
        `data` or `cluster` cannot be used.
    ValueError
        `conf` is not between 0 and 1.

    References
    ----------
    As `icc`; Muthén, B. O., & Satorra, A. (1995). Complex sample data in structural
    equation modeling. Sociological Methodology, 25, 267-316 (design effect of 2).
    """
    columns = look(data, cluster).columns
    rows = []
    for name, column in columns.items():
        if name == cluster or not column.missing.any():
            continue
        row: dict[str, Any] = {"variable": name}
        if column.kind not in NUMERIC:
            advice = f"no ICC, being {column.kind}; a two-level method is safe"
        else:
            try:
                found = icc(data, cluster, [name], conf=conf).iloc[0]
                row |= {key: found[key] for key in ("icc", "ci_low", "ci_high", "design_effect")}
                advice = _advice(**row)
            except DataError as error:
                if error.code != "E16":
                    raise
                advice = "too few observed values to tell; a two-level method is safe"
        rows.append(row | {"advice": advice})
    names = ["variable", "icc", "ci_low", "ci_high", "design_effect", "advice"]
    return pd.DataFrame(rows, columns=names)


def _advice(icc: float, ci_high: float, design_effect: float, **_: Any) -> str:
    if np.isnan(icc):
        return "constant; nothing to tell"
    if ci_high < NEGLIGIBLE:
        return "two-level and single-level imputation will agree; a two-level method is still safe"
    if icc >= NOTABLE or design_effect >= 2:
        return "use a two-level method"
    return "clusters may matter; a two-level method is safe"
