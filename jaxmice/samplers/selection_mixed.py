"""Two-level normal regression of a variable that is seen where it is selected.

    s_ij = x_ij' alpha + z_ij' a_j + d_ij,    d_ij ~ N(0, 1),      y_ij is observed where s_ij > 0
    y_ij = x_ij' beta  + z_ij' b_j + gamma_j d_ij + e_ij,          e_ij ~ N(0, xi_j)

The covariance gamma_j of the two residuals is one more random coefficient of the regression
of y, that of d. Effects are normal, ``a_j ~ N(0, Psi_S)``, ``(b_j, gamma_j - gamma) ~
N(0, Psi_O)``; the xi_j are as in `linear_mixed_by_cluster`.

One step draws s given all else, then the regression of s, then that of y. Values that were
not selected are integrated out of every draw (van Hasselt 2011, Journal of Econometrics
165, 221-232, section 3).
"""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxmice.estimators.selection import hazard
from jaxmice.linalg import cluster_products, cluster_sums, contract, eliminate, to_rows
from jaxmice.random import normal_tail, normals, once, uniforms
from jaxmice.samplers import latent, linear_mixed as lm, linear_mixed_by_cluster as lmc
from jaxmice.samplers.sums import Sums, put_together
from jaxmice.target import Selection, Target

GAMMA_DEVIATION = 1.0
"""Deviation of the normal prior of gamma, and scale of the half-t prior of its spread."""

LATENT, SELECTION = lm.COUNTERS // 8, lm.COUNTERS // 8 + 2
"""First counters, inside a step, of the draws of s and of the regression of s."""


class Data(eqx.Module):
    """What the steps read: the rows, and the products of the design in every cluster."""

    target: Target
    """``ry`` marks the selected rows."""

    selection: Selection
    """Which rows are not selected, and the columns of the two regressions."""

    products: Float[Array, "2 p p J"]
    """X'X over the hidden and over the selected rows, X = [Z, F]."""

    of_y: Float[Array, "r J"]
    """Products of y with X and with itself."""

    n: Float[Array, "2 J"]
    """Hidden and selected rows of every cluster."""


class Parameters(eqx.Module):
    """One draw, for one chain."""

    selection: latent.Regression
    """The regression of s: alpha, a and the factor of Psi_S."""

    outcome: lmc.Parameters
    """The regression of y on [Z, d, F]: beta and gamma, their effects, 1 / xi_j."""


class Priors(eqx.Module):
    """Priors of the two regressions, and of the residual variances."""

    selection: lm.Prior
    outcome: lm.Prior
    spread: lmc.SpreadPrior


def read(target: Target) -> Data:
    """Read the rows of a target once; its ``selection`` marks those not selected."""
    target = dataclasses.replace(target, y=jnp.where(target.ry, target.y, 0))
    assert target.selection is not None
    marks = jnp.stack([target.selection.hidden, target.ry])
    parts = _parts(target)

    def products(rows: Bool[Array, "K B"]) -> Float[Array, "p p J"]:
        return jnp.concatenate([design_products(target, part * rows) for part in parts], axis=1)

    return Data(
        target=target,
        selection=target.selection,
        products=jnp.stack([products(rows) for rows in marks]),
        of_y=y_products(target.y, target),
        n=cluster_sums(marks.astype(target.y.dtype), target.layout),
    )


def _parts(target: Target) -> list[Float[Array, "_ K B"]]:
    """Return the columns of X, those that all chains share apart from the others."""
    parts = (target.z_shared, target.z_chain, target.f_shared, target.f_chain)
    return [part for part in parts if part.shape[0]]


def design_products(target: Target, right: Float[Array, "c K B"]) -> Float[Array, "p c J"]:
    """Return the products of the columns of X with others in every cluster."""
    return jnp.concatenate(
        [cluster_products(part, right, target.layout) for part in _parts(target)]
    )


def selection_sums(data: Data, weight: Float[Array, " J"], s: Float[Array, "r J"]) -> Sums:
    """Return the sums of the regression of s on [Z, F].

    Parameters
    ----------
    data
        The rows.
    weight
        Precision of the selected rows of a cluster; that of hidden ones is 1.
    s
        Weighted products of the response with X and with itself.
    """
    target = data.target
    whole = _border(data.products[0] + weight * data.products[1], s)
    q = target.z_live.shape[0]
    live = data.selection.selects & jnp.concatenate([target.z_live, target.f_live])
    return _make_sums(whole, jnp.sum(data.n, axis=0), live[:q], live[q:], target)


