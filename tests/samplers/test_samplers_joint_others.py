"""Second and third opinions on the multivariate model: NumPyro's NUTS and R's pan."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

from jaxmice.methods.pan import Pan
from jaxmice.samplers import joint_normal as jn
from tests.samplers.joint_rows import joint_target
from tests.samplers.nuts import Draws, check_agreement, posterior
from tests.samplers.rows import Rows
from tests.statistics import FALSE_ALARM_RATE, bonferroni

pytestmark = pytest.mark.usefixtures("double_precision")

N_CHAINS, N_STEPS = 3_000, 120
J = 15

R_PAN = {
    "beta[0,0]": (0.0634, 0.2596, 0.0025),
    "beta[0,1]": (-0.3899, 0.2814, 0.0031),
    "beta[1,0]": (0.4200, 0.1746, 0.0012),
    "beta[1,1]": (-0.4357, 0.1606, 0.0011),
    "sigma[0,0]": (1.0011, 0.2626, 0.0017),
    "sigma[0,1]": (0.4573, 0.2055, 0.0020),
    "sigma[1,1]": (0.7985, 0.2105, 0.0017),
    "psi[0,0]": (0.6657, 0.4060, 0.0029),
    "psi[0,1]": (0.4509, 0.3571, 0.0029),
    "psi[1,1]": (0.8560, 0.4881, 0.0039),
}
"""Posterior means, deviations and errors of the means on the data of `make_data`: package
pan 1.6 under R 4.2, ``pan(y, subj, cbind(1, x), xcol=1:2, zcol=1, prior, seed=91,
iter=60000)`` with a = c = 2 and unit scales, the first 2,000 left out."""


def make_data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return cluster, x, y (2, n) and observed cells (2, n)."""
    rng = np.random.default_rng(21)
    cluster = np.repeat(np.arange(J), rng.integers(2, 8, J))
    n = len(cluster)
    x = rng.normal(size=n)
    u = rng.normal(size=(J, 2)) @ np.array([[0.8, 0.3], [0, 0.6]])
    e = rng.normal(size=(n, 2)) @ np.array([[0.9, 0.4], [0, 0.7]])
    y = u[cluster] + e + np.outer(x, [0.5, -0.4]) + [0.3, -0.2]
    seen = rng.random((n, 2)) < 0.7
    seen[cluster == 4, 1] = False
    return cluster, x, y.T, seen.T


CLUSTER, X, Y, SEEN = make_data()


def quantities(beta: Any, sigma: Any, psi: Any) -> Draws:
    out = {f"beta[{a},{i}]": beta[..., a, i] for a in range(2) for i in range(2)}
    for name, matrix in (("sigma", sigma), ("psi", psi)):
        out |= {f"{name}[{i},{k}]": matrix[..., i, k] for i, k in ((0, 0), (0, 1), (1, 1))}
    return {name: np.asarray(value) for name, value in out.items()}


@pytest.fixture(scope="module")
def gibbs() -> Draws:
    """Return the last draws of many chains of the package: independent."""
    n = len(CLUSTER)
    rows = Rows(CLUSTER, J, np.ones((1, n)), X[None], np.ones(n, bool), z_intercept=True)

    @jax.jit
    def chains(keys: jax.Array) -> jn.Parameters:
        method = Pan(prior="pan")
        sums = method.read(joint_target(rows, Y, SEEN))
        start = method.init(keys[0], sums)
        return jax.vmap(lambda key: method.step(key, start, sums, jnp.asarray(N_STEPS)))(keys)

    with jax.enable_x64(True):
        after = chains(jax.random.split(jax.random.key(2), N_CHAINS))
    omega, psi = np.asarray(after.root_omega[..., 0]), np.asarray(after.root_psi)
    square = [root @ np.swapaxes(root, 1, 2) for root in (omega, psi)]
    return quantities(np.asarray(after.beta), *square)


def test_gibbs_agrees_with_the_pan_of_r(gibbs: Draws) -> None:
    """Posterior means within their Monte Carlo errors, deviations within a twentieth."""
    pvalues = []
    for name, (mean, deviation, error) in R_PAN.items():
        own = gibbs[name]
        z = (own.mean() - mean) / np.hypot(error, own.std() / np.sqrt(own.size))
        pvalues.append(2 * stats.norm.sf(abs(z)))
        assert 0.92 < own.std() / deviation < 1.08, name
    assert bonferroni(pvalues) > FALSE_ALARM_RATE, dict(zip(R_PAN, pvalues, strict=True))
    # A tenth of a standard deviation would be seen.
    own, (mean, deviation, error) = gibbs["beta[1,0]"], R_PAN["beta[1,0]"]
    z = (own.mean() + 0.15 * deviation - mean) / np.hypot(error, own.std() / np.sqrt(own.size))
    assert 2 * stats.norm.sf(abs(z)) < FALSE_ALARM_RATE


def covariance(name: str) -> tuple[jax.Array, jax.Array]:
    """Sample a covariance from IW(2, I) as deviations and a correlation; return it, its root."""
    tau: Any = numpyro.sample(f"{name} tau", dist.HalfNormal(1).mask(False).expand([2]).to_event(1))
    rho: Any = numpyro.sample(f"{name} rho", dist.Uniform(-1, 1))
    root = jnp.diag(tau) @ jnp.array([[1.0, 0], [0, 0]]).at[1].set(
        jnp.stack([rho, jnp.sqrt(1 - rho**2)])
    )
    log_det = 2 * jnp.sum(jnp.log(tau)) + jnp.log1p(-(rho**2))
    trace = jnp.sum(jnp.linalg.inv(root) ** 2)
    # The last term takes deviations and correlation to the elements of the matrix.
    numpyro.factor(f"{name} prior", -2.5 * log_det - trace / 2 + 2 * jnp.sum(jnp.log(tau)))
    return numpyro.deterministic(name, root @ root.T), root


def model() -> None:
    """Write the model of the observed cells down once more, no missing cell in it."""
    beta: Any = numpyro.sample("beta", dist.Normal(0, 100).expand([2, 2]).to_event(2))
    sigma, _ = covariance("sigma")
    _, root = covariance("psi")
    z: Any = numpyro.sample("z", dist.Normal(0, 1).expand([2, J]).to_event(2))
    mean = beta.T @ jnp.stack([jnp.ones(len(X)), jnp.asarray(X)]) + (root @ z)[:, CLUSTER]
    first, second = SEEN
    e = jnp.asarray(Y) - mean
    # The first response alone; the second given the first where that is observed.
    slope = jnp.where(first, sigma[0, 1] / sigma[0, 0], 0)
    rest = sigma[1, 1] - slope * sigma[0, 1]
    alone = dist.Normal(0, jnp.sqrt(sigma[0, 0])).log_prob(e[0])
    given = dist.Normal(slope * e[0], jnp.sqrt(rest)).log_prob(e[1])
    numpyro.factor("y", jnp.sum(jnp.where(first, alone, 0) + jnp.where(second, given, 0)))


def test_gibbs_agrees_with_nuts(gibbs: Draws) -> None:
    """Means and variances of all parameters."""

    def of_sites(draws: Draws) -> Draws:
        return quantities(draws["beta"], draws["sigma"], draws["psi"])

    check_agreement(posterior("joint_normal", model, of_sites), gibbs, moved="beta[1,0]")
