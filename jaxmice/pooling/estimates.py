"""What pooling needs from an analysis of one completed data set, and of all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxmice.errors import AnalysisError, PoolError

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Components:
    """Variance components and other parameters that are averaged, not tested.

    Attributes
    ----------
    terms
        Names, such as ``"Intercept~~Intercept|school"``.
    values
        Estimates, (c,) of one fit or (m, c) of a stack.
    transforms
        Scale on which each is nearly normal: ``"log"``, ``"logit"``, ``"fisher_z"``
        or ``"identity"``.
    variances
        Sampling variances on that scale, of the shape of `values`; nan where unknown.
    """

    terms: tuple[str, ...]
    values: Numbers
    transforms: tuple[str, ...]
    variances: Numbers


@dataclass(frozen=True)
class Design:
    """How the rows of a model follow from a data frame.

    Attributes
    ----------
    fixed
        Takes a frame of n rows and returns the columns of the coefficients (n, k).
    random
        The same for the random effects, a frame by label; None where there are none.
    """

    fixed: Callable[[pd.DataFrame], Numbers]
    random: Callable[[pd.DataFrame], pd.DataFrame] | None = None


@dataclass(frozen=True)
class Estimates:
    """Estimates of one fit.

    Attributes
    ----------
    terms
        Names of the k coefficients.
    params, cov
        Coefficients (k,) and their covariance (k, k), which is nan where unknown.
    df_resid
        Residual degrees of freedom; nan where unknown.
    nobs
        Rows used; nan where unknown.
    loglik
        Log-likelihood; nan where unknown.
    components
        Variance components, if the model has any.
    converged
        Whether the fit says that it has converged.
    between
        For models of clustered data, whether each term is constant within clusters (k,).
    clusters
        Number of clusters, if there are any.
    reml
        Whether `loglik` is a restricted log-likelihood, which cannot compare models.
    link
        What makes the mean linear: ``"identity"``, ``"logit"``, ``"log"`` or another name.
    """

    terms: tuple[str, ...]
    params: Numbers
    cov: Numbers
    df_resid: float = np.nan
    nobs: float = np.nan
    loglik: float = np.nan
    components: Components | None = None
    converged: bool = True
    between: NDArray[np.bool_] | None = None
    clusters: int | None = None
    reml: bool = False
    link: str = "identity"


@dataclass(frozen=True)
class Stack:
    """Estimates of the fits to m completed data sets; m is the first axis.

    Attributes are those of `Estimates`: ``params`` (m, k), ``cov`` (m, k, k),
    ``df_resid``, ``nobs``, ``loglik`` and ``converged`` (m,); besides ``design``, how the
    model was made from the data, where that is known.
    """

    terms: tuple[str, ...]
    params: Numbers
    cov: Numbers
    df_resid: Numbers
    nobs: Numbers
    loglik: Numbers
    converged: NDArray[np.bool_]
    components: Components | None = None
    between: NDArray[np.bool_] | None = None
    clusters: int | None = None
    reml: bool = False
    link: str = "identity"
    design: Design | None = None

    @property
    def m(self) -> int:
        """Number of imputations."""
        return self.params.shape[0]

    @property
    def has_errors(self) -> bool:
        """Whether the fits have standard errors."""
        return not (self.cov.size and np.isnan(self.cov).all())

    def need_errors(self) -> None:
        """Raise E45 when the fits have no standard errors."""
        if not self.has_errors:
            raise PoolError(
                "E45",
                "this needs standard errors, which the fits do not have; fit the same model "
                "with statsmodels, or return a tuple (coefficients, covariance)",
            )

    def fit(self, i: int) -> Estimates:
        """Return the estimates of data set i, counted from 0."""
        parts = self.components
        return Estimates(
            terms=self.terms,
            params=self.params[i],
            cov=self.cov[i],
            df_resid=float(self.df_resid[i]),
            nobs=float(self.nobs[i]),
            loglik=float(self.loglik[i]),
            components=parts
            and Components(parts.terms, parts.values[i], parts.transforms, parts.variances[i]),
            converged=bool(self.converged[i]),
            between=self.between,
            clusters=self.clusters,
            reml=self.reml,
            link=self.link,
        )


def stack_estimates(
    fits: Sequence[Estimates], *, terms: str = "equal", numbers: Sequence[int] = ()
) -> Stack:
    """Align fits by the names of their terms.

    Parameters
    ----------
    fits
        One for each imputation.
    terms
        ``"equal"`` asks for the same terms everywhere; ``"intersection"`` keeps those
        that every fit has.
    numbers
        Numbers of the imputations, for messages; 1 to m by default.

    Raises
    ------
    AnalysisError
        E42, when a term is missing in some imputations.
    """
    numbers = list(numbers) or list(range(1, len(fits) + 1))
    names = list(dict.fromkeys(term for fit in fits for term in fit.terms))
    lacking = {
        term: [i for i, fit in zip(numbers, fits, strict=True) if term not in fit.terms]
        for term in names
    }
    if terms == "intersection":
        names = [term for term in names if not lacking[term]]
    else:
        for term, where in lacking.items():
            if where:
                raise AnalysisError(
                    "E42",
                    f"term {term!r} missing in imputations {where}: perhaps a category is empty "
                    "there; merge categories, or pass terms='intersection' to leave it out",
                )
    pick = [[fit.terms.index(term) for term in names] for fit in fits]
    first = fits[0]
    return Stack(
        terms=tuple(names),
        params=np.stack([fit.params[p] for fit, p in zip(fits, pick, strict=True)]),
        cov=np.stack([fit.cov[np.ix_(p, p)] for fit, p in zip(fits, pick, strict=True)]),
        df_resid=np.array([fit.df_resid for fit in fits], dtype=np.float64),
        nobs=np.array([fit.nobs for fit in fits], dtype=np.float64),
        loglik=np.array([fit.loglik for fit in fits], dtype=np.float64),
        converged=np.array([fit.converged for fit in fits]),
        components=_stack_components([fit.components for fit in fits]),
        between=None if first.between is None else first.between[pick[0]],
        clusters=first.clusters,
        reml=any(fit.reml for fit in fits),
        link=first.link,
    )


def _stack_components(parts: Sequence[Components | None]) -> Components | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or any(part.terms != known[0].terms for part in known):
        return None
    return Components(
        known[0].terms,
        np.stack([part.values for part in known]),
        known[0].transforms,
        np.stack([part.variances for part in known]),
    )
