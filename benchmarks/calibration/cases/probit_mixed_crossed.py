"""Probit regression with a nested and a crossed factor besides the clusters."""

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float, Key

from benchmarks.calibration.cases.linear_mixed_crossed import (
    Crossed,
    effect_quantities,
    value_quantities,
)
from jaxmice.samplers import linear_mixed_crossed as crossed, probit_mixed_crossed as probit
from tests.samplers import crossed_model as model


class ProbitCrossed(Crossed):
    """Areas crossed with the clusters, with a random slope; schools above them."""

    name = "probit_mixed_crossed"
    methods = "2l.bin with several cluster columns"
    twins = (
        "psi of a further factor misses a degree of freedom",
        "effects of a further factor from their marginal law",
    )
    start_from = staticmethod(probit.start)
    kernel = staticmethod(probit.run)

    def simulate(self, key: Key[Array, ""]) -> tuple[crossed.Parameters, Float[Array, " n"]]:
        """Draw parameters and all values."""
        state, g = model.draw_model(key, jnp.asarray(1.0))
        return state, (g > 0).astype(g.dtype)

    def impute(
        self, key: Key[Array, ""], state: crossed.Parameters, y: Float[Array, " n"]
    ) -> Float[Array, " n"]:
        """Draw the hidden values."""
        g = mean_of(state) + jax.random.normal(key, y.shape)
        return jnp.where(model.ROWS.seen, y, g > 0)

    def quantities(
        self, state: crossed.Parameters, y: Float[Array, " n"]
    ) -> dict[str, Float[Array, ""]]:
        """Return what is compared."""
        log_p = log_ndtr((2 * y - 1) * mean_of(state))
        return {**effect_quantities(state), **value_quantities(y, log_p)}


def mean_of(state: crossed.Parameters) -> Float[Array, " n"]:
    """Return the linear predictor of every row."""
    first, u = state.first, tuple(effects.u for effects in state.further)
    return model.mean_of(first.beta, first.b, u)


CASES = (ProbitCrossed(),)
