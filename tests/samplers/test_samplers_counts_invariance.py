"""A step of a sampler of counts leaves the joint distribution of its model unchanged.

As in `tests.samplers.test_samplers_invariance`: parameters from the prior and counts given
them, then steps with the counts held fixed; the parameters must follow the prior again,
and the counts the model given the parameters.
"""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxmice.random import log_gamma, poisson
from jaxmice.samplers import linear_mixed as lm, poisson_mixed as pm
from jaxmice.samplers.sums import Sums
from tests.samplers.rows import ragged
from tests.samplers.twins import Draws, Made, check_joint_law
from tests.statistics import Cdf

pytestmark = pytest.mark.usefixtures("double_precision")

N_REPLICATE, N_STEP = 6_000, 4
SIZES, SEEN = (6, 4, 0, 1, 2, 3, 5, 1), (6, 0, 0, 1, 2, 3, 4, 1)
SINGLE, J = 3, len(SIZES)
ROWS = ragged(
    SIZES,
    SEEN,
    3,
    3,
    seed=1,
    z_live=(True, False, True),
    f_live=(True, True, False),
    n_shared=(2, 1),
)
Z_LIVE, F_LIVE = [0, 2], [3, 4]
LIVE, DEAD = Z_LIVE + F_LIVE, [1, 5]
BETA_PRECISION, PSI_DF, PSI_SCALE = 6.0, 9, np.array([[3.0, 0.5], [0.5, 2.0]])
SLOPE_SD = BETA_PRECISION**-0.5


def make_prior() -> lm.Prior:
    zero = jnp.zeros(())
    at = jnp.ix_(jnp.array(Z_LIVE), jnp.array(Z_LIVE))
    return lm.Prior(
        sigma2_df=zero,
        sigma2_rate=zero,
        beta_precision=jnp.broadcast_to(BETA_PRECISION, (6,)),
        psi_df=jnp.asarray(float(PSI_DF)),
        psi_scale=jnp.zeros((3, 3)).at[at].set(PSI_SCALE),
    )


def predictor(beta: Any, b: Any) -> Any:
    return ROWS.X @ beta + jnp.sum(jnp.asarray(ROWS.Z).T * b.T[ROWS.cluster], axis=1)


def replicate(key: jax.Array, *, overdispersed: bool) -> tuple[jax.Array, pm.Parameters]:
    """Return counts of one replicate and the parameters after some steps."""
    keys = jax.random.split(key, 6)
    root_scale = jnp.linalg.inv(jnp.linalg.cholesky(jnp.asarray(PSI_SCALE)))
    rows = jax.random.normal(keys[0], (PSI_DF, 2)) @ root_scale
    at = jnp.ix_(jnp.array(Z_LIVE), jnp.array(Z_LIVE))
    small = jnp.linalg.cholesky(jnp.linalg.inv(rows.T @ rows))
    root = jnp.eye(3).at[at].set(small)
    n_clusters = J + ROWS.filled[0]
    live = jnp.zeros((3, n_clusters)).at[jnp.array(Z_LIVE), :J].set(1)
    b = (root @ (jax.random.normal(keys[1], (3, n_clusters)) * live)) * live
    beta = jnp.zeros(6).at[jnp.array(LIVE)].set(SLOPE_SD) * jax.random.normal(keys[2], (6,))
    log_size = None
    log_mean = predictor(beta, b)
    if overdispersed:
        log_size = pm.LOG_SIZE_MEAN + pm.LOG_SIZE_SD * jax.random.normal(keys[3])
        # A deviation beyond three and a half is beyond the bounds of the sampler.
        log_size = jnp.clip(log_size, *pm.LOG_SIZE)
        shape = jnp.full(log_mean.shape, jnp.exp(log_size))
        log_mean = log_mean + log_gamma(keys[3], jnp.asarray(7), shape) - log_size
    y = poisson(keys[4], jnp.asarray(0), log_mean)
    counts = pm.read(ROWS.target(y), overdispersed=overdispersed)
    before = pm.Parameters(
        beta=beta, b=b, root_psi=root, log_size=log_size, settled=jnp.ones((), bool)
    )
    return y, pm.run(keys[5], before, counts, make_prior(), jnp.asarray(N_STEP))


