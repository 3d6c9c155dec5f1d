"""A3: contextual effect with a missing level-1 predictor.

x = a + c in 50 clusters of 10 rows, var(a) = 0.2, var(c) = 0.8; with mean(x) the mean of the
complete x in the cluster, y = 0.3 x + 0.5 mean(x) + u + e, var(u) = 0.1, var(e) = 0.7. x is
missing with probability 1 / (1 + exp(1.1 - 0.8 y / sd(y))), some 27 %; where a cluster would
show no x, one is restored. Only x is imputed, from y, and y ~ x + mean(x) + (1 | g) is fitted
by restricted maximum likelihood with mean(x) of the completed column.

Second part: the same with clusters of 3 to 25 rows, where x given y depends on the size.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

import jaxmice as jm
from benchmarks.acceptance.mixed import Fits, fit_reml
from jaxmice.pooling import pool_scalar

REPLICATIONS = 1_000
J, M = 50, 10
TRUTH = (0.3, 0.5)
LIMIT = 0.03
"""How far the mean coefficient of mean(x) may be from that of the complete data."""

REFERENCE_R, REFERENCE_SE = 150, 0.005
"""Runs behind the figures of R, and the standard error of a paired difference."""

COMPLETE = 0.511
"""Coefficient of mean(x) in the complete data of those runs."""

BATCH = 250
"""Data sets that are imputed side by side."""


@dataclass(frozen=True)
class Row:
    """One way to impute, and the coefficient of mean(x) that R reaches by it."""

    name: str
    call: dict[str, Any] = field(default_factory=dict)
    reference: float | None = None
    recommended: bool = False
    same_prior: bool = True
    """Whether the priors are those of R."""


def roles(of_y: str) -> dict[str, Any]:
    """Return the row of x, with y in some role."""
    return {"x": {"g": "cluster", "y": of_y}}


JOINT = {"method": {"xy": "pan"}, "blocks": {"xy": ["x", "y"]}}
WITH_MEAN = {"method": {"x": "2l.pan"}, "roles": roles("fixed+mean")}
ROWS = (
    Row("single-level normal, `norm`", {"method": {"x": "norm"}}, 0.591),
    Row(
        "a dummy per cluster, `norm`",
        {"method": {"x": "norm"}, "predictor_matrix": {"x": {"g": 1, "y": 1}}},
        0.359,
    ),
    Row(
        "`2l.pan`, without the cluster mean of y",
        {"method": {"x": "2l.pan"}, "roles": roles("fixed")},
        0.447,
        same_prior=False,
    ),
    Row("`2l.pan` with the cluster mean of y", WITH_MEAN, 0.467, True, False),
    Row(
        '`2l.pan`, `prior="pan"`, with the cluster mean of y',
        WITH_MEAN | {"options": {"x": {"prior": "pan"}}},
        0.467,
    ),
    Row("`pan`, x and y jointly", JOINT, 0.463, True, False),
)
UNEQUAL = (
    Row("`2l.pan` with the cluster mean of y", WITH_MEAN),
    Row("`pan`, x and y jointly", JOINT, recommended=True),
)


@dataclass(frozen=True)
class Result:
    """What one way to impute leads to; every array is one value per data set."""

    estimate: np.ndarray
    """(R, 3) intercept, x and mean(x)."""

    lower: np.ndarray
    upper: np.ndarray
    between: np.ndarray
    within: np.ndarray


def cluster_means(x: np.ndarray, codes: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Return the cluster mean of every row, (..., n), over rows of weight one."""
    weight = np.ones_like(x) if weight is None else weight
    first = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
    total, n = (np.add.reduceat(part, first, axis=-1) for part in (x * weight, weight))
    return (total / n)[..., codes]


