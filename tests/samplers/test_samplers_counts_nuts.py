"""A second opinion on counts: NumPyro's NUTS on the same posteriors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from jaxmice.samplers import linear_mixed as lm, poisson_mixed as pm
from tests.samplers.nuts import Draws, check_agreement, posterior
from tests.samplers.rows import ragged

pytestmark = pytest.mark.usefixtures("double_precision")

SIZES = SEEN = (6, 4, 8, 3, 5, 0, 1, 7, 4, 6, 5, 2, 9)
J = len(SIZES)
ROWS = ragged(SIZES, SEEN, 2, 1, seed=8, filled=(0, 0), n_shared=(2, 1))
HALF_T, BETA_SD = 0.9, 2.0
N_CHAINS, N_STEPS = 1_000, 100


def outcome(*, overdispersed: bool) -> np.ndarray:
    rng = np.random.default_rng(3)
    b = rng.normal(size=(J, 2)) * [0.7, 0.4]
    mean = np.exp(ROWS.X @ [0.8, -0.3, 0.3] + np.sum(ROWS.Z.T * b[ROWS.cluster], axis=1))
    if overdispersed:
        mean = mean * rng.gamma(2, 1 / 2, len(mean))
    return rng.poisson(mean).astype(float)


def model(y: jax.Array, *, overdispersed: bool) -> None:
    """Write the model down once more."""
    beta: Any = numpyro.sample("beta", dist.Normal(0, BETA_SD).expand([3]).to_event(1))
    tau: Any = numpyro.sample("tau", dist.HalfNormal(1).mask(False).expand([2]).to_event(1))
    rho: Any = numpyro.sample("rho", dist.Uniform(-1, 1))
    # The density of Huang and Wand in terms of deviations and the correlation.
    rest = tau**2 * (1 - rho**2)
    log_prior = -3 * jnp.log(jnp.prod(tau) ** 2 * (1 - rho**2)) + 2 * jnp.sum(jnp.log(tau))
    numpyro.factor("psi", log_prior - 2 * jnp.sum(jnp.log(2 / rest + 1 / HALF_T**2)))
    z: Any = numpyro.sample("z", dist.Normal(0, 1).expand([2, J]).to_event(2))
    root = jnp.array([[1.0, 0.0], [0.0, 0.0]]).at[1, 0].set(rho).at[1, 1].set((1 - rho**2) ** 0.5)
    b = (tau[:, None] * root) @ z
    eta = jnp.asarray(ROWS.X) @ beta + jnp.sum(jnp.asarray(ROWS.Z).T * b.T[ROWS.cluster], axis=1)
    if overdispersed:
        log_size: Any = numpyro.sample("log_size", dist.Normal(pm.LOG_SIZE_MEAN, pm.LOG_SIZE_SD))
        law: Any = dist.NegativeBinomial2(jnp.exp(eta), jnp.exp(log_size))
    else:
        law = dist.Poisson(jnp.exp(eta))
    numpyro.sample("y", law.to_event(1), obs=y)


def of_sites(draws: Draws) -> Draws:
    """Return what is compared from NUTS draws."""
    out = {f"beta[{i}]": draws["beta"][..., i] for i in range(3)}
    out |= {f"log psi[{i}]": 2 * np.log(draws["tau"][..., i]) for i in range(2)}
    out["correlation"] = draws["rho"]
    return out | ({"log size": draws["log_size"]} if "log_size" in draws else {})


def by_metropolis(y: np.ndarray, *, overdispersed: bool) -> dict[str, np.ndarray]:
    """Return the last draws of many chains of the package, as many steps as a first visit."""
    zero = jnp.zeros(())
    prior = lm.Prior(zero, zero, jnp.full(3, BETA_SD**-2), zero, jnp.zeros((2, 2)))
    prior = lm.Prior(**{**vars(prior), "half_t": jnp.full(2, HALF_T)})

    @jax.jit
    def chains(keys: jax.Array) -> pm.Parameters:
        counts = pm.read(ROWS.target(y), overdispersed=overdispersed)
        start = pm.start(counts, overdispersed=overdispersed)
        n_steps = jnp.asarray(N_STEPS)
        return jax.vmap(lambda key: pm.run(key, start, counts, prior, n_steps))(keys)

    after = chains(jax.random.split(jax.random.key(2), N_CHAINS))
    root = np.asarray(after.root_psi)
    psi = root @ np.swapaxes(root, 1, 2)
    out = {f"beta[{i}]": np.asarray(after.beta)[:, i] for i in range(3)}
    out |= {f"log psi[{i}]": np.log(psi[:, i, i]) for i in range(2)}
    out["correlation"] = psi[:, 0, 1] / np.sqrt(psi[:, 0, 0] * psi[:, 1, 1])
    return out | ({"log size": np.asarray(after.log_size)} if overdispersed else {})


@pytest.mark.parametrize("overdispersed", [False, True])
def test_metropolis_and_nuts_agree_on_counts(overdispersed: bool) -> None:
    """Means and variances of all parameters, an empty cluster and a single row included."""
    y = outcome(overdispersed=overdispersed)
    name = "negative_binomial" if overdispersed else "poisson_mixed"
    theirs = posterior(name, model, of_sites, jnp.asarray(y), overdispersed=overdispersed)
    check_agreement(theirs, by_metropolis(y, overdispersed=overdispersed), "beta[0]", shift=0.5)
