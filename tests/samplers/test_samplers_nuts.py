"""A second opinion: NumPyro's NUTS on the same posteriors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from jaxmice.samplers import linear_mixed as lm, linear_mixed_by_cluster as lmc
from jaxmice.samplers.sums import make_sums
from tests.samplers.nuts import Draws, check_agreement, posterior
from tests.samplers.rows import ragged

pytestmark = pytest.mark.usefixtures("double_precision")

SIZES = SEEN = (6, 4, 8, 3, 5, 0, 1, 7, 4, 6, 5, 2, 9)
J = len(SIZES)
ROWS = ragged(SIZES, SEEN, 2, 1, seed=8, filled=(0, 0), n_shared=(2, 1))
HALF_T, BETA_PRECISION = 0.9, 0.25
SPREAD = (1.0, 0.0, 0.7, 2.0, 4.0, 4.0)
N_CHAINS, N_STEPS = 1_500, 200


def outcome() -> np.ndarray:
    rng = np.random.default_rng(3)
    b = rng.normal(size=(J, 2)) * [0.9, 0.5]
    sigma = rng.gamma(2, 1 / 2, J) ** -0.5
    mean = ROWS.X @ [0.5, -0.4, 0.3] + np.sum(ROWS.Z.T * b[ROWS.cluster], axis=1)
    return mean + sigma[ROWS.cluster] * rng.normal(size=len(ROWS.cluster))


def model(y: jax.Array, *, by_cluster: bool) -> None:
    """Write the model down once more."""
    beta: Any = numpyro.sample("beta", dist.Normal(0, BETA_PRECISION**-0.5).expand([3]).to_event(1))
    tau: Any = numpyro.sample("tau", dist.HalfNormal(1).mask(False).expand([2]).to_event(1))
    rho: Any = numpyro.sample("rho", dist.Uniform(-1, 1))
    # Huang and Wand's density of Psi, their mixing variables integrated out, in terms of
    # (tau, rho): deviations half-t, correlation uniform, but not independent of each other.
    rest = tau**2 * (1 - rho**2)
    log_prior = -3 * jnp.log(jnp.prod(tau) ** 2 * (1 - rho**2)) + 2 * jnp.sum(jnp.log(tau))
    numpyro.factor("psi", log_prior - 2 * jnp.sum(jnp.log(2 / rest + 1 / HALF_T**2)))
    z: Any = numpyro.sample("z", dist.Normal(0, 1).expand([2, J]).to_event(2))
    root = jnp.array([[1.0, 0.0], [0.0, 0.0]]).at[1, 0].set(rho).at[1, 1].set((1 - rho**2) ** 0.5)
    b = (tau[:, None] * root) @ z
    mean = jnp.asarray(ROWS.X) @ beta + jnp.sum(jnp.asarray(ROWS.Z).T * b.T[ROWS.cluster], axis=1)
    if by_cluster:
        log_a: Any = numpyro.sample("log_a", dist.Normal(SPREAD[2], SPREAD[3] ** -0.5))
        s0: Any = numpyro.sample("s0", dist.Gamma(SPREAD[4], SPREAD[5]))
        a = jnp.exp(log_a)
        precision: Any = numpyro.sample("precision", dist.Gamma(a, a * s0).expand([J]).to_event(1))
        sigma = precision[ROWS.cluster] ** -0.5
    else:
        sigma2: Any = numpyro.sample("sigma2", dist.InverseGamma(2.0, 1.5))
        sigma = jnp.sqrt(sigma2)
    numpyro.sample("y", dist.Normal(mean, sigma).to_event(1), obs=y)


def quantities(beta: Any, psi: Any, variance: Any) -> dict[str, np.ndarray]:
    """Return what is compared, one axis of draws at the end of a leading (chain, draw)."""
    out = {f"beta[{i}]": beta[..., i] for i in range(3)}
    for i, k in ((0, 0), (1, 1)):
        out[f"log psi[{i},{k}]"] = np.log(psi[..., i, k])
    out["correlation"] = psi[..., 0, 1] / np.sqrt(psi[..., 0, 0] * psi[..., 1, 1])
    return {name: np.asarray(value) for name, value in (out | variance).items()}


def of_sites(draws: Draws) -> Draws:
    """Return what is compared from NUTS draws."""
    tau, rho = draws["tau"], draws["rho"]
    correlation = np.eye(2) + rho[..., None, None] * (1 - np.eye(2))
    psi = tau[..., :, None] * correlation * tau[..., None, :]
    if "precision" in draws:
        variance = {"log_a": draws["log_a"], "log s0": np.log(draws["s0"])}
        variance |= {f"log precision[{j}]": np.log(draws["precision"][..., j]) for j in (5, 6, 12)}
    else:
        variance = {"log sigma2": np.log(draws["sigma2"])}
    return quantities(draws["beta"], psi, variance)


def by_gibbs(y: np.ndarray, *, by_cluster: bool) -> dict[str, np.ndarray]:
    """Return the last draws of many chains of the package: independent."""
    prior = lm.Prior(
        sigma2_df=jnp.asarray(4.0),
        sigma2_rate=jnp.asarray(3.0),
        beta_precision=jnp.full(3, BETA_PRECISION),
        psi_df=jnp.asarray(0.0),
        psi_scale=jnp.zeros((2, 2)),
        half_t=jnp.full(2, HALF_T),
    )

    @jax.jit
    def chains(keys: jax.Array) -> Any:
        sums = make_sums(ROWS.target(y), by_cluster=by_cluster)
        n_steps = jnp.asarray(N_STEPS)
        if by_cluster:
            spread = lmc.SpreadPrior(*map(jnp.asarray, SPREAD))
            start = lmc.start(sums)
            return jax.vmap(lambda key: lmc.run(key, start, sums, prior, spread, n_steps))(keys)
        start = lm.start(sums)
        return jax.vmap(lambda key: lm.run(key, start, sums, prior, n_steps))(keys)

    after = chains(jax.random.split(jax.random.key(2), N_CHAINS))
    root = np.asarray(after.root_psi)
    if by_cluster:
        precision = np.asarray(after.precision)
        variance = {"log_a": np.asarray(after.log_a), "log s0": np.log(np.asarray(after.s0))}
        variance |= {f"log precision[{j}]": np.log(precision[:, j]) for j in (5, 6, 12)}
    else:
        variance = {"log sigma2": np.log(np.asarray(after.sigma2))}
    return quantities(np.asarray(after.beta), root @ np.swapaxes(root, 1, 2), variance)


@pytest.mark.parametrize("by_cluster", [False, True])
def test_gibbs_and_nuts_agree(by_cluster: bool) -> None:
    """Means and variances of all parameters, an empty cluster and a single row included."""
    y = outcome()
    name = "linear_mixed_by_cluster" if by_cluster else "linear_mixed"
    theirs = posterior(name, model, of_sites, jnp.asarray(y), by_cluster=by_cluster)
    check_agreement(theirs, by_gibbs(y, by_cluster=by_cluster), moved="beta[0]")
