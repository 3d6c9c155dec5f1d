"""Gibbs sampling with log-normal variances: exact start, wrong twins, densities, NUTS."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

from jaxmice.samplers import linear_mixed as lm, meta_analysis as ma
from jaxmice.samplers.sums import Sums, make_sums
from tests.samplers import test_samplers_invariance as invariance, test_samplers_nuts as nuts
from tests.samplers.nuts import Draws, check_agreement, posterior
from tests.samplers.rows import ragged
from tests.samplers.twins import Made, check_joint_law
from tests.statistics import (
    FALSE_ALARM_RATE,
    Cdf,
    bonferroni,
    cdf_on_grid,
)

pytestmark = pytest.mark.usefixtures("double_precision")

J, ROWS = invariance.J, invariance.ROWS
CENTRE, CENTRE_SD, HALF_T = 0.3, 0.4, 0.7


def variance_prior() -> ma.VariancePrior:
    return ma.VariancePrior(*map(jnp.asarray, (CENTRE, CENTRE_SD**-2, HALF_T)))


def replicate(key: jax.Array) -> dict[str, jax.Array]:
    """Draw parameters and data from the model, take steps, return quantities of known law."""
    key_psi, key_effects, key_centre, key_tau, key_x, key_y, key_run = jax.random.split(key, 7)
    root = invariance.draw_root(key_psi, half_t=False)
    beta, b = invariance.draw_effects(key_effects, root)
    centre = CENTRE + CENTRE_SD * jax.random.normal(key_centre)
    # Half-t with two degrees of freedom.
    z, chi2 = jax.random.normal(key_tau, (3,)), 2.0
    tau = HALF_T * jnp.abs(z[0]) / jnp.sqrt((z[1] ** 2 + z[2] ** 2) / chi2)
    x = jnp.zeros(J + ROWS.filled[0]).at[:J].set(centre + tau * jax.random.normal(key_x, (J,)))
    noise = jax.random.normal(key_y, ROWS.cluster.shape)
    y = invariance.mean_of(beta, b) + jnp.exp(x[ROWS.cluster] / 2) * noise
    sums = make_sums(ROWS.target(y), by_cluster=True)
    before = ma.Parameters(beta, b, root, x, centre, tau**2)
    prior = invariance.make_prior(half_t=False)
    n_steps = jnp.asarray(invariance.N_STEP)
    after = ma.run(key_run, before, sums, prior, variance_prior(), n_steps)
    sigma = jnp.exp(after.log_sigma2[ROWS.cluster] / 2)
    return {
        **invariance.common_quantities(y, after, sigma),
        "centre": after.centre,
        "tau": jnp.sqrt(after.spread),
        "log variance": (after.log_sigma2[:J] - after.centre) / jnp.sqrt(after.spread),
    }


def laws() -> dict[str, Cdf]:
    out = invariance.laws(half_t=False)
    out["centre"] = stats.norm(CENTRE, CENTRE_SD).cdf
    out["tau"] = lambda x: 2 * stats.t(2).cdf(x / HALF_T) - 1
    return out | {f"log variance[{j}]": stats.norm.cdf for j in range(J)}


TWINS = (
    "a row too many in each cluster",
    "every proposal accepted",
    "variances from their marginal law",
    "the spread misses a degree of freedom",
    "the centre drops its prior",
)


def put_twins(patch: pytest.MonkeyPatch, made: Made) -> None:
    """Put mistakes into the sampler."""
    draw, shapes, centres, uniforms = (
        ma.draw_log_sigma2,
        ma.gamma_shapes,
        ma.draw_centre,
        ma.uniforms,
    )

    def draw_log_sigma2(
        key: Any, counter: Any, x: Any, n: Any, rss: Any, centre: Any, spread: Any
    ) -> jax.Array:
        n = jnp.where(made("a row too many in each cluster"), n + 1, n)
        blind = made("variances from their marginal law")
        n, rss = jnp.where(blind, 0, n), jnp.where(blind, 0, rss)
        return draw(key, counter, x, n, rss, centre, spread)

    def gamma_shapes(sums: Sums, prior: lm.Prior) -> jax.Array:
        right = shapes(sums, prior)
        few = made("the spread misses a degree of freedom")
        return jnp.where(few, right.at[-2].add(-0.5), right)

    def draw_centre(
        z: Any, gammas: Any, x: Any, spread: Any, live: Any, prior: ma.VariancePrior
    ) -> tuple[jax.Array, jax.Array]:
        precision = jnp.where(made("the centre drops its prior"), 0, prior.centre_precision)
        bare = ma.VariancePrior(prior.centre_mean, precision, prior.half_t)
        return centres(z, gammas, x, spread, live, bare)

    def accepting(*args: Any) -> jax.Array:
        return jnp.where(made("every proposal accepted"), 1e-300, uniforms(*args))

    patch.setattr(ma, "draw_log_sigma2", draw_log_sigma2)
    patch.setattr(ma, "gamma_shapes", gamma_shapes)
    patch.setattr(ma, "draw_centre", draw_centre)
    patch.setattr(ma, "uniforms", accepting)


def test_steps_keep_the_joint_law_and_mistakes_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw from the model, take steps, find the model again (Geweke 2004)."""
    n_replicates = invariance.N_REPLICATE
    draws = check_joint_law(
        monkeypatch, replicate, laws(), put_twins, TWINS, n_replicates=n_replicates, seed=5
    )
    assert np.all(draws["dead"] == 0)
    assert np.all(draws["filled"] == 0)


