"""Profiled deviance of the linear mixed model, and its minimum, from sums by cluster."""

from functools import partial
from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxmice.linalg.small import eliminate

NEGATIVE = -1e-8
"""Curvature below this fraction of the largest one marks a saddle."""
FLAT = 1e-10
"""Curvature below this fraction of the largest one is treated as this fraction."""
ESCAPE = 0.1
"""Step away from a saddle, in relative standard deviations."""


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


class State(NamedTuple):
    """Best point so far and the next one to try."""

    best: Point[Array]
    trial: Float[Array, " k"]
    predicted: Float[Array, ""]
    radius: Float[Array, ""]
    steps: Array
    done: Array


def factor_index(q: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the free elements of a lower factor, column by column."""
    columns, rows = np.triu_indices(q)
    return rows, columns


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
    chol = jnp.linalg.cholesky(mxx)
    half = jax.scipy.linalg.solve_triangular(chol, jnp.eye(p), lower=True)
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


def _step(state: State, sums: Sums[Array], nu: Array, reml: bool, tolerance: float) -> State:
    """Evaluate the trial point, keep the better one, propose the next."""
    new = deviance(state.trial, sums, nu, reml)
    best = state.best
    # Rounding of the deviance must not reject the last steps.
    accept = new.value <= best.value + 1e-11 * jnp.abs(best.value)
    gain = (best.value - new.value) / state.predicted
    point = jax.tree.map(lambda a, b: jnp.where(accept, a, b), new, best)
    tried = jnp.linalg.norm(state.trial - best.theta)
    radius = jnp.where(
        accept,
        jnp.where(gain > 0.75, jnp.maximum(state.radius, 2.5 * tried), state.radius),
        0.25 * tried,
    )
    radius = jnp.where(accept & (gain < 0.25), 0.5 * radius, radius)

    safe = jnp.where(jnp.isfinite(point.hessian), point.hessian, 0)
    curvature, basis = jnp.linalg.eigh(safe)
    largest = jnp.max(jnp.abs(curvature))
    size = jnp.maximum(jnp.abs(curvature), FLAT * largest + 1e-30)
    slope = basis.T @ point.gradient
    move = -slope / size
    saddle = curvature < NEGATIVE * largest
    away = jnp.where(slope > 0, -1.0, 1.0) * jnp.maximum(jnp.abs(move), ESCAPE)
    move = jnp.where(saddle, away, move)
    done = ~jnp.any(saddle) & (jnp.sum(slope**2 / size) < tolerance) & accept
    length = jnp.linalg.norm(move)
    move = move * jnp.minimum(1.0, radius / jnp.maximum(length, 1e-30))
    predicted = -(slope @ move + 0.5 * jnp.sum(curvature * move**2))
    return State(
        point,
        point.theta + basis @ move,
        jnp.maximum(predicted, 1e-30),
        radius,
        state.steps + 1,
        done,
    )


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
    """Minimise the deviance of every data set by a trust-region Newton method.

    The factor is free of sign constraints: the deviance does not change with the sign
    of a column of it, so a variance of zero is an interior stationary point and needs
    no special case. Negative curvature is followed downhill, so that a saddle at zero
    does not hold a lane. A lane that is done stays as it is.

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
        state = State(
            nowhere, first, jnp.array(1.0), jnp.array(1.0), jnp.array(0), jnp.array(False)
        )
        state = jax.lax.while_loop(
            lambda at: ~at.done & (at.steps < max_steps) & (at.radius > 1e-14),
            lambda at: _step(at, one, nu, reml, tolerance),
            state,
        )
        return state.best, state.done, state.steps

    return jax.vmap(lane, in_axes=(shared, 0))(sums, start)
