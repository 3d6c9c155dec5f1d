"""A5: meta-analysis of individual data, a continuous and a binary predictor incomplete.

The design of Audigier et al. (2018), Statistical Science 33, 160-183: 28 studies,

    x1 = 2.90 + a + N(0, 0.28),  logit P(x2 = 1) = -0.69 + c,
    y = 0.70 - 0.104 x1 + 0.037 x2 + b0 + b1 x1 + e,

x1 and x2 missing in a quarter of the studies altogether and in a quarter of the rows of the
others. Analysed by restricted maximum likelihood, y ~ x1 + x2 + (1 + x1 | study).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

import jaxmice as jm
from benchmarks.acceptance.mixed import Fits, fit_reml
from jaxmice.pooling import pool_scalar

REPLICATIONS = 500
M, MAXIT, BATCH = 5, 5, 50
SIZES = (
    *(18, 48, 54, 78, 89, 107, 137, 203, 208, 210, 267, 294, 295, 303),
    *(354, 358, 375, 397, 410, 455, 567, 588, 622, 651, 670, 1000, 1093, 1834),
)
"""Rows of the studies."""

BETA = np.array([0.70, -0.104, 0.037])
PSI = np.array([[0.0064, -0.00129], [-0.00129, 0.00035]])
METHODS = {
    "`2l.2stage.norm` and `2l.2stage.bin`": ("2l.2stage.norm", "2l.2stage.bin"),
    "`2l.glm.norm` and `2l.glm.bin`": ("2l.glm.norm", "2l.glm.bin"),
    "`2l.jomo`": ("2l.jomo", "2l.jomo"),
}
BIAS_LIMIT, COVERAGE_LIMIT = 0.05, 0.03


@dataclass(frozen=True)
class Data:
    """Data sets: the predictors (R, n), the outcome (R, n), what is observed (R, n, 2)."""

    x1: np.ndarray
    x2: np.ndarray
    y: np.ndarray
    seen: np.ndarray
    study: np.ndarray
    """(n,) study of every row."""

    @property
    def design(self) -> np.ndarray:
        """(R, n, 3) predictors of the analysis."""
        return np.stack([np.ones_like(self.x1), self.x1, self.x2], axis=2)


@dataclass(frozen=True)
class Variant:
    """How one table differs from the base case."""

    title: str
    sizes: Sequence[int] = (15,) * len(SIZES)
    """Rows of the studies."""

    spread: float = 0.0
    """Standard deviation over studies of the log residual deviation."""

    sporadic: float = 0.25
    """Probability of a missing value in a study that has observed the predictor."""

    systematic: float = 0.25
    """Probability that a study has not observed a predictor."""

    strength: float = 1.0
    """Factor of Psi."""


VARIANTS = (
    Variant("15 rows in every study"),
    Variant("15 rows in every study, residual deviations log-normal", spread=0.4),
    Variant("15 rows in every study, no sporadic holes", sporadic=0.0),
    Variant("15 rows in every study, sporadic holes only", systematic=0.0),
    Variant("15 rows in every study, Psi four times as large", strength=4.0),
    Variant("14 studies of 60 rows", sizes=(60,) * 14),
    Variant("7 studies of 60 rows", sizes=(60,) * 7),
    Variant("Full sizes", sizes=SIZES),
)


def simulate(variant: Variant, R: int, seed: int) -> Data:
    """Draw data sets.

    Parameters
    ----------
    variant
        What they are like.
    R, seed
        Number of data sets, seed.
    """
    rng = np.random.default_rng(seed)
    J = len(variant.sizes)
    study = np.repeat(np.arange(J), variant.sizes)
    shape = (R, len(study))
    a, c = np.sqrt(0.093) * rng.normal(size=(R, J)), np.sqrt(0.33) * rng.normal(size=(R, J))
    b = rng.multivariate_normal(np.zeros(2), variant.strength * PSI, (R, J))
    sd = 0.171 * np.exp(variant.spread * rng.normal(size=(R, J)))
    x1 = 2.90 + a[:, study] + np.sqrt(0.28) * rng.normal(size=shape)
    x2 = (rng.random(shape) < 1 / (1 + np.exp(0.69 - c[:, study]))).astype(float)
    y = BETA[0] + BETA[1] * x1 + BETA[2] * x2 + sd[:, study] * rng.normal(size=shape)
    y += b[:, study, 0] + b[:, study, 1] * x1
    whole = rng.random((R, J, 2)) < variant.systematic
    # Of every predictor two studies have all values, and one has none.
    whole[:, -2:] = False
    whole[:, 0, 0] = whole[:, 1, 1] = variant.systematic > 0
    seen = (rng.random((*shape, 2)) >= variant.sporadic) & ~whole[:, study]
    return Data(x1, x2, y, seen, study)


@dataclass(frozen=True)
class Result:
    """Estimates and intervals of the coefficients, (R, 3) each, and of Psi, (R, 2, 2)."""

    estimate: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    psi: np.ndarray
    sigma2: np.ndarray

    @property
    def covered(self) -> np.ndarray:
        """(R, 3) whether the intervals hold the truth."""
        return (self.lower <= BETA) & (self.upper >= BETA)


def from_fits(fits: Fits) -> Result:
    """Return the result of single fits, with t intervals."""
    half = stats.t.ppf(0.975, fits.df)[:, None] * np.sqrt(fits.variance)
    return Result(fits.beta, fits.beta - half, fits.beta + half, fits.psi, fits.sigma2)


def analyse(data: Data, methods: tuple[str, str], seed: int) -> Result:
    """Impute, fit every completed data set, pool."""
    parts: list[Result] = []
    for first in range(0, len(data.y), BATCH):
        lanes = slice(first, first + BATCH)
        x1, x2 = data.x1[lanes], data.x2[lanes]
        frames = [
            pd.DataFrame(
                {
                    "study": data.study,
                    "y": y,
                    "x1": np.where(seen[:, 0], one, np.nan),
                    "x2": pd.Categorical(np.where(seen[:, 1], two, np.nan)),
                }
            )
            for y, one, two, seen in zip(data.y[lanes], x1, x2, data.seen[lanes], strict=True)
        ]
        results = jm.replicate(
            frames,
            M,
            dict(zip(("x1", "x2"), methods, strict=True)),
            cluster="study",
            roles={
                "x1": {"x2": "random", "y": "random"},
                "x2": {"x1": "random", "y": "random"},
            },
            visit_sequence=["x1", "x2"],
            screen="off",
            maxit=MAXIT,
            seed=seed + first,
            precision="float64",
        )
        filled = np.repeat(data.design[lanes, None], M, axis=1)
        for one, result in zip(filled, results, strict=True):
            for place, name in ((1, "x1"), (2, "x2")):
                drawn = result.imp[name]
                one[:, drawn.index.to_numpy(), place] = drawn.to_numpy(float).T
        R, n = len(results), filled.shape[2]
        outcome = np.repeat(data.y[lanes], M, axis=0)
        fits = fit_reml(outcome, filled.reshape(R * M, n, 3), 2, data.study)
        shaped = [
            part.reshape(R, M, *part.shape[1:]).swapaxes(0, 1) for part in vars(fits).values()
        ]
        beta, variance, psi, sigma2, _ = shaped
        pooled = pool_scalar(beta, variance, n - 3)
        mean = psi.mean(axis=0), sigma2.mean(axis=0)
        parts.append(Result(pooled.estimate, *pooled.interval(), *mean))
    return Result(
        *(np.concatenate(one) for one in zip(*(vars(p).values() for p in parts), strict=True))
    )


def line(name: str, result: Result, psi: np.ndarray, verdict: str) -> str:
    """Return one line of the table."""
    bias = result.estimate.mean(axis=0) / BETA - 1
    error = result.estimate.std(axis=0) / np.sqrt(len(result.estimate)) / np.abs(BETA)
    covered, width = result.covered.mean(axis=0), (result.upper - result.lower).mean(axis=0)
    ratio = np.diagonal(result.psi.mean(axis=0)) / np.diagonal(psi)
    cells = [
        name,
        *(f"{100 * bias[i]:.1f} ± {100 * error[i]:.1f}" for i in (1, 2)),
        " / ".join(f"{covered[i]:.3f}" for i in range(3)),
        " / ".join(f"{width[i]:.4f}" for i in (1, 2)),
        " / ".join(f"{value:.2f}" for value in ratio),
        f"{np.sqrt(result.sigma2.mean()):.3f}",
        verdict,
    ]
    return f"| {' | '.join(cells)} |"


def judge(result: Result, complete: Result) -> str:
    """Compare with the limits, allowing for three standard errors of the simulation."""
    R, missed = len(result.estimate), []
    bias = np.abs(result.estimate.mean(axis=0) / BETA - 1)
    error = result.estimate.std(axis=0) / np.sqrt(R) / np.abs(BETA)
    for i, name in ((1, "x1"), (2, "x2")):
        paired = result.covered[:, i].astype(float) - complete.covered[:, i]
        if bias[i] - 3 * error[i] > BIAS_LIMIT:
            missed.append(f"bias of {name}")
        if paired.mean() + 3 * paired.std() / np.sqrt(R) < -COVERAGE_LIMIT:
            missed.append(f"coverage of {name}")
    return f"**missed: {', '.join(missed)}**" if missed else "kept"


def table(variant: Variant, data: Data, seed: int) -> list[str]:
    """Return the table of one variant."""
    psi = variant.strength * PSI
    complete = from_fits(fit_reml(data.y, data.design, 2, data.study))
    rows = from_fits(fit_reml(data.y, data.design, 2, data.study, data.seen.all(axis=2)))
    lines = [
        f"\n## {variant.title}, {len(data.y)} data sets\n",
        "| | bias of x1, % | bias of x2, % | coverage intercept / x1 / x2 | width x1 / x2 "
        "| var(b0), var(b1) over truth | sd(e) | |",
        "|---|---|---|---|---|---|---|---|",
        line("complete data", complete, psi, ""),
        line("complete rows", rows, psi, ""),
    ]
    for name, methods in METHODS.items():
        result = analyse(data, methods, seed)
        lines.append(line(name, result, psi, judge(result, complete)))
    return lines


def run(replications: int, seed: int) -> str:
    """Return the page of the study."""
    lines = [
        f"m = {M}, {MAXIT} iterations. Limits: relative bias of both slopes at most "
        f"{100 * BIAS_LIMIT:.0f} %, coverage at most {COVERAGE_LIMIT} below that of complete data, "
        "both allowing for three standard errors of the simulation. Widths are those of 95 % "
        "intervals; ± is one standard error of the simulation. The full sizes are 11,685 rows.",
    ]
    for number, variant in enumerate(VARIANTS):
        lines += table(variant, simulate(variant, replications, seed + number), seed)
    return "\n".join(lines) + "\n"
