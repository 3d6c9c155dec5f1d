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
)
from tests.samplers.twins import Made, check_joint_law

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


def put_twins(patch: pytest.MonkeyPatch, made: Made) -> None:
    """Put mistakes into the sampler."""

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
    expected = {name: law for name, law in laws().items() if name != "sigma2"}
    draws = check_joint_law(
        monkeypatch, replicate, expected, put_twins, TWINS, n_replicates=N_REPLICATE, seed=7
    )
    assert np.all(draws["dead"] == 0)
    assert np.all(draws["sigma2"] == 1)
