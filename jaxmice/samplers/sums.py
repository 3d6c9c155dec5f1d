"""Everything that the Gibbs steps of a two-level normal regression need from the rows.

For cluster j let ``A_j = Z_j' Z_j = R_j R_j'`` with R lower triangular (zero columns
where A is singular). The residual sum of squares then splits exactly into a part inside
and a part outside the column space of Z,

    RSS_j = rho_j - 2 beta_F' s_j + beta_F' S_j beta_F + |R_j' b_j - (k_j - K_j beta)|^2,

with ``K_j = R_j^+ Z_j' X_j``, ``k_j = R_j^+ Z_j' y_j`` and S, s, rho the cross products
of what Z leaves of F and y. No matrix is inverted, nothing fails for an empty cluster, a
single row or collinear columns.
"""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxmice.linalg import cluster_products, cluster_sums, eliminate, to_rows, total_products
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
    """Ridge of the fixed effects, in units of one over the residual variance."""

    z_live: Bool[Array, " q"]
    """Columns of Z that predict."""

    x_live: Bool[Array, " p"]
    """Columns of X that predict."""

    cluster_live: Bool[Array, " J"]
    """Clusters that exist."""


def make_sums(target: Target, *, by_cluster: bool) -> Sums:
    """Read the rows of a target once and return its sums.

    Products of columns that all chains share are formed once for all chains; the others
    block by block, so that no design of all chains is ever held.
    """
    layout = target.layout
    live = target.ry.astype(target.y.dtype)
    z = [target.z_shared * live, target.z_chain * live]
    f = [target.f_shared * live, target.f_chain * live]
    n = cluster_sums(live[None], layout)[0]
    # Inside its cluster's mean y has no digits to lose where clusters differ much.
    mean = cluster_sums((target.y * live)[None], layout)[0] / jnp.maximum(n, 1)
    mean = jnp.where(target.z_intercept, mean, 0)
    y = (target.y - to_rows(mean[None], layout)[0])[None] * live

    by_cluster_products = partial(cluster_products, layout=layout)
    zz = _blocks(z, z, by_cluster_products, symmetric=True)
    zf = _blocks(z, f, by_cluster_products)
    zy = _blocks(z, [y], by_cluster_products)
    q, f_size = zz.shape[0], zf.shape[1]
    tolerance = 64 * float(jnp.finfo(y.dtype).eps)
    root, solved = eliminate(zz, jnp.concatenate([zf, zy], axis=1), tolerance)
    k_f, k = solved[:, :f_size], solved[:, f_size]
    if q:
        k_mean = root[0] * mean  # R' times the shift of the intercept
    else:
        k_mean = jnp.zeros_like(k)

    if by_cluster:
        ff = _blocks(f, f, by_cluster_products, symmetric=True)
        fy = _blocks(f, [y], by_cluster_products)[:, 0]
        yy = cluster_sums(y * y, layout)[0]
        S = ff - sum((k_f[i][:, None] * k_f[i][None] for i in range(q)), jnp.zeros_like(ff))
        s = fy - sum((k_f[i] * k[i] for i in range(q)), jnp.zeros_like(fy))
        rho = yy - jnp.sum(k * k, axis=0)
        f_square = jnp.sum(jnp.diagonal(ff), axis=0)
    else:
        ff = _blocks(f, f, total_products, symmetric=True)
        fy = _blocks(f, [y], total_products)[:, 0]
        S = ff - jnp.einsum("kaj,kbj->ab", k_f, k_f, precision="highest")
        s = fy - jnp.einsum("kaj,kj->a", k_f, k, precision="highest")
        rho = jnp.sum(y * y) - jnp.sum(k * k)
        f_square = jnp.diagonal(ff)
    z_square = jnp.sum(jnp.diagonal(zz), axis=0) if q else jnp.zeros((0,), y.dtype)
    x_square = jnp.concatenate([z_square, f_square])
    kappa = 1e-8 if y.dtype == jnp.float64 else 1e-5
    penalised = jnp.ones(q + f_size, bool)
    if q:
        penalised = penalised.at[0].set(~target.z_intercept)
    if f_size:
        penalised = penalised.at[q].set(~target.f_intercept)
    return Sums(
        root=root,
        K=jnp.concatenate([jnp.swapaxes(root, 0, 1), k_f], axis=1),
        k=k + k_mean,
        S=S,
        s=s,
        rho=jnp.maximum(rho, 0),
        n=n,
        x_square=x_square,
        penalty=jnp.where(penalised, kappa * x_square, 0),
        z_live=target.z_live,
        x_live=jnp.concatenate([target.z_live, target.f_live]),
        cluster_live=layout.cluster_live,
    )


def _blocks(
    rows: list[Float[Array, "_ K B"]],
    columns: list[Float[Array, "_ K B"]],
    products: Callable[..., Array],
    *,
    symmetric: bool = False,
) -> Float[Array, "_ _ *J"]:
    """Assemble cross products from shared and chain parts, each pair formed once."""
    made: dict[tuple[int, int], Array] = {}
    for i, row in enumerate(rows):
        for k, column in enumerate(columns):
            if symmetric and k < i:
                made[i, k] = jnp.swapaxes(made[k, i], 0, 1)
            else:
                made[i, k] = products(row, column)
    return jnp.concatenate(
        [
            jnp.concatenate([made[i, k] for k in range(len(columns))], axis=1)
            for i in range(len(rows))
        ],
        axis=0,
    )
