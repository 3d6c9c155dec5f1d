"""The probit regression with nested and crossed factors keeps its joint law.

Data from the model, steps with the answers held fixed: the parameters must follow the
prior again, and latent variables drawn anew the normal model.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmice.samplers import linear_mixed_crossed as crossed, probit_mixed_crossed as probit
from jaxmice.samplers.sums import make_sums
from tests.samplers.crossed_model import (
    FACTORS,
    PRIOR,
    ROWS,
    draw_model,
    laws,
    quantities,
    unfold,
)
from tests.statistics import FALSE_ALARM_RATE, adjusted_pvalue

pytestmark = pytest.mark.usefixtures("double_precision")

N_REPLICATE, N_STEP = 6_000, 3


def replicate(key: jax.Array) -> dict[str, jax.Array]:
    """Return the quantities of one replicate whose law under the model is known."""
    key_model, key_run, key_latent = jax.random.split(key, 3)
    before, g = draw_model(key_model, jnp.asarray(1.0))
    target = replace(ROWS.target((g > 0).astype(g.dtype)), factors=FACTORS)
    data = crossed.read(target, make_sums(target, by_cluster=False))
    after = probit.run(key_run, before, data, PRIOR, jnp.asarray(N_STEP))
    u = jax.random.uniform(key_latent, target.y.shape)
    latent = draw_residuals(u, after, data) + crossed.fitted(after, target)
    by_row = jnp.zeros(len(ROWS.cluster) + 1).at[ROWS.place].set(latent)[:-1]
    return quantities(by_row, after)


draw_residuals = probit.draw_residuals
"""As it is, whatever mistake is put into the sampler."""

TWINS = (
    "answers do not bound the latent variables",
    "latent variables forget the further factors",
    "answers the wrong way round",
)


def wrong_twins(patch: pytest.MonkeyPatch, mistake: jax.Array) -> None:
    def made(name: str) -> jax.Array:
        return mistake == TWINS.index(name)

    def residuals(u: jax.Array, parameters: crossed.Parameters, data: crossed.Data) -> Any:
        right = draw_residuals(u, parameters, data)
        free = jnp.where(data.target.ry, jax.scipy.special.ndtri(u), 0)
        bare = replace(
            parameters, further=tuple(replace(f, u=jnp.zeros_like(f.u)) for f in parameters.further)
        )
        lost = crossed.fitted(bare, data.target) - crossed.fitted(parameters, data.target)
        blind = jnp.where(data.target.ry, draw_residuals(u, bare, data) + lost, 0)
        flipped = replace(data, target=replace(data.target, y=1 - data.target.y))
        out = jnp.where(made(TWINS[0]), free, right)
        out = jnp.where(made(TWINS[1]), blind, out)
        return jnp.where(made(TWINS[2]), draw_residuals(u, parameters, flipped), out)

    patch.setattr(probit, "draw_residuals", residuals)


def test_steps_keep_the_joint_law_and_wrong_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def program(keys: jax.Array, mistake: jax.Array) -> dict[str, jax.Array]:
        with monkeypatch.context() as patch:
            wrong_twins(patch, mistake)
            return jax.vmap(replicate)(keys)

    compiled = jax.jit(program)
    keys = jax.random.split(jax.random.key(7), N_REPLICATE)
    expected = {name: law for name, law in laws().items() if name != "sigma2"}
    right = unfold(compiled(keys, jnp.asarray(-1)))
    assert np.all(right["dead"] == 0)
    assert np.all(right["sigma2"] == 1)
    assert adjusted_pvalue(right, expected) > FALSE_ALARM_RATE
    pvalues = {
        name: adjusted_pvalue(unfold(compiled(keys, jnp.asarray(i))), expected)
        for i, name in enumerate(TWINS)
    }
    assert max(pvalues.values()) < FALSE_ALARM_RATE, pvalues
