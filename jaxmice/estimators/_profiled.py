"""Profiled deviance of the linear mixed model, and its minimum, from sums by cluster."""

from functools import partial
from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxmice.estimators._trust_region import minimise_one
from jaxmice.linalg.small import eliminate

T = TypeVar("T")
"""Arrays of JAX or of numpy, or what applies to each of them."""


class Sums(NamedTuple, Generic[T]):
    """Everything the deviance depends on, for one data set.

    ``zz`` (q, q, J), ``zx`` (q, p, J) and ``zy`` (q, J) by cluster; ``xx`` (p, p),
    ``xy`` (p,) and ``yy`` () over all rows. An empty cluster of zeros changes nothing.
    """

    zz: T
    zx: T
    zy: T
    xx: T
    xy: T
    yy: T


class Point(NamedTuple, Generic[T]):
    """The deviance at one factor: value, derivatives and what was profiled out.

    ``theta``, ``gradient`` and ``slope`` (k,), ``hessian`` (k, k), ``beta`` (p,),
    ``inverse`` (p, p), ``value`` and ``rss`` (). The slope is the derivative of the log
    residual sum of squares, which links the residual variance to the factor.
    """

    theta: T
    value: T
    gradient: T
    hessian: T
    beta: T
    inverse: T
    rss: T
    slope: T


