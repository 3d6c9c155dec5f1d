"""Comparison of nested models by pooled tests."""

import itertools
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxmice.errors import PoolError
from jaxmice.pooling.constraints import constraint_test, wald
from jaxmice.pooling.estimates import Stack
from jaxmice.pooling.joint import d3, d4, pool_chi2
from jaxmice.pooling.likelihood import Likelihood
from jaxmice.pooling.pool import as_stack, complete_df

Numbers = NDArray[np.float64]

METHODS = ("D1", "D2", "D3", "D4")
USES = ("wald", "likelihood")
ARIV = ("default", "positive", "robust")


def compare_models(
    full: Any,
    null: Any,
    method: str = "D1",
    dfcom: float | str | None = None,
    use: str = "wald",
    ariv: str = "default",
) -> pd.DataFrame:
    """Test a model against one nested in it, over all imputations.

    Parameters
    ----------
    full
        What ``imp.analyze(...)`` returns for the larger model.
    null
        The same for the smaller one; or terms of the full model that are to be zero, or
        constraints such as ``"a = b"``, see `constraint_test`.
    method
        ``"D1"`` pools estimates and covariances of the terms that the null model lacks;
        ``"D2"`` pools test statistics; ``"D3"`` likelihood ratios at the pooled
        estimates; ``"D4"`` the likelihood ratio of the stacked data. ``"D3"`` and ``"D4"``
        also compare random parts.
    dfcom
        Degrees of freedom of the complete-data analysis, for ``"D1"``; infinite by default.
        ``"residual"``: those of the fits, as in R's ``mice``.
    use
        Whether ``"D2"`` pools ``"wald"`` or ``"likelihood"`` ratio statistics.
    ariv
        Relative increase in variance of the likelihood methods: ``"default"``,
        ``"positive"`` (never below zero), or for ``"D4"`` ``"robust"`` (from the full model).

    Returns
    -------
    pandas.DataFrame
        One row ``F.value, df1, df2, p.value, riv``, labelled by the method.

    Raises
    ------
    PoolError
        E43 for models that are not nested or are of different outcomes, E45 where a likelihood
        is needed that the analyses do not offer, E64 for arguments that cannot be used.

    Notes
    -----
    Li, Raghunathan and Rubin 1991 (D1); Reiter 2007 (D1 with `dfcom`); Li, Meng,
    Raghunathan and Rubin 1991 (D2); Meng and Rubin 1992 (D3); Chan and Meng 2022 (D4).
    Mixed models fitted by restricted maximum likelihood are fitted again by maximum
    likelihood for likelihood methods.
    """
    for name, value, allowed in (("method", method, METHODS), ("use", use, USES)):
        if value not in allowed:
            raise PoolError("E64", f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    if ariv not in ARIV or (ariv == "robust" and method != "D4"):
        raise PoolError(
            "E64", f"ariv must be 'default' or 'positive', or 'robust' with D4, got {ariv!r}"
        )
    likelihood = method in ("D3", "D4") or (method == "D2" and use == "likelihood")
    if isinstance(null, str) or (isinstance(null, Sequence) and _all_text(null)):
        if likelihood:
            raise PoolError(
                "E45", f"method {method} needs the null model as analyses; use D1 or D2 by Wald"
            )
        return constraint_test(full, null, method, dfcom)
    outcomes = [_outcome(full), _outcome(null)]
    if all(outcomes) and outcomes[0] != outcomes[1]:
        raise PoolError("E43", f"the models are of different outcomes: {', '.join(outcomes)}")
    large, small = as_stack(full), as_stack(null)
    _check_nested(large, small)
    if not likelihood:
        large.need_errors()
        return _wald(large, small, method, dfcom)
    k, h = _size(large) - _size(small), _size(large)
    if k < 1:
        raise PoolError(
            "E43", "the full model must have more parameters than the null model; swap them?"
        )
    if method == "D2":
        return pool_chi2(np.maximum(2 * (_fitted(full) - _fitted(null)), 0), k)
    first, second = (_likelihood(analyses, method) for analyses in (full, null))
    own = first.fitted(), second.fitted()
    if method == "D3":
        pooled = 2 * (first.at_pooled() - second.at_pooled())
        return d3(2 * (own[0] - own[1]), pooled, k, ariv)
    return d4(*own, (first.stacked(), second.stacked()), k, h, ariv)


def anova(*models: Any, method: str | None = None, **options: Any) -> pd.DataFrame:
    """Compare nested models in steps, from the smallest to the largest.

    Parameters
    ----------
    *models
        Results of ``imp.analyze(...)``, at least two, in any order.
    method
        See `compare_models`. By default ``"D4"`` where the analyses can be repeated on
        the stacked data, else ``"D2"`` with likelihood ratios.
    **options
        Further arguments of `compare_models`.

    Returns
    -------
    pandas.DataFrame
        One row for each step: ``full, null, method, F.value, df1, df2, p.value, riv``.

    Raises
    ------
    PoolError
        As `compare_models`.
    """
    if len(models) < 2:
        raise PoolError("E64", f"anova() needs at least 2 models, got {len(models)}")
    if method is None:
        repeatable = all(getattr(model, "likelihood", None) is not None for model in models)
        method = "D4" if repeatable else "D2"
        options = ({} if repeatable else {"use": "likelihood"}) | options
    names = [getattr(model, "model", f"model {i}") for i, model in enumerate(models, 1)]
    ordered = sorted(zip(models, names, strict=True), key=lambda pair: _size(as_stack(pair[0])))
    rows = []
    for (null, null_name), (full, full_name) in itertools.pairwise(ordered):
        row = compare_models(full, null, method, **options)
        row.insert(0, "method", method)
        row.insert(0, "null", null_name)
        row.insert(0, "full", full_name)
        rows.append(row)
    return pd.concat(rows, ignore_index=True)


def _all_text(items: Sequence[Any]) -> bool:
    return bool(items) and all(isinstance(item, str) for item in items)


def _outcome(analyses: Any) -> str:
    """Return the left-hand side of the formula of analyses; empty where there is none."""
    left, tilde, _ = str(getattr(analyses, "model", "")).partition("~")
    return left.strip() if tilde else ""


def _check_nested(large: Stack, small: Stack) -> None:
    if large.m != small.m:
        raise PoolError(
            "E43", f"the models have {large.m} and {small.m} imputations; analyse the same data"
        )
    if not np.array_equal(large.nobs, small.nobs, equal_nan=True):
        raise PoolError(
            "E43",
            "the models use different rows; leave out rows that are incomplete in either "
            "before the analysis",
        )
    further = [term for term in small.terms if term not in large.terms]
    if further:
        raise PoolError("E43", f"null model has terms not in the full model: {', '.join(further)}")


def _wald(large: Stack, small: Stack, method: str, dfcom: float | str | None) -> pd.DataFrame:
    tested = [i for i, term in enumerate(large.terms) if term not in small.terms]
    if not tested:
        raise PoolError(
            "E43",
            "the models have the same coefficients; compare random parts by method D3, D4, or "
            "D2 with use='likelihood'",
        )
    covariances = large.cov[:, tested][:, :, tested]
    return wald(large.params[:, tested], covariances, method, complete_df(large, dfcom))


def _size(stack: Stack) -> int:
    """Count the free parameters."""
    parts = stack.components
    # An intraclass correlation follows from the variances.
    extra = [name for name in parts.terms if not name.startswith("ICC|")] if parts else []
    return len(stack.terms) + len(extra)


def _likelihood(analyses: Any, method: str) -> Likelihood:
    found = getattr(analyses, "likelihood", None)
    if found is None:
        raise PoolError("E45", f"method {method} needs the result of imp.analyze(); use D1 or D2")
    return cast(Likelihood, found)


def _fitted(analyses: Any) -> Numbers:
    stack = as_stack(analyses)
    if stack.reml or not np.isfinite(stack.loglik).all():
        return _likelihood(analyses, "D2 by likelihood").fitted()
    return stack.loglik
