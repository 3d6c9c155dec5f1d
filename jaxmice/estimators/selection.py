r"""Maximum-likelihood selection models, one per cluster, all clusters at once.

    s_ij = x_ij' alpha_j + d_ij,    y_ij = x_ij' beta_j + e_ij,    y_ij is seen where s_ij > 0

with d of unit variance, e of deviation sigma_j and correlation rho_j. A binary y is 1 where
its equation exceeds 0, with sigma_j = 1. The parameters of a cluster are

    theta_j = (beta_j, alpha_j, log sigma_j, atanh rho_j).

Sources: Heckman (1979), Econometrica 47, 153-161; Van de Ven and Van Praag (1981), Journal of
Econometrics 17, 229-252, for the binary one; Drezner and Wesolowsky (1990), Journal of
Statistical Computation and Simulation 35, 101-107, for the bivariate probability; Lindley
(1980), Trabajos de Estadistica 31, 223-245, for the means of skewed distributions.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr, ndtr
from jaxtyping import Array, Bool, Float

from jaxmice.estimators._trust_region import minimise_all
from jaxmice.linalg import Layout, cluster_products, cluster_sums, eigh, eliminate, to_blocks

RIDGE = 1e-3
"""Precision of the normal penalty on every coefficient and on log sigma."""

ATANH_RHO_DEVIATION = 1.5
"""Deviation of the normal penalty on atanh rho."""

MOST_REMOVED = 2.0
"""Standard errors by which taking the penalty out may move an estimate in any direction.

