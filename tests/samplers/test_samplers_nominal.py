"""Steps of the two-level multinomial probit regression leave its joint law unchanged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmice.samplers import nominal_mixed as nm
from jaxmice.samplers.sums import make_sums
from tests.samplers import latent_model as model
from tests.samplers.rows import ragged
from tests.samplers.test_samplers_invariance import make_prior
from tests.samplers.twins import Made

pytestmark = pytest.mark.usefixtures("double_precision")

ROWS = model.ROWS
C = 2
"""Regressions: three categories, of which the first is the reference."""

FIXED = nm.Categories(reference=jnp.asarray(0), seen=jnp.ones(C, bool))


def table(blocks: jax.Array) -> jax.Array:
    """Return values in blocks in the order of the rows."""
    live = np.argwhere(ROWS.place >= 0)
    order = np.argsort(ROWS.place[ROWS.place >= 0])
    return blocks[tuple(live[order].T)]


def replicate(key: jax.Array) -> model.Quantities:
    key_prior, key_g, key_run, key_e = jax.random.split(key, 4)
    before = jax.vmap(model.draw_regression)(jax.random.split(key_prior, C))
    noise = jax.random.normal(key_g, (C, len(ROWS.cluster)))
    g = jnp.stack([jnp.zeros(len(ROWS.cluster)), *(jax.vmap(model.predictor)(before) + noise)])
    y = jnp.argmax(g, axis=0).astype(float)
    target = ROWS.target(y)
    after = nm.run(
        key_run,
        nm.Parameters(before, jnp.where(target.ry, ROWS.arrange(jnp.max(g, axis=0)), 0)),
        target,
        make_sums(target, by_cluster=False),
        make_prior(half_t=True),
        FIXED,
        jnp.asarray(model.N_STEP),
    )
    # The winner is part of the state; losers are drawn below it.
    winner = table(after.winner)
    out: model.Quantities = {}
    for k in range(C):
        regression = jax.tree.map(lambda leaf, k=k: leaf[k], after.regressions)
        eta = model.predictor(regression)
        below = jnp.full_like(eta, -jnp.inf)
        e = model.between(jax.random.fold_in(key_e, k), below, winner - eta)
        e = jnp.where(y == k + 1, winner - eta, e)
        own = model.quantities(regression, e)
        out.update({f"{k} {name}": value for name, value in own.items()})
    return out


TWINS = (*model.COMMON, "losers without bound", "losers below zero")


def put_twins(patch: pytest.MonkeyPatch, made: Made) -> None:
    draw = nm.draw_latents

    def draw_latents(
        u: jax.Array,
        eta: jax.Array,
        winner: jax.Array,
        y: jax.Array,
        ry: jax.Array,
        categories: nm.Categories,
        n_steps: jax.Array,
    ) -> jax.Array:
        seen = jnp.where(made("losers without bound"), False, categories.seen)
        winner = jnp.where(made("losers below zero"), 0.0, winner)
        return draw(u, eta, winner, y, ry, nm.Categories(categories.reference, seen), n_steps)

    patch.setattr(nm, "draw_latents", draw_latents)


def test_steps_keep_the_joint_law_and_the_alarm_works(monkeypatch: pytest.MonkeyPatch) -> None:
    laws = {f"{k} {name}": law for k in range(C) for name, law in model.regression_laws().items()}
    draws = model.check(monkeypatch, replicate, laws, put_twins, TWINS, seed=3)
    assert np.all(draws["1 dead"] == 0)


def test_the_reference_is_the_first_category_with_a_value() -> None:
    rows = ragged((40,), (30,), 0, 1, block=40, n_shared=(0, 1))
    y = np.random.default_rng(1).choice([1.0, 3.0, 4.0], size=40)
    categories = nm.read_categories(rows.target(y), 6)
    assert int(categories.reference) == 1
    # In the new order 1, 0, 2, 3, 4, 5.
    np.testing.assert_array_equal(categories.seen, [False, False, True, True, False])
    there = nm.exchange(jnp.arange(6.0), categories)
    np.testing.assert_array_equal(there, [1, 0, 2, 3, 4, 5])
    np.testing.assert_array_equal(nm.exchange(there, categories), np.arange(6.0))


def test_latent_variables_belong_to_their_categories() -> None:
    """The largest is that of the category; categories without values bound nothing."""
    rng = np.random.default_rng(2)
    y = jnp.asarray(rng.integers(0, 3, (50, 4)).astype(float))
    u = jnp.asarray(rng.uniform(size=(3, 50, 4)))
    eta = jnp.asarray(3 * rng.normal(size=(3, 50, 4)))
    ry = jnp.ones((50, 4), bool)
    categories = nm.Categories(jnp.asarray(0), jnp.array([True, True, False]))
    once = jnp.asarray(1)
    winner, *g = np.asarray(nm.draw_latents(u, eta, jnp.ones((50, 4)), y, ry, categories, once))
    all_of = np.stack([np.zeros_like(winner), *g[:2]])
    np.testing.assert_array_equal(np.argmax(all_of, axis=0), y)
    np.testing.assert_array_equal(np.max(all_of, axis=0), winner)
    assert np.mean(g[2] > winner) > 0.1
