"""What the cases of latent normal variables share: the prior and a draw from it."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from benchmarks.calibration import two_level as tl
from benchmarks.calibration.case import Made
from jaxmice.samplers import latent
from jaxmice.target import Target

TWINS = (
    "psi misses a degree of freedom",
    "beta drops its prior",
    "effects from their marginal law",
    "hidden rows count as zeros",
)


def draw_regression(key: Key[Array, ""]) -> latent.Regression:
    """Draw effects from the prior of `benchmarks.calibration.cases.linear_mixed.make_prior`."""
    key_beta, key_psi, key_b = jax.random.split(key, 3)
    root = tl.draw_root_psi(key_psi)
    beta = jax.random.normal(key_beta, (tl.Q + tl.F,))
    return latent.Regression(beta=beta, b=tl.draw_effects(key_b, root), root_psi=root)


def predictor(regression: latent.Regression) -> Float[Array, " n"]:
    """Return the linear predictor of every row."""
    return tl.predictor(regression.beta, regression.b)


def read_rows(y: Float[Array, " n"], made: Made) -> Target:
    """Return the target, by mistake with the hidden rows among the observed ones."""
    target = tl.ROWS.target(y)
    live = target.ry | target.wy
    return replace(target, ry=jnp.where(made("hidden rows count as zeros"), live, target.ry))


def likelihoods(log_p: Float[Array, " n"]) -> dict[str, Float[Array, ""]]:
    """Return the log likelihoods of observed and of imputed values."""
    return {
        "log p(observed given all)": jnp.sum(jnp.where(tl.ROWS.seen, log_p, 0)),
        "log p(imputed given all)": jnp.sum(jnp.where(tl.ROWS.seen, 0, log_p)),
    }
