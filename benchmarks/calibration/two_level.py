"""Rows, priors and quantities that the two-level cases share.

The clusters of the rows: one complete, one half observed, one with a single observed row,
one with none, small ones, and one without rows.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from tests.samplers.rows import Rows, ragged

SIZES, SEEN = (8, 6, 6, 4, 3, 2, 1, 0), (8, 3, 1, 0, 3, 1, 1, 0)
FULL, HALF, SINGLE, EMPTY = 0, 1, 2, 3
Q, F = 2, 2
PSI_DF, SIGMA2_DF, SIGMA2_RATE = Q + 5, 8.0, 8.0

ROWS = ragged(SIZES, SEEN, Q, F, seed=4, filled=(0, 0))
"""Two columns with a random effect, the first an intercept, and two fixed ones."""

MISSING = {j: np.flatnonzero((ROWS.cluster == j) & ~ROWS.seen) for j in (HALF, SINGLE, EMPTY)}
"""Rows to impute of some clusters."""

N_HIDDEN = int(np.sum(~ROWS.seen))
HALF_SEEN = np.flatnonzero((ROWS.cluster == HALF) & ROWS.seen)


def draw_root_psi(key: Key[Array, ""], df: int = PSI_DF, q: int = Q) -> Float[Array, "q q"]:
    """Draw from IW(df, I), the inverse of a sum of squares; return the lower factor."""
    rows = jax.random.normal(key, (df, q))
    return jnp.linalg.cholesky(jnp.linalg.inv(rows.T @ rows))


def draw_half_t_root_psi(
    key_scale: Key[Array, ""], key: Key[Array, ""], half_t: Float[Array, " q"]
) -> Float[Array, "q q"]:
    """Draw from the prior of Huang and Wand; return the lower factor."""
    # IW(q + 1, 4 diag(1 / alpha)), 1 / alpha_k ~ Gamma(1/2, 1 / A_k^2).
    q = len(half_t)
    scale = jax.random.gamma(key_scale, 0.5, (q,)) * half_t**2
    return 2 * jnp.sqrt(scale)[:, None] * draw_root_psi(key, q + 1, q)


def draw_sigma2(key: Key[Array, ""]) -> Float[Array, ""]:
    """Draw from the scaled inverse chi-square with 8 degrees of freedom and scale 1."""
    return SIGMA2_RATE / 2 / jax.random.gamma(key, SIGMA2_DF / 2)


def draw_effects(
    key: Key[Array, ""], root: Float[Array, "q q"], rows: Rows = ROWS
) -> Float[Array, "q J"]:
    """Draw the effects of all clusters."""
    return root @ jax.random.normal(key, (root.shape[0], len(rows.layout.cluster_live)))


def predictor(
    beta: Float[Array, " p"], b: Float[Array, "q J"], rows: Rows = ROWS
) -> Float[Array, " n"]:
    """Return the linear predictor of every row."""
    return jnp.asarray(rows.X) @ beta + jnp.sum(jnp.asarray(rows.Z) * b[:, rows.cluster], axis=0)


def by_row(blocks: Float[Array, "*r K B"], rows: Rows = ROWS) -> Float[Array, "*r n"]:
    """Bring values from blocks to the order of the rows."""
    place = rows.place.ravel()
    at = np.empty(len(rows.cluster), int)
    at[place[place >= 0]] = np.flatnonzero(place >= 0)
    return blocks.reshape(*blocks.shape[:-2], -1)[..., at]


def keep_seen(y: Float[Array, " n"], drawn: Float[Array, "K B"]) -> Float[Array, " n"]:
    """Return the values with the hidden ones replaced."""
    return jnp.where(ROWS.seen, y, by_row(drawn))


def effect_quantities(
    beta: Float[Array, " p"], b: Float[Array, "q J"], root: Float[Array, "q q"]
) -> dict[str, Float[Array, ""]]:
    """Return coefficients, Psi, effects of clusters with few or no rows, and a product."""
    psi = root @ root.T
    return {
        "intercept": beta[0],
        "slope": beta[1],
        "fixed slope": beta[Q],
        "log det Psi": jnp.sum(jnp.log(jnp.diag(root) ** 2)),
        "correlation in Psi": psi[0, 1] / jnp.sqrt(psi[0, 0] * psi[1, 1]),
        "effect, half observed": b[0, HALF],
        "effect, single row": b[0, SINGLE],
        "effect, no row": b[0, EMPTY],
        "intercept times effect": beta[0] * b[0, FULL],
    }


def value_quantities(y: Float[Array, " n"]) -> dict[str, Float[Array, ""]]:
    """Return imputations, and how those of a cluster lie to its observed values."""
    return {
        "imputed, single row": y[MISSING[SINGLE][0]],
        "imputed, no row": y[MISSING[EMPTY][0]],
        "imputed less observed": jnp.mean(y[MISSING[HALF]]) - jnp.mean(y[HALF_SEEN]),
        "product of imputed, no row": y[MISSING[EMPTY][0]] * y[MISSING[EMPTY][1]],
    }


def normal_quantities(
    y: Float[Array, " n"], mean: Float[Array, " n"], sigma: Float[Array, " n"]
) -> dict[str, Float[Array, ""]]:
    """Return log likelihoods given everything, and the squared standardised residuals."""
    e = (y - mean) / sigma
    log_density = -(e**2) / 2 - jnp.log(sigma)
    return {
        "log p(observed given all)": jnp.sum(jnp.where(ROWS.seen, log_density, 0)),
        "log p(imputed given all)": jnp.sum(jnp.where(ROWS.seen, 0, log_density)),
        "squared residuals": jnp.sum(jnp.where(ROWS.seen, e**2, 0)),
    }


def marginal_log_density(
    y: Float[Array, " n"],
    beta: Float[Array, " p"],
    root: Float[Array, "q q"],
    variance: Float[Array, " n"],
) -> Float[Array, ""]:
    """Return the log density of the observed values with the effects integrated out."""
    at = np.flatnonzero(ROWS.seen)
    white = jnp.asarray(ROWS.Z.T[at]) @ root
    same = ROWS.cluster[at][:, None] == ROWS.cluster[at]
    covariance = jnp.where(same, white @ white.T, 0) + jnp.diag(variance[at])
    lower = jnp.linalg.cholesky(covariance)
    e = jax.scipy.linalg.solve_triangular(lower, y[at] - jnp.asarray(ROWS.X[at]) @ beta, lower=True)
    return -jnp.sum(e**2) / 2 - jnp.sum(jnp.log(jnp.diag(lower)))
