"""Two-level normal or probit regression of a variable that is seen where it is selected.

    s_ij = x_ij' alpha + z_ij' a_j + d_ij,    d_ij ~ N(0, 1),      y_ij is observed where s_ij > 0
    y_ij = x_ij' beta  + z_ij' b_j + gamma_j d_ij + e_ij,          e_ij ~ N(0, xi_j)

The covariance gamma_j of the two residuals is one more random coefficient of the regression
of y, that of d. Effects are normal, ``a_j ~ N(0, Psi_S)``, ``(b_j, gamma_j - gamma) ~
N(0, Psi_O)``; the xi_j are as in `linear_mixed_by_cluster`. A binary variable is 1 where y is
above 0, and all xi_j are 1.

One step draws s given all else, then the regression of s, then that of y. Values that were
not selected are integrated out of every draw (van Hasselt 2011, Journal of Econometrics
165, 221-232, section 3).
"""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxmice.linalg import cluster_products, cluster_sums, eliminate, to_blocks, to_rows
from jaxmice.random import normal_tail, normals, once, uniforms
from jaxmice.samplers import latent, linear_mixed as lm, linear_mixed_by_cluster as lmc
from jaxmice.samplers.sums import Sums, put_together
from jaxmice.target import Selection, Target

GAMMA_DEVIATION = 1.0
"""Deviation of the normal prior of gamma, and scale of the half-t prior of its spread."""

LATENT, SELECTION = lm.COUNTERS // 8, lm.COUNTERS // 8 + 2
"""First counters, inside a step, of the draws of s and y and of the regression of s."""


class Data(eqx.Module):
    """What the steps read: the rows, and the products of the design in every cluster."""

    target: Target
    """``ry`` marks the selected rows; ``y`` is 0 or 1 if binary."""

    selection: Selection
    """Which rows are not selected, and the columns of the two regressions."""

    products: Float[Array, "2 p p J"]
    """X'X over the hidden and over the selected rows, X = [Z, F]."""

    n: Float[Array, "2 J"]
    """Hidden and selected rows of every cluster."""


class Parameters(eqx.Module):
    """One draw, for one chain."""

    selection: latent.Regression
    """The regression of s: alpha, a and the factor of Psi_S."""

    outcome: lmc.Parameters
    """The regression of y on [Z, d, F]: beta and gamma, their effects, 1 / xi_j."""

    y: Float[Array, "K B"] | None
    """The latent variable of a binary one where it is selected, else zero."""


class Priors(eqx.Module):
    """Priors of the two regressions, and of the residual variances."""

    selection: lm.Prior
    outcome: lm.Prior
    spread: lmc.SpreadPrior | None
    """None for a binary variable."""


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


def selection_sums(data: Data, weight: Float[Array, " J"], s: Float[Array, "K B"]) -> Sums:
    """Return the sums of the regression of s on [Z, F].

    Parameters
    ----------
    data
        The rows.
    weight
        Precision of the selected rows of a cluster; that of hidden ones is 1.
    s
        The response, zero in rows that are not fitted.
    """
    target = data.target
    weighted = jnp.where(target.ry, to_rows(weight[None], target.layout)[0], 1) * s
    square = cluster_products(s[None], weighted[None], target.layout)[0, 0]
    whole = data.products[0] + weight * data.products[1]
    whole = _border(whole, design_products(target, weighted[None])[:, 0], square)
    q = target.z_live.shape[0]
    live = data.selection.selects & jnp.concatenate([target.z_live, target.f_live])
    return _make_sums(whole, jnp.sum(data.n, axis=0), live[:q], live[q:], target)


def outcome_sums(data: Data, d: Float[Array, "K B"], y: Float[Array, "K B"]) -> Sums:
    """Return the sums of the regression of y on [Z, d, F]; both are zero where not selected."""
    target = data.target
    both = jnp.stack([d, y])
    cross = design_products(target, both)
    inner = cluster_products(both, both, target.layout)
    whole = _border(data.products[1], cross[:, 0], inner[0, 0])
    whole = _border(whole, jnp.concatenate([cross[:, 1], inner[:1, 1]]), inner[1, 1])
    q, p = target.z_live.shape[0], len(cross)
    order = jnp.array([*range(q), p, *range(q, p), p + 1])
    live = data.selection.explains & jnp.concatenate([target.z_live, target.f_live])
    return _make_sums(
        whole[order][:, order], data.n[1], jnp.append(live[:q], True), live[q:], target
    )


