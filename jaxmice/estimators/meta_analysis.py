"""Random-effects meta-analysis in information form: restricted likelihood and moments.

Cluster j reports the information on its own coefficients instead of an estimate of them,

    k_j ~ N(K_j beta + R_j' b_j, I),    b_j ~ N(0, Psi),

with ``R_j R_j'`` the information matrix: for an estimate t with variance V that is
``R R' = V^-1``, ``K = R'`` and ``k = R' t``. A cluster with fewer rows than coefficients
has a singular R, one without rows a zero one; neither is a special case. A two-level
normal regression has the same form, with rows divided by their standard deviation, known
or (`fit` with a residual) profiled out.

Sources: Jackson, White and Riley (2013), Biometrical Journal 55, 231-245, section 3.1, for
the moments; Bates, Maechler, Bolker and Walker (2015), Journal of Statistical Software
67(1), section 3, for the likelihood.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxmice.linalg import eigh, eliminate, least_squares, solve_lower_transposed

MAX_STEPS = 60
"""Evaluations of the likelihood allowed."""

SADDLE = 1e-6
"""Curvature below this negative fraction of the largest one marks a saddle."""

FLAT = 1e-7
"""Curvature below this fraction of the largest one counts as this fraction."""

ESCAPE = 0.1
"""Step away from a saddle, in relative standard deviations."""


class Information(NamedTuple):
    """What the clusters say about beta and their own coefficients; p = q + f."""

    root: Float[Array, "q q J"]
    """R: lower factor of the information on a cluster's coefficients."""

    K: Float[Array, "q p J"]
    """Derivative of the mean of k by beta."""

    k: Float[Array, "q J"]
    """What is observed, with unit variance."""

    S: Float[Array, "p p"]
    """Further information on beta; with it the total must be invertible."""

    s: Float[Array, " p"]
    """Further information on beta times the estimate it belongs to."""


class Residual(NamedTuple):
    """What an unknown residual variance is estimated from."""

    rho: Float[Array, ""]
    """Sum of squares that no coefficient can explain."""

    df: Float[Array, ""]
    """Rows minus fixed effects for restricted likelihood, rows for likelihood."""


class Fit(NamedTuple):
    """The maximum of a likelihood."""

    root_psi: Float[Array, "q q"]
    """Lower factor of Psi, signs free, in units of the residual deviation if there is one."""

    sigma2: Float[Array, ""]
    """Residual variance; 1 where it is known."""

    deviance: Float[Array, ""]
    """Minus twice the log likelihood, up to a constant."""


class _Point(NamedTuple):
    theta: Float[Array, " k"]
    value: Float[Array, ""]
    gradient: Float[Array, " k"]
    hessian: Float[Array, "k k"]
    rss: Float[Array, ""]


def fit(information: Information, residual: Residual | None = None, *, reml: bool = True) -> Fit:
    """Maximise the likelihood over the factor of Psi by a trust-region method.

    The factor has no sign constraints, so a variance of zero is an inner point, and
    negative curvature is followed downhill. The curvature is Fisher's information plus
    the exact curvature of the parametrisation.

    Parameters
    ----------
    information
        The data.
    residual
        Given where the residual variance is unknown.
    reml
        Restricted likelihood, or likelihood.
    """
    start = _start(information.root)
    rows, columns = np.tril_indices(start.shape[0])
    if len(rows) == 0:
        point = _evaluate(start.ravel(), information, residual, reml)
        return _as_fit(point, start, residual)

    def unfinished(carry: tuple[_Point, Array, Array, Array]) -> Array:
        _, _, radius, steps = carry
        return (steps < MAX_STEPS) & (radius > 0)

    def advance(
        carry: tuple[_Point, Array, Array, Array],
    ) -> tuple[_Point, Array, Array, Array]:
        best, trial, radius, steps = carry
        new = _evaluate(trial, information, residual, reml)
        slack = 4 * jnp.finfo(start.dtype).eps * jnp.abs(new.value)
        better = new.value <= best.value + slack
        tried = jnp.linalg.norm(trial - best.theta)
        point = jax.tree.map(lambda a, b: jnp.where(better, a, b), new, best)
        radius = jnp.where(better, jnp.maximum(radius, 2 * tried), tried / 4)
        move, gain = _propose(point, radius)
        # What rounding hides is not worth another evaluation.
        radius = jnp.where(better & (gain < slack + 1e-12), 0, radius)
        return point, point.theta + move, radius, steps + 1

    theta = start[rows, columns]
    radius = jnp.ones((), start.dtype)
    eye = jnp.eye(len(rows), dtype=start.dtype)
    nowhere = _Point(theta, jnp.full_like(radius, jnp.inf), jnp.zeros_like(theta), eye, radius)
    carry = (nowhere, theta, radius, jnp.asarray(0))
    point = jax.lax.while_loop(unfinished, advance, carry)[0]
    return _as_fit(point, jnp.zeros_like(start).at[rows, columns].set(point.theta), residual)


