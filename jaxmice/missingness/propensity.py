"""How likely a value is to be missing, given the others of its row."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.linalg import qr
from scipy.special import expit

from jaxmice.errors import DataError
from jaxmice.missingness._look import clusters_of, column_of, look
from jaxmice.missingness.predictors import indicators

if TYPE_CHECKING:
    from jaxmice.imputed import ImputedData

Numbers = np.ndarray
STEPS = 50
"""Newton steps of a logistic regression; with a little penalty it has a maximum."""
PENALTY = 1e-6
"""Precision of a normal prior of the effect of a standard deviation."""


def propensity(
    data: "pd.DataFrame | ImputedData", target: str, cluster: str | None = None
) -> pd.Series:
    """Estimate for every row how likely a column is to be missing there.

    At the same propensity, observed and imputed values should be alike if values are
    missing at random; see `jaxmice.plots.plot_propensity`.

    Parameters
    ----------
    data
        (n, p) frame, of which the complete columns predict; or the result of an
        imputation, of which all do: probabilities are then means over the imputations.
    target
        The incomplete column.
    cluster
        Cluster column. Clusters then have random effects, and a probability is that
        at the most probable effect of its cluster.

    Returns
    -------
    pandas.Series
        (n,) probabilities by logistic regression, in the rows of the data.

    Raises
    ------
    DataError
        E11 or E12 (missing cluster id, unknown column), E57 (the target has no missing or
        no observed values), or `data` is no usable frame.
    AnalysisError
        E61 or E68: the mixed model cannot be fitted.

    References
    ----------
    Raghunathan, T., & Bondarenko, I. (2007). Diagnostics for multiple imputations. SSRN
    1031750.

    Examples
    --------
    >>> import jaxmice as jm
    >>> d = jm.datasets.load_popmis()[["popular", "sex", "texp"]]
    >>> score = jm.propensity(d, "popular")
    >>> bool(abs(score.mean() - d["popular"].isna().mean()) < 1e-6)
    True
    """
    imputed = hasattr(data, "imp")
    original: Any = data.data if hasattr(data, "imp") else data
    frame = look(original, cluster)
    missing = column_of(frame, target).missing
    if missing.all() or not missing.any():
        raise DataError("E57", f"column {target!r} needs both missing and observed values")
    frames = [look(filled, cluster) for filled in data] if imputed else [frame]
    names = [
        name
        for name, column in frame.columns.items()
        if name not in (target, cluster)
        and column.kind != "id"
        and not any(one.columns[name].missing.any() for one in frames)
    ]
    x = np.stack(
        [
            np.column_stack(
                [np.ones(frame.n)] + [x for name in names for _, x in indicators(one.columns[name])]
            )
            for one in frames
        ]
    )
    x = _independent(x)
    y = missing.astype(np.float64)
    eta = _logistic(x, y) if cluster is None else _mixed(x, y, clusters_of(frame)[0])
    return pd.Series(expit(eta).mean(axis=0), index=original.index, name=target)


def _independent(x: Numbers) -> Numbers:
    """Return standardised columns (m, n, p), without those that follow from others."""
    rows = x.reshape(-1, x.shape[-1])
    spread = rows.std(axis=0)
    moving = spread > 1e-10 * np.abs(rows).max(axis=0)
    scaled = (x[..., moving] - rows.mean(axis=0)[moving]) / spread[moving]
    scaled = np.concatenate([x[..., :1], scaled], axis=-1)
    _, r, order = qr(scaled.reshape(-1, scaled.shape[-1]), mode="economic", pivoting=True)
    size = np.abs(np.diagonal(r))
    return np.asarray(scaled[..., np.sort(order[: len(size)][size > 1e-7 * size[0]])])


def _logistic(x: Numbers, y: Numbers) -> Numbers:
    """Return linear predictors (m, n) of logistic regressions by maximum likelihood."""
    beta = np.zeros((len(x), x.shape[-1]))
    prior = PENALTY * np.eye(x.shape[-1])
    for _ in range(STEPS):
        p = expit(np.einsum("mnp,mp->mn", x, beta))
        slope = np.einsum("mnp,mn->mp", x, y - p) - beta @ prior
        curvature = np.einsum("mnp,mn,mnq->mpq", x, p * (1 - p), x) + prior
        beta = beta + np.linalg.solve(curvature, slope[..., None])[..., 0]
    return np.einsum("mnp,mp->mn", x, beta)


def _mixed(x: Numbers, y: Numbers, codes: np.ndarray) -> Numbers:
    """Return linear predictors (m, n) of logistic models with random intercepts."""
    from jaxmice.engine.precision import precision_scope
    from jaxmice.estimators import evaluate_generalised_mixed, fit_generalised_mixed

    z = np.ones((len(y), 1))
    with precision_scope("float64"):
        fit = fit_generalised_mixed(np.tile(y, (len(x), 1)), x, z, codes, "binomial")
        effects = [
            evaluate_generalised_mixed(y[None], one, z, codes, "binomial", beta, psi)[1][0, 0]
            for one, beta, psi in zip(x, fit.beta, fit.psi, strict=True)
        ]
    return np.einsum("mnp,mp->mn", x, fit.beta) + np.stack(effects)[:, codes]
