"""Logistic regression: weighted maximum likelihood and its normal approximation.

The data are augmented by a few rows of small weight (White, Daniel and Royston 2010,
Computational Statistics and Data Analysis 54, 2267-2275), so the maximum is finite for
any pattern of separation. Rows that are added to a design of F columns: for every
predictor and both answers, that predictor half a standard deviation below and above its
mean and all others at their means, with a total weight of the number of coefficients.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float, Key

from jaxmice.random import normals

N_NEWTON = 20
"""Damped Newton steps; convergence takes five to eight."""


class Pseudo(eqx.Module):
    """The rows added against separation."""

    X: Float[Array, "r f"]
    y: Float[Array, " r"]
    weight: Float[Array, " r"]


def augment(
    X: Float[Array, "f K B"],
    live: Bool[Array, " f"],
    rows: Bool[Array, "K B"],
    intercept: Bool[Array, ""],
) -> Pseudo:
    """Return the added rows; means and deviations are those of all ``rows``."""
    f = X.shape[0]
    n = jnp.maximum(jnp.sum(rows), 1)
    mean = jnp.sum(X * rows, axis=(1, 2)) / n
    deviation = jnp.sqrt(jnp.sum(((X - mean[:, None, None]) * rows) ** 2, axis=(1, 2)) / n)
    lowest = jnp.min(jnp.where(rows, X, jnp.inf), axis=(1, 2))
    highest = jnp.max(jnp.where(rows, X, -jnp.inf), axis=(1, 2))
    moved = jnp.stack([mean - deviation / 2, mean + deviation / 2])
    moved = jnp.clip(moved, lowest, highest)
    eye = jnp.eye(f, dtype=bool)
    design = jnp.where(eye[None], moved[:, :, None], mean[None, None, :])
    # The first column may be an intercept, which is no predictor.
    predictor = live & ~((jnp.arange(f) == 0) & intercept)
    count = jnp.sum(predictor)
    weight = jnp.where(predictor, (count + 1) / jnp.maximum(4 * count, 1), 0)
    X_pseudo = jnp.concatenate([design.reshape(2 * f, f)] * 2)
    return Pseudo(
        X=jnp.where(live, X_pseudo, 0),
        y=jnp.repeat(jnp.array([0.0, 1.0], X.dtype), 2 * f),
        weight=jnp.tile(weight, 4).astype(X.dtype),
    )


def draw(
    key: Key[Array, ""],
    X: Float[Array, "f K B"],
    y: Float[Array, "K B"],
    ry: Bool[Array, "K B"],
    live: Bool[Array, " f"],
    pseudo: Pseudo,
) -> Float[Array, " f"]:
    """Draw the coefficients from the normal approximation at the maximum."""
    f = X.shape[0]
    dead = jnp.diag(jnp.where(live, 1e-8, 1).astype(X.dtype))
    weight = ry.astype(X.dtype)

    def log_likelihood(beta: Float[Array, " f"]) -> Float[Array, ""]:
        eta, eta_pseudo = jnp.einsum("fkb,f->kb", X, beta), pseudo.X @ beta
        real = jnp.sum(weight * (y * eta - jax.nn.softplus(eta)))
        added = jnp.sum(pseudo.weight * (pseudo.y * eta_pseudo - jax.nn.softplus(eta_pseudo)))
        return real + added

    def information(
        beta: Float[Array, " f"],
    ) -> tuple[Float[Array, " f"], Float[Array, "f f"]]:
        mu = jax.nn.sigmoid(jnp.einsum("fkb,f->kb", X, beta))
        mu_pseudo = jax.nn.sigmoid(pseudo.X @ beta)
        score = jnp.einsum("fkb,kb->f", X, weight * (y - mu)) + pseudo.X.T @ (
            pseudo.weight * (pseudo.y - mu_pseudo)
        )
        w, w_pseudo = weight * mu * (1 - mu), pseudo.weight * mu_pseudo * (1 - mu_pseudo)
        fisher = jnp.einsum("fkb,gkb->fg", X * w, X, precision="highest")
        return score, fisher + (pseudo.X.T * w_pseudo) @ pseudo.X + dead

    def newton(_: int, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        beta, best, damping = carry
        score, fisher = information(beta)
        proposal = beta + damping * jnp.linalg.solve(fisher, score)
        value = log_likelihood(proposal)
        better = value >= best
        return (
            jnp.where(better, proposal, beta),
            jnp.where(better, value, best),
            jnp.where(better, jnp.minimum(2 * damping, 1), damping / 4),
        )

    zero = jnp.zeros((f,), X.dtype)
    start = (zero, log_likelihood(zero), jnp.ones((), X.dtype))
    beta_hat, _, _ = jax.lax.fori_loop(0, N_NEWTON, newton, start)
    lower = jnp.linalg.cholesky(information(beta_hat)[1])
    z = normals(key, jnp.zeros((), int), (f,), X.dtype)
    return jnp.where(live, beta_hat + solve_triangular(lower, z, lower=True, trans=1), 0)
