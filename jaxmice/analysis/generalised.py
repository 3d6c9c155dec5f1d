"""The built-in generalised mixed model, fitted to all imputations at once."""

import numpy as np

from jaxmice.analysis.design import MixedDesign
from jaxmice.engine.precision import precision_scope
from jaxmice.estimators import GeneralisedMixedFit, fit_generalised_mixed
from jaxmice.pooling import Components, Stack
from jaxmice.pooling.components import mixed_components

LOGISTIC_VARIANCE = np.pi**2 / 3
"""Variance of the standard logistic distribution: the residual variance of a logit model."""
LINKS = {"binomial": "logit", "poisson": "log"}


def fit_generalised_design(
    design: MixedDesign, cluster: str, family: str, quadrature: int = 1
) -> tuple[GeneralisedMixedFit, Stack]:
    """Fit a generalised linear mixed model to every data set of a design.

    Parameters
    ----------
    design
        m data sets.
    cluster
        Name of the grouping column.
    family
        ``"binomial"`` or ``"poisson"``.
    quadrature
        Points of adaptive quadrature, 1 for Laplace's approximation.
    """
    with precision_scope("float64"):
        fit = fit_generalised_mixed(
            design.y,
            design.x,
            design.z,
            design.codes,
            family,
            nodes=quadrature,
            names=design.terms,
        )
    m, p = fit.beta.shape
    stack = Stack(
        terms=design.terms,
        params=fit.beta,
        cov=fit.cov_beta,
        df_resid=np.full(m, float(fit.n - p)),
        nobs=np.full(m, float(fit.n)),
        loglik=fit.loglik,
        converged=fit.converged,
        components=_components(fit, design.labels, cluster, family),
        between=design.between,
        clusters=fit.clusters,
        link=LINKS[family],
        design=design.maker,
    )
    return fit, stack


def _components(
    fit: GeneralisedMixedFit, labels: tuple[str, ...], cluster: str, family: str
) -> Components:
    """List variances and covariances and, under the logit, the intraclass correlation.

    They are those of a linear model whose residual variance is known, without it.
    """
    m, k = fit.cov_factor.shape[:2]
    known = np.zeros((m, k + 1, k + 1))
    known[:, :k, :k] = fit.cov_factor
    jacobian = np.concatenate([fit.psi_jacobian, np.zeros((*fit.psi.shape, 1))], axis=-1)
    parts = mixed_components(
        labels, fit.psi, np.full(m, LOGISTIC_VARIANCE), cluster, jacobian, known
    )
    drop = ("Residual~~Residual", *(() if family == "binomial" else (f"ICC|{cluster}",)))
    keep = [i for i, term in enumerate(parts.terms) if term not in drop]
    return Components(
        tuple(parts.terms[i] for i in keep),
        parts.values[:, keep],
        tuple(parts.transforms[i] for i in keep),
        parts.variances[:, keep],
    )
