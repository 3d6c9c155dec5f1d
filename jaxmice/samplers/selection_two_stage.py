"""Draws of the parameters of a two-level selection model around those of its clusters.

The likelihood of every cluster is summarised by its quadratic approximation; the summaries
are the data of random-effects meta-analyses (Munoz et al. 2023, arXiv 2301.05043, section 3).
The covariances of the coefficients of y, of those of the selection, and of the two scalars
are estimated one by one; given them all parameters are drawn together, so that what a
cluster knows about one of them says something about the others.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jaxmice.estimators import selection as se
from jaxmice.linalg import cholesky, contract, eliminate, solve_lower, to_rows
from jaxmice.samplers import latent, selection_mixed as sm
from jaxmice.samplers.sums import Sums, put_together
from jaxmice.target import Target

PRECISION = 1e-2
"""Prior precision of the means over clusters, besides that of atanh rho."""

SMALLEST = 1e-2
"""Deviation over clusters below which none is told from none at all."""


class Summary(eqx.Module):
    """What the clusters say about their parameters, as sums of unit variance."""

    whole: Sums
    """All parameters: those of y and of s with random effects, log sigma, atanh rho; then the
    fixed ones of y and of s."""

    blocks: Sums
    """Those of y, those of s and the scalars, whatever the others are: on a leading axis, with
    columns that do not predict where one block has fewer."""

    fitted: Bool[Array, " J"]
    """Clusters that have a fit of their own."""


class Parameters(eqx.Module):
    """One draw, for one chain."""

    selection: latent.Regression
    """The regression of s."""

    outcome: latent.Regression
    """The regression of y."""

    gamma: Float[Array, " J"]
    """Covariance of the residuals of s and y in every cluster."""

    xi: Float[Array, " J"]
    """Variance of the residual of y given that of s."""

    fitted: Bool[Array, " J"]
    """Clusters that have a fit of their own."""


def rows_of(target: Target) -> se.Rows:
    """Return what the likelihood of a target reads."""
    assert target.selection is not None
    parts = (target.z_shared, target.z_chain, target.f_shared, target.f_chain)
    live = jnp.concatenate([target.z_live, target.f_live])
    return se.Rows(
        x=jnp.concatenate(parts),
        y=jnp.where(target.ry, target.y, 0),
        selected=target.ry,
        hidden=target.selection.hidden,
        explains=target.selection.explains & live,
        selects=target.selection.selects & live,
        layout=target.layout,
    )


def fit(target: Target, *, binary: bool) -> se.Evidence:
    """Fit every cluster by itself."""
    return se.fit(rows_of(target), binary=binary)


def refit(
    evidence: se.Evidence,
    beta: Float[Array, " D"],
    root_psi: Float[Array, "Q Q"],
    target: Target,
) -> se.Evidence:
    """Approximate the likelihoods of a binary y again, given how parameters vary over clusters.

    Parameters
    ----------
    evidence
        What `fit` returned.
    beta, root_psi
        Means and lower factor of the covariance, in the order of `Summary.whole`.
    target
        As for `fit`.
    """
    random, fixed = _places(len(target.z_live), len(evidence.theta))
    psi = jnp.matmul(root_psi, root_psi.T) + SMALLEST**2 * jnp.eye(len(random), dtype=beta.dtype)
    eye = jnp.eye(len(beta), dtype=beta.dtype)
    inverse = solve_lower(cholesky(psi), eye[: len(random), : len(random)])
    precision = PRECISION * eye
    precision = precision.at[np.ix_(random, random)].set(jnp.matmul(inverse.T, inverse))
    mean = jnp.zeros_like(beta).at[np.concatenate([random, fixed])].set(beta)
    return se.refit(rows_of(target), evidence, mean, precision)


def summarise(evidence: se.Evidence, target: Target, *, binary: bool) -> Summary:
    """Arrange what the fits of the clusters say."""
    rows = rows_of(target)
    q, p = len(target.z_live), len(rows.x)
    width, f = max(q, 2), p - q
    # Beyond theta lie parameters that nothing is known about, to fill up blocks.
    spare = 2 * p + 2 + np.arange(width + f)
    random = np.stack([np.r_[first : first + q, spare[q:width]] for first in (0, p)])
    random = np.stack([*random, np.r_[2 * p : 2 * p + 2, spare[2:width]]])
    fixed = np.stack([np.r_[first + q : first + p] for first in (0, p)])
    fixed = np.stack([*fixed, spare[width:]])
    live, _ = se.weak_prior(rows, binary=binary)
    live = jnp.append(live, jnp.zeros(spare.shape, bool))
    products = _products(evidence, len(spare))

    def block(random: Array, fixed: Array) -> Sums:
        wanted = jnp.zeros(live.shape, bool).at[random].set(True).at[fixed].set(True)
        own = _without(products, jnp.append(~wanted, False))
        return _make_sums(own, random, fixed, live, evidence.fitted, target)

    blocks = jax.vmap(block)(jnp.asarray(random), jnp.asarray(fixed))
    return Summary(whole_sums(evidence, target, binary=binary), blocks, evidence.fitted)


def whole_sums(evidence: se.Evidence, target: Target, *, binary: bool) -> Sums:
    """Return what the clusters say about all parameters, in the order of `Summary.whole`."""
    random, fixed = map(jnp.asarray, _places(len(target.z_live), len(evidence.theta)))
    live, _ = se.weak_prior(rows_of(target), binary=binary)
    return _make_sums(_products(evidence, 0), random, fixed, live, evidence.fitted, target)


def _places(q: int, n: int) -> tuple[Int[np.ndarray, " Q"], Int[np.ndarray, " f"]]:
    """Return where theta has parameters with random effects, and fixed ones."""
    p = n // 2 - 1
    return np.r_[:q, p : p + q, 2 * p : n], np.r_[q:p, p + q : 2 * p]


def _products(evidence: se.Evidence, n_spare: int) -> Float[Array, "r r J"]:
    """Return approximations as cross products: the linear terms last, spare columns before."""
    n, J = evidence.theta.shape
    products = jnp.zeros((n + n_spare + 1, n + n_spare + 1, J), evidence.theta.dtype)
    products = products.at[:n, :n].set(evidence.information)
    return products.at[:n, -1].set(evidence.linear).at[-1, :n].set(evidence.linear)


def _without(products: Float[Array, "r r J"], others: Bool[Array, " r"]) -> Float[Array, "r r J"]:
    """Return what products are once some parameters are unknown in every cluster."""
    between = jnp.where((others[:, None] & ~others)[:, :, None], products, 0)
    inside = jnp.where((others[:, None] & others)[:, :, None], products, 0)
    diagonal = jnp.diagonal(inside).T
    # A little more than nothing is known of them, since their matrix may be singular.
    jitter = 1e4 * jnp.finfo(products.dtype).eps
    added = jnp.where(diagonal > 0, jitter * diagonal, 1)
    inside = inside + added[:, None] * jnp.eye(len(others), dtype=products.dtype)[:, :, None]
    half = eliminate(inside, between)[1]
    return products - contract(half, half)


def _make_sums(
    products: Float[Array, "r r J"],
    random: Int[Array, " q"],
    fixed: Int[Array, " f"],
    live: Bool[Array, " D"],
    fitted: Bool[Array, " J"],
    target: Target,
) -> Sums:
    """Return what products say about some parameters; their last column is the linear term."""
    wanted, q, f = jnp.concatenate([random, fixed]), len(random), len(fixed)
    order = jnp.append(wanted, len(live))
    products = products[order][:, order]
    tolerance = 64 * float(jnp.finfo(products.dtype).eps)
    root, solved = eliminate(products[:q, :q], products[:q, q:], tolerance)
    removed = jnp.einsum("qaj,qbj->ab", solved, solved)
    left = jnp.sum(products[q:, q:], axis=-1) - removed
    square = jnp.sum(jnp.diagonal(products), axis=0)[:-1]
    n, shown = fitted.astype(square.dtype), live[wanted]
    sums = put_together(
        root, solved[:, :f], solved[:, f], left, n, square, shown[:q], shown[q:], target
    )
    precision = jnp.full(live.shape, PRECISION, square.dtype)
    at_rho = 2 * (len(target.z_live) + len(target.f_live)) + 1
    precision = precision.at[at_rho].set(se.ATANH_RHO_DEVIATION**-2)
    return dataclasses.replace(sums, penalty=precision[wanted])


def as_parameters(
    beta: Float[Array, " D"],
    b: Float[Array, "Q J"],
    roots: Float[Array, "3 w w"],
    fitted: Bool[Array, " J"],
) -> Parameters:
    """Return parameters from theta, in the order of `Summary.whole`, and the factors of Psi."""
    Q = len(b)
    q = (Q - 2) // 2
    f = (len(beta) - Q) // 2
    log_sigma, atanh_rho = beta[2 * q : Q, None] + b[2 * q :]
    sigma, rho = jnp.exp(log_sigma), jnp.tanh(atanh_rho)
    y = jnp.concatenate([beta[:q], beta[Q : Q + f]])
    s = jnp.concatenate([beta[q : 2 * q], beta[Q + f :]])
    return Parameters(
        selection=latent.Regression(s, b[q : 2 * q], roots[1, :q, :q]),
        outcome=latent.Regression(y, b[:q], roots[0, :q, :q]),
        gamma=rho * sigma,
        xi=(sigma / jnp.cosh(atanh_rho)) ** 2,
        fitted=fitted,
    )


def draw_values(
    key: Key[Array, ""],
    state: Parameters,
    target: Target,
    known: Bool[Array, "K B"],
    *,
    full: bool,
) -> Float[Array, "K B"]:
    """Draw y in every row, given whether it was selected where that is known."""
    gamma, xi = to_rows(jnp.stack([state.gamma, state.xi]), target.layout)
    means = latent.predictor(state.selection, target), latent.predictor(state.outcome, target)
    return sm.draw_selected(key, means, gamma, xi, target, known, full=full)
