"""Simulated survey of body weight, in which the heavier people leave their weight out."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from jaxmice.amputation import Sporadic, multilevel_ampute
from jaxmice.datasets.simulate import CODE, SimulatedData, _sizes, linear_predictor
from jaxmice.errors import DataError

CLUSTERS = (500, 400, 450, 400, 361)
"""People of every cluster."""

SYSTEMATIC = 3
"""The cluster that was not asked for weights."""

WEIGHT = {
    "Intercept": -35.0,
    "Gender[T.Male]": -4.0,
    "Height": 68.0,
    "FamOb[T.yes]": 4.0,
    "Age": 0.3,
}
"""Coefficients of weight in kg."""

ANSWERED = {
    "Intercept": 1.55,
    "Gender[T.Male]": -0.3,
    "FamOb[T.yes]": -0.3,
    "Age": 0.01,
}
"""Probit coefficients of giving the weight, that of time apart."""

BETWEEN_ANSWERED = 0.06
"""Variance over clusters of the probit of giving the weight."""


def make_obesity(
    n_j: int | Sequence[int] | None = None,
    *,
    rho: float = -0.6,
    time: float = -0.2,
    between: float = 80.0,
    residual: float = 200.0,
    seed: int,
) -> SimulatedData:
    r"""Simulate body weight in five clusters, hidden more often the heavier people are.

    Parameters
    ----------
    n_j
        People per cluster, or one number for each of the 5; by default those of the survey,
        2,111 in all.
    rho
        Correlation of giving the weight and of weight, given all else; at 0 weights are
        missing at random.
    time
        Probit coefficient of a minute of time to answer on giving the weight: the strength
        of the exclusion restriction.
    between
        Variance of weight over clusters, in kg².
    residual
        Variance of weight within clusters given all else, in kg².
    seed
        Seed of the random numbers.

    Returns
    -------
    SimulatedData
        Frames with the columns ``Cluster`` (1 to 5), ``Time`` (minutes to answer),
        ``Gender`` (Female, Male), ``Height`` (m), ``FamOb`` (no, yes: obesity in the family),
        ``Age`` (years), ``Weight`` (kg) and ``BMI`` (kg/m²). The truth has the coefficients
        of a regression of ``Weight`` by the names of its terms (that of ``Time`` is 0),
        ``var_intercept``, ``residual`` and ``rho``.

    Raises
    ------
    DataError
        E55, for sizes that are no positive integers, variances out of range, or a correlation
        that is not between -1 and 1.

    Notes
    -----
    For person i of cluster j,

    .. math::

        s_{ij} &= w_{ij}' \alpha + time_{ij}\, \alpha_t + a_j + d_{ij}, \qquad
            a_j \sim N(0, 0.06), \\
        weight_{ij} &= x_{ij}' \beta + b_j
            + \sigma (\rho\, d_{ij} + \sqrt{1 - \rho^2}\, e_{ij}), \qquad
            b_j \sim N(0, between),

    with independent standard normal :math:`d_{ij}` and :math:`e_{ij}` and :math:`\sigma^2` the
    residual variance. Weight is given where :math:`s_{ij} > 0`, and by nobody in cluster 3; BMI
    is weight over squared height, and missing where either is. Gender, height, family and age
    determine weight, all of these but height determine whether it is given; time matters for
    the latter alone.

    Time is :math:`1 + 9 B` with B beta with parameters 1.8 and 2.05; gender is even; height is
    normal with mean 1.70 m and deviation 0.0875 m; 83 % have obesity in the family; age is a
    rounded normal of mean 24.8 and deviation 5.7 years, from 14 to 47. Height (3 %), FamOb and
    Age (14 % each) are also missing completely at random.

    References
    ----------
    Palechor, F. M., & de la Hoz Manotas, A. (2019). Dataset for estimation of obesity levels
    based on eating habits and physical condition. Data in Brief, 25, 104344. (The survey. Sizes
    and shares are those of its teaching version, all values simulated.)

    Examples
    --------
    >>> import jaxmice as jm
    >>> jm.datasets.make_obesity(n_j=30, seed=1).complete.shape
    (150, 8)
    """
    sizes = _sizes(len(CLUSTERS), CLUSTERS if n_j is None else n_j)
    if not between >= 0 or not residual > 0 or not -1 < rho < 1:
        raise DataError(
            CODE,
            "between must be at least 0, residual above 0 and rho between -1 and 1, got "
            f"between={between!r}, residual={residual!r}, rho={rho!r}",
        )
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    complete = _people(rng, cluster + 1)
    d, e = rng.normal(size=(2, cluster.size))
    a = rng.normal(0, np.sqrt(BETWEEN_ANSWERED), len(sizes))[cluster]
    b = rng.normal(0, np.sqrt(between), len(sizes))[cluster]
    s = linear_predictor(complete, ANSWERED) + time * complete["Time"] + a + d
    noise = np.sqrt(residual) * (rho * d + np.sqrt(1 - rho**2) * e)
    complete["Weight"] = linear_predictor(complete, WEIGHT) + b + noise
    complete["BMI"] = complete["Weight"] / complete["Height"] ** 2
    given = (s > 0) & (complete["Cluster"] != SYSTEMATIC)
    incomplete = multilevel_ampute(
        complete,
        "Cluster",
        sporadic=[Sporadic("Height", 0.03), Sporadic("FamOb", 0.14), Sporadic("Age", 0.14)],
        seed=seed,
    ).amp
    incomplete["Weight"] = complete["Weight"].where(given)
    incomplete["BMI"] = complete["BMI"].where(given & incomplete["Height"].notna())
    truth = WEIGHT | {"Time": 0.0, "var_intercept": between, "residual": residual, "rho": rho}
    return SimulatedData(complete, incomplete, truth)


def _people(rng: np.random.Generator, cluster: np.ndarray) -> pd.DataFrame:
    """Draw what is known of everybody but weight."""
    n = cluster.size
    low, high = ndtr((np.array([13.5, 47.49]) - 24.8) / 5.7)
    return pd.DataFrame(
        {
            "Cluster": cluster,
            "Time": 1 + 9 * rng.beta(1.8, 2.05, n),
            "Gender": pd.Categorical.from_codes(rng.integers(0, 2, n).tolist(), ["Female", "Male"]),
            "Height": rng.normal(1.7, 0.0875, n),
            "FamOb": pd.Categorical.from_codes((rng.random(n) < 0.83).astype(int), ["no", "yes"]),
            "Age": np.rint(24.8 + 5.7 * ndtri(rng.uniform(low, high, n))).astype(int),
        }
    )
