"""Running an analysis model on every completed data set."""

import warnings
from collections.abc import Callable
from typing import Any

from jaxmice.analysis.analyses import Analyses
from jaxmice.analysis.design import Filled, build_design, variables
from jaxmice.analysis.formula import CODE, MixedFormula, parse_formula
from jaxmice.analysis.likelihood import FunctionLikelihood, MixedLikelihood
from jaxmice.analysis.mixed import fit_design
from jaxmice.errors import AnalysisError, JaxMiceWarning
from jaxmice.pooling import extract, stack_estimates

Model = str | Callable[[Any], Any]

ENGINES = ("lmm", "ols")


def analyze(
    imp: Any,
    model: Model,
    *,
    engine: str | None = None,
    reml: bool = True,
    terms: str = "equal",
    on_error: str = "raise",
    keep: str = "estimates",
) -> Analyses:
    """Fit a model to every completed data set.

    Parameters
    ----------
    imp
        Imputed data.
    model
        A formula, or a function of a completed data frame that returns a fit. A formula
        with a random part, ``"y ~ x + (1 | school)"``, is fitted by the built-in linear
        mixed model, all imputations in one call; one without by ordinary least squares
        of statsmodels.
    engine
        ``"lmm"`` or ``"ols"``; by default what the formula asks for.
    reml
        For mixed models: restricted maximum likelihood, or maximum likelihood.
    terms
        ``"equal"`` asks for the same terms in all imputations; ``"intersection"`` keeps
        those that all have.
    on_error
        What happens when a function fails in some imputations: ``"raise"`` (after all were
        tried), or ``"drop"`` these imputations, as long as two remain.
    keep
        ``"estimates"``, or ``"fits"`` to keep what the function returned.

    Returns
    -------
    Analyses

    Raises
    ------
    AnalysisError
        E41 when the analysis fails in some imputations, E42 when terms differ, E58 for a
        formula that cannot be used, E61 to E63 for data that do not identify the model.

    Warns
    -----
    JaxMiceWarning
        W24 when imputations were dropped, W25 when some fits did not converge.
    """
    for name, value, allowed in (
        ("engine", engine, (None, *ENGINES)),
        ("terms", terms, ("equal", "intersection")),
        ("on_error", on_error, ("raise", "drop")),
        ("keep", keep, ("estimates", "fits")),
    ):
        if value not in allowed:
            shown = ", ".join(repr(a) for a in allowed if a is not None)
            raise AnalysisError("E59", f"{name} must be one of {shown}, got {value!r}")
    if callable(model):
        if engine is not None:
            raise AnalysisError("E59", "engine is for formulas; a function fits the model itself")
        name = getattr(model, "__name__", type(model).__name__)
        result = _run(imp, model, name, terms, on_error, keep)
    else:
        formula = parse_formula(model)
        if (engine == "lmm") != bool(formula.cluster) and engine is not None:
            raise AnalysisError(
                CODE,
                f"formula {model!r} has {'a' if formula.cluster else 'no'} random part, which "
                f"does not fit engine {engine!r}",
            )
        if formula.cluster:
            result = _mixed(imp, formula, reml)
        else:
            result = _run(imp, _ols(formula), model, terms, on_error, keep)
    failed = [n for n, ok in zip(result.numbers, result.converged, strict=True) if not ok]
    if failed:
        warnings.warn(
            JaxMiceWarning(
                f"W25: the analysis did not converge in imputations {failed}; simplify the "
                "random part or check the model"
            ),
            stacklevel=2,
        )
    return result


def _mixed(imp: Any, formula: MixedFormula, reml: bool) -> Analyses:
    names = variables(formula, list(imp.data.columns))
    design = build_design(formula, Filled.from_imputed(imp, names))
    fit, stack = fit_design(design, formula.cluster, reml)
    return Analyses(
        stack,
        formula.text,
        tuple(range(1, stack.m + 1)),
        singular=fit.singular,
        likelihood=MixedLikelihood(imp, formula),
    )


def _ols(formula: MixedFormula) -> Callable[[Any], Any]:
    try:
        from statsmodels.api import OLS
    except ImportError as error:
        raise AnalysisError(
            CODE,
            f"formula {formula.text!r} has no random part and needs statsmodels: "
            "pip install statsmodels",
        ) from error
    from formulaic import model_matrix

    def fit(frame: Any) -> Any:
        matrices = model_matrix(formula.text, frame, na_action="drop")
        return OLS(matrices.lhs, matrices.rhs).fit()

    return fit


def _run(
    imp: Any, model: Callable[[Any], Any], name: str, terms: str, on_error: str, keep: str
) -> Analyses:
    fits, estimates, numbers, failures = [], [], [], {}
    for i in range(1, imp.m + 1):
        try:
            fit = model(imp.complete(i))
            estimates.append(extract(fit))
        except Exception as error:  # whatever the model of the user raises
            failures[i] = error
            continue
        numbers.append(i)
        fits.append(fit)
    if failures:
        first = next(iter(failures.values()))
        reason = f"{type(first).__name__}: {first}"
        if on_error == "raise" or len(numbers) < 2:
            advice = "" if on_error == "drop" else "; on_error='drop' goes on with the others"
            raise AnalysisError(
                "E41", f"analysis failed in imputations {list(failures)}: {reason}{advice}"
            ) from first
        warnings.warn(
            JaxMiceWarning(f"W24: imputations {list(failures)} were dropped: {reason}"),
            stacklevel=3,
        )
    stack = stack_estimates(estimates, terms=terms, numbers=numbers)
    kept = tuple(fits) if keep == "fits" else ()
    likelihood = FunctionLikelihood(imp, model, tuple(numbers))
    return Analyses(stack, name, tuple(numbers), kept, likelihood=likelihood)
