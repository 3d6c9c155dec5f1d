"""How much of the variance a mixed model explains."""

from typing import Any

import numpy as np
import pandas as pd

from jaxmice.analysis.likelihood import MixedLikelihood
from jaxmice.analysis.run import analyze
from jaxmice.errors import AnalysisError

MEASURES = {
    "RB1": "reduction of the residual variance",
    "RB2": "reduction of the intercept variance",
    "SB": "reduction of their sum",
    "marginal": "share of the fixed part in the variance of the outcome",
    "conditional": "share of the fixed and the random part",
}


def multilevel_r2(analyses: Any, null: Any = None) -> pd.DataFrame:
    """Return measures of explained variance of a linear mixed model.

    Parameters
    ----------
    analyses
        What ``imp.analyze("y ~ x + (1 | g)")`` returns: the built-in mixed model.
    null
        Analyses of the model without predictors that the reductions refer to; by default
        ``y ~ 1 + (1 | g)``, fitted here.

    Returns
    -------
    pandas.DataFrame
        ``measure, estimate, meaning``; estimates are averages over imputations.

    Raises
    ------
    AnalysisError
        E59, for other analyses, or a model without random intercept.

    References
    ----------
    Raudenbush and Bryk 2002, chapter 4 (RB1, RB2); Snijders and Bosker 2012, section 7.1
    (SB); Johnson 2014 (marginal and conditional, random slopes included).

    Examples
    --------
    >>> import jaxmice as jm
    >>> d = jm.datasets.load_popmis()[["school", "popular", "sex"]]
    >>> imp = jm.mice(d, m=2, maxit=1, method="norm", seed=1)
    >>> jm.multilevel_r2(imp.analyze("popular ~ sex + (1 | school)"))["measure"].tolist()
    ['RB1', 'RB2', 'SB', 'marginal', 'conditional']
    """
    likelihood = getattr(analyses, "likelihood", None)
    if not isinstance(likelihood, MixedLikelihood) or "Intercept" not in likelihood.design.labels:
        raise AnalysisError(
            "E59",
            "multilevel_r2() needs imp.analyze() of a linear mixed model with a random intercept",
        )
    formula, design = likelihood.formula, likelihood.design
    if null is None:
        text = f"{formula.outcome} ~ 1 + (1 | `{formula.cluster}`)"
        null = analyze(likelihood.imp, text, reml=analyses.stack.reml)
    intercept = f"Intercept~~Intercept|{formula.cluster}"
    tau0, sigma0 = (_component(null, name) for name in (intercept, "Residual~~Residual"))
    tau, sigma = (_component(analyses, name) for name in (intercept, "Residual~~Residual"))
    fixed, random = [], []
    for i, beta in enumerate(analyses.stack.params):
        x, z = (a[i] if a.ndim == 3 else a for a in (design.x, design.z))
        fixed.append(np.var(x @ beta, ddof=1))
        random.append(np.einsum("na,ab,nb->n", z, _psi(analyses, design.labels, i), z).mean())
    explained, between = np.array(fixed), np.array(random)
    total = explained + between + sigma
    values = {
        "RB1": 1 - sigma / sigma0,
        "RB2": 1 - tau / tau0,
        "SB": 1 - (sigma + tau) / (sigma0 + tau0),
        "marginal": explained / total,
        "conditional": (explained + between) / total,
    }
    return pd.DataFrame(
        [(name, float(value.mean()), MEASURES[name]) for name, value in values.items()],
        columns=["measure", "estimate", "meaning"],
    )


def _component(analyses: Any, name: str) -> np.ndarray:
    parts = analyses.stack.components
    return np.asarray(parts.values[:, parts.terms.index(name)])


def _psi(analyses: Any, labels: tuple[str, ...], i: int) -> np.ndarray:
    """Return the covariance of the random effects in one imputation."""
    parts = analyses.stack.components
    found = {name.split("|")[0]: parts.values[i, k] for k, name in enumerate(parts.terms)}
    psi = np.empty((len(labels), len(labels)))
    for a, first in enumerate(labels):
        for b, second in enumerate(labels):
            name = f"{first}~~{second}"
            psi[a, b] = found[name if name in found else f"{second}~~{first}"]
    return psi
