"""Covariance of a vector of which some elements have a scale of their own, others a fixed one.

A normal vector e = (c, f) is ordered so that the elements c of fixed scale come first: the
latent normals of categories, whose scale no data identify. It is a chain of regressions,

    c~_k = sum over l in earlier groups of A_kl c~_l + N(0, 1),    c~ = C^-1 c,
    f    = Phi c~ + N(0, Sigma),

with C known. Elements of one group (the latent normals of one variable) have, given the
groups before, the covariance that C gives them. Rows of A and of Sigma^-1/2 Phi are normal
under the prior, Sigma is inverse Wishart: every conditional is conjugate. Without elements
of fixed scale it is the inverse-Wishart draw of a covariance matrix.
"""

from dataclasses import dataclass
from functools import cached_property

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxmice.linalg import cholesky, draw_normal, solve_lower, solve_lower_transposed
from jaxmice.random import inverse_wishart_factor
from jaxmice.samplers.linear_mixed import HALF_T_DF, half_t_scale


@dataclass(frozen=True)
class Groups:
    """Elements of fixed scale at the head of a vector: the size of every group."""

    sizes: tuple[int, ...] = ()

    @property
    def n(self) -> int:
        """Number c of elements of fixed scale."""
        return sum(self.sizes)

    @cached_property
    def group(self) -> np.ndarray:
        """(c,) group of every element."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    @cached_property
    def earlier(self) -> np.ndarray:
        """(c, c) whether the second element is in an earlier group than the first."""
        return self.group[:, None] > self.group[None, :]

    @cached_property
    def same(self) -> np.ndarray:
        """(c, c) whether two elements are of one group."""
        return self.group[:, None] == self.group[None, :]

    @cached_property
    def factor(self) -> np.ndarray:
        """(c, c) C: variances one, covariances one half within a group.

        The covariance of differences between independent utilities of equal scale and
        that of a reference: all categories alike.
        """
        return np.linalg.cholesky(0.5 * np.eye(self.n) + 0.5 * self.same)


class Prior(eqx.Module):
    """Prior of one covariance matrix, or of one per cluster (G = J).

    ``Sigma ~ IW(df, scale)``; with ``half_t`` instead the prior of Huang and Wand (2013,
    Bayesian Analysis 8, 439-452): standard deviations half-t with two degrees of freedom
    and these scales, ``df`` and ``scale`` unread.
    ``A_k ~ N(a, 1 / precision)`` and ``Phi | Sigma ~ N(phi, Sigma / precision)``, elements
    of a row independent.
    """

    df: Float[Array, ""]
    scale: Float[Array, "f f"]
    a: Float[Array, "c c"]
    phi: Float[Array, "f c"]
    precision: Float[Array, ""]
    half_t: Float[Array, " f"] | None = None


def simple_prior(
    df: Float[Array, ""], scale: Float[Array, "f f"], half_t: Float[Array, " f"] | None = None
) -> Prior:
    """Return the prior of a covariance without elements of fixed scale."""
    none = scale[:, :0]
    return Prior(df, scale, none[:0], none, jnp.ones_like(df), half_t)


def gamma_shapes(
    prior: Prior, count: Float[Array, " G"], live: Bool[Array, " f"]
) -> Float[Array, "g G"]:
    """Return the shapes of the gamma variates that `draw_root` needs."""
    df = prior.df
    rank = jnp.cumsum(live)
    q = jnp.sum(live).astype(count.dtype)
    if prior.half_t is not None:
        df = HALF_T_DF + q - 1
    # The chi-square variates of Bartlett's decomposition, its first with the fewest degrees.
    shapes = jnp.where(live[:, None], (df + count - q + rank[:, None]) / 2, 1)
    if prior.half_t is None:
        return shapes
    return jnp.concatenate([shapes, jnp.full_like(shapes, (HALF_T_DF + q) / 2)])


def draw_root(
    gammas: Float[Array, "g G"],
    normals: Float[Array, "d d G"],
    root: Float[Array, "d d G"],
    products: Float[Array, "d d G"],
    prior: Prior,
    groups: Groups,
    live: Bool[Array, " f"],
) -> Float[Array, "d d G"]:
    """Draw lower factors of covariance matrices given vectors of mean zero.

    Parameters
    ----------
    gammas, normals
        Standard draws, gammas of the shapes given by `gamma_shapes`.
    root
        Factors before.
    products
        Cross products of the vectors that have each covariance.
    prior
        Prior.
    groups
        Elements of fixed scale.
    live
        The other elements that exist; the rest get a unit variance and touch nothing.
    """
    c, f = groups.n, live.shape[0]
    scaled = _scale_free(products, groups)
    scale = prior.scale
    if prior.half_t is not None:
        scale = _half_t_scale(gammas[f:], root[c:, c:], prior.half_t)
    scale = jnp.broadcast_to(scale[:, :, None], (f, f, products.shape[2]))
    a = _draw_coefficients(normals[:c, :c], scaled[:c, :c], prior, groups)
    free, phi = _draw_free(gammas[:f], normals[c:], scale, scaled, prior, c, live)
    return join(a, phi, free, groups)


def join(
    a: Float[Array, "c c G"],
    phi: Float[Array, "f c G"],
    free: Float[Array, "f f G"],
    groups: Groups,
) -> Float[Array, "d d G"]:
    """Return the factor of the covariance from A, Phi and the factor of Sigma."""
    c, f, G = groups.n, free.shape[0], free.shape[2]
    if c == 0:
        return free
    eye = jnp.broadcast_to(jnp.eye(c, dtype=a.dtype)[:, :, None], (c, c, G))
    inside = solve_lower(eye - a, eye)
    constant = jnp.asarray(groups.factor, a.dtype)
    upper = jnp.concatenate(
        [
            jnp.einsum("ik,klg->ilg", constant, inside),
            jnp.zeros((c, f, G), a.dtype),
        ],
        axis=1,
    )
    below = jnp.einsum("fkg,klg->flg", phi, inside)
    return jnp.concatenate([upper, jnp.concatenate([below, free], axis=1)])


def split(
    root: Float[Array, "d d G"], groups: Groups
) -> tuple[Float[Array, "c c G"], Float[Array, "f c G"], Float[Array, "f f G"]]:
    """Return A, Phi and the factor of Sigma from the factor of the covariance."""
    c = groups.n
    if c == 0:
        return root[:0, :0], root[:, :0], root
    eye = jnp.broadcast_to(jnp.eye(c, dtype=root.dtype)[:, :, None], root[:c, :c].shape)
    constant = jnp.asarray(np.linalg.inv(groups.factor), root.dtype)
    inside = jnp.einsum("ik,klg->ilg", constant, root[:c, :c])
    inverse = solve_lower(inside, eye)
    phi = jnp.einsum("fkg,klg->flg", root[c:, :c], inverse)
    return eye - inverse, phi, root[c:, c:]


def _scale_free(products: Float[Array, "d d G"], groups: Groups) -> Float[Array, "d d G"]:
    """Return the cross products with c~ in the place of c."""
    c, d = groups.n, products.shape[0]
    if c == 0:
        return products
    turn = np.eye(d)
    turn[:c, :c] = np.linalg.inv(groups.factor)
    by = jnp.asarray(turn, products.dtype)
    return jnp.einsum("ik,klg,jl->ijg", by, products, by)


def _half_t_scale(
    gammas: Float[Array, "f 1"], free: Float[Array, "f f 1"], half_t: Float[Array, " f"]
) -> Float[Array, "f f"]:
    """Draw the scale matrix that mixes to half-t deviations, given Sigma."""
    eye = jnp.eye(free.shape[0], dtype=free.dtype)
    inverse = solve_lower(free[:, :, 0], eye) if free.shape[0] else eye
    return half_t_scale(gammas[:, 0], inverse, half_t)


def _draw_coefficients(
    normals: Float[Array, "c c G"],
    products: Float[Array, "c c G"],
    prior: Prior,
    groups: Groups,
) -> Float[Array, "c c G"]:
    """Draw A, every row a regression on the elements of earlier groups."""
    c = groups.n
    if c == 0:
        return products
    # Rows last: one batch of regressions, each on its own columns.
    mask = jnp.asarray(groups.earlier.T, products.dtype)[:, :, None]
    eye = jnp.eye(c, dtype=products.dtype)[:, :, None, None]
    precision = mask[:, None] * mask[None] * products[:, :, None] + prior.precision * eye
    shift = mask * (products + prior.precision * prior.a.T[:, :, None])
    drawn = draw_normal(jnp.swapaxes(normals, 0, 1), precision, shift)
    return jnp.swapaxes(mask * drawn, 0, 1)


def _draw_free(
    gammas: Float[Array, "f G"],
    normals: Float[Array, "f d G"],
    scale: Float[Array, "f f G"],
    products: Float[Array, "d d G"],
    prior: Prior,
    c: int,
    live: Bool[Array, " f"],
) -> tuple[Float[Array, "f f G"], Float[Array, "f c G"]]:
    """Draw the factor of Sigma with Phi integrated out, then Phi."""
    f = live.shape[0]
    if f == 0:
        return scale, products[:0, :c]
    scale = scale + products[c:, c:]
    phi = jnp.where(live[:, None], prior.phi, 0)
    if c:
        gram = products[:c, :c] + prior.precision * jnp.eye(c, dtype=scale.dtype)[:, :, None]
        right = products[:c, c:] + prior.precision * phi.T[:, :, None]
        lower = cholesky(gram)
        half = solve_lower(lower, right)
        removed = jnp.sum(half[:, :, None] * half[:, None], axis=0)
        scale = scale + prior.precision * (phi @ phi.T)[:, :, None] - removed
    over_last = jax.vmap(inverse_wishart_factor, in_axes=(-1, -1, -1, None), out_axes=-1)
    free = over_last(gammas, normals[:, c:], scale, live)
    if c == 0:
        return free, free[:, :0]
    noise = jnp.einsum("fhg,hkg->kfg", free, normals[:, :c])
    drawn = jnp.swapaxes(solve_lower_transposed(lower, half + noise), 0, 1)
    return free, jnp.where(live[:, None, None], drawn, 0)