def _border(
    products: Float[Array, "p p J"], cross: Float[Array, "p J"], square: Float[Array, " J"]
) -> Float[Array, "r r J"]:
    """Add a column to a matrix of cross products."""
    last = jnp.concatenate([cross, square[None]])
    return jnp.concatenate([jnp.concatenate([products, cross[:, None]], axis=1), last[None]])


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
    removed = sum((row[:, None] * row[None] for row in solved), jnp.zeros_like(products[q:, q:]))
    left = products[q:, q:] - removed
    x_square = jnp.sum(jnp.diagonal(products), axis=0)[:-1]
    k_f, k = solved[:, :f], solved[:, f]
    return put_together(root, k_f, k, left, n, x_square, z_live, f_live, target)


def make_priors(data: Data, *, binary: bool) -> Priors:
    """Return the priors: those of a probit regression for s and for a latent y.

    Otherwise those of `linear_mixed_by_cluster` with half-t deviations of scale 2.5, for y of
    unit variance. gamma has a normal prior with deviation 1, its spread a half-t one.
    """
    selection = latent.make_prior(data.target)
    q = data.target.z_live.shape[0]

    def with_gamma(values: Float[Array, " _"], gamma: float) -> Float[Array, " _"]:
        return jnp.insert(values, q, gamma)

    flat = jnp.zeros_like(selection.beta_precision)
    precision = selection.beta_precision if binary else flat
    assert selection.half_t is not None
    outcome = dataclasses.replace(
        selection,
        beta_precision=with_gamma(precision, GAMMA_DEVIATION**-2),
        psi_scale=jnp.zeros((q + 1, q + 1), flat.dtype),
        half_t=with_gamma(selection.half_t, GAMMA_DEVIATION),
    )
    spread = None if binary else lmc.weak_spread(flat.dtype)
    return Priors(selection, outcome, spread)


def start(data: Data, *, binary: bool) -> Parameters:
    """Return no effects, and residual variances as the clusters show them."""
    target = data.target
    none, y = jnp.zeros_like(target.y), target.y
    of_s, of_y = selection_sums(data, jnp.ones_like(data.n[0]), none), outcome_sums(data, none, y)
    outcome = lmc.start(of_y)
    if not binary:
        return Parameters(latent.start(of_s), outcome, None)
    outcome = dataclasses.replace(outcome, precision=jnp.ones_like(outcome.precision))
    return Parameters(latent.start(of_s), outcome, jnp.where(target.ry, 2 * y - 1, 0))


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
    none = jnp.zeros_like(data.target.y)
    of_s, of_y = (
        selection_sums(data, jnp.ones_like(data.n[0]), none),
        outcome_sums(data, none, none),
    )
    # Their shapes depend on which columns and clusters exist, not on the values.
    own = lmc.gamma_shapes(of_y, priors.outcome)
    shapes = jnp.concatenate([own, lm.psi_shapes(of_s, priors.selection)])

    def one(counter: Int[Array, ""], noise: lm.Noise, state: Parameters) -> Parameters:
        gammas = noise.gammas[len(own) :]
        other = lm.draw_noise(key, counter + SELECTION, gammas, of_s, n_steps)
        noise = dataclasses.replace(noise, gammas=noise.gammas[: len(own)])
        u = once(
            n_steps,
            lambda: uniforms(key, counter + LATENT, none.shape, none.dtype),
            none,
        )
        return step(key, counter, (noise, other), u, state, data, priors)

    return lm.in_batches(key, shapes, of_y, one, parameters, n_steps)


