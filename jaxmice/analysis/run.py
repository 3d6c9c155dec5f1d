"""Running an analysis model on every completed data set."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pandas as pd

from jaxmice.analysis.analyses import Analyses
from jaxmice.analysis.design import Filled, build_design, variables, with_quotes
from jaxmice.analysis.formula import CODE, MixedFormula, parse_formula
from jaxmice.analysis.generalised import fit_generalised_design
from jaxmice.analysis.likelihood import FunctionLikelihood, GeneralisedLikelihood, MixedLikelihood
from jaxmice.analysis.mixed import fit_design
from jaxmice.analysis.single import SingleLevel
from jaxmice.errors import AnalysisError, DataError, JaxMiceWarning
from jaxmice.pooling import PooledResults, extract, stack_estimates
from jaxmice.wording import is_whole, some, warn_user

Model = str | Callable[[Any], Any]

MIXED = ("lmm", "glmm:binomial", "glmm:poisson")
"""Engines for formulas with a random part, built in."""
SINGLE = ("ols", "glm:binomial", "glm:poisson")
"""Engines for formulas without one, from statsmodels."""


def analyze(
    imp: Any,
    model: Model,
    *,
    engine: str | None = None,
    reml: bool = True,
    quadrature: int = 1,
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
        with a random part, ``"y ~ x + (1 | school)"``, is fitted by a built-in mixed
        model, all imputations in one call; one without by statsmodels.
    engine
        With a random part ``"lmm"`` (linear, the default), ``"glmm:binomial"`` (logistic;
        an outcome of 0 and 1, or of two categories) or ``"glmm:poisson"`` (logarithmic;
        counts). Without one ``"ols"`` (the default), ``"glm:binomial"`` or
        ``"glm:poisson"``.
    reml
        For linear mixed models: restricted maximum likelihood, or maximum likelihood.
    quadrature
        For generalised mixed models: 1 is Laplace's approximation; more points of
        adaptive quadrature are for few rows per cluster and a single random effect.
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
        formula that cannot be used, E59 for unknown options, E61 to E63 for data that do
        not identify the model, E67 for outcomes that do not fit the family, E68 for
        effects without bound.

    Warns
    -----
    JaxMiceWarning
        W24 when imputations were dropped, W25 when some fits did not converge, W32 when the
        outcome was imputed without a random slope that the analysis has.

    Examples
    --------
    >>> import jaxmice as jm
    >>> d = jm.datasets.load_popmis()[["school", "popular", "sex"]]
    >>> imp = jm.mice(d, m=2, maxit=1, method="norm", seed=1)
    >>> fit = imp.analyze("sex ~ popular + (1 | school)", engine="glmm:binomial")
    >>> list(fit.terms)
    ['Intercept', 'popular']
    """
    if not hasattr(imp, "complete"):
        raise AnalysisError(
            "E59",
            f"analyze() takes imputed data, got {type(imp).__name__}; mice() makes them, and "
            "complete_case() fits a data frame",
        )
    for name, value, allowed in (
        ("engine", engine, (None, *MIXED, *SINGLE)),
        ("terms", terms, ("equal", "intersection")),
        ("on_error", on_error, ("raise", "drop")),
        ("keep", keep, ("estimates", "fits")),
    ):
        if value not in allowed:
            shown = ", ".join(repr(a) for a in allowed if a is not None)
            raise AnalysisError("E59", f"{name} must be one of {shown}, got {value!r}")
    if not is_whole(quadrature, 1):
        raise AnalysisError("E59", f"quadrature must be a positive integer, got {quadrature!r}")
    if quadrature > 1 and (engine is None or not engine.startswith("glmm:")):
        raise AnalysisError("E59", "quadrature is for engines glmm:binomial and glmm:poisson")
    if callable(model):
        if engine is not None:
            raise AnalysisError("E59", "engine is for formulas; a function fits the model itself")
        name = getattr(model, "__name__", type(model).__name__)
        result = _run(imp, model, name, terms, on_error, keep)
    else:
        formula, engine = check_formula(model, engine, list(imp.data.columns))
        if formula.cluster:
            result = _mixed(imp, formula, engine, reml, quadrature)
        else:
            single = SingleLevel(formula, engine)
            result = _run(imp, single, model, terms, on_error, keep)
            # Clusters in such a formula are categories, the same in all data sets.
            likelihood = FunctionLikelihood(imp, single, result.numbers, apart=False)
            stack = replace(result.stack, design=single.design)
            result = replace(result, stack=stack, likelihood=likelihood)
    failed = [n for n, ok in zip(result.numbers, result.converged, strict=True) if not ok]
    if failed:
        warn_user(
            f"W25: the analysis did not converge in imputations {failed}; simplify the "
            "random part or check the model"
        )
    return result


