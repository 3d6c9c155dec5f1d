"""Log-likelihoods at given parameters, which tests D3 and D4 need."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jaxmice.errors import PoolError

Numbers = NDArray[np.float64]


class Likelihood(Protocol):
    """Log-likelihood of one model on m completed data sets, by maximum likelihood."""

    def fitted(self) -> Numbers:
        """Return it at the estimates of each data set (m,)."""

    def at_pooled(self) -> Numbers:
        """Return it at the mean of the estimates, variances included (m,)."""

    def stacked(self) -> float:
        """Return it for one fit to all data sets at once, clusters apart."""


def at_given(fit: Any) -> tuple[Numbers, Callable[[Numbers], float]]:
    """Return all parameters of a fit, and its log-likelihood as a function of them.

    Parameters
    ----------
    fit
        Of statsmodels: ``OLS``, ``GLM`` without a free scale, a discrete model, or
        ``MixedLM`` without further variance components.

    Raises
    ------
    PoolError
        E45, for any other fit.
    """
    model: Any = getattr(fit, "model", None)
    kinds = {cls.__name__ for cls in type(model).__mro__}
    if "MixedLM" in kinds and not getattr(model, "k_vc", 0):
        return _mixedlm(fit)
    if type(model).__name__ == "OLS":
        start = np.append(fit.params, fit.ssr / fit.nobs)
        return start, lambda v: _normal(model.endog - model.exog @ v[:-1], v[-1])
    free_scale = "GLM" in kinds and type(model.family).__name__ not in ("Binomial", "Poisson")
    if ("GLM" in kinds and not free_scale) or "DiscreteModel" in kinds:
        shape = np.shape(fit.params)
        start = np.ravel(np.asarray(fit.params, dtype=np.float64))
        return start, lambda v: float(model.loglike(v.reshape(shape)))
    raise PoolError(
        "E45",
        f"method D3 needs a log-likelihood at given parameters, which {type(fit).__name__} does "
        "not offer; use D1, D2 or D4",
    )


def _normal(residuals: Numbers, variance: float) -> float:
    n = len(residuals)
    return float(-0.5 * (n * np.log(2 * np.pi * variance) + residuals @ residuals / variance))


def _mixedlm(fit: Any) -> tuple[Numbers, Callable[[Numbers], float]]:
    model = fit.model
    psi = np.asarray(fit.cov_re, dtype=np.float64)
    k, q = len(fit.fe_params), len(psi)
    codes = np.unique(model.groups, return_inverse=True)[1]
    start = np.concatenate([fit.fe_params, psi.ravel(), [fit.scale]])

    def loglik(v: Numbers) -> float:
        beta, given, sigma2 = v[:k], v[k:-1].reshape(q, q), float(v[-1])
        return mixed_loglik(model.endog - model.exog @ beta, model.exog_re, codes, given, sigma2)

    return start, loglik


def mixed_loglik(
    residuals: Numbers, z: Numbers, codes: NDArray[np.integer], psi: Numbers, sigma2: float
) -> float:
    """Return the log-likelihood of a linear mixed model with one grouping factor.

    Parameters
    ----------
    residuals
        Outcomes minus the fixed part (n,).
    z, codes
        Columns of the random effects (n, q), and the cluster of each row (n,) from 0.
    psi, sigma2
        Covariance of the random effects (q, q) and the residual variance.
    """
    q = z.shape[1]
    clusters = int(codes.max()) + 1

    def sums(values: Numbers) -> Numbers:
        return np.asarray(np.bincount(codes, values, minlength=clusters), dtype=np.float64)

    zz = np.stack([sums(z[:, a] * z[:, b]) for a in range(q) for b in range(q)], axis=-1)
    zr = np.stack([sums(z[:, a] * residuals) for a in range(q)], axis=-1)
    # sigma2 I + psi Z'Z by cluster; it also holds for a singular psi.
    inner = sigma2 * np.eye(q) + psi @ zz.reshape(clusters, q, q)
    explained = (zr * np.linalg.solve(inner, (zr @ psi)[..., None])[..., 0]).sum()
    logdet = np.linalg.slogdet(inner)[1].sum() - clusters * q * np.log(sigma2)
    return _normal(residuals, sigma2) - 0.5 * float(logdet - explained / sigma2)
