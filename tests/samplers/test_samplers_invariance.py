"""A step of a two-level sampler leaves the joint distribution of its model unchanged.

Draw parameters from the prior and data given them, then take steps with the data held
fixed: the parameters must follow the prior again (Geweke 2004, Journal of the American
Statistical Association 99, 799-804). The replicates are independent, so every comparison
is exact: no burn-in, no autocorrelation, no second implementation to trust.

The priors are tight, so that every term of every conditional carries weight. Quantities
that read the data are compared too: without them a sampler that ignores the data and
draws from the prior would pass.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxmice.samplers import linear_mixed as lm, linear_mixed_by_cluster as lmc
from jaxmice.samplers.sums import Sums, make_sums
from tests.samplers.rows import Rows, ragged
from tests.samplers.twins import Draws, Made, check_joint_law, unfold
from tests.statistics import FALSE_ALARM_RATE, Cdf, adjusted_pvalue

pytestmark = pytest.mark.usefixtures("double_precision")

N_REPLICATE, N_STEP = 6_000, 3
SIZES, SEEN = (6, 4, 0, 1, 2, 3, 5, 1), (6, 0, 0, 1, 2, 3, 4, 1)
"""A cluster without rows, one whose rows are all missing, two with a single row."""

EMPTY, MISSING, SINGLE, FULL = 2, 1, 3, 0
J = len(SIZES)
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
"""Columns that do not predict stand between those that do; blocks and clusters fill up."""

Z_LIVE, F_LIVE = [0, 2], [3, 4]
LIVE, DEAD = Z_LIVE + F_LIVE, [1, 5]
BETA_PRECISION, SIGMA2_SHAPE, SIGMA2_RATE = 20.0, 4.0, 6.0
PSI_DF, PSI_SCALE, HALF_T = 7, np.array([[3.0, 0.5], [0.5, 2.0]]), np.array([0.8, 0.5])
LOG_A_MEAN, LOG_A_SD, S0_SHAPE, S0_RATE = 0.3, 0.5, 6.0, 5.0


def make_prior(*, half_t: bool) -> lm.Prior:
    scale = jnp.zeros((3, 3)).at[jnp.ix_(jnp.array(Z_LIVE), jnp.array(Z_LIVE))].set(PSI_SCALE)
    return lm.Prior(
        sigma2_df=jnp.asarray(2 * SIGMA2_SHAPE),
        sigma2_rate=jnp.asarray(2 * SIGMA2_RATE),
        beta_precision=jnp.full(6, BETA_PRECISION),
        psi_df=jnp.asarray(float(PSI_DF)),
        psi_scale=scale,
        half_t=jnp.array([HALF_T[0], 1, HALF_T[1]]) if half_t else None,
    )


def make_spread() -> lmc.SpreadPrior:
    values = (1.0, 0.0, LOG_A_MEAN, LOG_A_SD**-2, S0_SHAPE, S0_RATE)
    return lmc.SpreadPrior(*(jnp.asarray(value) for value in values))


def draw_root(key: jax.Array, *, half_t: bool) -> jax.Array:
    """Draw Psi from its prior as the inverse of a sum of squares; return its factor."""
    key_mix, key_psi = jax.random.split(key)
    df, scale = PSI_DF, jnp.asarray(PSI_SCALE)
    if half_t:
        # Huang and Wand: IW(3, 4 diag(1 / alpha)), 1 / alpha_k ~ Gamma(1/2, 1 / A_k^2).
        df = 3
        scale = 4 * jnp.diag(jax.random.gamma(key_mix, 0.5, (2,)) * HALF_T**2)
    rows = jax.random.normal(key_psi, (df, 2)) @ jnp.linalg.inv(jnp.linalg.cholesky(scale))
    root = jnp.linalg.cholesky(jnp.linalg.inv(rows.T @ rows))
    at = jnp.ix_(jnp.array(Z_LIVE), jnp.array(Z_LIVE))
    return jnp.eye(3).at[at].set(root)


def draw_effects(key: jax.Array, root: jax.Array) -> tuple[jax.Array, jax.Array]:
    key_beta, key_b = jax.random.split(key)
    n_clusters = J + ROWS.filled[0]
    live = jnp.zeros((3, n_clusters)).at[jnp.array(Z_LIVE), :J].set(1)
    beta = jnp.zeros(6).at[jnp.array(LIVE)].set(1) * jax.random.normal(key_beta, (6,))
    b = (root @ (jax.random.normal(key_b, (3, n_clusters)) * live)) * live
    return beta / BETA_PRECISION**0.5, b


def mean_of(beta: jax.Array, b: jax.Array, rows: Rows = ROWS) -> jax.Array:
    X = jnp.asarray(rows.X)
    return X @ beta + jnp.sum(jnp.asarray(rows.Z).T * b.T[rows.cluster], axis=1)


def common_quantities(y: jax.Array, after: Any, sigma: jax.Array) -> dict[str, jax.Array]:
    """Return quantities of one replicate whose law under the model is known."""
    e = (y - mean_of(after.beta, after.b)) / sigma * ROWS.seen
    at = jnp.array(Z_LIVE)
    root = after.root_psi[jnp.ix_(at, at)]
    psi = root @ root.T
    white = jnp.linalg.solve(root, after.b[at, :J])
    X = jnp.asarray(ROWS.X[:, LIVE])
    norm = jnp.sqrt(jnp.sum(X**2 * jnp.asarray(ROWS.seen)[:, None], axis=0))
    return {
        "beta": after.beta[jnp.array(LIVE)],
        "variance": jnp.diag(psi),
        "correlation": psi[0, 1] / jnp.sqrt(psi[0, 0] * psi[1, 1]),
        "effects": white.ravel(),
        "length of effects": jnp.sum(white**2),
        "rss": jnp.sum(e**2),
        "score": X.T @ e / norm,
        "single": e[np.flatnonzero(ROWS.cluster == SINGLE)[0]],
        "dead": jnp.sum(jnp.abs(after.beta[jnp.array(DEAD)])) + jnp.sum(jnp.abs(after.b[1])),
        "filled": jnp.sum(jnp.abs(after.b[:, J:])),
    }


def laws(*, half_t: bool) -> dict[str, Cdf]:
    """Return the law of every quantity under the model."""
    out: dict[str, Cdf] = {
        "rss": stats.chi2(int(np.sum(ROWS.seen))).cdf,
        "length of effects": stats.chi2(2 * J).cdf,
        "single": stats.norm.cdf,
    }
    for i in range(len(LIVE)):
        out[f"beta[{i}]"] = stats.norm(0, BETA_PRECISION**-0.5).cdf
        out[f"score[{i}]"] = stats.norm.cdf
    for i in range(2 * J):
        out[f"effects[{i}]"] = stats.norm.cdf
    for i in range(2):
        if half_t:
            scale = HALF_T[i]
            out[f"variance[{i}]"] = lambda x, s=scale: 2 * stats.t(2).cdf(np.sqrt(x) / s) - 1
            out["correlation"] = stats.uniform(-1, 2).cdf
        else:
            rate = PSI_SCALE[i, i] / 2
            out[f"variance[{i}]"] = stats.invgamma((PSI_DF - 1) / 2, scale=rate).cdf
    return out


def one_variance(key: jax.Array, *, half_t: bool) -> dict[str, jax.Array]:
    """Return the quantities of one replicate of the model with one residual variance."""
    key_psi, key_effects, key_sigma, key_y, key_run = jax.random.split(key, 5)
    root = draw_root(key_psi, half_t=half_t)
    beta, b = draw_effects(key_effects, root)
    sigma2 = SIGMA2_RATE / jax.random.gamma(key_sigma, SIGMA2_SHAPE)
    y = mean_of(beta, b) + jnp.sqrt(sigma2) * jax.random.normal(key_y, ROWS.cluster.shape)
    sums = make_sums(ROWS.target(y), by_cluster=False)
    before = lm.Parameters(beta=beta, b=b, root_psi=root, sigma2=sigma2)
    after = lm.run(key_run, before, sums, make_prior(half_t=half_t), jnp.asarray(N_STEP))
    return {
        **common_quantities(y, after, jnp.sqrt(after.sigma2)),
        "sigma2": after.sigma2,
    }


def variance_by_cluster(key: jax.Array, *, half_t: bool) -> dict[str, jax.Array]:
    """Return the quantities of one replicate of the model with a variance per cluster."""
    key_psi, key_effects, key_s0, key_a, key_sigma, key_y, key_run = jax.random.split(key, 7)
    root = draw_root(key_psi, half_t=half_t)
    beta, b = draw_effects(key_effects, root)
    log_a = LOG_A_MEAN + LOG_A_SD * jax.random.normal(key_a)
    a, s0 = jnp.exp(log_a), jax.random.gamma(key_s0, S0_SHAPE) / S0_RATE
    # In logarithms: a shape below one reaches far down.
    log_precision = jax.random.loggamma(key_sigma, a, (J,)) - jnp.log(a * s0)
    precision = jnp.concatenate([jnp.exp(log_precision), jnp.ones(ROWS.filled[0])])
    sigma = precision[ROWS.cluster] ** -0.5
    y = mean_of(beta, b) + sigma * jax.random.normal(key_y, ROWS.cluster.shape)
    sums = make_sums(ROWS.target(y), by_cluster=True)
    before = lmc.Parameters(beta=beta, b=b, root_psi=root, precision=precision, log_a=log_a, s0=s0)
    prior = make_prior(half_t=half_t)
    after = lmc.run(key_run, before, sums, prior, make_spread(), jnp.asarray(N_STEP))
    a = jnp.exp(after.log_a)
    standard = a * after.s0 * after.precision[:J]
    return {
        **common_quantities(y, after, after.precision[ROWS.cluster] ** -0.5),
        "log_a": after.log_a,
        "s0": after.s0,
        # Gamma variates of shape a, made uniform.
        "precision": jax.scipy.special.gammainc(a, standard),
    }


def draws_after_steps(
    replicate: Callable[..., dict[str, jax.Array]], *, half_t: bool, seed: int
) -> Draws:
    """Take a few steps in every replicate."""
    keys = jax.random.split(jax.random.key(seed), N_REPLICATE)
    return unfold(jax.jit(jax.vmap(lambda key: replicate(key, half_t=half_t)))(keys))


def laws_one_variance(*, half_t: bool) -> dict[str, Cdf]:
    law = stats.invgamma(SIGMA2_SHAPE, scale=SIGMA2_RATE).cdf
    return {**laws(half_t=half_t), "sigma2": law}


def laws_by_cluster(*, half_t: bool) -> dict[str, Cdf]:
    return {
        **laws(half_t=half_t),
        "log_a": stats.norm(LOG_A_MEAN, LOG_A_SD).cdf,
        "s0": stats.gamma(S0_SHAPE, scale=1 / S0_RATE).cdf,
        **{f"precision[{j}]": stats.uniform.cdf for j in range(J)},
    }


@pytest.mark.parametrize(
    ("replicate", "distributions"),
    [(one_variance, laws_one_variance), (variance_by_cluster, laws_by_cluster)],
)
def test_steps_keep_the_joint_law(
    replicate: Callable[..., dict[str, jax.Array]], distributions: Callable[..., dict[str, Cdf]]
) -> None:
    """Under the half-t prior; the inverse-Wishart one is in the test of the alarm."""
    draws = draws_after_steps(replicate, half_t=True, seed=1)
    assert np.all(draws["dead"] == 0)
    assert np.all(draws["filled"] == 0)
    assert adjusted_pvalue(draws, distributions(half_t=True)) > FALSE_ALARM_RATE


def put_twins(patch: pytest.MonkeyPatch, made: Made, module: Any) -> None:
    """Put mistakes into a sampler."""
    beta, effects, shapes = lm.draw_beta, lm.draw_b, lm.psi_shapes
    all_shapes, draw_root_psi = lm.gamma_shapes, lm.draw_root_psi

    def draw_beta(
        z: jax.Array, root: jax.Array, sigma2: jax.Array, sums: Sums, prior: lm.Prior
    ) -> jax.Array:
        forgetful = lm.Prior(
            prior.sigma2_df,
            prior.sigma2_rate,
            jnp.where(made("beta drops its prior"), 0, prior.beta_precision),
            prior.psi_df,
            prior.psi_scale,
        )
        root = jnp.where(made("beta ignores that clusters differ"), 0, root)
        pooled = jnp.broadcast_to(1 / jnp.mean(1 / sigma2), sigma2.shape)
        sigma2 = jnp.where(made("beta weighs all clusters alike"), pooled, sigma2)
        right = beta(z, root, sigma2, sums, forgetful)
        blind = jnp.where(sums.x_live, z / BETA_PRECISION**0.5, 0)
        return jnp.where(made("beta forgets the data"), blind, right)

    def draw_b(
        z: jax.Array, beta: jax.Array, root: jax.Array, sigma2: jax.Array, sums: Sums
    ) -> tuple[jax.Array, jax.Array]:
        eta, b = effects(z, beta, root, sigma2, sums)
        marginal = jnp.where(sums.z_live[:, None] & sums.cluster_live, root @ z, 0)
        blind = made("effects from their marginal law")
        return jnp.where(blind, z, eta), jnp.where(blind, marginal, b)

    def psi_shapes(sums: Sums, prior: lm.Prior) -> jax.Array:
        right = shapes(sums, prior)
        few = jnp.where(sums.z_live, right - 0.5, right)
        return jnp.where(made("psi misses a degree of freedom"), few, right)

    def root_psi(
        gammas: jax.Array, z: jax.Array, b: jax.Array, root: jax.Array, sums: Sums, prior: lm.Prior
    ) -> jax.Array:
        scale = jnp.where(made("psi drops its prior scale"), 0, prior.psi_scale)
        bare = lm.Prior(
            prior.sigma2_df, prior.sigma2_rate, prior.beta_precision, prior.psi_df, scale
        )
        return draw_root_psi(gammas, z, b, root, sums, bare)

    def gamma_shapes(sums: Sums, prior: lm.Prior) -> jax.Array:
        right = all_shapes(sums, prior)
        missing = len(ROWS.cluster) - jnp.sum(sums.n)
        return jnp.where(made("sigma2 counts missing rows"), right.at[-1].add(missing / 2), right)

    for function in (draw_beta, draw_b, psi_shapes):
        patch.setattr(lm, function.__name__, function)
    patch.setattr(lm, "draw_root_psi", root_psi)
    if module is lm:
        patch.setattr(lm, "gamma_shapes", gamma_shapes)
        return

    remainder, log_gamma = lmc.stirling_remainder, lmc.log_gamma

    def stirling_remainder(a: jax.Array) -> jax.Array:
        return jnp.where(made("a by Stirling's formula"), 0, remainder(a))

    def log_gammas(key: jax.Array, counter: jax.Array, shape: jax.Array) -> jax.Array:
        shape = jnp.where(made("s0 has one too many"), shape.at[0].add(1), shape)
        shape = jnp.where(made("a row too many in each cluster"), shape.at[1:].add(0.5), shape)
        return log_gamma(key, counter, shape)

    patch.setattr(lmc, "stirling_remainder", stirling_remainder)
    patch.setattr(lmc, "log_gamma", log_gammas)


COMMON = (
    "psi misses a degree of freedom",
    "psi drops its prior scale",
    "beta drops its prior",
    "beta forgets the data",
    "beta ignores that clusters differ",
    "effects from their marginal law",
)
TWINS = {
    lm: (*COMMON, "sigma2 counts missing rows"),
    lmc: (
        *COMMON,
        "beta weighs all clusters alike",
        "a by Stirling's formula",
        "s0 has one too many",
        "a row too many in each cluster",
    ),
}


@pytest.mark.parametrize(
    ("module", "replicate", "distributions"),
    [(lm, one_variance, laws_one_variance), (lmc, variance_by_cluster, laws_by_cluster)],
)
def test_the_alarm_works(
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    replicate: Callable[..., dict[str, jax.Array]],
    distributions: Callable[..., dict[str, Cdf]],
) -> None:
    """The sampler passes under an inverse-Wishart prior, and each of these mistakes is seen."""
    check_joint_law(
        monkeypatch,
        lambda key: replicate(key, half_t=False),
        distributions(half_t=False),
        lambda patch, made: put_twins(patch, made, module),
        TWINS[module],
        n_replicates=N_REPLICATE,
        seed=2,
    )
