"""Logistic regression: weighted maximum likelihood and its normal approximation.

The data are augmented by a few rows of small weight (White, Daniel and Royston 2010,
Computational Statistics and Data Analysis 54, 2267-2275), so the maximum is finite for
any pattern of separation. Rows that are added to a design of F columns: for every
predictor and every category, that predictor half a standard deviation below and above its
mean and all others at their means, with a total weight of the number of coefficients.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from jaxmice.samplers.newton import Here, draw_normal, maximise
from jaxmice.samplers.sums import ridge_of
from jaxmice.target import Target


class Design(NamedTuple):
    """Rows of a regression for categories, the added ones last."""

    X: Float[Array, "f n"]
    """Predictors; columns that do not predict are zero."""

    weight: Float[Array, "c n"]
    """How much a row counts for each category."""

    live: Bool[Array, " f"]
    """Columns that predict."""

    penalty: Float[Array, " f"]
    """Minute precision of a normal prior, against columns that determine each other."""


def make_design(target: Target, n_categories: int, present: Bool[Array, " c"]) -> Design:
    """Return the rows of a target whose values are codes 0, 1, ..., c - 1.

    Parameters
    ----------
    target
        The categorical target; it has no columns with random effects.
    n_categories
        Number of categories c.
    present
        Categories that take part; each of them gets the same share of the added rows.
    """
    X, live = jnp.concatenate([target.f_shared, target.f_chain]), target.f_live
    f, rows = X.shape[0], target.used
    is_intercept = (jnp.arange(f) == 0) & target.f_intercept
    category = jnp.arange(n_categories)[:, None, None]
    member = (target.y == category) & target.ry & present[:, None, None]
    added, weight = _added(X, rows, live & ~is_intercept)
    share = weight * present[:, None] / jnp.maximum(jnp.sum(present), 1)
    square = jnp.sum(X**2 * rows, axis=(1, 2))
    return Design(
        X=jnp.concatenate([X.reshape(f, -1), jnp.where(live[:, None], added, 0)], axis=1),
        weight=jnp.concatenate([member.reshape(n_categories, -1), share], axis=1).astype(X.dtype),
        live=live,
        penalty=jnp.where(
            is_intercept & live, 0, jnp.where(square > 0, ridge_of(X.dtype) * square, 1)
        ),
    )


def _added(
    X: Float[Array, "f K B"], rows: Bool[Array, "K B"], predictor: Bool[Array, " f"]
) -> tuple[Float[Array, "f r"], Float[Array, " r"]]:
    """Return the added points and their weights over all categories together.

    All categories are added at the same points with the same weight: a point is one row
    that belongs to each of them in part. Means and deviations are those of all rows in use.
    """
    f = X.shape[0]
    n = jnp.maximum(jnp.sum(rows), 1)
    mean = jnp.sum(X * rows, axis=(1, 2)) / n
    deviation = jnp.sqrt(jnp.sum(((X - mean[:, None, None]) * rows) ** 2, axis=(1, 2)) / n)
    lowest = jnp.min(jnp.where(rows, X, jnp.inf), axis=(1, 2))
    highest = jnp.max(jnp.where(rows, X, -jnp.inf), axis=(1, 2))
    moved = jnp.stack([mean - deviation / 2, mean + deviation / 2])
    moved = jnp.clip(moved, lowest, highest)
    design = jnp.where(jnp.eye(f, dtype=bool)[None], moved[:, :, None], mean[None, None, :])
    count = jnp.sum(predictor)
    weight = jnp.where(predictor, (count + 1) / jnp.maximum(2 * count, 1), 0)
    return design.reshape(2 * f, f).T, jnp.tile(weight, 2)


def draw(key: Key[Array, ""], target: Target) -> Float[Array, " f"]:
    """Draw the coefficients from the normal approximation at the maximum."""
    design = make_design(target, 2, jnp.ones(2, bool))
    X, ones, total = design.X, design.weight[1], jnp.sum(design.weight, axis=0)
    ridge = jnp.where(design.live, design.penalty, 1)

    def evaluate(beta: Float[Array, " f"]) -> Here:
        eta = jnp.einsum("fn,f->n", X, beta)
        mu = jax.nn.sigmoid(eta)
        value = jnp.sum(ones * eta - total * jax.nn.softplus(eta))
        score = jnp.einsum("fn,n->f", X, ones - total * mu)
        fisher = jnp.einsum("fn,gn->fg", X * (total * mu * (1 - mu)), X)
        return Here(value - ridge @ beta**2 / 2, score - ridge * beta, fisher + jnp.diag(ridge))

    maximum, information = maximise(evaluate, jnp.zeros(X.shape[:1], X.dtype))
    return jnp.where(design.live, draw_normal(key, maximum, information), 0)
