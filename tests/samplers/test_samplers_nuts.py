"""A second opinion: NumPyro's NUTS on the same posteriors."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import MCMC, NUTS
from scipy import stats

from jaxmice.samplers import linear_mixed as lm, linear_mixed_by_cluster as lmc
from jaxmice.samplers.sums import make_sums
from tests.samplers.rows import Rows, ragged
from tests.statistics import FALSE_ALARM_RATE, bonferroni

pytestmark = pytest.mark.usefixtures("double_precision")

SIZES = SEEN = (6, 4, 8, 3, 5, 0, 1, 7, 4, 6, 5, 2, 9)
J = len(SIZES)
ROWS = ragged(SIZES, SEEN, 2, 1, seed=8, filled=(0, 0), n_shared=(2, 1))
HALF_T, BETA_PRECISION = 0.9, 0.25
SPREAD = (1.0, 0.0, 0.7, 2.0, 4.0, 4.0)
N_CHAINS, N_STEPS = 4_000, 300
N_WARMUP, N_DRAWS, N_NUTS = 500, 2_000, 2


def outcome() -> np.ndarray:
    rng = np.random.default_rng(3)
    b = rng.normal(size=(J, 2)) * [0.9, 0.5]
    sigma = rng.gamma(2, 1 / 2, J) ** -0.5
    mean = ROWS.X @ [0.5, -0.4, 0.3] + np.sum(ROWS.Z.T * b[ROWS.cluster], axis=1)
    return mean + sigma[ROWS.cluster] * rng.normal(size=len(ROWS.cluster))


def model(y: jax.Array, *, by_cluster: bool) -> None:
    """Write the model down once more: half-t deviations and a uniform correlation."""
    beta = numpyro.sample("beta", dist.Normal(0, BETA_PRECISION**-0.5).expand([3]).to_event(1))
    tau = numpyro.sample(
        "tau",
        dist.TransformedDistribution(
            dist.StudentT(2.0, 0.0, 1.0).expand([2]), dist.transforms.AbsTransform()
        ).to_event(1)
        if False
        else dist.ImproperUniform(dist.constraints.positive, (), (2,)),
    )
    numpyro.factor("half-t", jnp.sum(dist.StudentT(2.0, 0.0, HALF_T).log_prob(tau)))
    rho = numpyro.sample("rho", dist.Uniform(-1, 1))
    z = numpyro.sample("z", dist.Normal(0, 1).expand([2, J]).to_event(2))
    root = jnp.array([[1.0, 0.0], [0.0, 0.0]]).at[1, 0].set(rho).at[1, 1].set((1 - rho**2) ** 0.5)
    b = (tau[:, None] * root) @ z
    mean = jnp.asarray(ROWS.X) @ beta + jnp.sum(jnp.asarray(ROWS.Z).T * b.T[ROWS.cluster], axis=1)
    if by_cluster:
        log_a = numpyro.sample("log_a", dist.Normal(SPREAD[2], SPREAD[3] ** -0.5))
        s0 = numpyro.sample("s0", dist.Gamma(SPREAD[4], SPREAD[5]))
        a = jnp.exp(log_a)
        precision = numpyro.sample("precision", dist.Gamma(a, a * s0).expand([J]).to_event(1))
        sigma = precision[ROWS.cluster] ** -0.5
    else:
        sigma2 = numpyro.sample("sigma2", dist.InverseGamma(2.0, 1.5))
        sigma = jnp.sqrt(sigma2)
    numpyro.sample("y", dist.Normal(mean, sigma).to_event(1), obs=y)
