"""Multinomial logistic regression: weighted maximum likelihood and its normal approximation.

Category c has the linear predictor ``X' beta_c``, zero for the most frequent category.
Categories without an observed row take no part: their probability is zero. Augmented
against separation like `jaxmice.samplers.logistic`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from jaxmice.samplers.logistic import make_design
from jaxmice.samplers.newton import Here, draw_normal, maximise
from jaxmice.target import Target


class Parameters(eqx.Module):
    """One draw of the coefficients, for one chain."""

    beta: Float[Array, "c f"]
    """Coefficients of every category; zero for the base and for absent categories."""

    present: Bool[Array, " c"]
    """Categories with an observed row."""


def start(target: Target, n_categories: int) -> Parameters:
    """Return zeros, which a draw does not read."""
    beta = jnp.zeros((n_categories, target.f_live.shape[0]), target.y.dtype)
    return Parameters(beta, jnp.zeros(n_categories, bool))


def count_rows(target: Target, n_categories: int) -> Float[Array, " c"]:
    """Return the number of observed rows of every category."""
    category = jnp.arange(n_categories)[:, None, None]
    return jnp.sum((target.y == category) & target.ry, axis=(1, 2)).astype(target.y.dtype)


def draw(key: Key[Array, ""], target: Target, n_categories: int) -> Parameters:
    """Draw the coefficients from the normal approximation at the maximum."""
    count = count_rows(target, n_categories)
    present = count > 0
    design = make_design(target, n_categories, present)
    X, weight, total = design.X, design.weight, jnp.sum(design.weight, axis=0)
    c, f = n_categories, X.shape[0]
    free = (present & (jnp.arange(c) != jnp.argmax(count)))[:, None] & design.live
    ridge = jnp.where(free, design.penalty, 1)

    def evaluate(flat: Float[Array, " cf"]) -> Here:
        beta = flat.reshape(c, f)
        eta = jnp.einsum("cf,fn->cn", beta, X)
        log_p = jax.nn.log_softmax(jnp.where(present[:, None], eta, -jnp.inf), axis=0)
        p = jnp.exp(log_p)
        value = jnp.sum(jnp.where(present[:, None], weight * log_p, 0))
        score = jnp.einsum("cn,fn->cf", weight - total * p, X)
        # diag(p) - p p', each times the cross products of the row.
        own = jnp.einsum("cn,fn,gn->cfg", total * p, X, X)
        spread = (p[:, None] * X).reshape(c * f, -1)
        fisher = -jnp.einsum("an,bn->ab", spread * total, spread)
        blocks = jnp.einsum("cfg,cd->cfdg", own, jnp.eye(c, dtype=X.dtype))
        fisher = fisher + blocks.reshape(c * f, c * f)
        active = free.ravel()
        fisher = jnp.where(active[:, None] & active[None], fisher, 0)
        return Here(
            value - jnp.sum(ridge * beta**2) / 2,
            jnp.where(active, (score - ridge * beta).ravel(), 0),
            fisher + jnp.diag(ridge.ravel()),
        )

    maximum, information = maximise(evaluate, jnp.zeros(c * f, X.dtype))
    drawn = draw_normal(key, maximum, information).reshape(c, f)
    return Parameters(jnp.where(free, drawn, 0), present)