def factor_index(q: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the free elements of a lower factor, column by column."""
    columns, rows = np.triu_indices(q)
    return rows, columns


def factor_jacobian(z_map: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Return the derivative of ``factor factor'`` by the k free elements of a working factor.

    Parameters
    ----------
    z_map
        ``factor = z_map @ working`` (q, q).
    factor
        Of m data sets (m, q, q).

    Returns
    -------
    Shape (m, q, q, k), in the order of `factor_index`.
    """
    rows, columns = factor_index(factor.shape[-1])
    half = np.einsum("ak,mbk->mabk", z_map[:, rows], factor[:, :, columns])
    return half + np.swapaxes(half, 1, 2)


def deviance(
    theta: Float[Array, " k"], sums: Sums[Array], nu: Float[Array, ""], reml: bool
) -> Point[Array]:
    """Profiled deviance with exact first and second derivatives.

    With covariance matrix ``psi = factor factor'`` of the random effects relative to
    the residual variance, ``V = I + Z psi Z'`` and ``W = [X y]``, only ``S = Z'V^-1 Z``
    and ``T = Z'V^-1 W`` of each cluster are needed: the derivatives of ``log|V|`` and
    ``W'V^-1 W`` in the direction ``d`` of psi are ``tr(S d)`` and ``-T'd T``, and
    ``dS = -S d S``, ``dT = -S d T``. Source of the deviance: Bates et al. 2015,
    sections 3.2 to 3.4.

    Parameters
    ----------
    theta
        Free elements of the lower factor, in the order of `factor_index`.
    sums
        Sums of one data set.
    nu
        Rows (maximum likelihood) or rows minus fixed effects (REML).
    reml
        Whether the determinant of ``X'V^-1 X`` is part of the deviance.
    """
    q, p = sums.zx.shape[:2]
    rows, columns = factor_index(q)
    factor = jnp.zeros((q, q), theta.dtype).at[rows, columns].set(theta)

    right = jnp.concatenate([sums.zz, sums.zx, sums.zy[:, None]], axis=1)
    scaled = jnp.einsum("ki,kcj->icj", factor, right)
    system = jnp.einsum("icj,cd->idj", scaled[:, :q], factor) + jnp.eye(q)[:, :, None]
    lower, solved = eliminate(system, scaled)
    log_v = 2 * sum(jnp.sum(jnp.log(lower[i, i])) for i in range(q))
    # Sums over a short axis stay elementwise: a product per cluster is slow.
    reduced = right - sum(solved[i, :q, None] * solved[i, None] for i in range(q))
    s, t = reduced[:, :q], reduced[:, q : q + p]

    solved_w = solved[:, q:]
    explained = jnp.einsum("icj,idj->cd", solved_w, solved_w)
    mxx = sums.xx - explained[:p, :p]
    mxy = sums.xy - explained[:p, p]
    chol, half = eliminate(mxx, jnp.eye(p), loop=True)
    inverse = half.T @ half
    beta = inverse @ mxy
    rss = sums.yy - explained[p, p] - mxy @ beta
    residual = reduced[:, q + p] - jnp.einsum("apj,p->aj", t, beta)
    white = jnp.einsum("apj,rp->arj", t, half)

    value = log_v + nu * jnp.log(rss)
    n_mat = (nu / rss) * residual[:, None] * residual[None]
    if reml:
        value = value + 2 * jnp.sum(jnp.log(jnp.diagonal(chol)))
        n_mat = n_mat + jnp.sum(white[:, None] * white[None], axis=2)
    g_psi = jnp.sum(s - n_mat, axis=-1)

    # Derivatives in the directions that the elements of the factor move psi.
    unit = np.zeros((len(rows), q, q))
    unit[np.arange(len(rows)), rows, columns] = 1
    half_move = jnp.einsum("kab,cb->kac", unit, factor)
    move = half_move + jnp.swapaxes(half_move, 1, 2)
    gradient = jnp.einsum("kab,ab->k", move, g_psi)
    slope = -jnp.einsum("kab,aj,bj->k", move, residual, residual) / rss
    fourth = jnp.einsum("abj,cdj->abcd", 2 * n_mat - s, s)
    hessian = jnp.einsum("abcd,kbc,lda->kl", fourth, move, move)
    same = columns[:, None] == columns[None]
    hessian = hessian + 2 * same * g_psi[rows[:, None], rows[None]]
    cross = jnp.einsum("kab,apb->kp", move, jnp.einsum("apj,bj->apb", white, residual))
    hessian = hessian - 2 * nu / rss * cross @ cross.T - nu * slope[:, None] * slope[None]
    if reml:
        pairs = jnp.einsum("apj,brj->apbr", white, white)
        curved = jnp.einsum("kab,apbr->kpr", move, pairs)
        hessian = hessian - jnp.einsum("kpr,lpr->kl", curved, curved)
    return Point(theta, value, gradient, hessian, beta, inverse, rss, slope)


@partial(jax.jit, static_argnames=("reml", "max_steps", "tolerance", "shared"))
def minimise(
    sums: Sums[Array],
    start: Float[Array, "m k"],
    nu: Float[Array, ""],
    *,
    reml: bool,
    shared: Sums[int | None],
    max_steps: int,
    tolerance: float,
) -> tuple[Point[Array], Array, Array]:
    """Minimise the deviance of every data set; see `minimise_one`.

    Parameters
    ----------
    sums
        Stacked over data sets where ``shared`` has 0, common to all where it has None.
    start
        Free elements of the factor to start from.
    nu
        As in `deviance`.
    reml
        As in `deviance`.
    shared
        Axis of the data sets in each part of the sums: 0, or None.
    max_steps
        Evaluations allowed.
    tolerance
        Bound on the Newton decrement, in units of the deviance.

    Returns
    -------
    The best points, whether each has converged, and the evaluations each took.
    """

    def lane(one: Sums[Array], first: Array) -> tuple[Point[Array], Array, Array]:
        k, p = first.shape[0], one.xy.shape[0]
        nowhere = Point(
            first,
            jnp.array(jnp.inf),
            jnp.zeros(k),
            jnp.eye(k),
            jnp.zeros(p),
            jnp.eye(p),
            jnp.array(1.0),
            jnp.zeros(k),
        )
        return minimise_one(
            lambda theta, _: deviance(theta, one, nu, reml), nowhere, max_steps, tolerance
        )

    return jax.vmap(lane, in_axes=(shared, 0))(sums, start)
