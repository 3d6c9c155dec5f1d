"""Second opinions: posteriors by NumPyro's NUTS of models written down once more.

They take longer than all chains of the package together and never change, so their moments
stand in ``nuts.json``, each beside the energy of its model at two points: a model, prior or
data that have changed since do not go unnoticed. To draw them anew, all or some::

    JAXMICE_NUTS=1 python -m pytest tests/samplers -k nuts
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro import handlers
from numpyro.diagnostics import effective_sample_size
from numpyro.distributions import biject_to
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import potential_energy
from scipy import stats

from tests.statistics import FALSE_ALARM_RATE, bonferroni

STORE = Path(__file__).with_suffix(".json")
RENEW = "JAXMICE_NUTS"

Draws = dict[str, np.ndarray]


class Moments(NamedTuple):
    """Of one quantity, each with its Monte Carlo error."""

    mean: float
    mean_error: float
    variance: float
    variance_error: float


def moments(draws: np.ndarray) -> Moments:
    """Return moments of chains, (chain, draw), or of independent draws."""
    square = (draws - draws.mean()) ** 2
    out = []
    for values in (draws, square):
        n = values.size if values.ndim == 1 else float(effective_sample_size(values))
        out += [float(values.mean()), float(np.sqrt(values.var() / n))]
    return Moments(*out)


def pvalues(one: Moments, other: Moments) -> list[float]:
    """Return p-values of "means are the same" and "variances are the same"."""
    errors = np.hypot(one[1::2], other[1::2])
    return list(2 * stats.norm.sf(np.abs(np.subtract(one[::2], other[::2])) / errors))


def check_agreement(
    theirs: Mapping[str, Moments], draws: Draws, moved: str, shift: float = 0.25
) -> None:
    """Compare means and variances with those of independent draws, in their Monte Carlo errors.

    The comparison can fail: ``shift`` standard deviations of the quantity ``moved`` are seen.
    """
    ours = {name: moments(np.asarray(draws[name])) for name in theirs}
    found = {name: pvalues(theirs[name], ours[name]) for name in theirs}
    assert bonferroni(found.values()) > FALSE_ALARM_RATE, found
    there = theirs[moved]
    wrong = there._replace(mean=there.mean + shift * np.sqrt(there.variance))
    assert pvalues(wrong, ours[moved])[0] < FALSE_ALARM_RATE


def sample(
    model: Callable[..., None],
    *data: Any,
    seed: int = 1,
    n_warmup: int = 500,
    n_draws: int = 2_000,
    **which: Any,
) -> Draws:
    """Return NUTS draws of every site, (chain, draw, ...)."""
    mcmc = MCMC(
        NUTS(model, target_accept_prob=0.9),
        num_warmup=n_warmup,
        num_samples=n_draws,
        num_chains=4,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.key(seed), *data, **which)
    return {k: np.asarray(v) for k, v in mcmc.get_samples(group_by_chain=True).items()}


def energies(model: Callable[..., None], *data: Any, **which: Any) -> list[float]:
    """Return minus the log density at two points, which tells models and data apart."""
    sites = handlers.trace(handlers.seed(model, jax.random.key(0))).get_trace(*data, **which)
    free = {
        name: jax.eval_shape(biject_to(site["fn"].support).inv, site["value"]).shape
        for name, site in sites.items()
        if site["type"] == "sample" and not site["is_observed"]
    }

    @jax.jit
    def energy(start: jax.Array) -> jax.Array:
        point, at = {}, start
        for name, shape in free.items():
            size = int(np.prod(shape))
            point[name] = jnp.sin(at + jnp.arange(size)).reshape(shape) / 2
            at += size
        return potential_energy(model, data, which, point)

    return [float(energy(jnp.asarray(start))) for start in (0.0, 0.5)]


def posterior(
    name: str,
    model: Callable[..., None],
    quantities: Callable[[Draws], Draws],
    *data: Any,
    **which: Any,
) -> dict[str, Moments]:
    """Return the stored moments of a model's posterior.

    Parameters
    ----------
    name
        Of the posterior in the store.
    model
        What NumPyro samples, called with ``data`` and ``which``.
    quantities
        What is compared, from the draws of all sites, (chain, draw) each.
    """
    found = energies(model, *data, **which)
    store = json.loads(STORE.read_text())
    if os.environ.get(RENEW):
        drawn = quantities(sample(model, *data, **which))
        store[name] = {
            "numpyro": numpyro.__version__,
            "energies": found,
            "moments": {quantity: moments(draws) for quantity, draws in drawn.items()},
        }
        STORE.write_text(json.dumps(dict(sorted(store.items())), indent=1) + "\n")
    stored = store[name]
    # Single digits may depend on the machine.
    changed = f"the model or data of {name!r} have changed: draw anew with {RENEW}=1"
    np.testing.assert_allclose(found, stored["energies"], rtol=1e-8, err_msg=changed)
    return {quantity: Moments(*values) for quantity, values in stored["moments"].items()}
