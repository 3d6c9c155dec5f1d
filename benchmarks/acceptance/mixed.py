"""Restricted maximum likelihood for many data sets of one form, rows missing or not."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from jaxmice.estimators.meta_analysis import Information, Residual, fit
from jaxmice.linalg import eliminate

CELLS = 20_000_000
"""Cells of data that one call of the compiled program fits."""


@dataclass(frozen=True)
class Fits:
    """Fits of one model to m data sets."""

    beta: np.ndarray
    """(m, p) fixed effects."""

    variance: np.ndarray
    """(m, p) their squared standard errors."""

    psi: np.ndarray
    """(m, q, q) covariance of the random effects."""

    sigma2: np.ndarray
    """(m,) residual variance."""

    df: np.ndarray
    """(m,) rows minus fixed effects."""

    @property
    def icc(self) -> np.ndarray:
        """(m,) share of the random intercept in the variance."""
        return self.psi[:, 0, 0] / (self.psi[:, 0, 0] + self.sigma2)


def fit_reml(
    y: np.ndarray, x: np.ndarray, q: int, codes: np.ndarray, seen: np.ndarray | None = None
) -> Fits:
    """Fit ``y = x beta + z b + e`` to every data set, z the first q columns of x.

    Parameters
    ----------
    y
        (m, n) outcomes, rows sorted by cluster.
    x
        (m, n, p) predictors.
    q
        Number of random effects.
    codes
        (n,) cluster of every row.
    seen
        (m, n) rows to fit on; all by default.
    """
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
    parts = []
    size = max(1, min(len(y), CELLS // (y.shape[1] * (x.shape[2] + 1))))
    for first in range(0, len(y), size):
        # The last part repeats its final data set: one shape, one program.
        pick = np.minimum(np.arange(first, first + size), len(y) - 1)
        rows = np.ones(y[pick].shape) if seen is None else seen[pick].astype(float)
        both = np.concatenate([x[pick], y[pick][..., None]], axis=2) * rows[..., None]
        pairs = [[both[..., i] * column for column in both.T.swapaxes(1, 2)] for i in range(q)]
        sums = [[np.add.reduceat(pair, starts, axis=1) for pair in line] for line in pairs]
        inside = np.moveaxis(np.array(sums), 2, 0)
        total = np.swapaxes(both, 1, 2) @ both
        with jax.enable_x64(True):
            parts.append(jax.device_get(_fit(inside, total, rows.sum(1))))
    whole = [np.concatenate(part)[: len(y)] for part in zip(*parts, strict=True)]
    return Fits(*whole)


@jax.jit
@jax.vmap
def _fit(inside: jax.Array, total: jax.Array, n: jax.Array) -> tuple[jax.Array, ...]:
    """Fit one data set, given cross products inside clusters (q, p + 1, J) and in all."""
    q, p = inside.shape[0], inside.shape[1] - 1
    root, solved = eliminate(inside[:, :q], inside, 1e-12)
    left = total - jnp.einsum("iaj,ibj->ab", solved, solved)
    S = left[:p, :p].at[:q].set(0).at[:, :q].set(0)
    s = left[:p, p].at[:q].set(0)
    information = Information(root, solved[:, :p], solved[:, p], S, s)
    df = n - p
    fitted = fit(information, Residual(left[p, p], df))
    V = jnp.einsum("aij,ac->icj", root, fitted.root_psi)
    M = jnp.eye(q)[:, :, None] + jnp.sum(V[:, None] * V[None], axis=2)
    W = eliminate(M, solved)[1]
    P = S + jnp.einsum("iaj,ibj->ab", W[:, :p], W[:, :p])
    h = s + jnp.einsum("iaj,ij->a", W[:, :p], W[:, p])
    lower = jnp.linalg.cholesky(P)
    half = solve_triangular(lower, jnp.eye(p), lower=True)
    inverse = half.T @ half
    psi = fitted.sigma2 * fitted.root_psi @ fitted.root_psi.T
    return inverse @ h, fitted.sigma2 * jnp.diagonal(inverse), psi, fitted.sigma2, df
