"""Everything that the Gibbs steps of a two-level normal regression need from the rows.

For cluster j let ``A_j = Z_j' Z_j = R_j R_j'`` with R lower triangular (zero columns
where A is singular). The residual sum of squares then splits exactly into a part inside
and a part outside the column space of Z,

    RSS_j = rho_j - 2 beta_F' s_j + beta_F' S_j beta_F + |R_j' b_j - (k_j - K_j beta)|^2,

with ``K_j = R_j^+ Z_j' X_j``, ``k_j = R_j^+ Z_j' y_j`` and S, s, rho the cross products
of what Z leaves of F and y. No matrix is inverted, nothing fails for an empty cluster, a
single row or collinear columns.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxmice.linalg import (
    cluster_products,
    cluster_sums,
    eliminate,
    solve_lower_transposed,
    to_rows,
    total_products,
)
from jaxmice.target import Target


class Sums(eqx.Module):
    """Sums over the fitted rows, for one chain; X = [Z, F] has p = q + f columns.

    The last three fields have a trailing cluster axis when they were made by cluster.
    """

    root: Float[Array, "q q J"]
    """R: lower factor of Z'Z in every cluster."""

    K: Float[Array, "q p J"]
    """R^+ Z'X."""

    k: Float[Array, "q J"]
    """R^+ Z'y."""

    S: Float[Array, "f f *J"]
    """Cross products of F outside the space of Z."""

    s: Float[Array, "f *J"]
    """Cross products of F and y outside the space of Z."""

    rho: Float[Array, "*J"]
    """Sum of squares of y outside the space of Z."""

    n: Float[Array, " J"]
    """Fitted rows of every cluster."""

    x_square: Float[Array, " p"]
    """Sum of squares of every column of X over all fitted rows."""

    penalty: Float[Array, " p"]
    """Ridge of the fixed effects, in units of one over the residual variance.

    Random effects leave less information about a fixed one than its rows hold, so under
    them no more than its share of ``x_square`` is taken of that information.
    """

    z_live: Bool[Array, " q"]
    """Columns of Z that predict."""

    x_live: Bool[Array, " p"]
    """Columns of X that predict."""

    cluster_live: Bool[Array, " J"]
    """Clusters that exist."""

    centre: Float[Array, " p"] | None = None
    """Where the ridge pulls the fixed effects; zero if not given."""


def inside_clusters(target: Target) -> Target:
    """Return the target with the columns of F less their means in clusters, which are kept.

    What Z leaves of F is a small difference where F varies mostly between clusters, and
    nothing where it is constant in them: less its mean a column has no digits to lose. The
    means are zero without a random intercept, over the fitted rows with it.
    """
    if target.f_mean is not None or not target.z_live.shape[0]:
        return target
    layout, live = target.layout, target.ry.astype(target.y.dtype)
    n = jnp.maximum(cluster_sums(live[None], layout), 1)

    def split(columns: Float[Array, "c K B"]) -> tuple[Array, Array]:
        mean = jnp.where(target.z_intercept, cluster_sums(columns * live, layout) / n, 0)
        return columns - to_rows(mean, layout), mean

    (shared, of_shared), (chain, of_chain) = split(target.f_shared), split(target.f_chain)
    mean = jnp.concatenate([of_shared, of_chain])
    return dataclasses.replace(target, f_shared=shared, f_chain=chain, f_mean=mean)


def make_sums(target: Target, *, by_cluster: bool) -> Sums:
    """Read the rows of a target once and return its sums.

    Products of columns that all chains share are formed once for all chains; the others
    block by block, so that no design of all chains is ever held.
    """
    target = inside_clusters(target)
    layout = target.layout
    live = target.ry.astype(target.y.dtype)
    n, total = cluster_sums(jnp.stack([live, target.y * live]), layout)
    # Inside its cluster's mean y has no digits to lose where clusters differ much.
    mean = jnp.where(target.z_intercept, total / jnp.maximum(n, 1), 0)
    y = ((target.y - to_rows(mean, layout)) * live)[None]

    qs, qc = target.z_shared.shape[0], target.z_chain.shape[0]
    fs, fc = target.f_shared.shape[0], target.f_chain.shape[0]
    q, f = qs + qc, fs + fc
    z = [target.z_shared * live, target.z_chain * live]
    shared = jnp.concatenate([z[0], target.f_shared * live, y])
    chain = jnp.concatenate([z[1], target.f_chain * live])
    in_clusters = partial(cluster_products, layout=layout)
    # Columns come out as Z shared, F shared, y, Z by chain, F by chain; and are sorted.
    order = np.r_[:qs, qs + fs + 1 : qs + fs + 1 + qc, qs : qs + fs]
    order = np.r_[order, qs + fs + 1 + qc : qs + fs + 1 + qc + fc, qs + fs]
    products = _take(_blocks(z, [shared, chain], in_clusters), order, axis=1)
    tolerance = 64 * float(jnp.finfo(y.dtype).eps)
    root, solved = eliminate(products[:, :q], products[:, q:], tolerance)
    k_f, k = solved[:, :f], solved[:, f]

    rest = [shared[qs:], chain[qc:]]
    last = np.r_[:fs, fs + 1 : fs + 1 + fc, fs]
    if by_cluster:
        outer = _blocks(rest, rest, in_clusters)
        outer = _take(_take(outer, last, axis=0), last, axis=1)
        removed = [solved[i][:, None] * solved[i][None] for i in range(q)]
        inside = sum(removed, jnp.zeros_like(outer))
        square = jnp.sum(jnp.diagonal(outer), axis=0)
    else:
        outer = _blocks(rest, rest, total_products)
        outer = _take(_take(outer, last, axis=0), last, axis=1)
        inside = jnp.einsum("kaj,kbj->ab", solved, solved)
        square = jnp.diagonal(outer)
    left = outer - inside
    z_square = jnp.sum(jnp.diagonal(products[:, :q]), axis=0) if q else square[:0]
    x_square = jnp.concatenate([z_square, square[:f]])
    # The intercept is the first column of Z: R' times a shift of it.
    k = k + root[0] * mean if q else k
    return put_together(root, k_f, k, left, n, x_square, target.z_live, target.f_live, target)


