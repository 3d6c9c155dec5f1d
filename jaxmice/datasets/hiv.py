"""Simulated survey of HIV, in which those who refuse the test are infected more often."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import ndtr

from jaxmice.datasets.simulate import CODE, SimulatedData, _sizes, linear_predictor
from jaxmice.errors import DataError

REGIONS = (593, 800, 841, 557, 947, 623, 707, 766, 582)
"""People of every region."""

LEVELS = {
    "marital": ("currently married", "formerly married", "never married"),
    "condom": ("Condom Last Intercourse", "No Condom Last Intercourse"),
    "smoke": ("Do Not Smoke", "Smoker"),
}

RESULT = {
    "Intercept": -0.8,
    "age": 0.009,
    "marital[T.formerly married]": 0.63,
    "marital[T.never married]": -0.65,
    "condom[T.No Condom Last Intercourse]": -0.33,
}
"""Probit coefficients of being infected."""

TESTED = {
    "Intercept": 0.58,
    "age": 0.003,
    "marital[T.never married]": 0.06,
    "condom[T.No Condom Last Intercourse]": -0.05,
}
"""Probit coefficients of being tested, that of smoking apart."""

BETWEEN_TESTED = 0.025
"""Variance over regions of the probit of being tested."""


def make_hiv(
    n_j: int | Sequence[int] | None = None,
    *,
    rho: float = -0.6,
    smoke: float = 1.0,
    between: float = 0.06,
    seed: int,
) -> SimulatedData:
    r"""Simulate HIV status in nine regions, hidden more often from those who are infected.

    Parameters
    ----------
    n_j
        People per region, or one number for each of the 9; by default those of the survey,
        6,416 in all.
    rho
        Correlation of being tested and being infected, given all else; at 0 values are
        missing at random.
    smoke
        Probit coefficient of smoking on being tested: the strength of the exclusion
        restriction. It is 0.15 in the survey.
    between
        Variance over regions of the probit of being infected.
    seed
        Seed of the random numbers.

    Returns
    -------
    SimulatedData
        Frames with the columns ``hiv`` (0/1; incomplete), ``age`` (years, 15 to 59),
        ``region`` (1 to 9), ``marital`` (3 levels), ``condom`` and ``smoke`` (2 levels each).
        The truth has the coefficients of a probit regression of ``hiv`` by the names of its
        terms (that of ``smoke[T.Smoker]`` is 0), ``var_intercept`` and ``rho``.

    Raises
    ------
    DataError
        E55, for sizes that are no positive integers, a negative variance, or a correlation
        that is not between -1 and 1.

    Notes
    -----
    For person i of region j,

    .. math::

        s_{ij} &= w_{ij}' \alpha + smoke_{ij}\, \alpha_s + a_j + d_{ij}, \qquad
            a_j \sim N(0, 0.025), \\
        y_{ij} &= x_{ij}' \beta + b_j + \rho\, d_{ij} + \sqrt{1 - \rho^2}\, e_{ij}, \qquad
            b_j \sim N(0, between),

    with independent standard normal :math:`d_{ij}` and :math:`e_{ij}`. The person is infected
    where :math:`y_{ij} > 0` and tested, so that ``hiv`` is seen, where :math:`s_{ij} > 0`.
    Both depend on age, marital status and condom; smoking matters for s alone. One in five is
    not tested, one in eight of the tested is infected, as in the survey.

    Age is :math:`15 + 45 B` rounded down, B beta with parameters 0.85 and 1.69. Marriage,
    condoms and smoking depend on age: a share :math:`\Phi(6 \log(age / 24.5))` has ever been
    married, 9 % of whom are no longer; :math:`\Phi(-0.7 - 0.025 |age - 24|)` used a condom;
    :math:`\Phi(-0.37 - 0.095 \max(0, 30 - age))` smoke.

    References
    ----------
    McGovern, M. E., Bärnighausen, T., Marra, G., & Radice, R. (2015). On the assumption of
    bivariate normality in selection models: a copula approach applied to estimating HIV
    prevalence. Epidemiology, 26(2), 229-237. (The survey. Sizes and shares are those of its
    teaching version, all values simulated.)

    Examples
    --------
    >>> import jaxmice as jm
    >>> jm.datasets.make_hiv(n_j=30, seed=1).complete.shape
    (270, 6)
    """
    sizes = _sizes(len(REGIONS), REGIONS if n_j is None else n_j)
    if not between >= 0 or not -1 < rho < 1:
        raise DataError(
            CODE,
            f"between must be at least 0 and rho between -1 and 1, got between={between!r}, "
            f"rho={rho!r}",
        )
    rng = np.random.default_rng(seed)
    region = np.repeat(np.arange(len(sizes)), sizes)
    people = _people(rng, region.size)
    d, e = rng.normal(size=(2, region.size))
    a = rng.normal(0, np.sqrt(BETWEEN_TESTED), len(sizes))[region]
    b = rng.normal(0, np.sqrt(between), len(sizes))[region]
    smoker = (people["smoke"] == "Smoker").to_numpy()
    s = linear_predictor(people, TESTED) + smoke * smoker + a + d
    y = linear_predictor(people, RESULT) + b + rho * d + np.sqrt(1 - rho**2) * e
    complete = pd.DataFrame({"hiv": (y > 0).astype(int), "age": people["age"]})
    complete["region"] = region + 1
    complete = complete.join(people.drop(columns="age"))
    truth = RESULT | {"smoke[T.Smoker]": 0.0, "var_intercept": between, "rho": rho}
    return SimulatedData(complete, complete.assign(hiv=complete["hiv"].where(s > 0)), truth)


def _people(rng: np.random.Generator, n: int) -> pd.DataFrame:
    """Draw what is known of everybody."""
    age = np.floor(15 + 45 * rng.beta(0.85, 1.69, n)).astype(int)
    ever = rng.random(n) < ndtr(6 * np.log(age / 24.5))
    codes = {
        "marital": np.where(ever, rng.random(n) < 0.09, 2),
        "condom": rng.random(n) >= ndtr(-0.7 - 0.025 * np.abs(age - 24)),
        "smoke": rng.random(n) < ndtr(-0.37 - 0.095 * np.maximum(0, 30 - age)),
    }
    people = pd.DataFrame({"age": age})
    for column, levels in LEVELS.items():
        people[column] = pd.Categorical.from_codes(codes[column].astype(int).tolist(), levels)
    return people