def outcome_sums(data: Data, d: Float[Array, "r J"], y: Float[Array, "t J"]) -> Sums:
    """Return the sums of the regression of y on [Z, d, F].

    Products over the selected rows: of d with X and itself, of y with X, d and itself.
    """
    target = data.target
    whole = _border(_border(data.products[1], d), y)
    q, p = target.z_live.shape[0], len(d) - 1
    order = jnp.array([*range(q), p, *range(q, p), p + 1])
    live = data.selection.explains & jnp.concatenate([target.z_live, target.f_live])
    return _make_sums(
        whole[order][:, order], data.n[1], jnp.append(live[:q], True), live[q:], target
    )


def no_sums(data: Data) -> tuple[Sums, Sums]:
    """Return the sums of the regressions of s and y where both, and d, are zero."""
    none = jnp.zeros((data.products.shape[1] + 2, data.n.shape[1]), data.n.dtype)
    return selection_sums(data, none[0] + 1, none[1:]), outcome_sums(data, none[1:], none)


def _border(products: Float[Array, "p p J"], last: Float[Array, "r J"]) -> Float[Array, "r r J"]:
    """Add a column to a matrix of cross products, given its products with all and itself."""
    return jnp.concatenate([jnp.concatenate([products, last[:-1, None]], axis=1), last[None]])


def _make_sums(
    products: Float[Array, "r r J"],
    n: Float[Array, " J"],
    z_live: Bool[Array, " q"],
    f_live: Bool[Array, " f"],
    target: Target,
) -> Sums:
    """Return the sums of a regression of the last column on those that are live."""
    q, f = len(z_live), len(f_live)
    live = jnp.concatenate([z_live, f_live, jnp.ones((1,), bool)])
    products = jnp.where(live[:, None, None] & live[:, None], products, 0)
    tolerance = 64 * float(jnp.finfo(products.dtype).eps)
    root, solved = eliminate(products[:q, :q], products[:q, q:], tolerance)
    left = products[q:, q:] - contract(solved, solved)
    x_square = jnp.sum(jnp.diagonal(products), axis=0)[:-1]
    k_f, k = solved[:, :f], solved[:, f]
    return put_together(root, k_f, k, left, n, x_square, z_live, f_live, target)


def make_priors(data: Data) -> Priors:
    """Return the priors: those of a probit regression for s.

    Those of `linear_mixed_by_cluster` for y, with half-t deviations of scale 2.5, y having unit
    variance. gamma has a normal prior with deviation 1, its spread a half-t one.
    """
    selection = latent.make_prior(data.target)
    q = data.target.z_live.shape[0]
    flat = jnp.zeros_like(selection.beta_precision)
    assert selection.half_t is not None
    outcome = dataclasses.replace(
        selection,
        beta_precision=jnp.insert(flat, q, GAMMA_DEVIATION**-2),
        psi_scale=jnp.zeros((q + 1, q + 1), flat.dtype),
        half_t=jnp.insert(selection.half_t, q, GAMMA_DEVIATION),
    )
    return Priors(selection, outcome, lmc.weak_spread(flat.dtype))


def start(data: Data) -> Parameters:
    """Return no effects, and residual variances as the clusters show them."""
    of_s, _ = no_sums(data)
    of_d, of_y = jnp.zeros_like(data.of_y), jnp.insert(data.of_y, len(data.of_y) - 1, 0, axis=0)
    return Parameters(latent.start(of_s), lmc.start(outcome_sums(data, of_d, of_y)))


