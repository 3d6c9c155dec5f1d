"""Restricted maximum likelihood for many data sets of one form, rows missing or not.

Linear mixed models, and probit regressions by cluster put together by a meta-analysis.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from jaxmice.estimators.meta_analysis import Fit, Information, Residual, fit
from jaxmice.estimators.selection import hazard
from jaxmice.linalg import eliminate

CELLS = 20_000_000
"""Cells of data that one call of the compiled program fits."""

RIDGE = 1e-3
"""Precision of the penalty on the coefficients of a probit regression."""

NEWTON_STEPS = 12
"""From zero; six are usual."""


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

    def part(pick: np.ndarray) -> tuple[jax.Array, ...]:
        rows = np.ones(y[pick].shape) if seen is None else seen[pick].astype(float)
        both = np.concatenate([x[pick], y[pick][..., None]], axis=2) * rows[..., None]
        pairs = [[both[..., i] * column for column in both.T.swapaxes(1, 2)] for i in range(q)]
        sums = [[np.add.reduceat(pair, starts, axis=1) for pair in line] for line in pairs]
        inside = np.moveaxis(np.array(sums), 2, 0)
        total = np.swapaxes(both, 1, 2) @ both
        return _fit(inside, total, rows.sum(1))

    return Fits(*_in_parts(part, len(y), y.shape[1] * (x.shape[2] + 1)))


def _in_parts(
    fit_part: Callable[[np.ndarray], tuple[jax.Array, ...]], m: int, cells: int
) -> list[np.ndarray]:
    """Fit m data sets of so many cells a few at a time, given their numbers, in 64 bits."""
    parts = []
    size = max(1, min(m, CELLS // cells))
    for first in range(0, m, size):
        # The last part repeats its final data set: one shape, one program.
        pick = np.minimum(np.arange(first, first + size), m - 1)
        with jax.enable_x64(True):
            parts.append(jax.device_get(fit_part(pick)))
    return [np.concatenate(part)[:m] for part in zip(*parts, strict=True)]


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
    return *_estimates(information, fitted), df


def _estimates(information: Information, fitted: Fit) -> tuple[jax.Array, ...]:
    """Return fixed effects, squared standard errors, and the variances of the model."""
    root, K, k, S, s = information
    p, q = len(s), len(root)
    solved = jnp.concatenate([K, k[:, None]], axis=1)
    V = jnp.einsum("aij,ac->icj", root, fitted.root_psi)
    M = jnp.eye(q)[:, :, None] + jnp.sum(V[:, None] * V[None], axis=2)
    W = eliminate(M, solved)[1]
    P = S + jnp.einsum("iaj,ibj->ab", W[:, :p], W[:, :p])
    h = s + jnp.einsum("iaj,ij->a", W[:, :p], W[:, p])
    lower = jnp.linalg.cholesky(P)
    half = solve_triangular(lower, jnp.eye(p), lower=True)
    inverse = half.T @ half
    psi = fitted.sigma2 * fitted.root_psi @ fitted.root_psi.T
    return inverse @ h, fitted.sigma2 * jnp.diagonal(inverse), psi, fitted.sigma2


def fit_probit(
    y: np.ndarray, x: np.ndarray, codes: np.ndarray, seen: np.ndarray | None = None
) -> Fits:
    """Fit probit regressions by cluster and pool them over clusters of equal size.

    Parameters
    ----------
    y
        (m, n) outcomes, 0 or 1, rows sorted by cluster.
    x
        (m, n, p) predictors, all with random effects.
    codes
        (n,) cluster of every row.
    seen
        (m, n) rows to fit on; all by default.
    """
    m, n, p = x.shape
    J = codes[-1] + 1
    rows = np.ones(y.shape) if seen is None else seen.astype(float)

    def part(pick: np.ndarray) -> tuple[jax.Array, ...]:
        blocks = (a[pick].reshape(-1, J, n // J, *a.shape[2:]) for a in (y, x, rows))
        return _fit_probit(*blocks)

    whole = _in_parts(part, m, n * p)
    assert all(np.isfinite(part).all() for part in whole)
    return Fits(*whole, rows.sum(1) - p)


@jax.jit
@jax.vmap
def _fit_probit(y: jax.Array, x: jax.Array, seen: jax.Array) -> tuple[jax.Array, ...]:
    """Fit one data set of outcomes (J, n), predictors (J, n, p) and weights of rows (J, n)."""
    side, p = 2 * y - 1, x.shape[2]

    def derivatives(beta: jax.Array) -> tuple[jax.Array, jax.Array]:
        at = side * jnp.einsum("jnp,jp->jn", x, beta)
        ratio = hazard(-at)
        slope = jnp.einsum("jnp,jn->jp", x, seen * side * ratio)
        return slope, jnp.einsum("jnp,jn,jnq->jpq", x, seen * ratio * (ratio + at), x)

    def newton(beta: jax.Array, none: None) -> tuple[jax.Array, None]:
        slope, curvature = derivatives(beta)
        step = jnp.linalg.solve(curvature + RIDGE * jnp.eye(p), (slope - RIDGE * beta)[..., None])
        return beta + step[..., 0], None

    # A weak penalty keeps the fits finite; what is put together does not hold it.
    beta = jax.lax.scan(newton, jnp.zeros((len(y), p)), length=NEWTON_STEPS)[0]
    slope, curvature = derivatives(beta)
    linear = jnp.einsum("jpq,jq->jp", curvature, beta) + slope
    both = jnp.concatenate([curvature, linear[..., None]], axis=2)
    root, solved = eliminate(jnp.moveaxis(curvature, 0, 2), jnp.moveaxis(both, 0, 2), 1e-12)
    nothing = jnp.zeros(p)
    information = Information(root, solved[:, :p], solved[:, p], jnp.diag(nothing), nothing)
    return _estimates(information, fit(information))
