"""Bayesian analysis models of numpyro, on all completed data sets in one run of NUTS."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxmice.engine.precision import precision_scope
from jaxmice.errors import AnalysisError
from jaxmice.pooling import MixedDraws, mix_draws
from jaxmice.wording import warn_user


def analyze_numpyro(
    imp: Any,
    model: Callable[..., Any],
    data_fn: Callable[[Any], Mapping[str, Any]],
    *,
    num_samples: int = 1000,
    num_warmup: int = 1000,
    num_chains: int = 2,
    seed: int = 0,
) -> MixedDraws:
    """Draw from the posterior of a numpyro model given each completed data set.

    All imputations and chains run in one compiled program, and their draws are mixed.

    Parameters
    ----------
    imp
        Imputed data.
    model
        A numpyro model; its arguments are what ``data_fn`` returns.
    data_fn
        Takes a completed data frame and returns the arguments of the model by name. Arrays
        and columns may differ between imputations but not in shape; anything else, such as
        the number of clusters, must be the same in all.
    num_samples, num_warmup, num_chains
        Draws that are kept, draws before them, and chains, for each imputation.
    seed
        Seed. Imputation i draws the same whatever m is.

    Returns
    -------
    MixedDraws

    Raises
    ------
    AnalysisError
        E41 when the arguments differ in names, shapes or constants; E69 without numpyro.
    PoolError
        E64 for draws that are not finite.

    Warns
    -----
    JaxMiceWarning
        W25 when trajectories diverged, by imputation.

    References
    ----------
    Hoffman and Gelman 2014, Journal of Machine Learning Research 15, 1593-1623.

    Zhou and Reiter 2010, The American Statistician 64, 159-163: mixing the draws.

    Examples
    --------
    >>> import jaxmice as jm, numpyro, numpyro.distributions as dist
    >>> def model(y):
    ...     mu = numpyro.sample("mu", dist.Normal(5, 10))
    ...     numpyro.sample("y", dist.Normal(mu, 1), obs=y)
    >>> d = jm.datasets.load_popmis()[["popular", "sex"]]
    >>> imp = jm.mice(d, m=2, maxit=1, method="norm", seed=1)
    >>> draws = imp.analyze_numpyro(model, lambda d: {"y": d["popular"]}, num_chains=1)
    >>> draws.posterior["mu"].shape
    (2, 1000)
    """
    try:
        from numpyro.infer import MCMC, NUTS
    except ImportError as error:
        raise AnalysisError("E69", "this needs numpyro: pip install numpyro") from error
    arrays, constants = _stack([dict(data_fn(imp.complete(i))) for i in range(1, imp.m + 1)])

    def one(key: Any, given: dict[str, Any]) -> Any:
        mcmc = MCMC(
            NUTS(model),
            num_warmup=num_warmup,
            num_samples=num_samples,
            num_chains=num_chains,
            chain_method="vectorized",
            progress_bar=False,
        )
        mcmc.run(key, **given, **constants, extra_fields=("diverging",))
        return mcmc.get_samples(group_by_chain=True), mcmc.get_extra_fields()["diverging"]

    with precision_scope("float64"):
        first = jax.random.key(seed)
        keys = jax.vmap(lambda i: jax.random.fold_in(first, i))(np.arange(imp.m))
        draws, diverging = jax.device_get(jax.jit(jax.vmap(one))(keys, arrays))
    counts = diverging.reshape(imp.m, -1).sum(axis=1)
    if counts.any():
        listed = ", ".join(f"{i + 1} ({counts[i]})" for i in np.flatnonzero(counts))
        warn_user(
            f"W25: trajectories diverged in imputations {listed}; write the model with "
            "standardised random effects, or draw more"
        )
    return mix_draws([{name: values[i] for name, values in draws.items()} for i in range(imp.m)])


def _stack(parts: list[dict[str, Any]]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Divide arguments into arrays, stacked over imputations, and constants."""
    arrays, constants = {}, {}
    for name, value in parts[0].items():
        try:
            values = [part[name] for part in parts]
        except KeyError as error:
            raise AnalysisError(
                "E41", f"argument {name!r} is missing in some imputations"
            ) from error
        if not hasattr(value, "__array__"):
            if any(other != value for other in values):
                raise AnalysisError(
                    "E41", f"argument {name!r} differs between imputations; return it as an array"
                )
            constants[name] = value
            continue
        found = [np.asarray(other) for other in values]
        if found[0].dtype.kind not in "biuf":
            raise AnalysisError(
                "E41", f"argument {name!r} is not numeric; return the codes of categories"
            )
        if any(other.shape != found[0].shape for other in found):
            shapes = sorted({other.shape for other in found})
            raise AnalysisError(
                "E41", f"argument {name!r} has different shapes in the imputations: {shapes}"
            )
        arrays[name] = np.stack(found)
    return arrays, constants
