"""Posteriors of completed data sets, mixed into one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxmice.errors import PoolError

Numbers = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class MixedDraws:
    """Draws of all completed data sets, the same number of each.

    Attributes
    ----------
    posterior
        By parameter: (m times chains, draws, ...).
    imputation
        Which imputation each of the chains belongs to, from 1 (m times chains,).
    """

    posterior: dict[str, Numbers]
    imputation: NDArray[np.integer]

    def summary(self, level: float = 0.95) -> pd.DataFrame:
        """Summarise every scalar parameter.

        Parameters
        ----------
        level
            Probability of the interval between two quantiles.

        Returns
        -------
        pandas.DataFrame
            ``term, mean, sd, low, high, rhat_within, ess_within, between``: convergence is
            judged inside imputations (the largest R-hat and the smallest effective sample
            size of any), since posteriors rightly differ between them; ``between`` is the
            share of the posterior variance that lies between imputations.

        Raises
        ------
        PoolError
            E65 for an impossible level; E69 when numpyro, which has the diagnostics, is
            missing.
        """
        if not 0 < level < 1:
            raise PoolError("E65", f"level must be between 0 and 1, got {level!r}")
        rows = []
        for name, draws in self.posterior.items():
            flat = draws.reshape(*draws.shape[:2], -1)
            places = list(np.ndindex(draws.shape[2:]))
            for place, values in zip(places, np.moveaxis(flat, -1, 0), strict=True):
                label = f"{name}[{','.join(map(str, place))}]" if place else name
                rows.append({"term": label, **self._row(values, level)})
        return pd.DataFrame(rows)

    def _row(self, values: Numbers, level: float) -> dict[str, float]:
        sets = [values[self.imputation == i] for i in np.unique(self.imputation)]
        low, high = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2])
        checked = [_diagnostics(part) for part in sets]
        total = values.var()
        return {
            "mean": float(values.mean()),
            "sd": float(values.std(ddof=1)),
            "low": float(low),
            "high": float(high),
            "rhat_within": max(rhat for rhat, _ in checked),
            "ess_within": min(size for _, size in checked),
            "between": float(np.var([part.mean() for part in sets]) / total) if total else 0.0,
        }

    def to_inference_data(self) -> Any:
        """Return the draws for ArviZ, chains labelled by a coordinate ``imputation``."""
        import warnings

        with warnings.catch_warnings():
            # ArviZ announces its future when it is imported.
            warnings.simplefilter("ignore", FutureWarning)
            try:
                import arviz
            except ImportError as error:
                raise PoolError("E69", "this needs arviz: pip install arviz") from error
        data = arviz.from_dict(posterior=self.posterior)
        data.posterior = data.posterior.assign_coords(imputation=("chain", self.imputation))
        return data

    def __repr__(self) -> str:
        return self.summary().to_string(index=False, float_format=lambda x: f"{x:.4g}")


def mix_draws(posteriors: Sequence[Any], draws_per: int | None = None) -> MixedDraws:
    """Mix the posteriors of Bayesian analyses of the completed data sets.

    Parameters
    ----------
    posteriors
        One per imputation: a dict of draws, (draws,), (chains, draws) for scalars and
        (chains, draws, ...) for arrays; an MCMC object of numpyro; or an object of ArviZ.
    draws_per
        Draws to take of each chain, evenly spaced; by default as many as the shortest has.

    Returns
    -------
    MixedDraws

    Raises
    ------
    PoolError
        E64, when the posteriors have different parameters, chains or shapes, draws that are
        not finite, or fewer draws than asked for.

    References
    ----------
    Gelman, Carlin, Stern, Dunson, Vehtari and Rubin 2013, Bayesian Data Analysis, section
    18.2: mixing approximates the posterior averaged over the missing values.

    Examples
    --------
    >>> import numpy as np
    >>> from jaxmice.pooling import mix_draws
    >>> rng = np.random.default_rng(1)
    >>> mixed = mix_draws([{"mu": rng.normal(shift, 1, (2, 50))} for shift in (0, 0.5, 1)])
    >>> mixed.posterior["mu"].shape
    (6, 50)
    """
    if not len(posteriors):
        raise PoolError("E64", "mix_draws() needs at least one posterior")
    parts = [_by_chain(posterior) for posterior in posteriors]
    first = parts[0]
    for number, part in enumerate(parts, 1):
        same = part.keys() == first.keys() and all(
            part[k].shape[0] == first[k].shape[0] and part[k].shape[2:] == first[k].shape[2:]
            for k in part
        )
        if not same:
            raise PoolError(
                "E64", f"posterior {number} has other parameters, chains or shapes than the first"
            )
        broken = [name for name, draws in part.items() if not np.isfinite(draws).all()]
        if broken:
            raise PoolError("E64", f"posterior {number}: draws of {', '.join(broken)} not finite")
    shortest = min(draws.shape[1] for part in parts for draws in part.values())
    count = shortest if draws_per is None else draws_per
    if not 1 <= count <= shortest:
        raise PoolError("E64", f"draws_per must be between 1 and {shortest}, got {draws_per}")

    def thin(draws: Numbers) -> Numbers:
        return draws[:, np.arange(count) * draws.shape[1] // count]

    mixed = {name: np.concatenate([thin(part[name]) for part in parts]) for name in first}
    chains = next(iter(first.values())).shape[0]
    return MixedDraws(mixed, np.repeat(np.arange(1, len(parts) + 1), chains))


def _by_chain(posterior: Any) -> dict[str, Numbers]:
    """Return draws by parameter, (chains, draws, ...)."""
    if hasattr(posterior, "get_samples"):
        posterior = posterior.get_samples(group_by_chain=True)
    elif hasattr(posterior, "posterior"):
        posterior = {str(k): v.values for k, v in posterior.posterior.data_vars.items()}
    if not isinstance(posterior, Mapping) or not posterior:
        raise PoolError(
            "E64",
            f"cannot read draws from {type(posterior).__name__}; pass a dict of arrays (chains, "
            "draws, ...)",
        )
    out = {str(k): np.asarray(v, dtype=np.float64) for k, v in posterior.items()}
    return {k: v[None] if v.ndim == 1 else v for k, v in out.items()}


def _diagnostics(values: Numbers) -> tuple[float, float]:
    """Return R-hat and effective sample size of the chains (chains, draws)."""
    try:
        from numpyro.diagnostics import effective_sample_size, split_gelman_rubin
    except ImportError as error:
        raise PoolError("E69", "this needs numpyro: pip install numpyro") from error
    if values.shape[1] < 4:
        raise PoolError("E64", f"{values.shape[1]} draws are too few to judge convergence")
    if np.ptp(values) == 0:
        return 1.0, float(values.size)
    return float(split_gelman_rubin(values)), float(effective_sample_size(values))