CASES = [
    (n, rss, tau2) for n in (0, 1, 4, 30) for rss in (1e-12, 3.0, 90.0) for tau2 in (0.05, 2.0)
]


def test_log_variances_follow_their_density() -> None:
    """Many chains per case; n = 0 without squares; acceptance as promised."""
    n, rss, tau2 = np.array(CASES).T
    rss = np.where(n == 0, 0, rss)
    centre, n_chains, n_steps = 0.4, 3_000, 40

    @jax.jit
    def chains(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        wide = jnp.tile(jnp.asarray(n), n_chains), jnp.tile(jnp.asarray(rss), n_chains)
        spread = jnp.tile(jnp.asarray(tau2), n_chains)

        def body(i: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            x, moved = carry
            new = ma.draw_log_sigma2(
                key, i * lm.COUNTERS + 1, x, *wide, jnp.asarray(centre), spread
            )
            return new, moved + (new != x)

        zero = jnp.zeros(spread.shape)
        return jax.lax.fori_loop(0, n_steps, body, (zero + centre, zero))

    x, moved = (np.asarray(part).reshape(n_chains, -1) for part in chains(jax.random.key(3)))
    rate = moved.mean(axis=0) / n_steps
    assert np.all(rate[n == 0] == 1)
    assert np.all(rate > 0.6), rate
    grid = np.linspace(-70, 12, 400_001)
    pvalues = []
    for i in range(len(CASES)):
        density = (
            -n[i] / 2 * grid - (rss[i] / 2) * np.exp(-grid) - (grid - centre) ** 2 / (2 * tau2[i])
        )
        pvalues.append(stats.kstest(x[:, i], cdf_on_grid(grid, density)).pvalue)
    assert bonferroni(pvalues) > FALSE_ALARM_RATE, dict(zip(CASES, pvalues, strict=True))
    # A tenth of a deviation is seen.
    assert stats.kstest(x[:, 0] + 0.1 * x[:, 0].std(), stats.norm(0.4, 0.05**0.5).cdf).pvalue < 1e-4


def test_summaries_and_rows_give_the_same_draws() -> None:
    """Known variances, all predictors random, the same noise.

    Stage one reports estimates and covariances; the kernel fed with them alone returns
    the numbers that it returns for the rows, for common and for different variances.
    """
    rows = ragged((6, 5, 0, 7, 4), (6, 5, 0, 5, 3), 2, 0, seed=6, filled=(0, 1), n_shared=(2, 0))
    rng = np.random.default_rng(4)
    y = rng.normal(size=len(rows.cluster)) + rows.cluster
    root = jnp.asarray(np.linalg.cholesky([[1.0, 0.4], [0.4, 0.8]]))
    J, q = rows.n_clusters, 2
    zero = jnp.asarray(0.0)
    prior = lm.Prior(zero, zero, jnp.zeros(q), zero, jnp.zeros((q, q)))
    sums = make_sums(rows.target(y), by_cluster=True)
    bare = Sums(**{**vars(sums), "penalty": jnp.zeros(q)})
    for sigma2 in (np.full(J, 0.7), rng.gamma(3, 0.3, J)):
        R, k = np.zeros((q, q, J)), np.zeros((q, J))
        for j in range(J):
            inside = (rows.cluster == j) & rows.seen
            Z = rows.Z[:, inside].T
            if len(Z):
                estimate, covariance = np.linalg.lstsq(Z, y[inside])[0], np.linalg.inv(Z.T @ Z)
                R[:, :, j] = np.linalg.cholesky(np.linalg.inv(sigma2[j] * covariance))
                k[:, j] = R[:, :, j].T @ estimate
        reported = Sums(
            **{
                **vars(bare),
                "root": jnp.asarray(R),
                "K": jnp.asarray(np.swapaxes(R, 0, 1)),
                "k": jnp.asarray(k),
                "S": jnp.zeros((0, 0)),
                "s": jnp.zeros(0),
                "rho": zero,
            }
        )
        z_beta, z_b = rng.normal(size=q), rng.normal(size=(q, J))
        draws = []
        for one, variance in ((bare, jnp.asarray(sigma2)), (reported, jnp.asarray(1.0))):
            for z in (0.0, 1.0):
                beta = lm.draw_beta(z * jnp.asarray(z_beta), root, variance, one, prior)
                b = lm.draw_b(z * jnp.asarray(z_b), beta, root, variance, one)[1]
                draws.append((beta, b))
        for mine, theirs in zip(draws[:2], draws[2:], strict=True):
            np.testing.assert_allclose(mine[0], theirs[0], atol=1e-10)
            np.testing.assert_allclose(mine[1], theirs[1], atol=1e-10)
        # The textbook: generalised least squares, then shrinkage.
        psi = np.asarray(root @ root.T)
        full = [j for j in range(J) if R[0, 0, j] > 0]
        V = {j: np.linalg.inv(R[:, :, j] @ R[:, :, j].T) for j in full}
        t = {j: np.linalg.solve(R[:, :, j].T, k[:, j]) for j in full}
        W = {j: np.linalg.inv(V[j] + psi) for j in full}
        beta = np.linalg.solve(sum(W.values()), sum(W[j] @ t[j] for j in full))
        np.testing.assert_allclose(draws[0][0], beta, atol=1e-10)
        for j in full:
            np.testing.assert_allclose(draws[0][1][:, j], psi @ W[j] @ (t[j] - beta), atol=1e-10)
        np.testing.assert_array_equal(draws[0][1][:, 2], 0)


def model(y: jax.Array) -> None:
    """Write the model down once more, with a random intercept only."""
    cluster = NUTS_ROWS.cluster
    beta: Any = numpyro.sample("beta", dist.Normal(0, 2).expand([2]).to_event(1))
    psi: Any = numpyro.sample("psi", dist.InverseGamma(2.5, 1.0))
    z: Any = numpyro.sample("z", dist.Normal(0, 1).expand([NUTS_ROWS.n_clusters]).to_event(1))
    mean = jnp.asarray(NUTS_ROWS.X) @ beta + jnp.sqrt(psi) * z[cluster]
    centre: Any = numpyro.sample("centre", dist.Normal(CENTRE, CENTRE_SD))
    tau: Any = numpyro.sample("tau", dist.HalfNormal(1).mask(False))
    numpyro.factor("half-t", -1.5 * jnp.log1p((tau / HALF_T) ** 2 / 2))
    e: Any = numpyro.sample("e", dist.Normal(0, 1).expand([NUTS_ROWS.n_clusters]).to_event(1))
    x: Any = numpyro.deterministic("x", centre + tau * e)
    numpyro.sample("y", dist.Normal(mean, jnp.exp(x[cluster] / 2)).to_event(1), obs=y)


NUTS_ROWS = ragged(nuts.SIZES, nuts.SEEN, 1, 1, seed=8, filled=(0, 0))
WATCHED = (5, 6, 12)


def of_sites(draws: Draws) -> Draws:
    """Return what is compared from NUTS draws."""
    values = {f"beta[{i}]": draws["beta"][..., i] for i in range(2)}
    values |= {"log psi": np.log(draws["psi"]), "centre": draws["centre"]}
    values["log tau"] = np.log(draws["tau"])
    return values | {f"x[{j}]": draws["x"][..., j] for j in WATCHED}


def test_gibbs_and_nuts_agree() -> None:
    """Means and variances of all parameters, of an empty cluster and of a single row."""
    y = nuts.outcome()

    # IG(2.5, 1) is IW(5, 2).
    parts = (0.0, 0.0, [0.25, 0.25], 5.0, [[2.0]])
    prior = lm.Prior(*map(jnp.asarray, parts))

    @jax.jit
    def chains(keys: jax.Array) -> ma.Parameters:
        sums = make_sums(NUTS_ROWS.target(y), by_cluster=True)

        def chain(key: jax.Array) -> ma.Parameters:
            return ma.run(key, ma.start(sums), sums, prior, variance_prior(), jnp.asarray(200))

        return jax.vmap(chain)(keys)

    after = chains(jax.random.split(jax.random.key(2), 1_500))
    ours = {f"beta[{i}]": np.asarray(after.beta)[:, i] for i in range(2)}
    ours |= {"log psi": 2 * np.log(np.asarray(after.root_psi)[:, 0, 0])}
    ours |= {"centre": np.asarray(after.centre), "log tau": np.log(np.asarray(after.spread)) / 2}
    ours |= {f"x[{j}]": np.asarray(after.log_sigma2)[:, j] for j in WATCHED}
    check_agreement(posterior("meta_analysis", model, of_sites, jnp.asarray(y)), ours, "centre")


def test_single_precision_takes_every_kind_of_cluster() -> None:
    """A cluster without rows, one without values, single rows; no random effect at all."""
    rng = np.random.default_rng(2)
    with jax.enable_x64(False):
        for q in (2, 0):
            rows = ragged(invariance.SIZES, invariance.SEEN, q, 2, seed=3, n_shared=(q and 1, 1))
            y = rng.normal(size=len(rows.cluster)).astype(np.float32)

            def program(key: jax.Array, y: jax.Array, rows: Any = rows, q: int = q) -> Any:
                target = jax.tree.map(
                    lambda a: a.astype(jnp.float32) if a.dtype == jnp.float64 else a, rows.target(y)
                )
                sums = make_sums(target, by_cluster=True)
                zero = jnp.zeros(())
                half_t = jnp.full(q, 2.5)
                prior = lm.Prior(
                    zero, zero, jnp.zeros(q + 2), zero, jnp.zeros((q, q)), half_t=half_t
                )
                return ma.run(key, ma.start(sums), sums, prior, variance_prior(), jnp.asarray(100))

            after = jax.jit(program)(jax.random.key(0), jnp.asarray(y))
            for leaf in jax.tree.leaves(after):
                assert leaf.dtype == jnp.float32
                assert np.all(np.isfinite(leaf))