def ridge_of(dtype: Any) -> float:
    """Return the ridge of predictors that others determine, per unit of their sum of squares."""
    return 1e-8 if dtype == jnp.float64 else 1e-5


def put_together(
    root: Float[Array, "q q J"],
    k_f: Float[Array, "q f J"],
    k: Float[Array, "q J"],
    left: Float[Array, "g g *J"],
    n: Float[Array, " J"],
    x_square: Float[Array, " p"],
    z_live: Bool[Array, " q"],
    f_live: Bool[Array, " f"],
    target: Target,
) -> Sums:
    """Return the sums of a design from their parts.

    Parameters
    ----------
    root, k_f, k
        R, and R^+ Z'F and R^+ Z'y.
    left
        Products of (F, y) outside the space of Z.
    n, x_square
        See `Sums`.
    z_live, f_live
        Columns that predict.
    target
        Says which columns are intercepts, which clusters exist, and which means were taken
        out of F: a column is itself less its mean and that mean times the intercept.
    """
    q, f = len(z_live), len(f_live)
    if q and f and target.f_mean is not None:
        k_f = k_f + root[0][:, None] * target.f_mean
        x_square = x_square.at[q:].add(jnp.sum((root[0, 0] * target.f_mean) ** 2, axis=-1))
    first = np.arange(q + f)
    is_intercept = ((first == 0) & target.z_intercept & (q > 0)) | (
        (first == q) & target.f_intercept
    )
    return Sums(
        root=root,
        K=jnp.concatenate([jnp.swapaxes(root, 0, 1), k_f], axis=1),
        k=k,
        S=left[:f, :f],
        s=left[:f, f],
        rho=jnp.maximum(left[f, f], 0),
        n=n,
        x_square=x_square,
        penalty=jnp.where(is_intercept, 0, ridge_of(left.dtype) * x_square),
        z_live=z_live,
        x_live=jnp.concatenate([z_live, f_live]),
        cluster_live=target.layout.cluster_live,
    )


def centred(sums: Sums) -> Sums:
    """Return the sums with a ridge that pulls towards least squares over all rows.

    Where rows are fitted all but exactly, even a minute pull to zero would be larger than
    any error of a fixed effect.
    """
    q = len(sums.z_live)
    by_cluster = sums.S.ndim == 3
    S, s = (jnp.sum(part, axis=-1) if by_cluster else part for part in (sums.S, sums.s))
    gram = jnp.einsum("kaj,kbj->ab", sums.K, sums.K).at[q:, q:].add(S)
    cross = jnp.einsum("kaj,kj->a", sums.K, sums.k).at[q:].add(s)
    ridge = jnp.where(sums.x_live & (sums.x_square > 0), sums.penalty, 1)
    lower, half = eliminate(gram + jnp.diag(ridge), cross[:, None], loop=True)
    centre = solve_lower_transposed(lower, half, loop=True)[:, 0]
    return dataclasses.replace(sums, centre=jnp.where(sums.x_live, centre, 0))


def _take(a: Float[Array, "..."], order: np.ndarray, axis: int) -> Float[Array, "..."]:
    """Reorder an axis, where there is anything to reorder."""
    return a if np.array_equal(order, np.arange(len(order))) else jnp.take(a, order, axis=axis)


def _blocks(
    rows: list[Float[Array, "_ K B"]],
    columns: list[Float[Array, "_ K B"]],
    products: Callable[..., Array],
) -> Float[Array, "_ _ *J"]:
    """Assemble cross products from shared and chain parts, leaving out empty ones.

    Parameters
    ----------
    rows, columns
        The shared part, then the part by chain.
    products
        Cross products; cheapest where the part by chain comes first.
    """

    def cross(i: int, j: int) -> Float[Array, "_ _ *J"]:
        if i < j:
            return jnp.swapaxes(products(columns[j], rows[i]), 0, 1)
        return products(rows[i], columns[j])

    own = [i for i in range(2) if rows[i].shape[0]] or [0]
    others = [j for j in range(2) if columns[j].shape[0]]
    lines = [jnp.concatenate([cross(i, j) for j in others], axis=1) for i in own]
    return jnp.concatenate(lines, axis=0)