def check_formula(
    model: str, engine: str | None, columns: Sequence[str]
) -> tuple[MixedFormula, str]:
    """Return a formula and its engine, or say what is wrong with them before there are data.

    Raises
    ------
    AnalysisError
        E58: no formula, an engine for another kind of formula, or columns not among `columns`.
    """
    formula = with_quotes(parse_formula(model), columns)
    engine = engine or ("lmm" if formula.cluster else "ols")
    if (engine in MIXED) != bool(formula.cluster):
        raise AnalysisError(
            CODE,
            f"formula {model!r} has {'a' if formula.cluster else 'no'} random part, which "
            f"does not fit engine {engine!r}",
        )
    variables(formula, columns)
    return formula, engine


def with_(imp: Any, model: Model, **options: Any) -> Analyses:
    """Fit a model to every completed data set: `analyze` by the name that users of R look for.

    Parameters
    ----------
    imp, model, options
        See `analyze`.
    """
    return analyze(imp, model, **options)


def complete_case(data: pd.DataFrame, model: Model, **options: Any) -> PooledResults:
    """Fit a model to the complete rows of a data frame, to compare with imputed data.

    Parameters
    ----------
    data
        Data with holes. Rows with a missing value in a column of the formula are left
        out; for a function, rows with a missing value in any column.
    model
        A formula, or a function of a data frame, see `analyze`.
    options
        Options of `analyze`.

    Returns
    -------
    PooledResults
        Of one fit: its table has the columns of pooled ones.

    Raises
    ------
    DataError
        E01, when ``data`` is not a data frame.
    AnalysisError
        As `analyze`.

    Examples
    --------
    >>> import jaxmice as jm
    >>> d = jm.datasets.load_popmis()
    >>> jm.complete_case(d, "popular ~ sex + (1 | school)").glance()["nobs"].item()
    1152.0
    """
    if not isinstance(data, pd.DataFrame):
        raise DataError("E01", f"data must be a pandas DataFrame, got {type(data).__name__}")
    fits = analyze(_Observed(data, callable(model)), model, **options)
    with warnings.catch_warnings():
        # One data set is what was asked for.
        warnings.filterwarnings("ignore", "W27", JaxMiceWarning)
        return fits.pool()


class _Observed:
    """A data frame in place of imputed data, with nothing imputed."""

    m = 1
    imp: ClassVar[dict[str, Any]] = {}

    def __init__(self, data: pd.DataFrame, whole_rows: bool) -> None:
        self.data = data.dropna() if whole_rows else data
        self.where = pd.DataFrame(index=data.index)

    def complete(self, number: int) -> pd.DataFrame:
        return self.data


def _warn_of_slopes(imp: Any, formula: MixedFormula) -> None:
    """Warn (W32) of slopes that vary in the analysis but not in the imputation of the outcome."""
    model = getattr(imp, "model", None)
    if model is None or model.cluster not in (None, formula.cluster):
        return
    effects = variables(replace(formula, outcome="1", fixed="1"), list(imp.data.columns))
    for visit in model.visits:
        varying = {term.column for term in visit.random}
        lacking = [name for name in effects if name not in {*varying, formula.cluster}]
        level = model.levels[visit.targets[0]]
        if formula.outcome in visit.targets and level != 2 and lacking:
            warn_user(
                f"W32: {formula.outcome!r} was imputed without a random slope of "
                f"{some(lacking)}, which the analysis has: the variance of the slopes comes "
                "out too small; impute with role 'random' (code 2) there"
            )
            return


def _mixed(imp: Any, formula: MixedFormula, engine: str, reml: bool, quadrature: int) -> Analyses:
    kind, _, family = engine.partition(":")
    _warn_of_slopes(imp, formula)
    names = variables(formula, list(imp.data.columns))
    filled = Filled.from_imputed(imp, names)
    design = build_design(formula, filled, binary=family == "binomial")
    fit: Any
    if kind == "lmm":
        fit, stack = fit_design(design, formula.cluster, reml)
        likelihood = MixedLikelihood(imp, formula)
    else:
        fit, stack = fit_generalised_design(design, formula.cluster, family, quadrature)
        likelihood = GeneralisedLikelihood(imp, formula, family, quadrature)
    return Analyses(
        stack,
        formula.text,
        tuple(range(1, stack.m + 1)),
        singular=fit.singular,
        likelihood=likelihood,
    )


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
        if isinstance(model, SingleLevel) and isinstance(first, AnalysisError):
            raise first
        reason = f"{type(first).__name__}: {first}"
        if on_error == "raise" or len(numbers) < 2:
            drops = on_error == "drop" or len(failures) == imp.m
            advice = "" if drops else "; on_error='drop' goes on with the others"
            raise AnalysisError(
                "E41", f"analysis failed in imputations {list(failures)}: {reason}{advice}"
            ) from first
        warn_user(f"W24: imputations {list(failures)} were dropped: {reason}")
    stack = stack_estimates(estimates, terms=terms, numbers=numbers)
    kept = tuple(fits) if keep == "fits" else ()
    likelihood = FunctionLikelihood(imp, model, tuple(numbers))
    return Analyses(stack, name, tuple(numbers), kept, likelihood=likelihood)
