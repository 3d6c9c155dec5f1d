"""Steps of the two-level probit regression leave the joint law of its model unchanged.

As in the test of the normal models: parameters from the prior, data given them, a few
steps with the data held fixed. What the latent variables would leave as residuals is
drawn anew, by plain inversion, from the parameters after the steps and the data: standard
normal if both belong together.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxmice.methods import REGISTRY
from jaxmice.random import normals, uniforms
from jaxmice.samplers import latent, linear_mixed as lm, ordinal_mixed as om, probit_mixed as pm
from jaxmice.samplers.sums import Sums, make_sums
from jaxmice.target import Target
from tests.samplers import latent_model as model
from tests.samplers.rows import ragged
from tests.samplers.test_samplers_invariance import make_prior
from tests.samplers.twins import Made
from tests.statistics import FALSE_ALARM_RATE, adjusted_pvalue, bonferroni, cdf_on_grid

pytestmark = pytest.mark.usefixtures("double_precision")

ROWS = model.ROWS


def replicate(key: jax.Array) -> model.Quantities:
    key_prior, key_y, key_run, key_e = jax.random.split(key, 4)
    before = model.draw_regression(key_prior)
    noise = jax.random.normal(key_y, ROWS.cluster.shape)
    y = jnp.where(model.predictor(before) + noise > 0, 1.0, 0.0)
    target = ROWS.target(y)
    sums = make_sums(target, by_cluster=False)
    n_steps = jnp.asarray(model.N_STEP)
    after = pm.run(key_run, before, target, sums, make_prior(half_t=True), n_steps)
    eta = model.predictor(after)
    low, high = jnp.where(y > 0, -eta, -jnp.inf), jnp.where(y > 0, jnp.inf, -eta)
    return model.quantities(after, model.between(key_e, low, high))


TWINS = (*model.COMMON, "latent variables not truncated", "growth counts missing rows")


def put_twins(patch: pytest.MonkeyPatch, made: Made) -> None:
    draw, shapes = pm.draw_latent, pm.gamma_shapes

    def draw_latent(u: jax.Array, regression: latent.Regression, target: Target) -> jax.Array:
        free = latent.predictor(regression, target) + jax.scipy.special.ndtri(u)
        free = jnp.where(target.ry, free, 0)
        right = draw(u, regression, target)
        return jnp.where(made("latent variables not truncated"), free, right)

    def gamma_shapes(sums: Sums, prior: lm.Prior) -> jax.Array:
        right, missing = shapes(sums, prior), len(ROWS.cluster) - model.N_SEEN
        return jnp.where(made("growth counts missing rows"), right.at[-1].add(missing / 2), right)

    patch.setattr(pm, "draw_latent", draw_latent)
    patch.setattr(pm, "gamma_shapes", gamma_shapes)


def test_steps_keep_the_joint_law_and_the_alarm_works(monkeypatch: pytest.MonkeyPatch) -> None:
    laws = model.regression_laws()
    draws = model.check(monkeypatch, replicate, laws, put_twins, TWINS, seed=1)
    assert np.all(draws["dead"] == 0)
    assert np.all(draws["filled"] == 0)


SIZES, SEEN = (7, 7, 7, 4, 2), (6, 6, 6, 0, 1)
"""Clusters that show only zeros, only ones, both, nothing, and a single one."""

CASES, BETA, TAU, N_CHAINS, N_STEPS = 5, 0.4, 1.3, 8_000, 25
CLUSTERS = ragged(SIZES, SEEN, 1, 1, seed=4, n_shared=(1, 1))


def answers() -> np.ndarray:
    y = (CLUSTERS.F[0] > 0).astype(float)
    y[CLUSTERS.cluster == 0] = 0
    y[(CLUSTERS.cluster == 1) | (CLUSTERS.cluster == 4)] = 1
    return y


@jax.jit
def impute_many(
    keys: jax.Array, beta: jax.Array, tau: jax.Array, target: Target
) -> tuple[jax.Array, jax.Array]:
    """Return effects and imputations of independent chains, beta and tau held fixed."""
    sums = make_sums(target, by_cluster=False)
    J, shape = sums.k.shape[1], target.y.shape

    def chain(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        key_run, key_rows = jax.random.split(key)

        def step(i: jax.Array, now: latent.Regression) -> latent.Regression:
            u = uniforms(key_run, 2 * i, shape, target.y.dtype)
            g = pm.draw_latent(u, now, target)
            given = latent.read_outcome(g, target, sums).put(sums)
            z = normals(key_run, 2 * i + 1, (1, J), target.y.dtype)
            _, b = lm.draw_b(z, beta, now.root_psi, jnp.asarray(1.0), given)
            return latent.Regression(beta, b, now.root_psi)

        begin = latent.Regression(beta, jnp.zeros((1, J)), tau[None, None])
        after = jax.lax.fori_loop(0, N_STEPS, step, begin)
        return after.b[0], REGISTRY["2l.bin"]().impute(key_rows, after, target)

    return jax.vmap(chain)(keys)


def exact(beta: np.ndarray, tau: float) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Return the density of every effect on a grid, and the chance of a one in every row."""
    eta, y = CLUSTERS.X @ beta, answers()
    b = np.linspace(-9, 9, 4001) * tau
    densities, chance = [], np.zeros(len(eta))
    for j in range(CASES):
        rows = np.flatnonzero(CLUSTERS.cluster == j)
        seen = rows[CLUSTERS.seen[rows]]
        sign = 2 * y[seen] - 1
        log_p = special.log_ndtr(sign[:, None] * (eta[seen, None] + b)).sum(axis=0)
        log_p = log_p - 0.5 * (b / tau) ** 2
        weight = np.exp(log_p - log_p.max())
        chance[rows] = special.ndtr(eta[rows, None] + b) @ (weight / weight.sum())
        densities.append((b, log_p))
    return densities, chance


