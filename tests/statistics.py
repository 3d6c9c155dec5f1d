"""What statistical tests share: the rate of false alarms, and how p-values are combined."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from scipy import stats

FALSE_ALARM_RATE = 1e-4
"""Chance that one statistical test fails on code that is right.

Seeds are fixed, so a test that passes keeps passing. The rate is what a new seed, a new
JAX release or a reordered split of keys can cost: with a hundred such tests, one such
event in a hundred turns the suite red for no reason.
"""

Cdf = Callable[[np.ndarray], np.ndarray]


def bonferroni(pvalues: Iterable[Any]) -> float:
    """Return one p-value for "all of these hold", adjusted for their number."""
    values = np.concatenate([np.ravel(np.asarray(value, float)) for value in pvalues])
    # A p-value that is no number comes from draws that are none.
    return min(1.0, len(values) * float(np.min(np.nan_to_num(values, nan=0.0))))


def first_alarm(pvalue: Callable[[int], float], sizes: Iterable[int]) -> float:
    """Return the p-value from the smallest sample that raises the alarm, else from the last."""
    value = 1.0
    for size in sizes:
        value = pvalue(size)
        if value < FALSE_ALARM_RATE:
            break
    return value


def adjusted_pvalue(draws: Mapping[str, Any], distributions: Mapping[str, Cdf]) -> float:
    """Return one p-value for "every sample follows its distribution".

    Kolmogorov-Smirnov for each, Bonferroni across: the draws of one name must be
    independent, the names may depend on each other.
    """
    return bonferroni(
        [
            stats.kstest(np.asarray(draws[name]).ravel(), cdf).pvalue
            for name, cdf in distributions.items()
        ]
    )


def exchange_pvalue(one: np.ndarray, other: np.ndarray, n_splits: int = 20_000) -> float:
    """Return a p-value for "both samples have one law", whatever that is.

    A permutation test: how far the mean ranks of all quantities are apart, against other
    splits of the draws. Exact, however quantities depend on each other.

    Parameters
    ----------
    one, other
        Quantities in rows, independent draws in columns.
    n_splits
        Number of other splits; their inverse is about the least p-value.
    """
    both = stats.rankdata(np.concatenate([one, other], axis=1), axis=1)
    spread = both.std(axis=1, keepdims=True)
    both = (both - both.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)
    n, total = one.shape[1], both.shape[1]
    weights = np.repeat([[1 / n, -1 / (total - n)]], [n, total - n], axis=1)
    splits = np.random.default_rng(0).permuted(np.repeat(weights, n_splits, axis=0), axis=1)
    apart = np.sum((both @ np.concatenate([weights, splits]).T) ** 2, axis=0)
    # The same split found again may differ in its last digit.
    return float(np.mean(apart >= apart[0] * (1 - 1e-9)))


def normal_pvalues(draws: Any, mean: Any, covariance: Any) -> list[float]:
    """Return p-values for "these rows are draws from this normal distribution".

    Kolmogorov-Smirnov for each whitened coordinate, for each coordinate after a rotation
    that mixes them all, where a wrong correlation shows, and for the squared length.

    Parameters
    ----------
    draws
        Independent draws, one a row.
    mean, covariance
        Of the distribution, the covariance of full rank.
    """
    draws, lower = np.asarray(draws), np.linalg.cholesky(np.asarray(covariance))
    white = np.linalg.solve(lower, (draws - np.asarray(mean)).T)
    d = len(white)
    rotation = np.linalg.qr(np.random.default_rng(d).normal(size=(d, d)))[0]
    values = [stats.kstest(row, "norm").pvalue for row in (*white, *(rotation @ white))]
    values.append(stats.kstest(np.sum(white**2, axis=0), stats.chi2(d).cdf).pvalue)
    return [float(value) for value in values]


def cdf_on_grid(points: np.ndarray, log_density: np.ndarray) -> Cdf:
    """Return the distribution function of a density known on a grid, up to a constant."""
    density = np.exp(log_density - np.max(log_density))
    steps = np.diff(points) * (density[1:] + density[:-1]) / 2
    cumulative = np.concatenate([[0], np.cumsum(steps)])

    def cdf(x: np.ndarray) -> np.ndarray:
        return np.interp(x, points, cumulative / cumulative[-1])

    return cdf


def wishart_pvalues(lower: np.ndarray, df: float, scale: np.ndarray) -> list[float]:
    """Return p-values for "``lower lower'`` is inverse Wishart".

    With C the upper triangular root of the scale, ``scale = C C'``, the precision in the
    coordinates of C is a standard Wishart matrix. Its Cholesky factor has independent
    elements: chi on the diagonal and standard normal below it (Bartlett). That is the
    whole law, and nothing of it is used by the code under test, which factors in the
    opposite order.
    """
    q = len(scale)
    root = np.linalg.cholesky(scale)
    # scale^(1/2)' Psi^-1 scale^(1/2) = (L^-1 root)' (L^-1 root)
    half = np.linalg.solve(lower, np.broadcast_to(root, lower.shape))
    # An orthogonal factor instead of the product: half a degree of freedom comes close to 0.
    upper = np.linalg.qr(half, mode="r")
    sign = np.sign(np.diagonal(upper, axis1=1, axis2=2))
    bartlett = np.swapaxes(upper * sign[:, :, None], 1, 2)
    values = [stats.kstest(bartlett[:, i, i] ** 2, stats.chi2(df - i).cdf).pvalue for i in range(q)]
    below = [bartlett[:, i, k] for i in range(q) for k in range(i)]
    values += [stats.kstest(element, "norm").pvalue for element in below]
    pairs = itertools.pairwise(below)
    values += [stats.kstest((a + b) / np.sqrt(2), "norm").pvalue for a, b in pairs]
    return [float(value) for value in values]
