"""A8: a binary and a count covariate, missing in whole studies and here and there.

20 studies of 150 rows. logit P(x1 = 1) = 0.4 + v1 and log E x2 = v2 by study, variances 0.2,
covariance 0.005; y = -1.85 + 1.05 x1 - 0.04 x2 + u0 + u1 x1 + e, var(e) = 1, var(u0), cov and
var(u1) weak, moderate or strong. A share of the studies loses x1, another share x2; of the
rest 15 % are missing, at random or with log odds that rise by 1 (x1) and 0.5 (x2) per unit
of y. x1 is imputed by `2l.bin` and x2 by `2l.pois`, all predictors random, m = 5, 10
iterations; analysed by restricted maximum likelihood, y ~ x1 + x2 + (1 + x1 | study).

Design of Jolani (2025). The rival draws the effects of every study from their distribution
over studies, whatever its own values say.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Key
from scipy import stats

import jaxmice as jm
from benchmarks.acceptance.mixed import Fits, fit_reml
from jaxmice.methods import register_method
from jaxmice.methods.two_level_bin import TwoLevelBin
from jaxmice.methods.two_level_pois import TwoLevelPois
from jaxmice.pooling import pool_scalar
from jaxmice.target import Target

REPLICATIONS = 200
J, N = 20, 150
M, ITERATIONS = 5, 10
TRUTH = np.array([-1.85, 1.05, -0.04])
"""Intercept and the effects of x1 and x2."""

OMEGA = {
    "weak": (0.10, -0.024, 0.25),
    "moderate": (0.75, -0.30, 0.85),
    "strong": (2.75, -1.82, 2.85),
}
"""Variance of the intercept, covariance, variance of the effect of x1."""

SETTINGS = (
    ("weak", 0.1, "at random"),
    ("weak", 0.3, "by y"),
    ("moderate", 0.3, "by y"),
    ("strong", 0.3, "by y"),
    ("strong", 0.0, "by y"),
)
"""Random effects, share of studies without a covariate, how the others are missing.

