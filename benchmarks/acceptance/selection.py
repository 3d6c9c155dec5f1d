"""What the studies of an outcome missing not at random share: data, analyses, tables.

The design of Munoz et al. (2023), arXiv 2301.05043: in a fifth of the clusters y is missing
altogether, elsewhere where r <= 0,

    y = 0.3 + o0 + (1 + o1) x1 + (1 + o2) x2 + e,
    r = -0.8 + s0 + (1.3 + s1) x1 + (-0.7 + s2) x2 + (1.2 + s3) x3 + d,

with correlation rho of the residuals.

A run of all settings is long: ``--parts FOLDER`` keeps what is finished and goes on from there,
``--only`` runs some settings; the page shows all that the folder holds.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

import jaxmice as jm
from benchmarks.acceptance.mixed import Fits
from jaxmice.pooling import pool_scalar

REPLICATIONS = 500
M = 10
BETA = np.array([0.3, 1.0, 1.0])
ALPHA = np.array([-0.8, 1.3, -0.7, 1.2])
SD_EFFECT = 0.4**0.5
SLANT, DF, SKEW_SHIFT = np.array([2.0, -6.0]), 4, 0.29
"""Skew-t residuals (d, e), and what is added to the intercept of selection under them."""

EXPLICIT_SHIFT = -0.96
"""Log odds that y = 0 is seen where that depends on y."""

BIAS_LIMIT, COVERAGE_LIMIT, WIDTH_LIMIT = 0.035, 0.03, 10.0
DECISIVE = {(100, 1000): (0.012, 0.93)}
"""Limits of the bias and of the coverage where they are tighter."""


@dataclass(frozen=True)
class Setting:
    """A cell of the table: clusters, rows of each, correlation, law of the residuals."""

    J: int
    n: int
    rho: float
    law: str = "normal"

    @property
    def name(self) -> str:
        """Return the name that ``--only`` takes."""
        return f"{self.J}x{self.n}-{self.rho}" + ("" if self.law == "normal" else f"-{self.law}")


@dataclass(frozen=True)
class Method:
    """One way to impute y."""

    name: str
    role: str = "selection"
    """Role of x3."""

    options: Mapping[str, str] = field(default_factory=dict)
    most: float = np.inf
    """Rows of the largest data sets that are imputed with it."""


@dataclass(frozen=True)
class Study:
    """What one study has of its own."""

    settings: Sequence[Setting]
    methods: Mapping[str, Method]

    published: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    """Bias and coverage by 500 data sets of Munoz et al. (2023), by name of the setting."""

    fit: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None], Fits]
    """Analyse outcomes (m, n) by predictors (m, n, 3), clusters (n,) and rows (m, n) to use."""

    binary: bool = False
    """Whether y is seen as its sign only."""

    side_by_side: int = 200_000
    """Rows of the data sets that are imputed together."""


@dataclass(frozen=True)
class Data:
    """Data sets: predictors (R, n, 3), the outcome (R, n), where it is seen (R, n)."""

    x: np.ndarray
    y: np.ndarray
    seen: np.ndarray
    cluster: np.ndarray

    @property
    def design(self) -> np.ndarray:
        """(R, n, 3) predictors of the analysis."""
        return np.concatenate([np.ones((*self.y.shape, 1)), self.x[..., :2]], axis=2)


def simulate(setting: Setting, R: int, rng: np.random.Generator) -> Data:
    """Draw data sets of one setting."""
    J, n, rho = setting.J, setting.n, setting.rho
    cluster, shape = np.repeat(np.arange(J), n), (R, J * n)
    centre = rng.multivariate_normal([0, 0], [[0.2, 0.0015], [0.0015, 0.2]], R)[:, None]
    x = np.stack(
        [
            (rng.random(shape) < 0.6).astype(float),
            centre[..., 0] + rng.normal(size=shape),
            centre[..., 1] + 0.7 * rng.normal(size=shape),
        ],
        axis=2,
    )
    share = 0.4 * rho
    s = SD_EFFECT * rng.normal(size=(R, J, 3))
    o = share * s + SD_EFFECT * np.sqrt(1 - share**2) * rng.normal(size=(R, J, 3))
    s = np.concatenate([s, np.sqrt(0.2) * rng.normal(size=(R, J, 1))], axis=2)
    sigma = np.exp(0.05 * rng.normal(size=(R, J)))[:, cluster]
    d = rng.normal(size=shape)
    e = rho * d + np.sqrt(1 - rho**2) * rng.normal(size=shape)
    if setting.law == "skew-t":
        # Reflected where a normal variate exceeds the slanted sum, and divided by a chi.
        side = np.where(rng.normal(size=shape) < SLANT[0] * d + SLANT[1] * e, 1, -1)
        side = side / np.sqrt(rng.chisquare(DF, size=shape) / DF)
        d, e = side * d, side * e
    one = np.ones((*shape, 1))
    wide = np.concatenate([one, x], axis=2)
    y = np.einsum("rnk,rnk->rn", wide[..., :3], (BETA + o)[:, cluster]) + sigma * e
    r = np.einsum("rnk,rnk->rn", wide, (ALPHA + s)[:, cluster]) + d
    if setting.law == "skew-t":
        r = r + SKEW_SHIFT
    if setting.law == "explicit":
        r = y + EXPLICIT_SHIFT + rng.logistic(size=shape)
    return Data(x, y, (r > 0) & (cluster >= J // 5), cluster)


@dataclass(frozen=True)
class Result:
    """Estimates and intervals, (R, 3) each; deviations of effects (R, 3) and residual (R,)."""

    estimate: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    effects: np.ndarray
    sigma: np.ndarray

    @property
    def covered(self) -> np.ndarray:
        """(R, 3) whether the intervals hold the truth."""
        return (self.lower <= BETA) & (self.upper >= BETA)

    @property
    def width(self) -> np.ndarray:
        """(R, 3) widths of the intervals."""
        return self.upper - self.lower


def from_fits(fits: Fits) -> Result:
    """Return the result of single fits, with normal intervals."""
    half = stats.norm.ppf(0.975) * np.sqrt(fits.variance)
    deviations = np.sqrt(np.diagonal(fits.psi, axis1=1, axis2=2))
    return Result(fits.beta, fits.beta - half, fits.beta + half, deviations, np.sqrt(fits.sigma2))


def analyse(study: Study, method: Method, data: Data, seed: int) -> Result:
    """Impute data sets side by side, fit every completed one, pool."""
    names = ["x1", "x2", "x3"]
    frames = [
        pd.DataFrame(x, columns=names).assign(cluster=data.cluster, y=np.where(seen, y, np.nan))
        for x, y, seen in zip(data.x, data.y, data.seen, strict=True)
    ]
    results = jm.replicate(
        frames,
        M,
        {"y": method.name},
        cluster="cluster",
        roles={"y": {"x1": "random", "x2": "random", "x3": method.role}},
        options={"y": dict(method.options)},
        screen="off",
        seed=seed,
        precision="float64",
    )
    R, n = data.y.shape
    filled = np.repeat(data.y[:, None], M, axis=1)
    for one, result in zip(filled, results, strict=True):
        drawn = result.imp["y"]
        one[:, drawn.index.to_numpy()] = drawn.to_numpy(float).T
    design = np.repeat(data.design, M, axis=0)
    fits = study.fit(filled.reshape(R * M, n), design, data.cluster, None)
    shaped = [part.reshape(R, M, *part.shape[1:]).swapaxes(0, 1) for part in vars(fits).values()]
    beta, variance, psi, sigma2, _ = shaped
    pooled = pool_scalar(beta, variance, np.inf)
    deviations = np.sqrt(np.diagonal(psi, axis1=2, axis2=3)).mean(axis=0)
    return Result(pooled.estimate, *pooled.interval(), deviations, np.sqrt(sigma2).mean(axis=0))


def three(values: np.ndarray, digits: int) -> str:
    """Return the figures of the three coefficients."""
    return " / ".join(f"{value:.{digits}f}" for value in values)


def line(study: Study, name: str, result: Result, verdict: str) -> str:
    """Return one line of the table."""
    bias = result.estimate.mean(axis=0) - BETA
    cells = [
        name,
        three(bias, 3),
        three(result.estimate.std(axis=0) / np.sqrt(len(result.estimate)), 3),
        three(result.covered.mean(axis=0), 3),
        three(result.width.mean(axis=0), 2),
        three(result.effects.mean(axis=0), 3),
        *([] if study.binary else [f"{result.sigma.mean():.3f}"]),
        verdict,
    ]
    return f"| {' | '.join(cells)} |"


def judge(result: Result, complete: Result, setting: Setting) -> str:
    """Compare with the limits, allowing for three standard errors of the simulation."""
    if setting.law != "normal":
        return "no limit"
    R = len(result.estimate)
    limit, least = DECISIVE.get((setting.J, setting.n), (BIAS_LIMIT, None))
    # The complete data of the same draws take out what they share.
    paired = result.estimate - complete.estimate
    error = paired.std(axis=0) / np.sqrt(R)
    missed = []
    if (np.abs(paired.mean(axis=0)) - 3 * error > limit).any():
        missed.append("bias")
    lost = complete.covered.astype(float) - result.covered
    if (lost.mean(axis=0) - 3 * lost.std(axis=0) / np.sqrt(R) > COVERAGE_LIMIT).any():
        missed.append("coverage")
    if least and (result.covered.mean(axis=0) + 3 * np.sqrt(0.07 * 0.93 / R) < least).any():
        missed.append(f"coverage below {least}")
    if (result.width.max(axis=0) > WIDTH_LIMIT * np.median(result.width, axis=0)).any():
        missed.append("width of an interval")
    # Of no use with a binary outcome: 1 in all.
    sigma = result.sigma - complete.sigma
    if abs(sigma.mean()) - 3 * sigma.std() / np.sqrt(R) > 0.01:
        missed.append("residual deviation")
    return f"**missed: {', '.join(missed)}**" if missed else "kept"


def compare(study: Study, result: Result, setting: Setting) -> str:
    """Say whether bias and coverage are those published, within three standard errors of both."""
    if setting.name not in study.published:
        return "no limit"
    bias, coverage = map(np.array, study.published[setting.name])
    both = np.sqrt(1 / len(result.estimate) + 1 / REPLICATIONS)
    off = np.abs(result.estimate.mean(axis=0) - BETA - bias) > 3 * both * result.estimate.std(
        axis=0
    )
    short = np.abs(result.covered.mean(axis=0) - coverage) > 3 * both * np.sqrt(
        coverage * (1 - coverage)
    )
    others = [name for name, wrong in (("bias", off), ("coverage", short)) if wrong.any()]
    shown = f"published: {three(bias, 3)}, coverage {three(coverage, 3)}"
    return f"**other {' and '.join(others)}**; {shown}" if others else shown


def concatenate(parts: Sequence[Result]) -> Result:
    """Put the results of several batches together."""
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    return Result(*(np.concatenate(column) for column in columns))


def replicate(study: Study, setting: Setting, R: int, seed: Sequence[int]) -> dict[str, Result]:
    """Simulate some data sets and analyse them in every way."""
    data = simulate(setting, R, np.random.default_rng(seed))
    if study.binary:
        data = replace(data, y=(data.y > 0).astype(float))
    results = {
        "complete data": from_fits(study.fit(data.y, data.design, data.cluster, None)),
        "complete rows": from_fits(study.fit(data.y, data.design, data.cluster, data.seen)),
    }
    for name, method in study.methods.items():
        if setting.J * setting.n <= method.most:
            own = int(np.random.SeedSequence(seed).generate_state(1)[0] >> 1)
            results[name] = analyse(study, method, data, own)
    return results


def read_part(path: Path | None) -> tuple[dict[str, Result], float]:
    """Return the results of a file, and the seconds of processor time they took."""
    if path is None or not path.exists():
        return {}, 0.0
    kept = json.loads(path.read_text())
    found = {
        name: Result(**{field: np.array(values) for field, values in fields.items()})
        for name, fields in kept["results"].items()
    }
    return found, kept["seconds"]


def collect(
    study: Study, setting: Setting, replications: int, seed: Sequence[int], parts: Path | None
) -> tuple[dict[str, Result], float]:
    """Analyse data sets until there are enough, on from those in the folder of parts."""
    path = None if parts is None else parts / f"{setting.name}.json"
    found, seconds = read_part(path)
    size = max(1, study.side_by_side // (setting.J * setting.n))
    while (done := len(found["complete data"].estimate) if found else 0) < replications:
        began = time.process_time()
        more = replicate(study, setting, min(size, replications - done), (*seed, done))
        found = {
            name: concatenate([found[name], one] if found else [one]) for name, one in more.items()
        }
        seconds += time.process_time() - began
        if path is not None:
            fields = {
                name: {field: values.tolist() for field, values in vars(result).items()}
                for name, result in found.items()
            }
            path.parent.mkdir(parents=True, exist_ok=True)
            waiting = path.with_suffix(".new")
            waiting.write_text(json.dumps({"seconds": seconds, "results": fields}))
            waiting.replace(path)
    return found, seconds


def table(study: Study, setting: Setting, results: dict[str, Result], seconds: float) -> list[str]:
    """Return the table of one setting."""
    complete = results["complete data"]
    law = {"normal": "", "skew-t": ", skew-t residuals", "explicit": ", seen depending on y itself"}
    lines = [
        f"\n## {setting.J} clusters of {setting.n} rows, rho = {setting.rho}{law[setting.law]}\n",
        f"{len(complete.estimate)} data sets; {seconds:.0f} s of processor time "
        f"(`--only {setting.name}`).\n",
        "| | bias b0 / b1 / b2 | standard error | coverage | width | sd of effects (0.632) | "
        + ("|" if study.binary else "sd(e) (1) | |"),
        "|---" * (7 if study.binary else 8) + "|",
    ]
    for name, result in results.items():
        verdict = ""
        if "published" in name:
            verdict = compare(study, result, setting)
        elif "heckman" in name or ("random" in name and setting.rho == 0):
            verdict = judge(result, complete, setting)
        lines.append(line(study, name, result, verdict))
    return lines


def pages(
    study: Study, replications: int, seed: int, only: Sequence[str], parts: Path | None
) -> list[str]:
    """Run some settings, all by default, and return the tables of those that have results."""
    decisive = [DECISIVE.get((s.J, s.n)) for s in study.settings]
    tighter = [f" ({limit} with 100 clusters)" for limits in decisive for limit in limits or ()]
    tighter = tighter or ["", ""]
    residual = "" if study.binary else ", sd(e) within 0.01 of theirs"
    lines = [
        f"m = {M}; the number of data sets stands above every table, {REPLICATIONS} are meant. "
        "Settings without a table were not run. Limits of `2l.heckman` and of `2l.2stage.heckman`, "
        "where rho = 0 also of the method for values missing at random: "
        f"bias of every coefficient at most {BIAS_LIMIT}{tighter[0]}, coverage at most "
        f"{COVERAGE_LIMIT} below that of the complete data{tighter[1]}{residual}, all allowing "
        "for three standard errors of the simulation; no interval wider than "
        f"{WIDTH_LIMIT:.0f} times the median."
    ]
    for number, setting in enumerate(study.settings):
        wanted = replications if not only or setting.name in only else 0
        results, seconds = collect(study, setting, wanted, (seed, number), parts)
        if results:
            lines += table(study, setting, results, seconds)
    return lines