def simulate(sizes: np.ndarray, R: int, seed: int) -> tuple[np.ndarray, ...]:
    """Return the cluster of every row, and x, y and which x are observed, (R, n) each."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(J), sizes)
    n = len(codes)

    def by_cluster(variance: float) -> np.ndarray:
        return (np.sqrt(variance) * rng.normal(size=(R, J)))[:, codes]

    x = by_cluster(0.2) + np.sqrt(0.8) * rng.normal(size=(R, n))
    y = TRUTH[0] * x + TRUTH[1] * cluster_means(x, codes)
    y = y + by_cluster(0.1) + np.sqrt(0.7) * rng.normal(size=(R, n))
    deviation = y.std(axis=1, keepdims=True)
    chance = rng.random((R, n)) * (1 + np.exp(1.1 - 0.8 * y / deviation))
    seen = chance > 1
    # The row nearest to being observed where none is.
    first = np.cumsum(sizes) - sizes
    most = np.maximum.reduceat(chance, first, axis=1)[:, codes]
    return codes, x, y, seen | (chance == most)


def analyse(x: np.ndarray, y: np.ndarray, codes: np.ndarray) -> Fits:
    """Fit the analysis model to data sets (m, n)."""
    design = np.stack([np.ones_like(x), x, cluster_means(x, codes)], axis=2)
    return fit_reml(y, design, 1, codes)


def from_fits(fits: Fits) -> Result:
    """Return the result of single fits, with t intervals."""
    half = stats.t.ppf(0.975, fits.df)[:, None] * np.sqrt(fits.variance)
    return Result(fits.beta, fits.beta - half, fits.beta + half, fits.psi[:, 0, 0], fits.sigma2)


def complete_rows(x: np.ndarray, y: np.ndarray, codes: np.ndarray, seen: np.ndarray) -> Result:
    """Return the result of the rows with x, and their cluster means."""
    design = np.stack([np.ones_like(x), x, cluster_means(x, codes, seen.astype(float))], axis=2)
    return from_fits(fit_reml(y, design, 1, codes, seen))


def impute(
    row: Row, x: np.ndarray, y: np.ndarray, codes: np.ndarray, seen: np.ndarray, seed: int
) -> Result:
    """Impute, fit every completed data set, pool."""
    R, n = x.shape
    filled = np.repeat(x[:, None], M, axis=1)
    for begin in range(0, R, BATCH):
        part = range(begin, min(begin + BATCH, R))
        frames = [
            pd.DataFrame({"g": codes, "y": y[r], "x": np.where(seen[r], x[r], np.nan)})
            for r in part
        ]
        results = jm.replicate(
            frames, M, cluster="g", seed=seed + begin, precision="float64", **row.call
        )
        for r, result in zip(part, results, strict=True):
            drawn = result.imp["x"]
            filled[r][:, drawn.index.to_numpy()] = drawn.to_numpy().T
    fits = analyse(filled.reshape(R * M, n), np.repeat(y, M, axis=0), codes)

    def split(values: np.ndarray) -> np.ndarray:
        return np.swapaxes(values.reshape(R, M, *values.shape[1:]), 0, 1)

    pooled = pool_scalar(split(fits.beta), split(fits.variance), n - 3)
    lower, upper = pooled.interval()
    between, within = (split(part).mean(axis=0) for part in (fits.psi[:, 0, 0], fits.sigma2))
    return Result(pooled.estimate, lower, upper, between, within)


def paired(result: Result, whole: Result) -> tuple[float, float]:
    """Return the mean difference of mean(x) from the complete data, and its standard error."""
    difference = result.estimate[:, 2] - whole.estimate[:, 2]
    return float(difference.mean()), float(difference.std() / np.sqrt(len(difference)))


def judge(row: Row, result: Result, whole: Result) -> str:
    """Compare with the limit and with R, allowing for three standard errors of both."""
    bias, error = paired(result, whole)
    parts = []
    if row.recommended:
        parts.append("kept" if abs(bias) - 3 * error <= LIMIT else "**limit missed**")
    if row.reference is not None:
        theirs = row.reference - COMPLETE
        allowed = 3 * np.hypot(REFERENCE_SE, error)
        verdict = "as R" if abs(bias - theirs) <= allowed else "**not as R**"
        if row.same_prior:
            parts.append(f"{verdict}: {theirs:+.3f} ± {allowed:.3f}")
        else:
            parts.append(f"R, its prior: {theirs:+.3f}")
    return "; ".join(parts)


def line(name: str, result: Result, whole: Result, verdict: str) -> str:
    """Return one line of the table."""
    truth = np.array([0, *TRUTH])
    covered = ((result.lower <= truth) & (truth <= result.upper)).mean(axis=0)
    bias, error = paired(result, whole)
    cells = [
        name,
        f"{result.estimate[:, 1].mean():.3f}",
        f"{result.estimate[:, 2].mean():.3f} ({result.estimate[:, 2].std():.3f})",
        "" if result is whole else f"{bias:+.3f} ± {error:.3f}",
        f"{covered[1]:.3f} / {covered[2]:.3f}",
        f"{(result.upper - result.lower).mean(axis=0)[2]:.3f}",
        f"{result.between.mean():.3f}",
        f"{result.within.mean():.3f}",
        verdict,
    ]
    return f"| {' | '.join(cells)} |"


def order(found: dict[str, float]) -> str:
    """Say whether the ways to impute stand in the order that theory gives them."""
    single, dummies, without, mean = list(found.values())[:4]
    holds = dummies < without < 0 < single and abs(mean) < abs(without) and dummies < 2 * without
    return (
        f"\nOrder (single-level above the complete data, dummies far below, means better than "
        f"no means): {'kept' if holds else '**not kept**'}."
    )


def run_sizes(sizes: np.ndarray, rows: tuple[Row, ...], R: int, seed: int) -> list[str]:
    """Return the table for clusters of some sizes."""
    codes, x, y, seen = simulate(sizes, R, seed)
    whole = from_fits(analyse(x, y, codes))
    lines = [
        "| | x (0.30) | mean(x) (0.50), sd | minus complete data | coverage x / mean(x) "
        "| width mean(x) | var(u) (0.10) | var(e) (0.70) | |",
        "|---|---|---|---|---|---|---|---|---|",
        line("complete data", whole, whole, ""),
        line("complete rows", complete_rows(x, y, codes, seen), whole, ""),
    ]
    found = {}
    for row in rows:
        result = impute(row, x, y, codes, seen, seed)
        found[row.name] = paired(result, whole)[0]
        lines.append(line(row.name, result, whole, judge(row, result, whole)))
    return [*lines, order(found)] if len(rows) == len(ROWS) else lines


def run(replications: int, seed: int) -> str:
    """Return the page of the study."""
    sizes = np.random.default_rng(0).integers(3, 26, J)
    lines = [
        f"{replications} data sets per part, m = {M}. Limit of the recommended ways: the mean "
        f"coefficient of mean(x) within {LIMIT} of that of the complete data, allowing for three "
        f"standard errors of the paired difference. The figures of R are {REFERENCE_R} runs of "
        "mice, pan and mitml, with the priors of these.",
        f"\n## {J} clusters of 10 rows\n",
        *run_sizes(np.full(J, 10), ROWS, replications, seed),
        f"\n## {J} clusters of 3 to 25 rows\n",
        *run_sizes(sizes, UNEQUAL, replications, seed + 1),
    ]
    return "\n".join(lines) + "\n"