def quantities(y: np.ndarray, after: pm.Parameters) -> Draws:
    """Return quantities whose law under the model is known, (replicate,) each."""
    beta, b = np.asarray(after.beta), np.asarray(after.b)
    root = np.asarray(after.root_psi)[:, Z_LIVE][:, :, Z_LIVE]
    eta = beta @ ROWS.X.T + np.einsum("kn,rkn->rn", ROWS.Z, b[:, :, ROWS.cluster])
    mean, y = np.exp(eta[:, ROWS.seen]), np.asarray(y)[:, ROWS.seen]
    if after.log_size is None:
        law = stats.poisson(mean)
    else:
        size = np.exp(np.asarray(after.log_size))[:, None]
        law = stats.nbinom(size, size / (size + mean))
    lower, upper = law.cdf(y - 1), law.cdf(y)
    u = lower + np.random.default_rng(0).random(y.shape) * (upper - lower)
    score = special.ndtri(np.clip(u, 1e-15, 1 - 1e-15))
    white = np.linalg.solve(root, b[:, Z_LIVE, :J])
    psi = root @ np.swapaxes(root, 1, 2)
    X = ROWS.X[ROWS.seen][:, LIVE]
    out = {
        "length of effects": np.sum(white**2, axis=(1, 2)),
        "squares of scores": np.sum(score**2, axis=1),
        "single": score[:, np.flatnonzero(ROWS.cluster[ROWS.seen] == SINGLE)[0]],
    }
    for i in range(len(LIVE)):
        out[f"beta[{i}]"] = beta[:, LIVE[i]]
        out[f"score[{i}]"] = score @ X[:, i] / np.linalg.norm(X[:, i])
    for i in range(2):
        out[f"variance[{i}]"] = psi[:, i, i]
        out |= {f"effects[{i}, {j}]": white[:, i, j] for j in range(J)}
    if after.log_size is not None:
        out["log size"] = np.asarray(after.log_size)
    assert np.all(beta[:, DEAD] == 0)
    assert np.all(b[:, 1] == 0)
    assert np.all(b[:, :, J:] == 0)
    return out


def laws(overdispersed: bool) -> dict[str, Cdf]:
    out: dict[str, Cdf] = {
        "length of effects": stats.chi2(2 * J).cdf,
        "squares of scores": stats.chi2(int(ROWS.seen.sum())).cdf,
        "single": stats.norm.cdf,
    }
    for i in range(len(LIVE)):
        out[f"beta[{i}]"] = stats.norm(0, SLOPE_SD).cdf
        out[f"score[{i}]"] = stats.norm.cdf
    for i in range(2):
        rate = PSI_SCALE[i, i] / 2
        out[f"variance[{i}]"] = stats.invgamma((PSI_DF - 1) / 2, scale=rate).cdf
        out |= {f"effects[{i}, {j}]": stats.norm.cdf for j in range(J)}
    if overdispersed:
        out["log size"] = stats.norm(pm.LOG_SIZE_MEAN, pm.LOG_SIZE_SD).cdf
    return out


COMMON = (
    "the proposal of beta is left out of the ratio",
    "the proposals of effects are left out of the ratio",
    "beta drops its prior",
    "the effects that go with beta drop their prior",
    "effects drop their prior",
    "the likelihood is forgotten",
    "psi misses a degree of freedom",
)
TWINS = {
    False: COMMON,
    True: (*COMMON, "counts do not vary more than Poisson ones", "size by Stirling's formula"),
}


def put_twins(patch: pytest.MonkeyPatch, made: Made) -> None:
    """Put mistakes into the sampler."""
    proposal, normal, likelihood = pm.proposal_gain, pm.normal_gain, pm.log_likelihood
    shapes, remainder = lm.psi_shapes, pm.stirling_remainder

    def proposal_gain(forth: jax.Array, back: jax.Array) -> jax.Array:
        left_out = made(COMMON[0] if forth.ndim == 1 else COMMON[1])
        return jnp.where(left_out, 0, proposal(forth, back))

    n_calls = [0]

    def normal_gain(new: jax.Array, old: jax.Array) -> jax.Array:
        right = normal(new, old)
        if new.ndim == 1:
            return right
        # Called for the effects first as part of a move of beta, then in their own.
        n_calls[0] += 1
        return jnp.where(made(COMMON[3 if n_calls[0] % 2 else 4]), 0, right)

    def log_likelihood(
        eta: jax.Array, log_size: jax.Array | None, counts: pm.Counts
    ) -> tuple[jax.Array, jax.Array]:
        value, slope = likelihood(eta, log_size, counts)
        if log_size is not None:
            bare = likelihood(eta, None, counts)[0]
            value = jnp.where(made("counts do not vary more than Poisson ones"), bare, value)
        return jnp.where(made("the likelihood is forgotten"), 0, value), slope

    def psi_shapes(sums: Sums, prior: lm.Prior) -> jax.Array:
        right = shapes(sums, prior)
        few = jnp.where(sums.z_live, right - 0.5, right)
        return jnp.where(made("psi misses a degree of freedom"), few, right)

    def stirling_remainder(a: jax.Array) -> jax.Array:
        return jnp.where(made("size by Stirling's formula"), 0, remainder(a))

    for function in (proposal_gain, normal_gain, log_likelihood, stirling_remainder):
        patch.setattr(pm, function.__name__, function)
    patch.setattr(lm, "psi_shapes", psi_shapes)
    flat = jnp.where(made("beta drops its prior"), 1e-3, BETA_PRECISION)
    patch.setattr(sys.modules[__name__], "BETA_PRECISION", flat)


@pytest.mark.parametrize("overdispersed", [False, True])
def test_steps_keep_the_joint_law_and_the_alarm_works(
    monkeypatch: pytest.MonkeyPatch, overdispersed: bool
) -> None:
    """The sampler passes, and each of these mistakes is seen."""
    check_joint_law(
        monkeypatch,
        lambda key: replicate(key, overdispersed=overdispersed),
        laws(overdispersed),
        put_twins,
        TWINS[overdispersed],
        n_replicates=N_REPLICATE,
        seed=2,
        quantities=lambda drawn: quantities(*drawn),
    )
