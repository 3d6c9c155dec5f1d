"""Pooling of whole analyses."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxmice.errors import PoolError
from jaxmice.pooling.estimates import Stack, stack_estimates
from jaxmice.pooling.extract import extract
from jaxmice.pooling.results import PooledResults
from jaxmice.pooling.scalar import Rule, pool_scalar
from jaxmice.wording import warn_user

FEW_CLUSTERS = 30


def pool(
    analyses: Any,
    dfcom: float | str | Mapping[str, float] | None = None,
    rule: Rule = "rubin1987",
) -> PooledResults:
    """Pool the analyses of multiply imputed data by Rubin's rules.

    Parameters
    ----------
    analyses
        What ``imp.analyze(...)`` returns, a list of fitted models (everything that
        `jaxmice.pooling.extract` understands), or a tuple of arrays: estimates (m, k) and
        covariances (m, k, k). Of fits without standard errors (scikit-learn) only the
        estimates are pooled.
    dfcom
        Degrees of freedom of the complete-data analysis. ``None`` and ``"residual"``: as
        the fits report them, infinite if they do not. ``"between_within"``, for models of
        clustered data: with J clusters, n rows and k2 predictors that are constant in
        clusters, ``J - k2 - 1`` for those and the intercept, and ``n - J - k1`` for the
        k1 others. ``"inf"``; a number; or a mapping from terms to numbers.
    rule
        See `pool_scalar`.

    Returns
    -------
    PooledResults

    Raises
    ------
    PoolError
        E44 for imputed data that have not been analysed; E64 for what cannot be pooled.

    Warns
    -----
    JaxMiceWarning
        W26 for fits without standard errors; W27 for one imputation; W28 for few clusters
        under the default degrees of freedom.

    Notes
    -----
    Rubin 1987; Barnard and Rubin 1999; Reiter 2003.
    """
    stack = as_stack(analyses)
    if not stack.has_errors:
        warn_user(
            "W26: the fits have no standard errors, so only their estimates are pooled; "
            "boot_mi() finds intervals, or fit the same model with statsmodels"
        )
    complete = _dfcom(stack, dfcom)
    if dfcom is None and stack.clusters is not None and stack.clusters < FEW_CLUSTERS:
        warn_user(
            f"W28: with {stack.clusters} clusters the residual degrees of freedom are too "
            "many for terms that vary between clusters; consider dfcom='between_within'"
        )
    variances = np.diagonal(stack.cov, axis1=1, axis2=2)
    pooled = pool_scalar(stack.params, variances, complete, rule)
    deviations = stack.params - stack.params.mean(axis=0)
    between = deviations.T @ deviations / max(stack.m - 1, 1)
    return PooledResults(stack.terms, pooled, stack, stack.cov.mean(axis=0), between, rule)


def as_stack(analyses: Any) -> Stack:
    """Read everything that `pool` takes.

    Parameters
    ----------
    analyses
        See `pool`.
    """
    if isinstance(analyses, Stack):
        return analyses
    if isinstance(getattr(analyses, "stack", None), Stack):
        return analyses.stack
    if hasattr(analyses, "analyze"):
        raise PoolError(
            "E44", "pool() needs analyses, not imputed data; call imp.analyze(...) first"
        )
    if isinstance(analyses, tuple) and len(analyses) == 2 and np.ndim(analyses[0]) in (1, 2):
        return _from_arrays(*analyses)
    if isinstance(analyses, Sequence) and not isinstance(analyses, str) and len(analyses):
        return stack_estimates([extract(fit) for fit in analyses])
    raise PoolError(
        "E64",
        f"cannot pool {type(analyses).__name__}; pass imp.analyze(...), a list of fits, or "
        "a tuple of estimates (m, k) and covariances (m, k, k)",
    )


def _from_arrays(first: Any, second: Any) -> Stack:
    params, cov = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if params.ndim == 1 and cov.ndim == 1:
        params, cov = params[:, None], cov[:, None, None]
    if params.ndim != 2 or cov.shape != (*params.shape, params.shape[-1]):
        raise PoolError(
            "E64",
            f"estimates must be (m, k) and covariances (m, k, k), got {params.shape} and "
            f"{cov.shape}",
        )
    m, k = params.shape
    unknown = np.full(m, np.nan)
    terms = tuple(f"term{i + 1}" for i in range(k))
    return Stack(terms, params, cov, unknown, unknown, unknown, np.ones(m, dtype=bool))


def complete_df(stack: Stack, dfcom: float | str | None) -> float:
    """Return the complete-data degrees of freedom of a test; see `compare_models`.

    Raises
    ------
    PoolError
        E64 for anything but None, a number or ``"residual"``.
    """
    if isinstance(dfcom, str) and dfcom != "residual":
        raise PoolError("E64", f"dfcom of a test is a number or 'residual', got {dfcom!r}")
    return np.inf if dfcom is None else float(_dfcom(stack, dfcom).min())


def _dfcom(stack: Stack, dfcom: float | str | Mapping[str, float] | None) -> NDArray[np.float64]:
    k = len(stack.terms)
    if dfcom is None or dfcom == "residual":
        known = stack.df_resid[~np.isnan(stack.df_resid)]
        return np.full(k, max(known.min(), 1.0) if known.size else np.inf)
    if isinstance(dfcom, Mapping):
        unknown = [term for term in stack.terms if term not in dfcom]
        if unknown:
            raise PoolError("E64", f"dfcom has no value for {', '.join(unknown)}")
        return np.array([_positive(dfcom[term]) for term in stack.terms])
    if dfcom == "inf":
        return np.full(k, np.inf)
    if dfcom == "between_within":
        return _between_within(stack)
    if isinstance(dfcom, str):
        raise PoolError(
            "E64",
            f"unknown dfcom {dfcom!r}; use 'residual', 'between_within', 'inf', a number or a "
            "mapping from terms to numbers",
        )
    return np.full(k, _positive(dfcom))


def _positive(dfcom: Any) -> float:
    if isinstance(dfcom, bool) or not isinstance(dfcom, (int, float, np.number)) or not dfcom > 0:
        raise PoolError("E64", f"dfcom must be positive, or one of its names, got {dfcom!r}")
    return float(dfcom)


def _between_within(stack: Stack) -> NDArray[np.float64]:
    if stack.clusters is None or stack.between is None:
        raise PoolError(
            "E64",
            "dfcom='between_within' needs a mixed model fitted by imp.analyze(); pass a number "
            "or a mapping from terms to numbers instead",
        )
    constant = stack.between
    intercept = np.array([term in ("Intercept", "(Intercept)") for term in stack.terms])
    upper = stack.clusters - int((constant & ~intercept).sum()) - 1
    lower = float(stack.nobs.min()) - stack.clusters - int((~constant).sum())
    return np.maximum(np.where(constant, upper, lower), 1.0)
