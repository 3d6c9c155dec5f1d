"""Covariance matrices from the inverse-Wishart distribution."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxmice.linalg import cholesky


def wishart_shapes(df: Float[Array, ""], live: Bool[Array, " q"]) -> Float[Array, " q"]:
    """Return the shapes of the gamma variates that `inverse_wishart_factor` needs.

    The k-th live dimension of q needs a chi-square variate with ``df - q + k`` degrees
    of freedom; twice a gamma variate of half that shape.
    """
    rank = jnp.cumsum(live)
    return jnp.where(live, (df - jnp.sum(live) + rank) / 2, 1)


def inverse_wishart_factor(
    gammas: Float[Array, " q"],
    normals: Float[Array, "q q"],
    scale: Float[Array, "q q"],
    live: Bool[Array, " q"],
) -> Float[Array, "q q"]:
    r"""Return the lower Cholesky factor of an inverse-Wishart draw.

    Parameters
    ----------
    gammas
        Standard gamma draws of the shapes given by `wishart_shapes`.
    normals
        Standard normal draws; those above the diagonal are used.
    scale
        Scale matrix :math:`S`: the density is proportional to
        :math:`|\Psi|^{-(\nu+q+1)/2} \exp(-\frac12 \mathrm{tr}\, S \Psi^{-1})`.
    live
        Dimensions that exist. The others get an identity block and touch nothing.

    Notes
    -----
    Bartlett's decomposition in reversed order (Smith and Hocking 1972): with
    :math:`S = R R'` and :math:`U` upper triangular, squared diagonal chi-square and
    normals above it, :math:`R U^{-T}` is lower triangular and the factor wanted: one
    triangular solve, no inverse.
    """
    q = scale.shape[0]
    pair = live[:, None] & live[None, :]
    whole = jnp.where(pair, scale, jnp.eye(q, dtype=scale.dtype))
    r = cholesky(whole)
    diagonal = jnp.where(live, jnp.sqrt(2 * gammas), 1)
    u = jnp.triu(jnp.where(pair, normals, 0), 1) + jnp.diag(diagonal)
    # l u' = r, column by column from the last: column k of l uses the later ones.
    columns: list[Array] = [diagonal] * q
    for k in reversed(range(q)):
        column = r[:, k]
        for i in range(k + 1, q):
            column = column - u[k, i] * columns[i]
        columns[k] = column / u[k, k]
    return jnp.stack(columns, axis=1)