def run(
    key: Key[Array, ""],
    parameters: Parameters,
    data: Data,
    priors: Priors,
    n_steps: Int[Array, ""],
) -> Parameters:
    """Take some Gibbs steps.

    Parameters
    ----------
    key
        Key, consumed.
    parameters
        Where the chain stands.
    data, priors
        The rows, and the priors.
    n_steps
        Number of steps.
    """
    # Their shapes depend on which columns and clusters exist, not on the values.
    of_s, of_y = no_sums(data)
    own = lmc.gamma_shapes(of_y, priors.outcome)
    shapes = jnp.concatenate([own, lm.psi_shapes(of_s, priors.selection)])
    blank = jnp.zeros_like(data.target.y)

    def one(counter: Int[Array, ""], noise: lm.Noise, state: Parameters) -> Parameters:
        gammas = noise.gammas[len(own) :]
        other = lm.draw_noise(key, counter + SELECTION, gammas, of_s, n_steps)
        noise = dataclasses.replace(noise, gammas=noise.gammas[: len(own)])
        s = once(n_steps, lambda: draw_s(key, counter + LATENT, state, data.target), blank)
        return step(key, counter, (noise, other), s, state, data, priors)

    return lm.in_batches(key, shapes, of_y, one, parameters, n_steps)


def step(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    noise: tuple[lm.Noise, lm.Noise],
    s: Float[Array, "K B"],
    state: Parameters,
    data: Data,
    priors: Priors,
) -> Parameters:
    """Draw every parameter once, given the latent variable of selection.

    The rows are read for the products of X, s and y; all else is arithmetic with these.

    Parameters
    ----------
    key, counter
        Key and the first of the counters of this step.
    noise
        Standard draws for the regressions of y and of s.
    s
        The latent variable of selection.
    state, data, priors
        Where the chain stands, the rows, and the priors.
    """
    target = data.target
    y, p = target.y, data.products.shape[1]
    selected = jnp.where(target.ry, s, 0)
    rows = jnp.stack([selected, jnp.where(data.selection.hidden, s, 0)])
    cross = design_products(target, rows)
    # One by one: together they would be stored before they are summed.
    square, of_hidden, with_y = (
        cluster_sums(column[None], target.layout) for column in (*rows**2, selected * y)
    )
    of_hidden = jnp.concatenate([cross[:, 1], of_hidden])
    of_y = jnp.insert(data.of_y, p, with_y[0], axis=0)
    of_s = jnp.concatenate([cross[:, 0], square])
    products = _border(_border(data.products[1], of_s), of_y)

    # Given y, the mean of a selected s moves with the residual of y: regress the rest of s.
    slope, total = slope_on_y(state)
    one, weight = jnp.ones_like(slope), total * state.outcome.precision
    rest = jnp.concatenate([slope * outcome_coefficients(state), jnp.stack([one, -slope])])
    cross, square = _combine(products, rest)
    of_s = of_hidden + weight * jnp.concatenate([cross[:p], square])
    sums, scale = selection_sums(data, weight, of_s), jnp.ones((), y.dtype)
    selection = latent.regress(noise[1], scale, state.selection.root_psi, sums, priors.selection)

    own = coefficients(selection.beta, selection.b)
    cross, square = _combine(products, jnp.concatenate([-own, jnp.stack([one, 0 * one])]))
    of_d = jnp.concatenate([cross[:p], square])
    of_y = of_y.at[p].set(cross[-1])
    sums = outcome_sums(data, of_d, of_y)
    before, prior = state.outcome, priors.outcome
    outcome = lmc.step(key, counter, noise[0], before, sums, prior, priors.spread)
    return Parameters(selection, outcome)


def y_products(y: Float[Array, "K B"], target: Target) -> Float[Array, "r J"]:
    """Return the products of y, zero where it is not selected, with X and with itself."""
    square = cluster_sums(y[None] ** 2, target.layout)
    return jnp.concatenate([design_products(target, y[None])[:, 0], square])


def _combine(
    products: Float[Array, "r r J"], weights: Float[Array, "r J"]
) -> tuple[Float[Array, "r J"], Float[Array, "1 J"]]:
    """Return the products of a combination of columns with all of them and with itself."""
    cross = sum(column * weight for column, weight in zip(products, weights, strict=True))
    return cross, jnp.sum(weights * cross, axis=0, keepdims=True)


