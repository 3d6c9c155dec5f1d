"""Log-likelihoods of analyses of imputed data, for the tests that compare models."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxmice.analysis.design import Filled, MixedDesign, build_design, variables
from jaxmice.analysis.formula import MixedFormula
from jaxmice.analysis.generalised import fit_generalised_design
from jaxmice.analysis.mixed import fit_design
from jaxmice.engine.precision import precision_scope
from jaxmice.errors import PoolError
from jaxmice.estimators import evaluate_generalised_mixed
from jaxmice.pooling import extract
from jaxmice.pooling.likelihood import at_given, mixed_loglik

Numbers = NDArray[np.float64]


@dataclass
class MixedLikelihood:
    """Of the built-in linear mixed model; nothing is computed before it is asked for."""

    imp: Any
    formula: MixedFormula
    binary = False

    @cached_property
    def design(self) -> MixedDesign:
        """The rows of all completed data sets."""
        names = variables(self.formula, list(self.imp.data.columns))
        filled = Filled.from_imputed(self.imp, names)
        return build_design(self.formula, filled, binary=self.binary)

    @cached_property
    def _fit(self) -> Any:
        return self._refit(self.design)

    def _refit(self, design: MixedDesign) -> Any:
        return fit_design(design, self.formula.cluster, reml=False)[0]

    def fitted(self) -> Numbers:
        """Return the log-likelihood at the estimates of each data set (m,)."""
        return np.asarray(self._fit.loglik)

    def at_pooled(self) -> Numbers:
        """Return the log-likelihood at the mean of the estimates (m,)."""
        design, fit = self.design, self._fit
        beta, psi = fit.beta.mean(axis=0), fit.psi.mean(axis=0)
        values = []
        for i, y in enumerate(design.y):
            x, z = (a[i] if a.ndim == 3 else a for a in (design.x, design.z))
            values.append(mixed_loglik(y - x @ beta, z, design.codes, psi, fit.sigma2.mean()))
        return np.array(values)

    def stacked(self) -> float:
        """Return the log-likelihood of all data sets at once, their clusters apart."""
        design = self.design
        m, n = design.y.shape
        clusters = int(design.codes.max()) + 1

        def stack(a: Numbers) -> Numbers:
            return np.broadcast_to(a, (m, n, a.shape[-1])).reshape(m * n, -1)

        together = replace(
            design,
            y=design.y.reshape(1, -1),
            x=stack(design.x),
            z=stack(design.z),
            codes=(design.codes + clusters * np.arange(m)[:, None]).ravel(),
        )
        return float(self._refit(together).loglik[0])


@dataclass
class GeneralisedLikelihood(MixedLikelihood):
    """Of the built-in generalised mixed model, as the fit approximates it."""

    family: str
    quadrature: int

    def __post_init__(self) -> None:
        self.binary = self.family == "binomial"

    def _refit(self, design: MixedDesign) -> Any:
        cluster = self.formula.cluster
        return fit_generalised_design(design, cluster, self.family, self.quadrature)[0]

    def at_pooled(self) -> Numbers:
        """Return the log-likelihood at the mean of the estimates (m,)."""
        design, fit = self.design, self._fit
        with precision_scope("float64"):
            return evaluate_generalised_mixed(
                design.y,
                design.x,
                design.z,
                design.codes,
                self.family,
                fit.beta.mean(axis=0),
                fit.psi.mean(axis=0),
                nodes=self.quadrature,
            )[0]


@dataclass
class FunctionLikelihood:
    """Of a function that fits a model to one data frame; it is called again.

    ``apart`` says whether a cluster is a different one in every data set of the stack.
    """

    imp: Any
    model: Callable[[Any], Any]
    numbers: tuple[int, ...]
    apart: bool = True

    @cached_property
    def _fits(self) -> list[Any]:
        fits = [self.model(self.imp.complete(i)) for i in self.numbers]
        if extract(fits[0]).reml:
            raise PoolError(
                "E45", "the models are fitted by REML; fit them by maximum likelihood to compare"
            )
        return fits

    def fitted(self) -> Numbers:
        """Return the log-likelihood at the estimates of each data set (m,)."""
        return np.array([_loglik(fit) for fit in self._fits])

    def at_pooled(self) -> Numbers:
        """Return the log-likelihood at the mean of the estimates (m,)."""
        given = [at_given(fit) for fit in self._fits]
        pooled = np.mean([values for values, _ in given], axis=0)
        return np.array([loglik(pooled) for _, loglik in given])

    def stacked(self) -> float:
        """Return the log-likelihood of all data sets at once, their clusters apart."""
        frames = []
        clusters = self.imp.model.frame.clusters if self.apart else None
        for i in self.numbers:
            frame = self.imp.complete(i)
            for name in clusters.names if clusters else ():
                frame[name] = f"{i}/" + frame[name].astype(str)
            frames.append(frame)
        return _loglik(self.model(pd.concat(frames, ignore_index=True)))


def _loglik(fit: Any) -> float:
    value = extract(fit).loglik
    if not np.isfinite(value):
        raise PoolError(
            "E45", f"{type(fit).__name__} does not report a log-likelihood; use D1 or D2 by Wald"
        )
    return value
