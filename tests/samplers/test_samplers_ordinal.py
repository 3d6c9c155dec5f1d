"""Steps of the two-level cumulative probit regression leave its joint law unchanged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxmice.samplers import latent, ordinal_mixed as om
from jaxmice.samplers.sums import make_sums
from jaxmice.target import Target
from tests.samplers import latent_model as model
from tests.samplers.rows import ragged
from tests.samplers.test_samplers_invariance import make_prior
from tests.samplers.twins import Made

pytestmark = pytest.mark.usefixtures("double_precision")

ROWS = model.ROWS
K, INNER = 4, jnp.array([False, True, True, False])
FIXED = om.Categories(
    start=jnp.zeros(K),
    jump=0.9 * jnp.diag(INNER.astype(float)),
    first=jnp.asarray(0),
    last=jnp.asarray(K - 1),
    inner=INNER,
)
"""All categories count as seen, whatever the few rows of a replicate show."""


def replicate(key: jax.Array) -> model.Quantities:
    key_prior, key_width, key_y, key_run, key_e = jax.random.split(key, 5)
    regression = model.draw_regression(key_prior)
    log_width = om.WIDTH_DEVIATION * jax.random.normal(key_width, (K,)) * INNER
    noise = jax.random.normal(key_y, ROWS.cluster.shape)
    widths = jnp.exp(log_width[1:-1])
    cuts = jnp.concatenate([jnp.zeros(1), jnp.cumsum(widths)])
    y = jnp.searchsorted(cuts, model.predictor(regression) + noise).astype(float)
    target = ROWS.target(y)
    after = om.run(
        key_run,
        om.Parameters(regression, log_width),
        target,
        make_sums(target, by_cluster=False),
        make_prior(half_t=True),
        FIXED,
        jnp.asarray(model.N_STEP),
    )
    infinity = jnp.array([jnp.inf])
    cuts = jnp.concatenate([jnp.zeros(1), jnp.cumsum(jnp.exp(after.log_width[1:-1]))])
    edges = jnp.concatenate([-infinity, cuts, infinity])
    eta, at = model.predictor(after.regression), y.astype(int)
    e = model.between(key_e, edges[at] - eta, edges[at + 1] - eta)
    return {**model.quantities(after.regression, e), "width": after.log_width[1:-1]}


TWINS = (
    *model.COMMON,
    "latent variables have no upper bound",
    "ratio of the thresholds inverted",
    "widths drop their prior",
)


def put_twins(patch: pytest.MonkeyPatch, made: Made) -> None:
    draw, density, prior = om.draw_latent, om.log_density, om.log_prior

    def draw_latent(u: jax.Array, eta: jax.Array, upper: jax.Array, target: Target) -> jax.Array:
        free = jnp.where(made("latent variables have no upper bound"), jnp.inf, upper)
        low, high = om.bounds(upper, target)[0], om.bounds(free, target)[1]
        # Right or wrong, the lower bounds stay.
        g = eta + om.truncated_normals(u, low - eta, high - eta)
        wrong = made("latent variables have no upper bound")
        return jnp.where(wrong, jnp.where(target.ry, g, 0), draw(u, eta, upper, target))

    def log_density(*arguments: jax.Array) -> jax.Array:
        right = density(*arguments)
        return jnp.where(made("ratio of the thresholds inverted"), -right, right)

    def log_prior(*arguments: jax.Array) -> jax.Array:
        return jnp.where(made("widths drop their prior"), 0, prior(*arguments))

    for function in (draw_latent, log_density, log_prior):
        patch.setattr(om, function.__name__, function)


def test_steps_keep_the_joint_law_and_the_alarm_works(monkeypatch: pytest.MonkeyPatch) -> None:
    law = stats.norm(0, om.WIDTH_DEVIATION).cdf
    laws = {**model.regression_laws(), "width[0]": law, "width[1]": law}
    draws = model.check(monkeypatch, replicate, laws, put_twins, TWINS, seed=2)
    assert np.all(draws["dead"] == 0)


def test_thresholds_reproduce_the_shares_and_skip_categories_without_values() -> None:
    rows = ragged((400,), (300,), 0, 1, block=400, n_shared=(0, 1))
    y = np.random.default_rng(1).choice([1, 2, 4, 5], p=[0.2, 0.3, 0.1, 0.4], size=400)
    categories = jax.jit(om.read_categories, static_argnums=1)(rows.target(y), 7)
    upper = np.asarray(om.thresholds(categories.start, categories))

    np.testing.assert_array_equal(np.flatnonzero(categories.inner), [2, 4])
    assert upper[0] == -np.inf
    assert upper[2] == upper[3]
    np.testing.assert_array_equal(upper[5:], np.inf)
    below = np.array([np.mean(y[rows.seen] <= k) for k in (1, 2, 4)])
    # The first threshold is the origin; the others are as far from it as the shares say.
    quantile = stats.norm.ppf(below)
    np.testing.assert_allclose(upper[[1, 2, 4]], quantile - quantile[0], atol=1e-12)


def test_metropolis_moves_are_of_a_useful_size() -> None:
    """Between a tenth and nine tenths are accepted, with weak and with strong predictors."""
    rows = ragged((20,) * 30, (20,) * 30, 1, 1, seed=3, block=20)
    rng = np.random.default_rng(2)

    @jax.jit
    def accepted(keys: jax.Array, y: jax.Array) -> jax.Array:
        target = rows.target(y)
        sums, prior = make_sums(target, by_cluster=False), latent.make_prior(target)
        categories = om.read_categories(target, 4)
        start, n_steps = om.start(sums, categories), jnp.asarray(60)

        def chain(key: jax.Array) -> jax.Array:
            warm, z_key, u_key = jax.random.split(key, 3)
            now = om.run(warm, start, target, sums, prior, categories, n_steps)
            z = jax.random.normal(z_key, (20, len(om.JUMPS), 4))
            u = jax.random.uniform(u_key, (20, len(om.JUMPS)))
            eta = latent.predictor(now.regression, target)

            def move(width: jax.Array, noise: tuple[jax.Array, jax.Array]) -> tuple:
                after = om.move_widths(*noise, width, eta, target, categories)
                return after, jnp.any(after != width)

            return jnp.mean(jax.lax.scan(move, now.log_width, (z, u))[1])

        return jax.vmap(chain)(keys)

    for slope in (0.0, 3.0):
        g = slope * rows.F[0] + rng.normal(size=len(rows.cluster))
        y = np.digitize(g, np.quantile(g, [0.1, 0.5, 0.8])).astype(float)
        rate = float(np.mean(accepted(jax.random.split(jax.random.key(1), 20), y)))
        assert 0.1 < rate < 0.95, (slope, rate)
