"""Simulated patients with traumatic brain injury in the studies of a meta-analysis."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, ndtr, ndtri

from jaxmice.amputation import Sporadic, Systematic, multilevel_ampute
from jaxmice.datasets.simulate import CODE, SimulatedData, linear_predictor
from jaxmice.errors import DataError

STUDIES = {
    "TINT": 1118,
    "TIUS": 1041,
    "SLIN": 409,
    "SAP": 919,
    "PEG": 1510,
    "HIT I": 350,
    "UK4": 791,
    "TCDB": 603,
    "SKB": 126,
    "EBIC": 822,
    "HIT II": 819,
    "NABIS": 385,
    "CSTAT": 517,
    "PHARMOS": 856,
    "APOE": 756,
}
"""Patients of every study."""

OBSERVATIONAL = ("UK4", "TCDB", "EBIC", "APOE")
"""Studies that are cohorts; the others are randomised trials."""

LEVELS = {
    "motor_score": {"1/2": 0.26, "3": 0.21, "4": 0.22, "5/6": 0.31},
    "pupil": {"Both": 0.66, "One": 0.13, "None": 0.21},
    "ct": {"I/II": 0.41, "III": 0.20, "IV/V": 0.39},
    "hypox": {"0": 0.785, "1": 0.215},
    "hypots": {"0": 0.83, "1": 0.17},
    "tsah": {"0": 0.545, "1": 0.455},
    "edh": {"0": 0.867, "1": 0.133},
}
"""Expected share of every category, over studies and patients."""

ORDERED = ("motor_score", "ct")

SEVERITY = {
    "motor_score": -0.5,
    "pupil": 0.6,
    "ct": 0.4,
    "hypox": 0.4,
    "hypots": 0.45,
    "tsah": 0.3,
    "edh": -0.15,
}
"""Loading of every column on the severity of the injury."""

WITH_AGE = {"ct": 0.25, "tsah": 0.15}
"""Loading on age."""

BETWEEN = {
    "age": 0.2,
    "motor_score": 0.3,
    "pupil": 0.25,
    "ct": 0.25,
    "hypox": 0.3,
    "hypots": 0.25,
    "tsah": 0.35,
    "edh": 0.25,
}
"""Deviation of the study effects, in units of the deviation within studies."""

CORRELATION = 0.3
"""Correlation of the study effects of two columns."""

COEFFICIENTS = {
    "Intercept": -2.75,
    "type[T.RCT]": -0.35,
    "age": 0.03,
    "motor_score[T.3]": -0.5,
    "motor_score[T.4]": -0.8,
    "motor_score[T.5/6]": -1.15,
    "pupil[T.One]": 0.6,
    "pupil[T.None]": 1.2,
    "ct[T.III]": 0.75,
    "ct[T.IV/V]": 0.9,
    "hypox": 0.25,
    "hypots": 0.7,
    "tsah": 0.7,
    "edh": -0.55,
}
"""Log-odds of death within six months."""


def make_impact(
    n_j: int | Sequence[int] | None = None,
    *,
    between: float = 0.1,
    seed: int,
) -> SimulatedData:
    r"""Simulate 6-month mortality after brain injury in 15 studies, with missing values.

    Parameters
    ----------
    n_j
        Patients per study, or one number for each of the 15; by default those of the
        IMPACT studies, 11,022 in all.
    between
        Variance over studies of the log-odds of death.
    seed
        Seed of the random numbers.

    Returns
    -------
    SimulatedData
        Frames with the columns ``name`` (of the study), ``type`` (OBS or RCT), ``age``
        (years), ``motor_score`` (1/2, 3, 4, 5/6; ordered), ``pupil`` (Both, One, None),
        ``ct`` (I/II, III, IV/V; ordered), ``hypox``, ``hypots``, ``tsah``, ``edh`` and
        ``mort`` (0/1). The truth has the coefficients of a mixed logistic regression of
        ``mort`` on all others by the names of its terms, ``var_intercept`` and ``icc``
        (on the latent scale).

    Raises
    ------
    DataError
        E55, for sizes that are no positive integers or a negative variance.

    Notes
    -----
    For patient i of study j, with severity :math:`s_{ij}` and column k,

    .. math::

        g_{ijk} &= m_{jk} + \lambda_k s_{ij} + \alpha_k g_{ij,age} + e_{ijk}, \qquad
            s_{ij} \sim N(0, 1), \\
        m_j &\sim N(0, D R D), \\
        logit\, P(mort_{ij} = 1) &= x_{ij}' \beta + u_j, \qquad u_j \sim N(0, between)

    where R has 0.3 off its diagonal, :math:`e_{ijk}` is normal and makes the variance of
    :math:`g_{ijk}` within studies 1. A category is the interval in which :math:`g_{ijk}`
    falls; bounds reproduce the shares published of the IMPACT studies. Age is :math:`14 +
    79 (1 - U^{1/2.8})` with U uniform, a decreasing function of :math:`g_{ij,age}`; in
    cohorts the latter is 0.4 higher. :math:`u_j` is independent of :math:`m_j`.

    Values are removed by `jaxmice.multilevel_ampute`: ``ct`` in three studies, of old
    patients rather than young ones; ``hypox`` and ``hypots`` in two and ``edh`` in two;
    scattered holes in ``pupil``, by age in every other study and at random in the rest; in
    ``hypox``, by age and study; in ``tsah`` and ``edh``, by mortality and study. ``age``,
    ``motor_score`` and ``mort`` are complete.

    References
    ----------
    Steyerberg, E. W., et al. (2008). Predicting outcome after traumatic brain injury. PLoS
    Medicine, 5(8), e165. (The studies. Sizes and shares are theirs, all values simulated.)

    Examples
    --------
    >>> import jaxmice as jm
    >>> jm.datasets.make_impact(n_j=30, seed=1).complete.shape
    (450, 11)
    """
    sizes = _sizes(n_j)
    if not between >= 0:
        raise DataError(CODE, f"between must be at least 0, got {between!r}")
    rng = np.random.default_rng(seed)
    names = np.array(list(STUDIES))
    study = np.repeat(np.arange(len(names)), sizes)
    cohort = np.isin(names, OBSERVATIONAL)[study]
    complete = pd.DataFrame({"name": names[study], "type": np.where(cohort, "OBS", "RCT")})
    complete["type"] = pd.Categorical(complete["type"], ["OBS", "RCT"])
    for column, values in _patients(rng, study, cohort).items():
        complete[column] = values
    u = rng.normal(0, np.sqrt(between), len(names))
    complete["mort"] = (
        rng.random(study.size) < expit(linear_predictor(complete, COEFFICIENTS) + u[study])
    ).astype(int)
    truth = COEFFICIENTS | {
        "var_intercept": between,
        "icc": between / (between + np.pi**2 / 3),
    }
    return SimulatedData(complete, remove_values(complete, seed), truth)


def remove_values(complete: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Make the data incomplete, with mechanisms that differ by study; see `make_impact`.

    Parameters
    ----------
    complete
        Data with the columns of `make_impact`.
    seed
        Seed of the random numbers.
    """
    names = complete["name"].unique()
    by_age = pd.DataFrame({"age": np.arange(len(names)) % 2.0}, index=names)
    return multilevel_ampute(
        complete,
        "name",
        systematic=[
            Systematic("ct", n_clusters=3, between={"age": 1.0}),
            Systematic(["hypox", "hypots"], n_clusters=2),
            Systematic("edh", n_clusters=2),
        ],
        sporadic=[
            Sporadic("pupil", 0.12, weights_by_cluster=by_age),
            Sporadic("hypox", 0.1, within={"age": 1.0}, icc=0.2),
            Sporadic(["tsah", "edh"], 0.12, weights={"mort": 1.0}, icc=0.3),
        ],
        seed=seed,
    ).amp


