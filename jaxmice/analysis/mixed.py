"""The built-in mixed model: one data frame, or all imputations at once."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from jaxmice.analysis.design import Filled, MixedDesign, build_design, variables, with_quotes
from jaxmice.analysis.formula import CODE, MixedFormula, parse_formula
from jaxmice.engine.precision import precision_scope
from jaxmice.errors import AnalysisError
from jaxmice.estimators import LinearMixedFit, fit_linear_mixed
from jaxmice.pooling import Estimates, Stack, register_extractor
from jaxmice.pooling.components import mixed_components, pool_components


def fit_design(design: MixedDesign, cluster: str, reml: bool) -> tuple[LinearMixedFit, Stack]:
    """Fit a mixed model to every data set of a design.

    Parameters
    ----------
    design
        m data sets.
    cluster
        Name of the grouping column.
    reml
        Restricted maximum likelihood, or maximum likelihood.
    """
    with precision_scope("float64"):
        fit = fit_linear_mixed(
            design.y, design.x, design.z, design.codes, reml=reml, names=design.terms
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
        components=mixed_components(
            design.labels, fit.psi, fit.sigma2, cluster, fit.psi_jacobian(), fit.cov_factor
        ),
        between=design.between,
        clusters=fit.clusters,
        reml=reml,
        design=design.maker,
    )
    return fit, stack


@dataclass(frozen=True, repr=False)
class LmmFit:
    """A linear mixed model fitted to one data frame.

    Attributes
    ----------
    formula
        As given.
    reml
        Whether the fit is by restricted maximum likelihood.
    params, bse
        Fixed effects and their standard errors, by term.
    cov
        Covariance of the fixed effects.
    psi
        Covariance of the random effects.
    sigma2
        Residual variance.
    loglik
        Log-likelihood, or the restricted one.
    nobs, n_clusters, df_resid
        Rows, clusters, and rows minus fixed effects.
    dropped
        Rows left out because a value is missing.
    converged, singular
        Whether the optimiser has converged, and whether the covariance of the random
        effects has lost rank (a variance of zero or a correlation of one).
    stack
        The same, as `jaxmice.pooling.pool` reads it.
    """

    formula: MixedFormula
    reml: bool
    params: pd.Series
    bse: pd.Series
    cov: pd.DataFrame
    psi: pd.DataFrame
    sigma2: float
    loglik: float
    nobs: int
    n_clusters: int
    df_resid: int
    dropped: int
    converged: bool
    singular: bool
    stack: Stack

    def cov_params(self) -> pd.DataFrame:
        """Return the covariance of the fixed effects."""
        return self.cov

    @property
    def icc(self) -> float:
        """Intercept variance over intercept plus residual variance, nan without one."""
        if "Intercept" not in self.psi.index:
            return float("nan")
        upper = float(self.psi.to_numpy()[0, 0])
        return upper / (upper + self.sigma2)

    @property
    def extra(self) -> pd.DataFrame:
        """Variance components with standard errors and 95 % intervals.

        Intervals are of Wald type, on the logarithmic scale for variances and the
        logistic scale for the intraclass correlation; missing in a singular fit.
        """
        assert self.stack.components is not None
        return pool_components(self.stack.components)

    def summary(self) -> pd.DataFrame:
        """Return ``term, estimate, std.error, statistic`` of the fixed effects."""
        return pd.DataFrame(
            {
                "term": self.params.index,
                "estimate": self.params.to_numpy(),
                "std.error": self.bse.to_numpy(),
                "statistic": (self.params / self.bse).to_numpy(),
            }
        )

    def __repr__(self) -> str:
        kind = "REML" if self.reml else "maximum likelihood"
        lines = [
            f"Linear mixed model by {kind}: {self.formula.text}",
            f"{self.nobs} rows in {self.n_clusters} clusters of {self.formula.cluster}, "
            f"log-likelihood {self.loglik:.3f}",
        ]
        if self.dropped:
            lines.append(f"{self.dropped} rows with missing values were left out")
        if not self.converged:
            lines.append("The fit did not converge")
        if self.singular:
            lines.append(
                "The fit is singular: the random effects have a variance of zero or "
                "a correlation of one"
            )
        table = self.summary().to_string(index=False, float_format=_short)
        extra = self.extra.iloc[:, :5].to_string(index=False, float_format=_short)
        return "\n".join([*lines, table, "", extra])


def lmm(formula: str, data: pd.DataFrame, reml: bool = True) -> LmmFit:
    """Fit a linear mixed model with one grouping column to one data frame.

    Parameters
    ----------
    formula
        In the notation of lme4, ``"y ~ x + (1 + x | school)"``. The fixed part is read by
        formulaic; text and categories become dummies.
    data
        One row per unit. Rows with a missing value in a column of the formula are left
        out; the result says how many.
    reml
        Restricted maximum likelihood, or maximum likelihood.

    Returns
    -------
    LmmFit

    Raises
    ------
    AnalysisError
        E58 for a formula that cannot be used, E61 to E63 for data that do not identify
        the model.

    Notes
    -----
    Bates, Maechler, Bolker and Walker 2015; see `jaxmice.estimators`.

    Examples
    --------
    >>> import jaxmice as jm
    >>> fit = jm.lmm("popular ~ sex + (1 | school)", jm.datasets.load_popmis())
    >>> fit.dropped
    848
    """
    if not isinstance(formula, str) or isinstance(data, str):
        raise AnalysisError(CODE, "lmm() takes the formula first, then the data")
    parsed = parse_formula(formula)
    if not parsed.cluster:
        raise AnalysisError(
            CODE, f"formula {formula!r} has no random part; add one, as in '+ (1 | school)'"
        )
    if not isinstance(data, pd.DataFrame):
        raise AnalysisError(CODE, f"data must be a pandas DataFrame, got {type(data).__name__}")
    parsed = with_quotes(parsed, list(data.columns))
    names = variables(parsed, list(data.columns))
    design = build_design(parsed, Filled(data.loc[:, names], {}, 1))
    fit, stack = fit_design(design, parsed.cluster, reml)
    terms, labels = list(design.terms), list(design.labels)
    return LmmFit(
        formula=parsed,
        reml=reml,
        params=pd.Series(fit.beta[0], index=terms),
        bse=pd.Series(np.sqrt(np.diagonal(fit.cov_beta[0])), index=terms),
        cov=pd.DataFrame(fit.cov_beta[0], index=terms, columns=terms),
        psi=pd.DataFrame(fit.psi[0], index=labels, columns=labels),
        sigma2=float(fit.sigma2[0]),
        loglik=float(fit.loglik[0]),
        nobs=fit.n,
        n_clusters=fit.clusters,
        df_resid=fit.n - len(terms),
        dropped=design.dropped,
        converged=bool(fit.converged[0]),
        singular=bool(fit.singular[0]),
        stack=stack,
    )


def _extract(fit: Any) -> Estimates:
    return fit.stack.fit(0)


def _short(value: float) -> str:
    return f"{value:.4g}"


register_extractor(LmmFit, _extract)