def _start(root: Float[Array, "q q J"]) -> Float[Array, "q q"]:
    """Return deviations between clusters as large as the typical error of a cluster."""
    own = jnp.einsum("kij,kij->kj", root, root)
    total, count = jnp.sum(own, axis=1), jnp.sum(own > 0, axis=1)
    return jnp.diag(jnp.where(count > 0, jnp.sqrt(count / jnp.where(total > 0, total, 1)), 1))


def _as_fit(point: _Point, root: Float[Array, "q q"], residual: Residual | None) -> Fit:
    sigma2 = jnp.ones_like(point.rss) if residual is None else point.rss / residual.df
    return Fit(root, sigma2, point.value)


def _propose(
    point: _Point, radius: Float[Array, ""]
) -> tuple[Float[Array, " k"], Float[Array, ""]]:
    """Return a step no longer than the radius, and what it should gain."""
    curvature, basis = eigh(point.hessian)
    largest = jnp.max(jnp.abs(curvature))
    size = jnp.maximum(jnp.abs(curvature), FLAT * largest) + jnp.finfo(radius.dtype).tiny
    slope = basis.T @ point.gradient
    move = -slope / size
    away = jnp.where(slope > 0, -1, 1) * jnp.maximum(jnp.abs(move), ESCAPE)
    saddle = curvature < -SADDLE * largest
    move = jnp.where(saddle, away, move)
    gain = jnp.where(jnp.any(saddle), jnp.inf, jnp.sum(slope**2 / size))
    length = jnp.linalg.norm(move)
    shrunk = jnp.minimum(1, radius / jnp.maximum(length, jnp.finfo(radius.dtype).tiny))
    return basis @ (move * shrunk), gain


def _evaluate(
    theta: Float[Array, " k"], information: Information, residual: Residual | None, reml: bool
) -> _Point:
    """Return the deviance at one factor, with its derivatives.

    With ``M_j = I + R_j' Psi R_j`` and e_j what beta leaves of k_j, the derivative by Psi
    is the sum of ``G_j - u_j u_j'``, ``G_j = R_j M_j^-1 R_j'``, ``u_j = R_j M_j^-1 e_j``,
    less what estimating beta takes from G_j under restricted likelihood.
    """
    R, K, k, S, s = information
    q, p = K.shape[:2]
    rows, columns = np.tril_indices(q)
    L = jnp.zeros((q, q), k.dtype).at[rows, columns].set(theta)
    V = jnp.einsum("aij,ac->icj", R, L)
    M = jnp.eye(q, dtype=k.dtype)[:, :, None] + jnp.sum(V[:, None] * V[None], axis=2)
    right = jnp.concatenate([jnp.swapaxes(R, 0, 1), K, k[:, None]], axis=1)
    lower, solved = eliminate(M, right)
    W_R, W_K, w = solved[:, :q], solved[:, q : q + p], solved[:, q + p]
    log_det = 2 * sum((jnp.sum(jnp.log(lower[i, i])) for i in range(q)), jnp.zeros((), k.dtype))

    P = S + jnp.einsum("iaj,ibj->ab", W_K, W_K)
    chol, half = eliminate(P, jnp.eye(p, dtype=k.dtype))
    h = s + jnp.einsum("iaj,ij->a", W_K, w)
    beta = half.T @ (half @ h)
    e = w - jnp.einsum("iaj,a->ij", W_K, beta)
    rss = jnp.sum(e**2) + beta @ S @ beta - 2 * s @ beta
    if residual is None:
        value, weight = log_det + rss, jnp.ones_like(rss)
    else:
        rss = jnp.maximum(rss + residual.rho, jnp.finfo(k.dtype).tiny)
        value, weight = log_det + residual.df * jnp.log(rss), residual.df / rss

    G = jnp.einsum("icj,idj->cdj", W_R, W_R)
    u = jnp.einsum("icj,ij->cj", W_R, e)
    slope = jnp.sum(G, axis=-1) - weight * jnp.matmul(u, u.T)
    if reml:
        value = value + 2 * jnp.sum(jnp.log(jnp.diagonal(chol)))
        T = jnp.einsum("icj,iaj,ra->crj", W_R, W_K, half)
        slope = slope - jnp.einsum("crj,drj->cd", T, T)

    # The elements of the factor move Psi in these directions.
    unit = np.zeros((len(rows), q, q))
    unit[np.arange(len(rows)), rows, columns] = 1
    moved = jnp.einsum("kab,cb->kac", unit.astype(k.dtype), L)
    moved = moved + jnp.swapaxes(moved, 1, 2)
    gradient = jnp.einsum("kab,ab->k", moved, slope)
    fisher = jnp.einsum("abj,cdj->abcd", G, G)
    hessian = jnp.einsum("abcd,kbc,lda->kl", fisher, moved, moved)
    same = columns[:, None] == columns[None]
    hessian = hessian + 2 * same * slope[rows[:, None], rows[None]]
    # Effects that no cluster informs on stay as they are: others could as well be drawn along
    # with them, and rounding would decide.
    seen = jnp.any(R != 0, axis=(1, 2))
    free = seen[rows] & seen[columns]
    gradient = jnp.where(free, gradient, 0)
    hessian = jnp.where(free[:, None] & free, hessian, 0)
    return _Point(theta, value, gradient, hessian, rss)


