"""Pooling of variance components: plain averages, and intervals on a fitting scale."""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxmice.errors import JaxMiceWarning
from jaxmice.pooling.estimates import Components
from jaxmice.pooling.scalar import pool_scalar
from jaxmice.pooling.transforms import NEGLIGIBLE, TRANSFORMS

Numbers = NDArray[np.float64]


def mixed_components(
    labels: Sequence[str],
    psi: Numbers,
    sigma2: Numbers,
    cluster: str,
    jacobian: Numbers | None = None,
    cov: Numbers | None = None,
) -> Components:
    """List the variance components of a linear mixed model with one grouping factor.

    Parameters
    ----------
    labels
        Names of the q random effects.
    psi
        Their covariance (..., q, q); leading axes are data sets.
    sigma2
        Residual variance (...).
    cluster
        Name of the grouping factor.
    jacobian
        Derivative of `psi` with respect to k parameters, the last of which is the log
        residual variance (..., q, q, k).
    cov
        Covariance of these parameters (..., k, k).

    Returns
    -------
    Components
        Variances, then covariances column by column of the upper triangle, then the
        residual variance, then the intraclass correlation where there is a random
        intercept.
    """
    q = len(labels)
    columns, rows = np.tril_indices(q, -1)
    rows = np.concatenate([np.arange(q), rows]).astype(int)
    columns = np.concatenate([np.arange(q), columns]).astype(int)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    terms = [f"{labels[i]}~~{labels[j]}|{cluster}" for i, j in pairs]
    transforms = ["log" if i == j else "identity" for i, j in zip(rows, columns, strict=True)]
    terms.append("Residual~~Residual")
    transforms.append("log")
    values = np.concatenate([psi[..., rows, columns], sigma2[..., None]], axis=-1)
    intercept = labels.index("Intercept") if "Intercept" in labels else None
    total = sigma2
    if intercept is not None:
        terms.append(f"ICC|{cluster}")
        transforms.append("logit")
        total = psi[..., intercept, intercept] + sigma2
        share = psi[..., intercept, intercept] / total
        values = np.concatenate([values, share[..., None]], axis=-1)
    if jacobian is None or cov is None:
        unknown = np.full(values.shape, np.nan)
        return Components(tuple(terms), values, tuple(transforms), unknown)
    residual = np.zeros((*sigma2.shape, 1, cov.shape[-1]))
    residual[..., 0, -1] = sigma2
    moves = np.concatenate([jacobian[..., rows, columns, :], residual], axis=-2)
    if intercept is not None:
        own = jacobian[..., intercept, intercept, :]
        upper = psi[..., intercept, intercept]
        change = own * sigma2[..., None] - residual[..., 0, :] * upper[..., None]
        moves = np.concatenate([moves, (change / total[..., None] ** 2)[..., None, :]], axis=-2)
    variances = np.einsum("...ck,...kl,...cl->...c", moves, cov, moves)
    with np.errstate(divide="ignore", invalid="ignore"):
        for c, name in enumerate(transforms):
            variances[..., c] *= TRANSFORMS[name][2](values[..., c]) ** 2
    return Components(tuple(terms), values, tuple(transforms), variances)


def pool_components(parts: Components, level: float = 0.95) -> pd.DataFrame:
    """Average parameters over imputations, with intervals where the fits allow.

    Parameters
    ----------
    parts
        Values and variances (m, c).
    level
        Level of the intervals.

    Returns
    -------
    pandas.DataFrame
        ``term, estimate, std.error, conf.low, conf.high, transform``. The estimate is the
        average. Standard error and limits come from Rubin's rules on the scale that
        ``transform`` names, and are missing where some fit gave no variance.

    Notes
    -----
    Variances are pooled as logarithms and the intraclass correlation as a logit, unless some
    fit has next to nothing of it: then the logarithm of that fit has no bound and would be all
    that the interval shows. The standard deviation, or the root of the correlation, stays
    finite there, and so does its standard error; the scale is then ``"root"``.
    """
    values, variances = np.atleast_2d(parts.values), np.atleast_2d(parts.variances)
    rows = []
    for k, (term, name) in enumerate(zip(parts.terms, parts.transforms, strict=True)):
        value, variance = values[:, k], variances[:, k]
        estimate = float(value.mean())
        error = low = high = np.nan
        with np.errstate(divide="ignore", invalid="ignore"):
            if name in ("log", "logit") and value.min() < NEGLIGIBLE * estimate:
                change = TRANSFORMS["root"][2](value) / TRANSFORMS[name][2](value)
                name, variance = "root", variance * change**2
            forward, back, derivative = TRANSFORMS[name]
            moved = forward(value)
        if np.isfinite(moved).all() and np.isfinite(variance).all():
            with warnings.catch_warnings():
                # One imputation has been pointed out with the coefficients.
                warnings.simplefilter("ignore", JaxMiceWarning)
                pooled = pool_scalar(moved, variance)
            limits = pooled.interval(level)
            low, high = (float(back(limit)) for limit in limits)
            error = float(pooled.std_error / derivative(np.asarray(estimate)))
        rows.append((term, estimate, error, low, high, name))
    names = ["term", "estimate", "std.error", "conf.low", "conf.high", "transform"]
    return pd.DataFrame(rows, columns=names)