def _sizes(n_j: int | Sequence[int] | None) -> npt.NDArray[np.int64]:
    if n_j is None:
        return np.array(list(STUDIES.values()))
    sizes = np.array([n_j] * len(STUDIES) if np.ndim(n_j) == 0 else n_j)
    if sizes.shape != (len(STUDIES),) or sizes.dtype.kind not in "iu" or bool((sizes < 1).any()):
        raise DataError(
            CODE, f"n_j must be a positive integer or {len(STUDIES)} of them, got {n_j!r}"
        )
    return sizes.astype(np.int64)


def _patients(
    rng: np.random.Generator, study: npt.NDArray[np.int64], cohort: npt.NDArray[np.bool_]
) -> dict[str, object]:
    """Draw the columns other than mortality."""
    deviation = np.array(list(BETWEEN.values()))
    R = np.full((len(BETWEEN), len(BETWEEN)), CORRELATION)
    np.fill_diagonal(R, 1)
    J = len(STUDIES)
    effects = rng.multivariate_normal(np.zeros(len(BETWEEN)), R, J) * deviation
    of_study = dict(zip(BETWEEN, effects[study].T, strict=True))
    severity, own_age = rng.normal(size=(2, study.size))
    shift = 0.4 * (cohort - np.average(cohort))
    u = ndtr(-(own_age + of_study["age"] + shift) / np.hypot(1, BETWEEN["age"]))
    out: dict[str, object] = {"age": np.floor(14 + 79 * (1 - u ** (1 / 2.8))).astype(int)}
    for column, shares in LEVELS.items():
        loading, with_age = SEVERITY[column], WITH_AGE.get(column, 0.0)
        rest = np.sqrt(1 - loading**2 - with_age**2)
        g = loading * severity + with_age * own_age + rest * rng.normal(size=study.size)
        bounds = ndtri(np.cumsum(list(shares.values()))[:-1]) * np.hypot(1, BETWEEN[column])
        code = np.searchsorted(bounds, g + of_study[column])
        labels = list(shares)
        out[column] = (
            code
            if labels == ["0", "1"]
            else pd.Categorical.from_codes(code.tolist(), labels, ordered=column in ORDERED)
        )
    return out