def draw_s(
    key: Key[Array, ""], counter: Int[Array, ""], state: Parameters, target: Target
) -> Float[Array, "K B"]:
    """Draw the latent variable of selection, given y where it is selected."""
    slope, total = slope_on_y(state)
    terms = to_rows(
        jnp.stack([slope, jnp.sqrt(1 / (state.outcome.precision * total))]), target.layout
    )
    mean = combine(target, coefficients(state.selection.beta, state.selection.b))
    pull = terms[0] * (target.y - combine(target, outcome_coefficients(state)))
    mean = mean + jnp.where(target.ry, pull, 0)
    deviation = jnp.where(target.ry, terms[1], 1)
    side = jnp.where(target.ry, 1, -1)
    return mean + side * deviation * draw_tail(key, counter, -side * mean / deviation)


def draw_tail(
    key: Key[Array, ""], counter: Int[Array, ""], lower: Float[Array, "K B"]
) -> Float[Array, "K B"]:
    """Draw standard normal variates above bounds."""
    return normal_tail(uniforms(key, counter, lower.shape, jnp.float32), lower)


def covariance(state: Parameters) -> Float[Array, " J"]:
    """Return gamma_j, the covariance of the residuals of s and y in every cluster."""
    q = state.selection.b.shape[0]
    return state.outcome.beta[q] + state.outcome.b[q]


def slope_on_y(state: Parameters) -> tuple[Float[Array, " J"], Float[Array, " J"]]:
    """Return the slope of d on the residual of y, and the variance of that."""
    gamma = covariance(state)
    total = 1 / state.outcome.precision + gamma**2
    return gamma / total, total


def coefficients(beta: Float[Array, " p"], b: Float[Array, "q J"]) -> Float[Array, "p J"]:
    """Return the coefficients of X in every cluster."""
    return beta[:, None] + jnp.pad(b, ((0, len(beta) - len(b)), (0, 0)))


def outcome_coefficients(state: Parameters) -> Float[Array, "p J"]:
    """Return the coefficients of X for y, without that of d."""
    q = state.selection.b.shape[0]
    beta = state.outcome.beta
    return coefficients(jnp.concatenate([beta[:q], beta[q + 1 :]]), state.outcome.b[:q])


def combine(target: Target, weights: Float[Array, "p J"]) -> Float[Array, "K B"]:
    """Return the columns of X times weights by cluster, summed: no product, so it fuses."""
    columns = [column for part in _parts(target) for column in part]
    spread = to_rows(weights, target.layout)
    return sum(map(jnp.multiply, columns, spread), jnp.zeros_like(target.y))


def draw_values(
    key: Key[Array, ""], state: Parameters, target: Target, known: Bool[Array, "K B"]
) -> Float[Array, "K B"]:
    """Draw y in every row, given whether it was selected where that is known."""
    of_s = coefficients(state.selection.beta, state.selection.b)
    means = combine(target, of_s), combine(target, outcome_coefficients(state))
    terms = jnp.stack([covariance(state), 1 / state.outcome.precision])
    gamma, xi = to_rows(terms, target.layout)
    return draw_selected(key, means, gamma, xi, target, known)


def draw_selected(
    key: Key[Array, ""],
    means: tuple[Float[Array, "K B"], Float[Array, "K B"]],
    gamma: Float[Array, "K 1"],
    xi: Float[Array, "K 1"],
    target: Target,
    known: Bool[Array, "K B"],
    *,
    full: bool = False,
) -> Float[Array, "K B"]:
    """Draw y given its mean and that of s, and whether it was selected where that is known.

    What is not selected follows an extended skew-normal distribution: d is normal, cut off
    where s would be positive (Arnold and Beaver 2002, Test 11, 7-54, section 3).

    Parameters
    ----------
    key
        Key, consumed.
    means
        Means of s and of y.
    gamma, xi
        Covariance of the residuals, and variance of that of y given that of s.
    target
        Whose ``ry`` marks selected rows.
    known
        Rows where ``ry`` says whether s is positive.
    full
        Put the expectation of d in its place, and the whole variance of y around it: wrong.
    """
    zero, shape, dtype = jnp.zeros((), int), target.y.shape, target.y.dtype
    side = jnp.where(target.ry, 1, -1)
    bound = jnp.where(known, -side * means[0], -jnp.inf)
    noise = normals(key, zero + 1, shape, dtype)
    if full:
        return means[1] + gamma * side * hazard(bound) + jnp.sqrt(xi + gamma**2) * noise
    d = side * draw_tail(key, zero, bound)
    return means[1] + gamma * d + jnp.sqrt(xi) * noise