def moments(information: Information) -> Float[Array, "q q"]:
    """Return the moment estimate of Psi, negative eigenvalues set to zero.

    With t_j the estimate of a cluster and W_j its information, the expectation of the sum
    of ``W_j r_j r_j'``, r_j what the common beta leaves of t_j, is linear in Psi. One
    coefficient per cluster and nothing else: DerSimonian and Laird (1986). Clusters
    without an estimate of their own help to estimate beta only.
    """
    R, K, k, S, s = information
    q, p = K.shape[:2]
    P = S + jnp.einsum("iaj,ibj->ab", K, K)
    half = eliminate(P, jnp.eye(p, dtype=k.dtype))[1]
    inverse = half.T @ half
    beta = inverse @ (s + jnp.einsum("iaj,ij->a", K, k))
    v = k - jnp.einsum("iaj,a->ij", K, beta)
    D = jnp.einsum("iaj,ab->ibj", K, inverse)
    C = jnp.einsum("iaj,cij->acj", K, R)
    eye = jnp.eye(q, dtype=k.dtype)[:, :, None]
    known = jnp.diagonal(R).T > 0
    unused = ~jnp.any(known, axis=1, keepdims=True)
    estimable = jnp.all(known | unused, axis=0)
    safe = jnp.where(estimable, R + eye * unused, eye)

    def collect(products: Float[Array, "q q J"]) -> Float[Array, "q q"]:
        """Sum R_j (.) R_j^-1 over the clusters with an estimate."""
        left = jnp.einsum("aij,ibj->baj", safe, products)
        both = jnp.swapaxes(solve_lower_transposed(safe, left), 0, 1)
        return jnp.sum(jnp.where(estimable, both, 0), axis=-1)

    def from_psi(psi: Float[Array, "q q"]) -> Float[Array, "q q"]:
        own = jnp.einsum("aij,ab,bkj->ikj", R, psi, R)
        shared = jnp.einsum("iaj,acj,cd,dkj->ikj", D, C, psi, R)
        pooled = jnp.einsum("acj,cd,bdj->ab", C, psi, C)
        beta_part = jnp.einsum("iaj,ab,kbj->ikj", D, pooled, D)
        return collect(own - shared - jnp.swapaxes(shared, 0, 1) + beta_part)

    noise = collect(eye - jnp.einsum("iaj,kaj->ikj", D, K))
    excess = collect(v[:, None] * v[None]) - noise
    basis = np.eye(q * q).reshape(q * q, q, q).astype(k.dtype)
    system = jax.vmap(from_psi)(jnp.asarray(basis)).reshape(q * q, q * q).T
    # Unused columns, and too few clusters, leave the system without rank.
    size = jnp.sqrt(jnp.sum(system**2, axis=0))
    scale = jnp.where(size > 0, size, jnp.inf)
    found = least_squares(system / scale, excess.ravel()) / scale
    psi = found.reshape(q, q)
    values, vectors = eigh((psi + psi.T) / 2)
    return (vectors * jnp.maximum(values, 0)) @ vectors.T
