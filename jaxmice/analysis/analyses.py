"""Analyses of all completed data sets, ready to be pooled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxmice.errors import AnalysisError
from jaxmice.pooling import PooledResults, Stack, extract, pool, stack_estimates
from jaxmice.pooling.likelihood import Likelihood
from jaxmice.pooling.scalar import Rule

Numbers = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Analyses:
    """One model fitted to m completed data sets.

    Attributes
    ----------
    stack
        Estimates of all fits; the imputations are the first axis.
    model
        Text that says what was fitted.
    numbers
        Numbers of the imputations that were fitted.
    fits
        The fitted objects, where they were kept.
    singular
        For the built-in mixed model, which fits are singular (m,).
    likelihood
        Evaluates the log-likelihood where comparisons of models need it.
    """

    stack: Stack
    model: str
    numbers: tuple[int, ...]
    fits: tuple[Any, ...] = ()
    singular: NDArray[np.bool_] | None = None
    likelihood: Likelihood | None = None

    @classmethod
    def from_list(cls, fits: Sequence[Any], *, terms: str = "equal") -> "Analyses":
        """Collect fits that were made elsewhere.

        Parameters
        ----------
        fits
            Fitted models, see `jaxmice.pooling.extract`.
        terms
            ``"equal"``, or ``"intersection"`` to keep the terms that all fits have.
        """
        stack = stack_estimates([extract(fit) for fit in fits], terms=terms)
        return cls(stack, type(fits[0]).__name__, tuple(range(1, len(fits) + 1)), tuple(fits))

    @property
    def m(self) -> int:
        """Number of imputations."""
        return self.stack.m

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the k coefficients."""
        return self.stack.terms

    @property
    def vcov(self) -> Numbers:
        """Covariances of the coefficients (m, k, k)."""
        return self.stack.cov

    @property
    def loglik(self) -> Numbers:
        """Log-likelihoods (m,)."""
        return self.stack.loglik

    @property
    def df_resid(self) -> Numbers:
        """Residual degrees of freedom (m,)."""
        return self.stack.df_resid

    @property
    def nobs(self) -> Numbers:
        """Rows used (m,)."""
        return self.stack.nobs

    @property
    def converged(self) -> NDArray[np.bool_]:
        """Which fits have converged (m,)."""
        return self.stack.converged

    @property
    def estimates(self) -> pd.DataFrame:
        """Long frame ``imputation, term, estimate, std.error``."""
        errors = np.sqrt(np.diagonal(self.stack.cov, axis1=1, axis2=2))
        return self._long(self.terms, {"estimate": self.stack.params, "std.error": errors})

    @property
    def extra(self) -> pd.DataFrame:
        """Variance components, long frame ``imputation, term, estimate``."""
        parts = self.stack.components
        if parts is None:
            return pd.DataFrame(columns=["imputation", "term", "estimate"])
        return self._long(parts.terms, {"estimate": parts.values})

    def summary(self, imputation: int) -> pd.DataFrame:
        """Return ``term, estimate, std.error`` of one imputation.

        Parameters
        ----------
        imputation
            Its number, from 1.

        Raises
        ------
        AnalysisError
            E59: there is no such imputation.
        """
        if imputation not in self.numbers:
            known = ", ".join(map(str, self.numbers))
            raise AnalysisError("E59", f"imputation must be one of {known}, got {imputation!r}")
        i = self.numbers.index(imputation)
        errors = np.sqrt(np.diagonal(self.stack.cov[i]))
        return pd.DataFrame(
            {"term": self.terms, "estimate": self.stack.params[i], "std.error": errors}
        )

    def pool(
        self,
        dfcom: float | str | Mapping[str, float] | None = None,
        rule: Rule = "rubin1987",
    ) -> PooledResults:
        """Pool by Rubin's rules, see `jaxmice.pooling.pool`."""
        return pool(self, dfcom=dfcom, rule=rule)

    def _long(self, terms: Sequence[str], values: Mapping[str, Numbers]) -> pd.DataFrame:
        columns: dict[str, Any] = {
            "imputation": np.repeat(self.numbers, len(terms)),
            "term": list(terms) * self.m,
        }
        return pd.DataFrame(columns | {name: array.ravel() for name, array in values.items()})

    def __len__(self) -> int:
        return self.m

    def __repr__(self) -> str:
        mean = pd.DataFrame({"term": self.terms, "mean estimate": self.stack.params.mean(axis=0)})
        lines = [f"{self.m} analyses of {self.model}", mean.to_string(index=False)]
        failed = int((~self.converged).sum())
        if failed:
            lines.append(f"{failed} did not converge")
        if self.singular is not None and self.singular.any():
            lines.append(f"{int(self.singular.sum())} are singular")
        return "\n".join([*lines, "Call .pool() for the pooled results."])
