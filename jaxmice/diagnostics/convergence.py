"""Whether the chains have settled: R-hat and autocorrelation of their traces."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxmice.diagnostics.inference_data import import_arviz
from jaxmice.diagnostics.traces import PARAMETERS, traces
from jaxmice.errors import DataError
from jaxmice.wording import some, warn_user

if TYPE_CHECKING:
    from jaxmice.imputed import ImputedData

Numbers = NDArray[np.float64]

DIAGNOSTICS = {
    "all": ["ac", "psrf"],
    "ac": ["ac"],
    "psrf": ["psrf"],
    "full": ["ac", "psrf", "ess_bulk", "ess_tail", "mcse"],
}
SHORTEST = 4
"""Iterations that R-hat and the autocorrelation within chains need."""


def split_rhat(draws: Numbers) -> float:
    """Return the rank-normalised split R-hat of (t, m) draws of one quantity.

    The larger of the bulk and the folded version; NaN for fewer than four iterations or
    two chains, for draws that are not finite, and where nothing varies.

    References
    ----------
    Vehtari, A., Gelman, A., Simpson, D., Carpenter, B., & Buerkner, P.-C. (2021).
    Rank-normalization, folding, and localization: an improved R-hat for assessing
    convergence of MCMC. Bayesian Analysis, 16(2), 667-718, section 3.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> apart = rng.normal(size=(20, 4)) + [0, 0, 0, 3]
    >>> split_rhat(rng.normal(size=(20, 4))) < 1.2 < split_rhat(apart)
    True
    """
    t, m = draws.shape
    if t < SHORTEST or m < 2 or not np.isfinite(draws).all():
        return np.nan
    half = t // 2
    split = np.concatenate([draws[:half], draws[-half:]], axis=1)
    folded = np.abs(split - np.median(split))
    return max(_classic(_normal_scores(split)), _classic(_normal_scores(folded)))


def _normal_scores(x: Numbers) -> Numbers:
    from scipy.stats import norm, rankdata

    return norm.ppf((rankdata(x).reshape(x.shape) - 3 / 8) / (x.size + 1 / 4))


def _classic(x: Numbers) -> float:
    n = len(x)
    within = x.var(axis=0, ddof=1).mean()
    if within < 1e-20:
        return np.nan
    return float(np.sqrt((n - 1) / n + x.mean(axis=0).var(ddof=1) / within))


def _ac_across(draws: Numbers, cumulative: bool) -> Numbers:
    """Return for every iteration of (t, m) draws the correlation with the one before."""
    t, m = draws.shape
    out = np.full(t, np.nan)
    if m < 3 or t < 2:
        return out
    centred = draws - draws.mean(axis=1, keepdims=True)
    centred[np.abs(centred) <= 1e-12 * np.abs(draws)] = 0.0  # rounding
    products = (centred[1:] * centred[:-1]).sum(axis=1)
    sizes = np.sqrt((centred**2).sum(axis=1))
    both = sizes[1:] * sizes[:-1]
    # What is undefined counts 0, but a trace that is not there stays so.
    r = np.divide(products, both, out=np.zeros(t - 1), where=~(both <= 0))
    out[1:] = np.cumsum(r) / np.arange(1, t) if cumulative else r
    return out


def _ac_within(draws: Numbers) -> float:
    """Return the mean over chains of the lag-1 autocorrelation of (t, m) draws."""
    if len(draws) < SHORTEST:
        return np.nan
    centred = draws - draws.mean(axis=0)
    size = (centred**2).sum(axis=0)
    lagged = (centred[1:] * centred[:-1]).sum(axis=0)
    return float(np.divide(lagged, size, out=np.zeros(len(size)), where=~(size <= 0)).mean())


def convergence(
    imp: "ImputedData",
    diagnostic: Literal["all", "ac", "psrf", "full"] = "all",
    parameter: str | Sequence[str] = "mean",
    *,
    ac: Literal["across", "within"] = "across",
    cumulative: bool = True,
) -> pd.DataFrame:
    """Return R-hat and autocorrelation after every iteration.

    Parameters
    ----------
    imp
        Result of an imputation.
    diagnostic
        ``"ac"``, ``"psrf"``, ``"all"`` (both) or ``"full"`` (also effective sample sizes and
        the Monte Carlo standard error of the mean of the trace; needs arviz).
    parameter
        Statistics to follow: ``"mean"``, ``"sd"``, ``"icc"``, ``"between_sd"``, a list, or
        ``"all"``.
    ac
        ``"across"``: correlation over the m chains of an iteration with the one before (needs
        m of 3 or more; undefined ones count 0). ``"within"``: mean over chains of the lag-1
        autocorrelation of all iterations so far (needs 4).
    cumulative
        Average ``"across"`` over the iterations so far.

    Returns
    -------
    pandas.DataFrame
        One row per parameter, variable and iteration: ``.it``, ``variable``, ``parameter``,
        ``ac``, ``psrf`` (rank-normalised split R-hat of the iterations so far, see `split_rhat`);
        ``ess_bulk``, ``ess_tail``, ``mcse``. NaN where undefined.

    Raises
    ------
    DataError
        E51: an unknown diagnostic, parameter or kind of autocorrelation.

    Notes
    -----
    Traces without trend are enough for many purposes: inferences are often valid after 5 to
    10 iterations, before these criteria are met (Oberman, van Buuren & Vink 2021).

    References
    ----------
    Oberman, H. I., van Buuren, S., & Vink, G. (2021). Missing the point: non-convergence in
    iterative imputation algorithms. arXiv:2110.11951.
    """
    if diagnostic not in DIAGNOSTICS:
        raise DataError("E51", f"diagnostic must be one of {some(list(DIAGNOSTICS))}")
    if ac not in ("across", "within"):
        raise DataError("E51", f"ac must be 'across' or 'within', got {ac!r}")
    wanted = DIAGNOSTICS[diagnostic]
    parts = []
    for name in _parameters(parameter):
        for variable, draws in zip(imp.variables, traces(imp, name), strict=True):
            until = [draws[:t] for t in range(1, len(draws) + 1)]
            part: dict[str, Any] = {
                ".it": np.arange(1, len(draws) + 1),
                "variable": variable,
                "parameter": name,
            }
            if "ac" in wanted:
                across = ac == "across"
                part["ac"] = (
                    _ac_across(draws, cumulative) if across else [_ac_within(d) for d in until]
                )
            if "psrf" in wanted:
                part["psrf"] = [split_rhat(d) for d in until]
            if diagnostic == "full":
                part |= _effective(until)
            parts.append(pd.DataFrame(part))
    if not parts:
        return pd.DataFrame(columns=[".it", "variable", "parameter", *wanted])
    return pd.concat(parts, ignore_index=True)


def _parameters(parameter: str | Sequence[str]) -> Sequence[str]:
    if parameter == "all":
        return PARAMETERS
    return [parameter] if isinstance(parameter, str) else list(parameter)


def _effective(until: list[Numbers]) -> dict[str, list[float]]:
    """Return effective sample sizes and the Monte Carlo error of (t, m) draws by t."""
    arviz = import_arviz()
    rules = {
        "ess_bulk": lambda d: arviz.ess(d, method="bulk"),
        "ess_tail": lambda d: arviz.ess(d, method="tail"),
        "mcse": lambda d: arviz.mcse(d, method="mean"),
    }
    return {
        name: [
            float(rule(d.T)) if len(d) >= SHORTEST and np.isfinite(d).all() else np.nan
            for d in until
        ]
        for name, rule in rules.items()
    }


def converged(imp: "ImputedData", rhat: float = 1.05, ac: float = 0.2) -> pd.DataFrame:
    """Judge every variable by mean and standard deviation of its imputed cells.

    The verdict is advice: inferences are often valid earlier, see `convergence`.

    Parameters
    ----------
    imp
        Result of an imputation.
    rhat
        Largest R-hat that counts as converged.
    ac
        Largest autocorrelation across chains that counts as converged.

    Returns
    -------
    pandas.DataFrame
        One row per variable: ``variable``, ``rhat`` and ``ac`` (the larger of the two
        statistics', after the last iteration), ``flat`` (True: no chain moves, a sign that
        the model could not be fitted or that nothing is drawn), ``verdict``:
        ``"converged"``, ``"not yet"``, or ``"no verdict"`` where R-hat is undefined (fewer
        than four iterations or two imputations, or flat). An undefined autocorrelation
        (m below 3) is passed over.
    """
    rows = []
    for k, variable in enumerate(imp.variables):
        draws = [traces(imp, name)[k] for name in ("mean", "sd")]
        worst = _largest([split_rhat(d) for d in draws])
        correlation = _largest([_last(_ac_across(d, True)) for d in draws])
        verdict = "converged" if worst <= rhat and not correlation > ac else "not yet"
        rows.append(
            {
                "variable": variable,
                "rhat": worst,
                "ac": correlation,
                "flat": _is_flat(draws[0]),
                "verdict": "no verdict" if np.isnan(worst) else verdict,
            }
        )
    return pd.DataFrame(rows, columns=["variable", "rhat", "ac", "flat", "verdict"])


def _largest(values: list[float]) -> float:
    """Return the largest of the values that are defined, NaN if none is."""
    defined = [value for value in values if not np.isnan(value)]
    return max(defined, default=np.nan)


def _last(values: Numbers) -> float:
    return float(values[-1]) if len(values) else np.nan


def _is_flat(draws: Numbers) -> bool:
    """Say whether no chain of (t, m) means moves."""
    return len(draws) > 1 and bool(
        (np.ptp(draws, axis=0) <= 1e-9 * np.abs(draws).max(axis=0)).all()
    )


def run_until(
    imp: "ImputedData",
    rhat: float = 1.05,
    max_iter: int = 100,
    step: int = 5,
    *,
    progress: Any = False,
) -> "ImputedData":
    """Continue a run until R-hat of every variable is small enough.

    Parameters
    ----------
    imp
        Result of a run with m of 2 or more.
    rhat
        Largest R-hat of mean and standard deviation of the imputed cells. Variables whose
        chains do not move do not count.
    max_iter
        Iterations at which the run ends in any case, those done included.
    step
        Iterations between two looks.
    progress
        As for `jaxmice.mice`.

    Returns
    -------
    ImputedData
        The longer run; `imp` itself where the criterion holds already.

    Raises
    ------
    DataError
        E09: a single imputation has no R-hat; E10: `max_iter` or `step` below 1.

    Warns
    -----
    JaxMiceWarning
        W34: the criterion does not hold after `max_iter` iterations.
    """
    if imp.m < 2:
        raise DataError("E09", "R-hat compares chains; m must be 2 or more, got 1")
    if min(max_iter, step) < 1:
        raise DataError("E10", f"max_iter and step must be 1 or more, got {max_iter} and {step}")
    while unmet := _unmet(imp, rhat):
        if imp.iteration >= max_iter:
            message = f"W34: after {imp.iteration} iterations R-hat is above {rhat} for "
            warn_user(message + some(unmet))
            break
        before = imp.iteration
        imp = imp.continue_run(min(step, max_iter - before), progress=progress)
        if imp.iteration == before:
            break  # interrupted
    return imp


def _unmet(imp: "ImputedData", limit: float) -> list[str]:
    table = converged(imp, rhat=limit)
    moving = table[~table["flat"]]
    return list(moving.loc[~(moving["rhat"] <= limit), "variable"])
