"""Joint samplers whose prior forces cluster effects to zero are multivariate regressions."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxmice.samplers import covariance, joint_latent as jl, joint_normal as jn
from tests.samplers.joint_rows import joint_target
from tests.samplers.rows import ragged
from tests.statistics import FALSE_ALARM_RATE, Cdf, adjusted_pvalue

pytestmark = pytest.mark.usefixtures("double_precision")

N_CHAINS, N_STEPS = 3_000, 20
"""One draw of every chain: the draws are independent."""

ROWS = ragged((7, 4, 0, 3, 1), (6, 0, 0, 3, 1), 1, 2)
R, P = 2, 3
DF, SCALE = 4, np.array([[2.0, 0.5], [0.5, 1.0]])
"""Prior of the residual covariance."""


def prior_of() -> jn.Prior:
    """Return the prior: no effects, coefficients flat."""

    def wishart(df: float, scale: np.ndarray) -> covariance.Prior:
        return covariance.simple_prior(jnp.asarray(df), jnp.asarray(scale))

    flat = jnp.zeros((P, R))
    return jn.Prior(wishart(float(DF), SCALE), wishart(1e6, 1e-6 * np.eye(R)), flat, flat)


def run_pan(keys: jax.Array, responses: jn.Responses) -> jn.Parameters:
    def one(key: jax.Array) -> jn.Parameters:
        return jn.run(key, jn.start(responses, 1), responses, prior_of(), jnp.asarray(N_STEPS))

    return jax.vmap(one)(keys)


def run_jomo(keys: jax.Array, responses: jn.Responses) -> jn.Parameters:
    J = responses.sums.cluster_live.shape[0]
    members = jl.split_members((0,) * R, (1,) * R)
    none, flat = jnp.zeros((0, J)), jnp.zeros((P, 0))
    data = jl.Data(responses, none, none.astype(bool), jnp.zeros((P, J)))
    prior = jl.Prior(prior_of(), flat, flat, None)

    def one(key: jax.Array) -> jn.Parameters:
        state = jl.start(data, *members, prior)
        return jl.run(key, state, data, *members, prior, jnp.asarray(N_STEPS)).level1

    return jax.vmap(one)(keys)


@pytest.mark.parametrize("run", [run_pan, run_jomo])
def test_without_cluster_effects_it_is_multivariate_regression(run: Any) -> None:
    """Coefficients are multivariate t, the residual covariance inverse Wishart (E1)."""
    rng = np.random.default_rng(2)
    y = 1 + rng.normal(size=(R, len(ROWS.cluster)))
    seen = np.broadcast_to(ROWS.seen, y.shape)

    @jax.jit
    def draw(keys: jax.Array) -> jn.Parameters:
        target = joint_target(ROWS, y, seen)
        fitted = jnp.any(target.ry, axis=0)
        responses = jn.make_responses(target.y, target.ry, fitted, target, by_cluster=False)
        return run(keys, responses)

    after = draw(jax.random.split(jax.random.key(3), N_CHAINS))
    root = np.asarray(after.root_omega)[..., 0]
    omega, beta = root @ np.swapaxes(root, 1, 2), np.asarray(after.beta)

    X, yo = ROWS.X[ROWS.seen], y[:, ROWS.seen].T
    V = np.linalg.inv(X.T @ X)
    estimate = V @ X.T @ yo
    S = SCALE + (yo - X @ estimate).T @ (yo - X @ estimate)
    df = DF + len(yo) - P - R + 1
    draws = {"sum": S.sum() / omega.sum(axis=(1, 2))}
    laws: dict[str, Cdf] = {"sum": stats.chi2(df).cdf}
    for k in range(R):
        draws[f"omega[{k}]"], laws[f"omega[{k}]"] = S[k, k] / omega[:, k, k], stats.chi2(df).cdf
        for i in range(P):
            scale = np.sqrt(S[k, k] * V[i, i] / df)
            draws[f"beta[{i}, {k}]"] = (beta[:, i, k] - estimate[i, k]) / scale
            laws[f"beta[{i}, {k}]"] = stats.t(df).cdf
    assert adjusted_pvalue(draws, laws) > FALSE_ALARM_RATE
    # One degree of freedom more, as if a coefficient had not been counted.
    wrong = {name: stats.chi2(df + 1).cdf for name in ("sum", "omega[0]", "omega[1]")}
    assert adjusted_pvalue(draws, {**laws, **wrong}) < FALSE_ALARM_RATE