@pytest.mark.parametrize("double", [True, False])
def test_clusters_of_every_kind_by_quadrature(double: bool) -> None:
    """Effects and imputations given beta and tau."""
    beta = np.array([0.3, BETA])
    with jax.enable_x64(double):
        keys = jax.random.split(jax.random.key(3), N_CHAINS)
        drawn = impute_many(keys, jnp.asarray(beta), jnp.asarray(TAU), CLUSTERS.target(answers()))
    assert drawn[0].dtype == ("float64" if double else "float32")
    b, imputed = (np.asarray(part, float) for part in drawn)
    densities, chance = exact(beta, TAU)
    laws = {f"{j}": cdf_on_grid(*densities[j]) for j in range(CASES)}
    effects = {f"{j}": b[:, j] for j in range(CASES)}
    assert adjusted_pvalue(effects, laws) > FALSE_ALARM_RATE

    ones, missing = CLUSTERS.table(imputed).sum(axis=0), ~CLUSTERS.seen
    pvalues = [
        stats.binomtest(int(k), N_CHAINS, p).pvalue
        for k, p in zip(ones[missing], chance[missing], strict=True)
    ]
    assert bonferroni(pvalues) > FALSE_ALARM_RATE
    empty = CLUSTERS.cluster == 3
    marginal = stats.norm.cdf(CLUSTERS.X @ beta / np.sqrt(1 + TAU**2))
    np.testing.assert_allclose(chance[empty], marginal[empty], atol=1e-9)
    # Effects from their marginal law, as R draws them: seen wherever there are values.
    law = stats.norm(0, TAU).cdf
    assert max(stats.kstest(effects[f"{j}"], law).pvalue for j in (0, 1, 4)) < FALSE_ALARM_RATE


def test_without_variance_between_clusters_the_model_is_single_level() -> None:
    beta = np.array([0.0, 0.8])
    keys = jax.random.split(jax.random.key(5), N_CHAINS)
    _, imputed = impute_many(keys, jnp.asarray(beta), jnp.asarray(0.0), CLUSTERS.target(answers()))
    ones, missing = CLUSTERS.table(imputed).sum(axis=0), ~CLUSTERS.seen
    chance = stats.norm.cdf(CLUSTERS.X @ beta)
    pvalues = [
        stats.binomtest(int(k), N_CHAINS, p).pvalue
        for k, p in zip(ones[missing], chance[missing], strict=True)
    ]
    assert bonferroni(pvalues) > FALSE_ALARM_RATE


def test_two_ordered_categories_are_the_binary_model() -> None:
    """The same numbers from the same key, but for rounding in single precision."""
    rows = ragged((6, 4, 0, 5, 1), (4, 3, 0, 0, 1), 2, 1, seed=2)
    y = (rows.X[:, 1] + np.sin(np.arange(len(rows.cluster))) > 0).astype(float)

    @jax.jit
    def both(key: jax.Array) -> tuple[latent.Regression, om.Parameters]:
        target = rows.target(y)
        sums, prior = make_sums(target, by_cluster=False), latent.make_prior(target)
        categories, n_steps = om.read_categories(target, 2), jnp.asarray(12)
        ordinal = om.start(sums, categories)
        return (
            pm.run(key, latent.start(sums), target, sums, prior, n_steps),
            om.run(key, ordinal, target, sums, prior, categories, n_steps),
        )

    binary, ordinal = both(jax.random.key(1))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), binary, ordinal.regression
    )
