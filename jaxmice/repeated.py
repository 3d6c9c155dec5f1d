"""Imputing more than once: until there are enough imputations, or for bootstrap samples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxmice.errors import DataError, PoolError
from jaxmice.imputed import ImputedData
from jaxmice.mice import mice
from jaxmice.model import ImputationModel, Suggestion
from jaxmice.pooling import ImputationsNeeded, PooledResults, how_many_imputations, pool
from jaxmice.wording import is_whole

Numbers = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class TwoStage:
    """Imputations of both stages together.

    Attributes
    ----------
    imp
        All imputations.
    pooled
        Pooled results of all.
    plan
        How many the pilot asked for.
    """

    imp: ImputedData
    pooled: PooledResults
    plan: ImputationsNeeded

    def __repr__(self) -> str:
        return f"{self.plan}\n\n{self.pooled}"


def two_stage(
    data: pd.DataFrame | None,
    spec: ImputationModel | Mapping[str, Any],
    analysis: str | Callable[[Any], Any],
    m_pilot: int = 20,
    cv: float = 0.05,
    seed: Any = None,
    **options: Any,
) -> TwoStage:
    """Impute a pilot, find out how many imputations are needed, and make the rest.

    Parameters
    ----------
    data
        Data with holes; None with a model of `setup`, which has its own.
    spec
        A model of `setup`, or arguments of `mice` such as ``{"cluster": "school"}``.
    analysis
        Formula or function for `analyze`.
    m_pilot
        Imputations of the pilot.
    cv
        Coefficient of variation of standard errors that is acceptable, see
        `how_many_imputations`.
    seed
        As for `mice`.
    **options
        Further arguments of `analyze`.

    Returns
    -------
    TwoStage
        The imputations are those that one run of all of them would have given.

    References
    ----------
    P. von Hippel, 2020, How many imputations do you need? A two-stage calculation using a
    quadratic rule.
    """
    if not is_whole(m_pilot, 2):
        raise DataError("E09", f"m_pilot must be 2 or more, got {m_pilot!r}")
    if not 0 < cv < np.inf:
        raise PoolError("E64", f"cv must be positive, got {cv!r}")
    if isinstance(spec, Suggestion):
        spec = spec.model
    given = {"model": spec} if isinstance(spec, ImputationModel) else dict(spec)
    imp = mice(data, **(given | {"m": m_pilot} | ({} if seed is None else {"seed": seed})))
    pooled = pool(imp.analyze(analysis, **options))
    plan = how_many_imputations(pooled, cv)
    assert isinstance(plan, ImputationsNeeded)
    if not plan.enough:
        imp = imp.add_imputations(plan.m - imp.m)
        pooled = pool(imp.analyze(analysis, **options))
    return TwoStage(imp, pooled, plan)


def boot_mi(
    data: pd.DataFrame,
    B: int,
    impute: Callable[[list[pd.DataFrame]], Sequence[ImputedData]],
    analyze: str | Callable[[Any], Any],
    *,
    cluster: str | None = None,
    seed: int | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Bootstrap, impute every bootstrap sample, and pool without Rubin's rules.

    Valid also where the imputation and the analysis model are uncongenial or misspecified.

    Parameters
    ----------
    data
        Data with holes.
    B
        Bootstrap samples, at least 2; 200 or more for intervals.
    impute
        Takes the B samples and returns their imputations, at least two of each: for instance
        ``lambda frames: jm.replicate(frames, m=2, cluster="school")``.
    analyze
        Formula or function for `analyze`.
    cluster
        Cluster column: whole clusters are drawn, and each draw is a cluster of its own. Rows
        without it.
    seed
        Of the bootstrap.
    level
        Level of the intervals.

    Returns
    -------
    pandas.DataFrame
        ``term, estimate, std.error, df, conf.low, conf.high``.

    Raises
    ------
    PoolError
        E64, for fewer than 2 samples or imputations.

    References
    ----------
    P. von Hippel and J. Bartlett, 2021, Maximum likelihood multiple imputation: faster
    imputations and consistent standard errors without posterior draws, section 4.2.
    """
    if not 0 < level < 1:
        raise PoolError("E64", f"level must lie between 0 and 1, got {level!r}")
    if seed is not None and not is_whole(seed):
        raise PoolError("E64", f"seed must be a whole number from 0 on, got {seed!r}")
    if B < 2:
        raise PoolError("E64", f"boot_mi() needs at least 2 bootstrap samples, got {B}")
    if cluster is not None and cluster not in data:
        raise DataError("E12", f"cluster {cluster!r} not found")
    rng = np.random.default_rng(seed)
    imputed = impute([_resample(data, cluster, rng) for _ in range(B)])
    stacks = [imp.analyze(analyze).stack for imp in imputed]
    estimates = np.stack([stack.params for stack in stacks])
    if estimates.shape[1] < 2:
        raise PoolError("E64", "impute every bootstrap sample at least twice")
    mean, variance, df = _von_hippel_bartlett(estimates)
    from scipy import special

    half = special.stdtrit(df, 0.5 + level / 2) * np.sqrt(variance)
    return pd.DataFrame(
        {
            "term": stacks[0].terms,
            "estimate": mean,
            "std.error": np.sqrt(variance),
            "df": df,
            "conf.low": mean - half,
            "conf.high": mean + half,
        }
    )


def _resample(data: pd.DataFrame, cluster: str | None, rng: np.random.Generator) -> pd.DataFrame:
    if cluster is None:
        return data.iloc[rng.integers(len(data), size=len(data))].reset_index(drop=True)
    codes, ids = pd.factorize(data[cluster])
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(ids) + 1))
    picked = rng.integers(len(ids), size=len(ids))
    rows = [order[starts[j] : starts[j + 1]] for j in picked]
    out = data.iloc[np.concatenate(rows)].reset_index(drop=True)
    return out.assign(**{cluster: np.repeat(np.arange(len(ids)), [len(r) for r in rows])})


def _von_hippel_bartlett(estimates: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Return mean, variance and degrees of freedom of estimates (B, m, k)."""
    B, m, _ = estimates.shape
    centres = estimates.mean(axis=1)
    between = m * centres.var(axis=0, ddof=1)
    within = estimates.var(axis=1, ddof=1).mean(axis=0)
    share = (B + 1) / (B * m)
    # The variance between samples beyond the noise of imputation is not negative.
    beyond = np.maximum(between - within, 0) / m
    variance = (1 + 1 / B) * beyond + within / (B * m)
    spread = (share * between) ** 2 / (B - 1) + (within / m) ** 2 / (B * (m - 1))
    return centres.mean(axis=0), variance, np.maximum(variance**2 / spread, 3.0)
