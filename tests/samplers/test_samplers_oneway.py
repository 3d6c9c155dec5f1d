"""Long runs against posteriors known in closed form or on a grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxmice.methods.two_level_pan import TwoLevelPan
from jaxmice.samplers import linear_mixed as lm
from jaxmice.samplers.sums import make_sums
from jaxmice.target import Target
from tests.samplers.rows import ragged
from tests.statistics import FALSE_ALARM_RATE, Cdf, adjusted_pvalue, cdf_on_grid

pytestmark = pytest.mark.usefixtures("double_precision")

N_CHAINS, N_STEPS = 4_000, 300
"""One draw of every chain: the draws are independent."""

J, N = 6, 5


@jax.jit
def last_of_chains(
    keys: jax.Array, target: Target, prior: lm.Prior, n_steps: jax.Array
) -> lm.Parameters:
    sums = make_sums(target, by_cluster=False)
    return jax.vmap(lambda key: lm.run(key, lm.start(sums), sums, prior, n_steps))(keys)


def grid_posterior(y: np.ndarray, name: str) -> tuple[dict[str, Cdf], float]:
    """Return the posterior of a balanced one-way layout, its mean flat, by quadrature.

    The likelihood of the sums of squares is a product of two scaled chi-squares.
    """
    ybar = y.mean(axis=1)
    ssw, ssb = np.sum((y - ybar[:, None]) ** 2), N * np.sum((ybar - ybar.mean()) ** 2)
    log_tau, log_sigma = np.linspace(-9, 6, 1200), np.linspace(-3, 3, 600)
    tau2, sigma2 = np.exp(2 * log_tau)[:, None], np.exp(2 * log_sigma)[None]
    total = sigma2 + N * tau2
    log_p = -0.5 * (J * (N - 1) * np.log(sigma2) + ssw / sigma2)
    log_p = log_p - 0.5 * ((J - 1) * np.log(total) + ssb / total)
    if name == "pan":
        # IG(1/2, 1/2) each, on the logarithmic scale.
        log_p = log_p - 0.5 * (np.log(sigma2) + 1 / sigma2) - 0.5 * (np.log(tau2) + 1 / tau2)
    else:
        # 1 / sigma2, and a half-t with two degrees of freedom and scale 2.5 for tau.
        log_p = log_p - 1.5 * np.log1p(tau2 / (2 * 2.5**2)) + 0.5 * np.log(tau2)
    p = np.exp(log_p - log_p.max())
    with np.errstate(divide="ignore"):
        marginals = {
            "tau2": cdf_on_grid(log_tau, np.log(p.sum(axis=1))),
            "sigma2": cdf_on_grid(log_sigma, np.log(p.sum(axis=0))),
        }
    # The intraclass correlation by its distribution function, cell by cell.
    icc, mass = (tau2 / (tau2 + sigma2)).ravel(), p.ravel() / p.sum()
    order = np.argsort(icc)
    points, cumulative = icc[order], np.cumsum(mass[order]) - mass[order] / 2
    laws: dict[str, Cdf] = {
        "tau2": lambda x: marginals["tau2"](0.5 * np.log(x)),
        "sigma2": lambda x: marginals["sigma2"](0.5 * np.log(x)),
        "icc": lambda x: np.interp(x, points, cumulative),
    }
    return laws, float(np.sum(mass * icc))


@pytest.mark.parametrize("name", ["pan", "hw"])
def test_one_way_layout_follows_its_grid_posterior(name: str) -> None:
    """Both variances unknown (E4); the prior is the one the method itself makes."""
    rng = np.random.default_rng(4)
    y = rng.normal(size=(J, N)) + 0.8 * rng.normal(size=(J, 1))
    rows = ragged((N,) * J, (N,) * J, 1, 0, n_shared=(1, 0), filled=(1, 1))
    rank = np.array([np.sum(rows.cluster[:i] == j) for i, j in enumerate(rows.cluster)])
    target = rows.target(y[rows.cluster, rank])
    method = TwoLevelPan(prior=name)
    prior = method.make_prior(target, make_sums(target, by_cluster=False))

    keys = jax.random.split(jax.random.key(1), N_CHAINS)
    after = last_of_chains(keys, target, prior, jnp.asarray(N_STEPS))

    tau2, sigma2 = np.asarray(after.root_psi)[:, 0, 0] ** 2, np.asarray(after.sigma2)
    draws = {"tau2": tau2, "sigma2": sigma2, "icc": tau2 / (tau2 + sigma2)}
    laws, mean_icc = grid_posterior(y, name)
    other, _ = grid_posterior(y, "hw" if name == "pan" else "pan")
    assert adjusted_pvalue(draws, laws) > FALSE_ALARM_RATE
    assert adjusted_pvalue(draws, other) < FALSE_ALARM_RATE
    assert 0 < mean_icc < 1


def test_without_cluster_effects_it_is_bayesian_regression() -> None:
    """A prior that forces Psi to zero leaves the posterior of a linear regression (E1)."""
    rows = ragged((7, 4, 0, 3, 1), (6, 0, 0, 3, 1), 1, 2)
    rng = np.random.default_rng(2)
    y = 1 + rng.normal(size=len(rows.cluster))
    zero = jnp.asarray(0.0)
    prior = lm.Prior(zero, zero, jnp.zeros(3), zero + 1e6, jnp.full((1, 1), 1e-6))
    keys = jax.random.split(jax.random.key(3), N_CHAINS)
    after = last_of_chains(keys, rows.target(y), prior, jnp.asarray(30))

    X, yo = rows.X[rows.seen], y[rows.seen]
    V = np.linalg.inv(X.T @ X)
    estimate = V @ X.T @ yo
    df, rss = len(yo) - 3, np.sum((yo - X @ estimate) ** 2)
    draws = {"sigma2": rss / np.asarray(after.sigma2)}
    laws: dict[str, Cdf] = {"sigma2": stats.chi2(df).cdf}
    for i in range(3):
        scale = np.sqrt(rss / df * V[i, i])
        draws[f"beta[{i}]"] = (np.asarray(after.beta)[:, i] - estimate[i]) / scale
        laws[f"beta[{i}]"] = stats.t(df).cdf
    assert adjusted_pvalue(draws, laws) > FALSE_ALARM_RATE
    # One degree of freedom more, as if a coefficient had not been counted.
    wrong = {**laws, "sigma2": stats.chi2(df + 1).cdf}
    assert adjusted_pvalue(draws, wrong) < FALSE_ALARM_RATE