That is two units of log-likelihood; where a parabola promises more, the likelihood of a small
cluster is all but flat, and its maximum is the penalty's doing.
"""

MAX_STEPS = 100
"""Evaluations allowed; ten to twenty are usual."""

TOLERANCE = 1e-10
"""Squared distance to the maximum, in standard errors, that counts as none."""

FAILED = 1e-2
"""The same distance beyond which a fit has failed: rounding can keep it above `TOLERANCE`."""

ROUGH_RIDGE, ROUGH_TOLERANCE = 0.2, 1e-3
"""The least penalty where a likelihood is approximated for proposals, and the tolerance where it
matters little around which point."""

MOST_SKEWED = 1.0
"""Standard deviations by which an expectation may differ from its mode."""

LOG_ROOT_2PI = 0.5 * np.log(2 * np.pi)

NODES = 18, 10
"""Nodes of the quadrature in double and in single precision."""

STRONGEST = 8.0
"""Largest abs(atanh rho) that a probability tells from stronger ones: rho is 1 - 2e-7."""


class Rows(eqx.Module):
    """What the likelihood reads."""

    x: Float[Array, "p K B"]
    """Columns of both equations."""

    y: Float[Array, "K B"]
    """The variable; 0 or 1 if binary. Read where it is selected."""

    selected: Bool[Array, "K B"]
    """Rows with a value."""

    hidden: Bool[Array, "K B"]
    """Rows that were not selected."""

    explains: Bool[Array, " p"]
    """Columns in the equation of y."""

    selects: Bool[Array, " p"]
    """Columns in the equation of s."""

    layout: Layout


class Evidence(NamedTuple):
    """Quadratic approximation of the log-likelihoods, ``t' linear - t' information t / 2``.

    D = 2 p + 2 parameters in the order of theta. Directions in which a log-likelihood is not
    concave count as unknown, as do all parameters of a cluster without a fit.
    """

    theta: Float[Array, "D J"]
    """Where the penalised likelihood is largest."""

    information: Float[Array, "D D J"]
    linear: Float[Array, "D J"]

    fitted: Bool[Array, " J"]
    """Clusters with enough rows whose search has converged."""


class _Point(NamedTuple):
    theta: Float[Array, "J D"]
    value: Float[Array, " J"]
    gradient: Float[Array, "J D"]
    hessian: Float[Array, "J D D"]


def fit(rows: Rows, *, binary: bool) -> Evidence:
    """Maximise the likelihood of every cluster by one batched trust-region search.

    A weak penalty makes the maximum finite; it is taken out of the approximation again, so
    that it does not add up over clusters. A cluster needs at least two rows with a value
    more than there are columns in the equation of y, or its variance could vanish.
    """
    dtype = rows.y.dtype
    count = cluster_sums((rows.selected & rows.layout.row_live)[None].astype(dtype), rows.layout)
    enough = count[0] >= jnp.sum(rows.explains) + 2
    live, penalty = weak_prior(rows, binary=binary)
    zero = jnp.zeros((len(enough), len(live)), dtype)
    mean, precision = zero[0], jnp.diag(penalty)
    best, done = _search(rows, enough, zero, mean, precision, TOLERANCE, binary=binary)
    lower, half = eliminate(jnp.moveaxis(best.hessian, 0, -1), best.gradient.T[:, None])
    convex = jnp.all(jnp.diagonal(lower) > 0, axis=1)
    near = done | (convex & (jnp.sum(half[:, 0] ** 2, axis=0) < FAILED))
    return _evidence(best, mean, precision, enough & near)


def approximate(rows: Rows) -> Evidence:
    """Approximate the likelihoods of a binary y, of all clusters, however few their rows.

    A penalty of some weight keeps small clusters from the flat ends of their likelihood; it
    is taken out again. The search stops near the maximum: for proposals that is enough.
    """
    live, penalty = weak_prior(rows, binary=True)
    precision = jnp.diag(jnp.maximum(penalty, ROUGH_RIDGE))
    every = jnp.ones(rows.layout.cluster_live.shape, bool)
    zero = jnp.zeros((len(every), len(live)), rows.y.dtype)
    best, _ = _search(rows, every, zero, zero[0], precision, ROUGH_TOLERANCE, binary=True)
    return _evidence(best, zero[0], precision, every)


def refit(
    rows: Rows,
    before: Evidence,
    mean: Float[Array, " D"],
    precision: Float[Array, "D D"],
) -> Evidence:
    """Approximate the likelihoods of a binary y again, for theta that is normal over clusters.

    The parabola has its place near the maximum of likelihood times normal density. It is moved
    by what the third derivatives make of the difference between expectation and mode (Lindley
    1980): so the expectation of theta is right where the likelihood is skewed.

    Parameters
    ----------
    rows
        The rows.
    before
        What `fit` returned. Clusters without a fit stay without one.
    mean, precision
        Of the normal distribution; read where `weak_prior` says there is a parameter.
    """
    live, _ = weak_prior(rows, binary=True)
    both = live[:, None] & live
    mean, precision = jnp.where(live, mean, 0), jnp.where(both, precision, jnp.eye(len(live)))
    start, fitted = before.theta.T, before.fitted
    best, _ = _search(rows, fitted, start, mean, precision, ROUGH_TOLERANCE, binary=True)
    hessian = jnp.moveaxis(best.hessian, 0, -1)
    eye = jnp.eye(len(live), dtype=mean.dtype)[:, :, None]
    lower, half = eliminate(hessian, jnp.broadcast_to(eye, hessian.shape))
    covariance = jnp.where(both, jnp.einsum("kaj,kbj->jab", half, half), 0)

    def bend(theta: Float[Array, "J D"]) -> Float[Array, ""]:
        return jnp.sum(covariance * _by_cluster(theta, rows, binary=True)[2])

    third = jnp.where(live, jax.grad(bend)(best.theta), 0) / 2
    length = jnp.sqrt(jnp.einsum("ja,jab,jb->j", third, covariance, third))
    third = third * jnp.minimum(1, MOST_SKEWED / jnp.maximum(length, MOST_SKEWED))[:, None]
    sure = jnp.all(jnp.diagonal(lower) > 0, axis=1) & jnp.isfinite(length)
    moved = best._replace(gradient=best.gradient - jnp.where(sure[:, None], third, 0))
    return _evidence(moved, mean, precision, fitted)


def _search(
    rows: Rows,
    enough: Bool[Array, " J"],
    start: Float[Array, "J D"],
    mean: Float[Array, " D"],
    precision: Float[Array, "D D"],
    tolerance: float,
    *,
    binary: bool,
) -> tuple[_Point, Bool[Array, " J"]]:
    """Maximise likelihoods with a normal penalty; return where, and which have converged."""
    live, _ = weak_prior(rows, binary=binary)

    def penalised(theta: Float[Array, "J D"], _: _Point) -> _Point:
        value, gradient, hessian = _by_cluster(theta, rows, binary=binary)
        value = jnp.where(enough, value, 0)
        gradient = jnp.where(live & enough[:, None], gradient, 0)
        hessian = jnp.where(live[:, None] & live & enough[:, None, None], hessian, 0)
        away = theta - mean
        pull = away @ precision
        return _Point(
            theta,
            jnp.sum(away * pull, axis=1) / 2 - value,
            pull - gradient,
            precision - hessian,
        )

    nowhere = _Point(
        start,
        jnp.full(enough.shape, jnp.inf, start.dtype),
        jnp.zeros_like(start),
        jnp.broadcast_to(precision, (*start.shape, len(mean))),
    )
    return minimise_all(penalised, nowhere, MAX_STEPS, tolerance)


def _evidence(
    best: _Point,
    mean: Float[Array, " D"],
    precision: Float[Array, "D D"],
    found: Bool[Array, " J"],
) -> Evidence:
    """Return the approximations around penalised maxima, the penalty taken out."""
    fitted = found & jnp.all(jnp.isfinite(best.hessian), axis=(1, 2))
    gradient = (best.theta - mean) @ precision - best.gradient
    information, linear = _concave(best.theta, gradient, best.hessian - precision, fitted)
    return Evidence(best.theta.T, jnp.moveaxis(information, 0, -1), linear.T, fitted)


def weak_prior(rows: Rows, *, binary: bool) -> tuple[Bool[Array, " D"], Float[Array, " D"]]:
    """Return which parameters the model has, and the precision of the penalty (1 elsewhere)."""
    live = jnp.concatenate([rows.explains, rows.selects, jnp.array([not binary, True])])
    penalty = jnp.full(live.shape, RIDGE, rows.y.dtype).at[-1].set(ATANH_RHO_DEVIATION**-2)
    return live, jnp.where(live, penalty, 1)


def _concave(
    theta: Float[Array, "J D"],
    gradient: Float[Array, "J D"],
    information: Float[Array, "J D D"],
    fitted: Bool[Array, " J"],
) -> tuple[Array, Array]:
    """Return the information and the linear term, zero where the function is not concave."""
    information = jnp.where(fitted[:, None, None], information, 0)
    diagonal = jnp.diagonal(information, axis1=1, axis2=2)
    scale = jnp.where(diagonal > 0, jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1)), 0)
    inverse = jnp.where(scale > 0, 1 / jnp.where(scale > 0, scale, 1), 0)
    values, vectors = eigh(information * inverse[:, :, None] * inverse[:, None])
    floor = 64 * values.shape[1] * jnp.finfo(values.dtype).eps
    values = jnp.where(values > floor, values, 0)
    kept = vectors * scale[:, :, None]
    information = jnp.einsum("jik,jk,jlk->jil", kept, values, kept)
    # Of the gradient only what the kept directions can answer.
    gradient = jnp.where(fitted[:, None], gradient, 0) * inverse
    gradient = jnp.einsum("jik,ji->jk", vectors, gradient)
    bound = MOST_REMOVED * jnp.sqrt(values)
    gradient = jnp.clip(gradient, -bound, bound)
    gradient = jnp.einsum("jik,jk->ji", kept, gradient)
    linear = jnp.einsum("jik,jk->ji", information, theta)
    return information, linear + gradient


def _by_cluster(
    theta: Float[Array, "J D"], rows: Rows, *, binary: bool
) -> tuple[Float[Array, " J"], Float[Array, "J D"], Float[Array, "J D D"]]:
    """Return the log-likelihood of every cluster with its derivatives by theta."""
    p, layout = len(rows.x), rows.layout
    by_block = to_blocks(theta.T, layout)
    m = jnp.einsum("pkb,pk->kb", rows.x, by_block[:p])
    a = jnp.einsum("pkb,pk->kb", rows.x, by_block[p : 2 * p])
    scalars = by_block[2 * p :, :, None]
    of_rows = probit_rows if binary else normal_rows
    value, first, second = of_rows(m, a, scalars[0], scalars[1], rows.y, rows.selected)
    live = (rows.selected | rows.hidden) & layout.row_live
    value, first, second = (jnp.where(live, part, 0) for part in (value, first, second))
    sums = cluster_sums(jnp.concatenate([value[None], first[2:]]), layout)
    slopes = cluster_products(rows.x, first[:2], layout)
    gradient = jnp.concatenate([slopes[:, 0], slopes[:, 1], sums[1:]])
    weighted = second[jnp.array([0, 0, 1]), jnp.array([0, 1, 1])]
    square = jnp.stack([cluster_products(rows.x, rows.x * w, layout) for w in weighted])
    cross = cluster_products(rows.x, second[:2, 2:].reshape(4, *value.shape), layout)
    cross = cross.reshape(p, 2, 2, -1)
    inner = cluster_sums(second[2:, 2:].reshape(4, *value.shape), layout).reshape(2, 2, -1)
    top = jnp.concatenate([square[0], square[1], cross[:, 0]], axis=1)
    middle = jnp.concatenate([square[1], square[2], cross[:, 1]], axis=1)
    bottom = [jnp.swapaxes(cross[:, i], 0, 1) for i in range(2)]
    hessian = jnp.concatenate([top, middle, jnp.concatenate([*bottom, inner], axis=1)])
    return sums[0], gradient.T, jnp.moveaxis(hessian, -1, 0)


Derivatives = tuple[Float[Array, "K B"], Float[Array, "4 K B"], Float[Array, "4 4 K B"]]
"""Log-likelihood of every row, its gradient and Hessian by (m, a, log sigma, atanh rho)."""


def normal_rows(
    m: Float[Array, "K B"],
    a: Float[Array, "K B"],
    log_sigma: Float[Array, "K 1"],
    atanh_rho: Float[Array, "K 1"],
    y: Float[Array, "K B"],
    selected: Bool[Array, "K B"],
) -> Derivatives:
    """Return the log-likelihood of a normal y, at means m of y and a of s.

    A selected row has ``phi(e) / sigma Phi(v)``, ``v = a cosh + e sinh`` of atanh rho and
    ``e = (y - m) / sigma``; another one Phi(-a).
    """
    zero = jnp.zeros_like(m)

    def where_selected(value: Array) -> Float[Array, "K B"]:
        return jnp.where(selected, value, zero)

    w = where_selected(jnp.exp(-log_sigma))
    e = where_selected(y - m) * w
    s = where_selected(jnp.sinh(atanh_rho))
    c = jnp.where(selected, jnp.cosh(atanh_rho), -1)
    v = a * c + e * s
    ratio = hazard(-v)
    e_x = jnp.stack([-w, zero, -e, zero])
    e_xy = _symmetric({(0, 2): w, (2, 2): e}, zero)
    by_rho = where_selected(a * s + e * c)
    v_x = jnp.stack([-w * s, c, -e * s, by_rho])
    last = {(0, 3): -w * c, (1, 3): s, (2, 3): -e * c, (3, 3): where_selected(v)}
    v_xy = _symmetric({(0, 2): w * s, (2, 2): e * s} | last, zero)
    value = log_ndtr(v) - where_selected(e**2 / 2 + log_sigma + LOG_ROOT_2PI)
    first = ratio * v_x - e * e_x - jnp.stack([zero, zero, where_selected(zero + 1), zero])
    bend = -ratio * (v + ratio)
    second = ratio * v_xy + bend * v_x[:, None] * v_x - e_x[:, None] * e_x - e * e_xy
    return value, first, second


def probit_rows(
    m: Float[Array, "K B"],
    a: Float[Array, "K B"],
    log_sigma: Float[Array, "K 1"],
    atanh_rho: Float[Array, "K 1"],
    y: Float[Array, "K B"],
    selected: Bool[Array, "K B"],
) -> Derivatives:
    """Return the log-likelihood of a binary y; log sigma is not read.

    A selected row has the bivariate probability of a and of m on the side of y.
    """
    del log_sigma
    zero = jnp.zeros_like(m)
    side = jnp.where(y > 0.5, 1.0, -1.0).astype(m.dtype)
    k, c, s = side * m, jnp.cosh(atanh_rho), side * jnp.sinh(atanh_rho)
    both = ndtr(a) * ndtr(k) + side * excess(a, m, atanh_rho)
    both = jnp.maximum(both, 64 * jnp.finfo(m.dtype).eps)
    of_k, of_a = _density(k) * ndtr(a * c - k * s), _density(a) * ndtr(k * c - a * s)
    g = _density(a) * _density(k * c - a * s)
    turn = k * s - a * c
    first = jnp.stack([side * of_k, of_a, zero, side * g / c]) / both
    second = {
        (0, 0): -k * of_k - g * s,
        (0, 1): side * g * c,
        (1, 1): -a * of_a - g * s,
        (0, 3): g * (a * s - k * c),
        (1, 3): side * g * turn,
        (3, 3): -g * (k * c - a * s) * turn / c - g * s / c**2,
    }
    curved = _symmetric(second, zero) / both - first[:, None] * first
    ratio = hazard(a)
    alone = jnp.stack([zero, -ratio, zero, zero])
    bend = _symmetric({(1, 1): -ratio * (ratio - a)}, zero)
    return (
        jnp.where(selected, jnp.log(both), log_ndtr(-a)),
        jnp.where(selected, first, alone),
        jnp.where(selected, curved, bend),
    )


def excess(
    h: Float[Array, "*n"], k: Float[Array, "*n"], atanh_rho: Float[Array, "*#n"]
) -> Float[Array, "*n"]:
    """Return by how much two events are more likely together than if they were independent.

    The events: standard normals of correlation rho are below h, and below k. The density at
    (h, k) is integrated over the correlation (Drezner and Wesolowsky 1990), by Gauss-Legendre
    quadrature in its atanh u, where it is smoothest: d rho / sqrt(1 - rho^2) = du / cosh u. The
    error is below 1e-9 for abs(rho) up to 0.99, and 1e-6 up to 0.9999; in single precision
    1e-6 and 1e-4.
    """
    half = jnp.clip(atanh_rho, -STRONGEST, STRONGEST) / 2
    h, k = h * 2**-0.5, k * 2**-0.5
    total = jnp.zeros_like(h * k)
    nodes, weights = np.polynomial.legendre.leggauss(NODES[total.dtype == jnp.float32])
    u = half * (1 + nodes.astype(half.dtype)).reshape(-1, *[1] * half.ndim)
    for weight, sine, cosine in zip(weights.tolist(), jnp.sinh(u), jnp.cosh(u), strict=True):
        # Never positive, whatever is rounded.
        exponent = -(k**2) - (h * cosine - k * sine) ** 2
        total = total + weight / cosine * jnp.exp(exponent)
    return half * total / (2 * jnp.pi)


def hazard(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return phi(x) / Phi(-x), the mean of a standard normal above x, finite everywhere."""
    return jnp.exp(-(x**2) / 2 - LOG_ROOT_2PI - log_ndtr(-x))


def _density(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    return jnp.exp(-(x**2) / 2 - LOG_ROOT_2PI)


def _symmetric(
    entries: dict[tuple[int, int], Float[Array, "K B"]], zero: Float[Array, "K B"]
) -> Float[Array, "4 4 K B"]:
    """Return a symmetric matrix from the entries above its diagonal that are not zero."""
    return jnp.stack(
        [
            jnp.stack([entries.get((min(i, j), max(i, j)), zero) + zero for j in range(4)])
            for i in range(4)
        ]
    )