def step(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    noise: tuple[lm.Noise, lm.Noise],
    u: Float[Array, "K B"],
    state: Parameters,
    data: Data,
    priors: Priors,
) -> Parameters:
    """Draw every parameter once.

    Parameters
    ----------
    key, counter
        Key and the first of the counters of this step.
    noise
        Standard draws for the regressions of y and of s.
    u
        Uniforms for s.
    state, data, priors
        Where the chain stands, the rows, and the priors.
    """
    target, layout = data.target, data.target.layout
    y = target.y if state.y is None else state.y
    gamma, xi = covariance(state), 1 / state.outcome.precision
    total = xi + gamma**2
    by_row = to_rows(jnp.stack([gamma, xi, total]), layout)
    # Given y, the mean of a selected s moves with the residual of y.
    slope = jnp.where(target.ry, by_row[0] / by_row[2], 0)
    pull = slope * jnp.where(target.ry, y - outcome_predictor(state, target), 0)
    deviation = jnp.where(target.ry, jnp.sqrt(by_row[1] / by_row[2]), 1)
    side = jnp.where(target.ry, 1, -1)
    mean = latent.predictor(state.selection, target) + pull
    s = mean + side * deviation * normal_tail(u, -side * mean / deviation)
    if state.y is not None:
        y = draw_y(key, counter + LATENT + 1, s, state, target)
        pull = slope * jnp.where(target.ry, y - outcome_predictor(state, target), 0)

    fitted = target.ry | data.selection.hidden
    sums = selection_sums(data, total / xi, jnp.where(fitted, s - pull, 0))
    one = jnp.ones((), y.dtype)
    selection = latent.regress(noise[1], one, state.selection.root_psi, sums, priors.selection)

    d = jnp.where(target.ry, s - latent.predictor(selection, target), 0)
    sums = outcome_sums(data, d, y)
    before = state.outcome
    if priors.spread is not None:
        outcome = lmc.step(key, counter, noise[0], before, sums, priors.outcome, priors.spread)
        return Parameters(selection, outcome, None)
    own = dataclasses.replace(noise[0], gammas=noise[0].gammas[:-1])
    drawn = latent.regress(own, one, before.root_psi, sums, priors.outcome)
    outcome = dataclasses.replace(before, beta=drawn.beta, b=drawn.b, root_psi=drawn.root_psi)
    return Parameters(selection, outcome, y)


def draw_y(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    s: Float[Array, "K B"],
    state: Parameters,
    target: Target,
) -> Float[Array, "K B"]:
    """Draw the latent variable of a binary one where it is selected, given s."""
    u = uniforms(key, counter, s.shape, s.dtype)
    side = jnp.where(target.y > 0.5, 1, -1)
    gamma = to_rows(covariance(state)[None], target.layout)[0]
    d = s - latent.predictor(state.selection, target)
    mean = side * (outcome_predictor(state, target) + gamma * d)
    return jnp.where(target.ry, side * (mean + normal_tail(u, -mean)), 0)


def covariance(state: Parameters) -> Float[Array, " J"]:
    """Return gamma_j, the covariance of the residuals of s and y in every cluster."""
    q = state.selection.b.shape[0]
    return state.outcome.beta[q] + state.outcome.b[q]


def outcome_predictor(state: Parameters, target: Target) -> Float[Array, "K B"]:
    """Return the linear predictor of y in every row, without the part of d."""
    q = target.z_live.shape[0]
    beta = state.outcome.beta
    effects = to_blocks(state.outcome.b[:q] + beta[:q, None], target.layout)
    return target.linear_predictor(effects, beta[q + 1 :])


def draw_values(
    key: Key[Array, ""], state: Parameters, target: Target, known: Bool[Array, "K B"]
) -> Float[Array, "K B"]:
    """Draw y in every row, given whether it was selected where that is known.

    What is not selected follows an extended skew-normal distribution: d is normal, cut off
    where s would be positive (Arnold and Beaver 2002, Test 11, 7-54, section 3).
    """
    zero, shape, dtype = jnp.zeros((), int), target.y.shape, target.y.dtype
    side = jnp.where(target.ry, 1, -1)
    mean = latent.predictor(state.selection, target)
    bound = jnp.where(known, -side * mean, -jnp.inf)
    d = side * normal_tail(uniforms(key, zero, shape, dtype), bound)
    terms = jnp.stack([covariance(state), 1 / jnp.sqrt(state.outcome.precision)])
    gamma, deviation = to_rows(terms, target.layout)
    noise = normals(key, zero + 1, shape, dtype)
    return outcome_predictor(state, target) + gamma * d + deviation * noise
