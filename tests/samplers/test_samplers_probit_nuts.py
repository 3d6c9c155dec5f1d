"""A second opinion on the probit regressions: NumPyro's NUTS on the same posteriors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from jaxmice.samplers import latent, linear_mixed as lm, ordinal_mixed as om, probit_mixed as pm
from jaxmice.samplers.sums import make_sums
from tests.samplers.nuts import RENEW, Draws, check_agreement, moments, posterior, pvalues, sample
from tests.samplers.rows import ragged
from tests.statistics import FALSE_ALARM_RATE, bonferroni

pytestmark = pytest.mark.usefixtures("double_precision")

SIZES = SEEN = (6, 4, 8, 3, 5, 0, 1, 7, 4, 6)
J = len(SIZES)
ROWS = ragged(SIZES, SEEN, 1, 1, seed=9, filled=(0, 0), n_shared=(1, 1))
HALF_T, BETA_PRECISION = 0.9, 0.25
N_CHAINS, N_STEPS = 1_000, 150


def outcome(n_categories: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    g = ROWS.X @ [0.4, 0.8] + rng.normal(size=J)[ROWS.cluster]
    return np.digitize(g + rng.normal(size=len(g)), [0, 0.9][: n_categories - 1]).astype(float)


def model(y: jax.Array, n_categories: int) -> None:
    """Write the model down once more, without latent variables."""
    beta: Any = numpyro.sample("beta", dist.Normal(0, BETA_PRECISION**-0.5).expand([2]).to_event(1))
    # A half-t deviation with two degrees of freedom, as a density.
    tau: Any = numpyro.sample("tau", dist.HalfNormal(1).mask(False))
    numpyro.factor("half-t", -1.5 * jnp.log(1 + tau**2 / (2 * HALF_T**2)))
    z: Any = numpyro.sample("z", dist.Normal(0, 1).expand([J]).to_event(1))
    eta = jnp.asarray(ROWS.X) @ beta + tau * z[ROWS.cluster]
    if n_categories == 2:
        numpyro.factor("y", jnp.sum(jax.scipy.special.log_ndtr((2 * y - 1) * eta)))
        return
    log_width: Any = numpyro.sample("log_width", dist.Normal(0, om.WIDTH_DEVIATION))
    ndtr = jax.scipy.special.ndtr
    low, high = ndtr(-eta), ndtr(jnp.exp(log_width) - eta)
    chance = jnp.stack([low, high - low, 1 - high])[y.astype(int), jnp.arange(len(y))]
    numpyro.factor("y", jnp.sum(jnp.log(jnp.maximum(chance, 1e-300))))


def of_sites(draws: Draws) -> Draws:
    """Return what is compared from NUTS draws."""
    out = {f"beta[{i}]": draws["beta"][..., i] for i in range(2)}
    out["log tau"] = np.log(draws["tau"])
    out |= {f"b[{j}]": draws["tau"] * draws["z"][..., j] for j in (2, 5, 6)}
    return out | ({"log width": draws["log_width"]} if "log_width" in draws else {})


def by_gibbs(y: np.ndarray, n_categories: int) -> dict[str, np.ndarray]:
    """Return the last draws of many chains of the package: independent."""
    zero = jnp.asarray(0.0)
    prior = lm.Prior(
        sigma2_df=zero,
        sigma2_rate=zero,
        beta_precision=jnp.full(2, BETA_PRECISION),
        psi_df=zero,
        psi_scale=jnp.zeros((1, 1)),
        half_t=jnp.full(1, HALF_T),
    )

    @jax.jit
    def chains(keys: jax.Array) -> tuple[latent.Regression, jax.Array]:
        target = ROWS.target(y)
        sums, n_steps = make_sums(target, by_cluster=False), jnp.asarray(N_STEPS)
        if n_categories == 2:
            begin = latent.start(sums)
            run = jax.vmap(lambda key: pm.run(key, begin, target, sums, prior, n_steps))
            return run(keys), jnp.zeros((N_CHAINS, 3))
        categories = om.read_categories(target, n_categories)
        start = om.start(sums, categories)
        after = jax.vmap(lambda key: om.run(key, start, target, sums, prior, categories, n_steps))(
            keys
        )
        return after.regression, after.log_width

    after, log_width = chains(jax.random.split(jax.random.key(2), N_CHAINS))
    out = {f"beta[{i}]": np.asarray(after.beta)[:, i] for i in range(2)}
    out["log tau"] = np.log(np.asarray(after.root_psi)[:, 0, 0])
    out |= {f"b[{j}]": np.asarray(after.b)[:, 0, j] for j in (2, 5, 6)}
    return out | {"log width": np.asarray(log_width)[:, 1]}


@pytest.mark.parametrize("n_categories", [2, 3])
def test_gibbs_and_nuts_agree(n_categories: int) -> None:
    """Means and variances of all parameters, an empty cluster and a single row included."""
    y = outcome(n_categories)
    name = "probit_mixed" if n_categories == 2 else "ordinal_mixed"
    theirs = posterior(name, model, of_sites, jnp.asarray(y), n_categories=n_categories)
    check_agreement(theirs, by_gibbs(y, n_categories), moved="beta[1]")


def test_stored_posteriors_are_what_nuts_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two categories once more, with another seed."""
    monkeypatch.delenv(RENEW, raising=False)
    y = outcome(2)
    stored = posterior("probit_mixed", model, of_sites, jnp.asarray(y), n_categories=2)
    again = sample(model, jnp.asarray(y), n_categories=2, seed=2, n_warmup=300, n_draws=500)
    draws = of_sites(again)
    found = {name: pvalues(stored[name], moments(values)) for name, values in draws.items()}
    assert bonferroni(found.values()) > FALSE_ALARM_RATE, found
    # Another outcome is another model.
    with pytest.raises(AssertionError, match="have changed"):
        posterior("probit_mixed", model, of_sites, jnp.asarray(1 - y), n_categories=2)