The last setting tells whether strong effects or whole studies are what makes it hard: the
log odds of x1 given y have an intercept of products of u0 and u1, which is not normal over
studies; a study with values of its own shows its intercept, one without draws it.
"""

BIAS_LIMIT = (0.05, 0.02)
COVERAGE_LIMIT, SPREAD_LIMIT = 0.03, 0.10


def from_population(key: Key[Array, ""], state: Any) -> Any:
    """Return the state with the effects of all clusters drawn from their distribution."""
    noise = jax.random.normal(jax.random.fold_in(key, 1), state.b.shape, state.b.dtype)
    return dataclasses.replace(state, b=state.root_psi @ noise)


class MarginalBin(TwoLevelBin):
    """The binary rival."""

    name: ClassVar[str] = "a8.marginal.bin"

    def impute(self, key: Key[Array, ""], state: Any, target: Target) -> Float[Array, "K B"]:
        """Draw ones and zeros."""
        return super().impute(key, from_population(key, state), target)


class MarginalPois(TwoLevelPois):
    """The rival for counts."""

    name: ClassVar[str] = "a8.marginal.pois"

    def impute(self, key: Key[Array, ""], state: Any, target: Target) -> Float[Array, "K B"]:
        """Draw counts."""
        return super().impute(key, from_population(key, state), target)


WAYS = {
    "`2l.bin` and `2l.pois`": (TwoLevelBin, TwoLevelPois),
    "effects ignore the study": (MarginalBin, MarginalPois),
}


@dataclass(frozen=True)
class Sets:
    """Data sets of one setting, (R, J N) each."""

    x: np.ndarray
    """(R, J N, 2) covariates before values were removed."""

    y: np.ndarray
    seen: np.ndarray
    """(R, J N, 2) covariates that are observed."""


@dataclass(frozen=True)
class Result:
    """What one analysis leads to; the data sets are the first axis."""

    estimate: np.ndarray
    """(R, 3) fixed effects."""

    lower: np.ndarray
    upper: np.ndarray
    spread: np.ndarray
    """(R,) standard deviation of the effect of x1."""

    @property
    def covered(self) -> np.ndarray:
        """(R, 2) whether the intervals of the effects hold the truth."""
        held = (self.lower <= TRUTH) & (TRUTH <= self.upper)
        return held[:, 1:].astype(float)

    @property
    def width(self) -> np.ndarray:
        """(R, 2) width of the intervals of the effects."""
        return (self.upper - self.lower)[:, 1:]


def simulate(strength: str, share: float, mechanism: str, R: int, seed: int) -> Sets:
    """Return the data sets of one setting."""
    rng = np.random.default_rng(seed)
    var0, cov, var1 = OMEGA[strength]
    u = rng.multivariate_normal([0, 0], [[var0, cov], [cov, var1]], (R, J))[..., None]
    v = rng.multivariate_normal([0, 0], [[0.2, 0.005], [0.005, 0.2]], (R, J))[..., None]
    shape = (R, J, N)
    x1 = rng.random(shape) < 1 / (1 + np.exp(-0.4 - v[:, :, 0]))
    x2 = rng.poisson(np.broadcast_to(np.exp(v[:, :, 1]), shape))
    linear = TRUTH[0] + (TRUTH[1] + u[:, :, 1]) * x1 + TRUTH[2] * x2 + u[:, :, 0]
    y = linear + rng.normal(size=shape)
    x = np.stack([x1, x2], axis=-1).astype(float)
    slope = np.array([1.0, 0.5]) if mechanism == "by y" else np.zeros(2)
    distance = (y - y.mean(axis=(1, 2), keepdims=True))[..., None]
    missing = rng.random(x.shape) < 1 / (1 + np.exp(np.log(0.85 / 0.15) - slope * distance))
    # Which studies come first in a random order lose the covariate as a whole.
    order = rng.random((R, J, 2)).argsort(axis=1).argsort(axis=1)
    missing |= (order < round(share * J))[:, :, None, :]
    return Sets(x.reshape(R, -1, 2), y.reshape(R, -1), ~missing.reshape(R, -1, 2))


def design_of(x: np.ndarray) -> np.ndarray:
    """Return the design (m, n, 3): intercept, x1, x2."""
    return np.concatenate([np.ones((*x.shape[:-1], 1)), x], axis=-1)


def from_fits(fits: Fits) -> Result:
    """Return the result of single fits."""
    half = stats.t.ppf(0.975, fits.df)[:, None] * np.sqrt(fits.variance)
    return Result(fits.beta, fits.beta - half, fits.beta + half, np.sqrt(fits.psi[:, 1, 1]))


def impute(sets: Sets, methods: tuple[type, type], seed: int) -> np.ndarray:
    """Impute every data set; return completed covariates (R, m, n, 2)."""
    g = np.repeat(np.arange(J), N)
    holes = np.where(sets.seen, sets.x, np.nan)
    frames = [
        pd.DataFrame({"g": g, "y": y, "x1": x[:, 0], "x2": x[:, 1]})
        for x, y in zip(holes, sets.y, strict=True)
    ]
    results = jm.replicate(
        frames,
        M,
        {"x1": methods[0].name, "x2": methods[1].name},
        cluster="g",
        roles={
            "x1": {"x2": "random", "y": "random"},
            "x2": {"x1": "random", "y": "random"},
        },
        maxit=ITERATIONS,
        seed=seed,
        precision="float64",
    )
    out = np.repeat(sets.x[:, None], M, axis=1)
    for one, result in zip(out, results, strict=True):
        for k, name in enumerate(("x1", "x2")):
            drawn = result.imp[name]
            one[:, drawn.index.to_numpy(), k] = drawn.to_numpy(dtype=float).T
    return out


def analyse(sets: Sets, methods: tuple[type, type], seed: int) -> Result:
    """Impute, fit every completed data set, pool."""
    R, n = sets.y.shape
    filled = design_of(impute(sets, methods, seed).reshape(-1, n, 2))
    fits = fit_reml(np.repeat(sets.y, M, axis=0), filled, 2, np.repeat(np.arange(J), N))

    def split(values: np.ndarray) -> np.ndarray:
        return np.swapaxes(values.reshape(R, M, *values.shape[1:]), 0, 1)

    pooled = pool_scalar(split(fits.beta), split(fits.variance), n - 3)
    lower, upper = pooled.interval()
    spread = np.sqrt(split(fits.psi[:, 1, 1])).mean(axis=0)
    return Result(pooled.estimate, lower, upper, spread)


def line(name: str, result: Result, whole: Result, verdict: str) -> str:
    """Return one line of the table."""
    bias = (result.estimate - whole.estimate).mean(axis=0)[1:]
    if result is whole:
        bias = (result.estimate - TRUTH).mean(axis=0)[1:]
    covered, width = result.covered.mean(axis=0), result.width.mean(axis=0)
    cells = [
        name,
        f"{bias[0]:.3f} / {bias[1]:.4f}",
        f"{covered[0]:.3f} / {covered[1]:.3f}",
        f"{width[0]:.3f} / {width[1]:.3f}",
        f"{result.spread.mean():.3f}",
        verdict,
    ]
    return f"| {' | '.join(cells)} |"


def judge(result: Result, whole: Result) -> str:
    """Compare with the limits; a figure beyond one by less than three errors decides nothing."""
    R = len(result.spread)
    gap, short = (result.estimate - whole.estimate)[:, 1:], whole.covered - result.covered
    ratio = result.spread.mean() / whole.spread.mean()
    beyond = {"sd(u1)": (abs(ratio - 1) - SPREAD_LIMIT, 0.0)}
    for k, limit in enumerate(BIAS_LIMIT):
        error, error_short = (3 * part[:, k].std() / np.sqrt(R) for part in (gap, short))
        beyond[f"bias of x{k + 1}"] = abs(gap[:, k].mean()) - limit, error
        beyond[f"coverage of x{k + 1}"] = short[:, k].mean() - COVERAGE_LIMIT, error_short
    missed = [name for name, (excess, error) in beyond.items() if excess > error]
    open_ = [name for name, (excess, error) in beyond.items() if 0 < excess <= error]
    told = f"sd(u1) x {ratio:.2f}"
    if missed:
        return f"**missed: {', '.join(missed)}**, {told}"
    return f"**not decided: {', '.join(open_)}**, {told}" if open_ else f"kept, {told}"


def compare(conditional: Result, marginal: Result, whole: Result) -> str:
    """Say whether drawing effects given the study keeps the spread and narrows intervals."""
    narrower = np.log(marginal.width[:, 0] / conditional.width[:, 0])
    z = narrower.mean() / narrower.std() * np.sqrt(len(narrower))
    lost, kept = (whole.spread.mean() - part.spread.mean() for part in (marginal, conditional))
    said = ["shown" if claim else "**not shown**" for claim in (abs(lost) > abs(kept), z > 3)]
    return (
        f"sd(u1) lower by {lost:.3f} instead of {kept:.3f}: {said[0]}; "
        f"intervals of x1 x {np.exp(narrower.mean()):.2f} (z = {z:.1f}): {said[1]}"
    )


def run_setting(strength: str, share: float, mechanism: str, R: int, seed: int) -> list[str]:
    """Return the table of one setting."""
    sets = simulate(strength, share, mechanism, R, seed)
    g, design = np.repeat(np.arange(J), N), design_of(sets.x)
    whole = from_fits(fit_reml(sets.y, design, 2, g))
    rows = from_fits(fit_reml(sets.y, design, 2, g, sets.seen.all(axis=2)))
    found = {name: analyse(sets, methods, seed) for name, methods in WAYS.items()}
    ours, rival = found.values()
    names = list(found)
    return [
        f"\n## Random effects {strength}, {share:.0%} of studies, else missing {mechanism}\n",
        "| | bias x1 / x2 | coverage x1 / x2 | width x1 / x2 | sd(u1) "
        f"(true {np.sqrt(OMEGA[strength][2]):.3f}) | |",
        "|---|---|---|---|---|---|",
        line("complete data", whole, whole, ""),
        line("complete rows", rows, whole, ""),
        line(names[0], ours, whole, judge(ours, whole)),
        line(names[1], rival, whole, compare(ours, rival, whole)),
    ]


def run(replications: int, seed: int, only: Sequence[str] = ()) -> str:
    """Return the page of the study, or of some settings, named as in ``strong-0.3``."""
    for method in (MarginalBin, MarginalPois):
        register_method(method)
    lines = [
        f"{replications} data sets per setting. Bias is the difference from the complete data "
        "(for these from the truth; the sum is the bias of a method from it). "
        f"Limits: bias {BIAS_LIMIT[0]} and {BIAS_LIMIT[1]}, coverage "
        f"at least that of the complete data less {COVERAGE_LIMIT}, sd(u1) within "
        f"{SPREAD_LIMIT:.0%} of theirs; not decided means beyond a limit by less than three "
        "standard errors of the simulation. Two claims about drawing the effects of a study "
        "given its own values instead of from the population: sd(u1) stays nearer to that of "
        "the complete data, and the intervals of x1 are narrower.",
    ]
    for number, (strength, share, mechanism) in enumerate(SETTINGS):
        if not only or f"{strength}-{share}" in only:
            lines += run_setting(strength, share, mechanism, replications, seed + number)
    return "\n".join(lines) + "\n"
