"""Simulated data with known true values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from jaxmice.errors import DataError

CODE = "E55"
"""Arguments of a data set that cannot be met."""

TEXP = np.arange(2, 26)
"""Years of experience a teacher may have, all equally likely."""

CAN_MISS = ("popular", "sex", "texp")


@dataclass(frozen=True, eq=False, repr=False)
class SimulatedData:
    """Data before and after values were removed, and what generated them.

    Attributes
    ----------
    complete
        All values.
    incomplete
        The same rows and columns with missing values.
    truth
        Parameters of the generating model by name.
    """

    complete: pd.DataFrame
    incomplete: pd.DataFrame
    truth: dict[str, float]

    def __repr__(self) -> str:
        n, p = self.incomplete.shape
        missing = self.incomplete.isna().mean()
        shares = ", ".join(f"{name} {share:.0%}" for name, share in missing[missing > 0].items())
        truth = ", ".join(f"{name}={value:g}" for name, value in self.truth.items())
        return f"SimulatedData: {n} rows, {p} columns\n  missing: {shares}\n  truth: {truth}"


def make_popular(
    J: int = 100,
    n_j: int | Sequence[int] = 20,
    *,
    icc: float = 0.58,
    slope: float = 0.25,
    residual: float = 0.4,
    sex: float = 0.85,
    texp: float = 0.09,
    intercept: float = 3.5,
    missing: float | Mapping[str, float] = 0.4,
    seed: int,
) -> SimulatedData:
    r"""Simulate the popularity of pupils in schools, with a random slope and missing values.

    Parameters
    ----------
    J
        Number of schools.
    n_j
        Pupils per school, or one number for each of the J schools.
    icc
        Intraclass correlation of ``popular``: its variance between schools as share of its
        variance, the contributions of the predictors included.
    slope
        Variance of the effect of ``sex`` between schools.
    residual
        Residual variance within schools.
    sex, texp, intercept
        Fixed effects.
    missing
        Expected share of pupils without ``popular``; or shares by column for ``popular`` and
        ``sex`` (of pupils) and ``texp`` (of schools).
    seed
        Seed of the random numbers.

    Returns
    -------
    SimulatedData
        Frames with the columns ``pupil``, ``school``, ``popular``, ``sex`` (0/1), ``texp`` and
        ``teachpop``, and the truth: ``intercept``, ``sex``, ``texp``, ``var_intercept``,
        ``var_slope``, ``cov_intercept_slope``, ``residual``, ``icc``.

    Raises
    ------
    DataError
        E55, for sizes or shares out of range, or an `icc` below what `texp` and `slope` alone
        imply.

    Notes
    -----
    For pupil i of school j,

    .. math::

        sex_{ij} &\sim Bernoulli(1/2), \qquad texp_j \sim Uniform\{2, \dots, 25\} \\
        popular_{ij} &= b_0 + (b_1 + u_{1j})\, sex_{ij} + b_2\, texp_j + u_{0j} + e_{ij} \\
        teachpop_{ij} &= 0.5 + 0.9\, popular_{ij} + d_{ij}

    with independent normal :math:`u_{0j}`, :math:`u_{1j}`, :math:`e_{ij}` and
    :math:`d_{ij} \sim N(0, 0.5)`. The variance of :math:`u_{0j}` follows from `icc`: with
    :math:`W = b_1^2/4 + \tau_1/4 + \sigma^2` the variance within schools,

    .. math::

        \tau_0 = \frac{icc}{1 - icc} W - b_2^2\, Var(texp) - \tau_1 / 4 .

    ``popular`` is missing at random: with probability
    :math:`1 / (1 + \exp(-a + t_{ij} + sex_{ij}))`, where t is the standardised ``teachpop`` and
    a makes the mean probability the share asked for. ``sex``, and ``texp`` for whole schools,
    are missing completely at random. ``pupil``, ``school`` and ``teachpop`` are complete.

    Examples
    --------
    >>> import jaxmice as jm
    >>> jm.datasets.make_popular(J=10, n_j=5, seed=1).complete.shape
    (50, 6)
    """
    sizes = _sizes(J, n_j)
    shares = _shares(missing)
    between = _intercept_variance(icc, slope, residual, sex, texp)
    rng = np.random.default_rng(seed)
    school = np.repeat(np.arange(J), sizes)
    n = school.size
    girl = rng.integers(0, 2, n)
    years = rng.choice(TEXP, J)[school]
    u0 = rng.normal(0, np.sqrt(between), J)[school]
    u1 = rng.normal(0, np.sqrt(slope), J)[school]
    popular = intercept + (sex + u1) * girl + texp * years + u0
    popular = popular + rng.normal(0, np.sqrt(residual), n)
    teachpop = 0.5 + 0.9 * popular + rng.normal(0, np.sqrt(0.5), n)
    complete = pd.DataFrame(
        {
            "pupil": np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes) + 1,
            "school": school + 1,
            "popular": popular,
            "sex": girl,
            "texp": years,
            "teachpop": teachpop,
        }
    )
    standard = (teachpop - teachpop.mean()) / teachpop.std()
    holes = {
        "popular": rng.random(n) < _probabilities(-standard - girl, shares["popular"]),
        "sex": rng.random(n) < shares["sex"],
        "texp": (rng.random(J) < shares["texp"])[school],
    }
    incomplete = complete.assign(**{c: complete[c].mask(h) for c, h in holes.items() if h.any()})
    truth = {
        "intercept": intercept,
        "sex": sex,
        "texp": texp,
        "var_intercept": between,
        "var_slope": slope,
        "cov_intercept_slope": 0.0,
        "residual": residual,
        "icc": icc,
    }
    return SimulatedData(complete, incomplete, truth)


def _sizes(J: int, n_j: int | Sequence[int]) -> npt.NDArray[np.int64]:
    sizes = np.broadcast_to(n_j, (J,)) if np.ndim(n_j) == 0 else np.asarray(n_j)
    if J < 2 or sizes.shape != (J,) or sizes.dtype.kind not in "iu" or bool((sizes < 1).any()):
        raise DataError(
            CODE, f"J must be at least 2 and n_j a positive integer or {J} of them, got {n_j!r}"
        )
    return sizes.astype(np.int64)


def _shares(missing: float | Mapping[str, float]) -> dict[str, float]:
    given = dict(missing) if isinstance(missing, Mapping) else {"popular": missing}
    wrong = [c for c, share in given.items() if c not in CAN_MISS or not 0 <= share < 1]
    if wrong:
        raise DataError(
            CODE,
            f"missing must be a share from 0 to below 1, for one of {', '.join(CAN_MISS)}; "
            f"wrong for {', '.join(map(repr, wrong))}",
        )
    return {c: given.get(c, 0.0) for c in CAN_MISS}


def _intercept_variance(
    icc: float, slope: float, residual: float, sex: float, texp: float
) -> float:
    if not 0 <= icc < 1 or slope < 0 or residual <= 0:
        raise DataError(
            CODE,
            "icc must be from 0 to below 1, slope at least 0 and residual above 0; "
            f"got icc={icc}, slope={slope}, residual={residual}",
        )
    within = sex**2 / 4 + slope / 4 + residual
    implied = texp**2 * float(TEXP.var()) + slope / 4
    between = icc / (1 - icc) * within - implied
    if between < -1e-12:
        raise DataError(
            CODE,
            f"texp and slope alone imply an icc of {implied / (implied + within):.3f}, more than "
            f"{icc}; reduce texp or slope",
        )
    return max(between, 0.0)


def _probabilities(score: npt.NDArray[np.float64], share: float) -> npt.NDArray[np.float64]:
    """Logistic probabilities in the score, shifted so that their mean is the share."""
    if share == 0:
        return np.zeros_like(score)
    low, high = -40.0, 40.0
    for _ in range(60):  # bisection: the mean grows with the shift
        middle = (low + high) / 2
        if np.mean(1 / (1 + np.exp(-middle - score))) < share:
            low = middle
        else:
            high = middle
    return 1 / (1 + np.exp(-(low + high) / 2 - score))


def linear_predictor(
    data: pd.DataFrame, coefficients: Mapping[str, float]
) -> npt.NDArray[np.float64]:
    """Return the sum of the terms for every row.

    Parameters
    ----------
    data
        Columns named by the terms.
    coefficients
        ``Intercept`` and slopes, of columns or of categories as ``column[T.category]``.
    """
    total = np.full(len(data), coefficients["Intercept"])
    for term, slope in coefficients.items():
        column, _, level = term.partition("[T.")
        if level:
            total += slope * (data[column] == level.rstrip("]")).to_numpy()
        elif term != "Intercept":
            total += slope * data[column].to_numpy()
    return total
