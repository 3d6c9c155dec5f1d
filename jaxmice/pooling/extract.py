"""From a fitted model of any package to `Estimates`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from jaxmice.errors import AnalysisError
from jaxmice.pooling.components import mixed_components
from jaxmice.pooling.estimates import Components, Estimates

Extractor = Callable[[Any], Estimates]

LINEAR = ("OLS", "WLS", "GLS", "Identity", "NoneType")
"""Models and links of statsmodels whose mean is linear."""

_EXTRACTORS: dict[type | str, Extractor] = {}


def register_extractor(cls: type | str, fn: Extractor) -> None:
    """Teach `pool` to read another class of fitted models.

    Parameters
    ----------
    cls
        The class, or its full name ``"package.module.Class"``, which needs no import.
        Subclasses are covered.
    fn
        Takes a fit and returns `Estimates`.
    """
    _EXTRACTORS[cls] = fn


def extract(fit: Any) -> Estimates:
    """Read the estimates of one fit.

    Parameters
    ----------
    fit
        `Estimates`; an object of a registered class; a tuple of coefficients and
        covariance; a frame with columns ``term, estimate, std.error``; or any object with
        ``params`` and ``cov_params()`` (statsmodels) or ``cov`` (linearmodels), with
        ``params_`` and ``variance_matrix_`` (lifelines), or with ``coef`` and ``vcov``.
        One with ``coef_`` (scikit-learn) has no covariance: its ``cov`` is nan.

    Raises
    ------
    AnalysisError
        E60, when nothing of this is found.
    """
    if isinstance(fit, Estimates):
        return fit
    for cls in type(fit).__mro__:
        fn = _EXTRACTORS.get(cls) or _EXTRACTORS.get(f"{cls.__module__}.{cls.__qualname__}")
        if fn is not None:
            return fn(fit)
    if isinstance(fit, pd.DataFrame):
        return _from_frame(fit)
    if hasattr(fit, "params") and (hasattr(fit, "cov_params") or hasattr(fit, "cov")):
        return _from_params(fit)
    if hasattr(fit, "params_") and hasattr(fit, "variance_matrix_"):
        return _from_lifelines(fit)
    if hasattr(fit, "coef") and hasattr(fit, "vcov"):
        return _from_pair(fit.coef, fit.vcov() if callable(fit.vcov) else fit.vcov)
    if isinstance(fit, tuple) and len(fit) == 2:
        return _from_pair(*fit)
    if hasattr(fit, "coef_"):
        return _from_sklearn(fit)
    raise AnalysisError(
        "E60",
        f"no estimates found in an object of class {type(fit).__name__}; return a tuple "
        "(coefficients, covariance) from the analysis, or call register_extractor()",
    )


def _names(params: Any, k: int) -> tuple[str, ...]:
    index = getattr(params, "index", None)
    if index is None or callable(index):
        return tuple(f"term{i + 1}" for i in range(k))
    # A name of several parts, such as (parameter, covariate), is joined.
    return tuple(":".join(map(str, n)) if isinstance(n, tuple) else str(n) for n in index)


def _from_pair(params: Any, cov: Any) -> Estimates:
    if isinstance(params, dict):
        params = pd.Series(params)
    values = np.atleast_1d(np.asarray(params, dtype=np.float64))
    matrix = np.asarray(cov, dtype=np.float64)
    if matrix.ndim == 0:
        matrix = matrix.reshape(1, 1)
    if values.ndim != 1 or matrix.shape != (values.size, values.size):
        raise AnalysisError(
            "E60",
            f"a pair of results must be k coefficients and a k x k covariance, got shapes "
            f"{values.shape} and {matrix.shape}",
        )
    return Estimates(_names(params, values.size), values, matrix)


def _from_sklearn(fit: Any) -> Estimates:
    """Read coefficients of scikit-learn, by class of the outcome if there are several."""
    slopes = np.atleast_2d(np.asarray(fit.coef_, dtype=np.float64))
    names = getattr(fit, "feature_names_in_", _names(None, slopes.shape[1]))
    params = pd.DataFrame(slopes, columns=[str(name) for name in names])
    if getattr(fit, "fit_intercept", False):
        params.insert(0, "Intercept", np.ravel(fit.intercept_))
    classes = getattr(fit, "classes_", range(1, len(params) + 1))
    by_class = params.set_axis(classes).stack() if len(params) > 1 else params.iloc[0]
    return _from_pair(by_class, np.full((by_class.size, by_class.size), np.nan))


def _from_frame(frame: pd.DataFrame) -> Estimates:
    errors = "robust.se" if "robust.se" in frame else "std.error"
    lacking = [name for name in ("term", "estimate", errors) if name not in frame]
    if lacking:
        raise AnalysisError("E60", f"a table of results lacks the columns {', '.join(lacking)}")
    variances = frame[errors].to_numpy(float) ** 2
    df = float(np.min(frame["df.residual"].to_numpy(float))) if "df.residual" in frame else np.nan
    return Estimates(
        tuple(str(term) for term in frame["term"]),
        frame["estimate"].to_numpy(float),
        np.diag(variances),
        df_resid=df,
    )


def _from_params(fit: Any) -> Estimates:
    """Read a result of statsmodels, linearmodels, or one that looks like them."""
    values = np.asarray(fit.params, dtype=np.float64)
    names = _names(fit.params, values.size)
    if not hasattr(fit.params, "index"):
        names = tuple(getattr(getattr(fit, "model", None), "exog_names", None) or names)
    settled = getattr(fit, "mle_retvals", None) or {}
    converged = getattr(fit, "converged", None)
    cov = fit.cov_params() if hasattr(fit, "cov_params") else fit.cov
    return Estimates(
        names,
        values,
        np.asarray(cov, dtype=np.float64),
        df_resid=_number(fit, "df_resid"),
        nobs=_number(fit, "nobs"),
        loglik=_number(fit, "llf" if hasattr(fit, "cov_params") else "loglik"),
        components=_residual_variance(fit),
        link=_link(fit),
        converged=bool(settled.get("converged", True) if converged is None else converged),
    )


def _link(fit: Any) -> str:
    model = getattr(fit, "model", None)
    family = getattr(getattr(getattr(model, "family", None), "link", None), "__class__", None)
    name = (family or type(model)).__name__
    return {"Logit": "logit", "Probit": "probit", "Log": "log", "Poisson": "log"}.get(
        name, "identity" if name in LINEAR else name
    )


def _residual_variance(fit: Any) -> Components | None:
    """Return the one free parameter besides the coefficients of a linear regression."""
    if type(getattr(fit, "model", None)).__name__ not in LINEAR:
        return None
    variance = np.array([2 / _number(fit, "df_resid")])
    return Components(("Residual~~Residual",), np.array([float(fit.scale)]), ("log",), variance)


def _from_mixedlm(fit: Any) -> Estimates:
    """Read fixed effects and variance components of a mixed model of statsmodels.

    ``params`` mixes coefficients with variance parameters, which must not be pooled as
    coefficients.
    """
    names = tuple(str(name) for name in fit.fe_params.index)
    k = len(names)
    cov = np.asarray(fit.cov_params(), dtype=np.float64)[:k, :k]
    nobs = _number(fit, "nobs")
    return Estimates(
        names,
        np.asarray(fit.fe_params, dtype=np.float64),
        cov,
        df_resid=nobs - k,
        nobs=nobs,
        loglik=_number(fit, "llf"),
        components=_mixedlm_components(fit),
        converged=bool(fit.converged),
        clusters=len(fit.model.group_labels),
        reml=bool(fit.reml),
    )


def _mixedlm_components(fit: Any) -> Components:
    psi = np.atleast_2d(np.asarray(fit.cov_re, dtype=np.float64))
    # The package calls a random intercept "Group".
    labels = tuple(
        "Intercept" if name == "Group" else str(name) for name in getattr(fit.cov_re, "index", [])
    )
    psi = psi.reshape(len(labels), len(labels))
    parts = mixed_components(labels, psi, np.asarray(fit.scale, dtype=np.float64), "Group")
    names = getattr(getattr(fit.model, "exog_vc", None), "names", None) or []
    values = np.asarray(fit.vcomp, dtype=np.float64)
    return Components(
        (*parts.terms, *(str(name) for name in names)),
        np.concatenate([parts.values, values]),
        (*parts.transforms, *("log" for _ in names)),
        np.full(len(parts.terms) + len(names), np.nan),
    )


def _from_lifelines(fit: Any) -> Estimates:
    """Read a regression of lifelines: what it knows grows with the events, not the rows."""
    events = np.asarray(fit.event_observed)
    return Estimates(
        _names(fit.params_, len(fit.params_)),
        np.asarray(fit.params_, dtype=np.float64),
        np.asarray(fit.variance_matrix_, dtype=np.float64),
        df_resid=float(events.sum() - len(fit.params_)),
        nobs=float(len(events)),
        loglik=_number(fit, "log_likelihood_"),
        link="log",
    )


def _from_phreg(fit: Any) -> Estimates:
    """Read a proportional hazards regression of statsmodels, as one of lifelines."""
    status = np.asarray(fit.model.status)
    return replace(
        _from_params(fit),
        df_resid=float(status.sum() - len(fit.params)),
        nobs=float(len(status)),
        link="log",
    )


def _number(fit: Any, name: str) -> float:
    try:
        return float(getattr(fit, name))
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        return np.nan


register_extractor("statsmodels.duration.hazard_regression.PHRegResults", _from_phreg)
register_extractor("statsmodels.regression.mixed_linear_model.MixedLMResults", _from_mixedlm)
register_extractor("statsmodels.regression.mixed_linear_model.MixedLMResultsWrapper", _from_mixedlm)
