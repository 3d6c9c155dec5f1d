"""Two-level probit regression of a variable that is seen where it is selected.

    s_ij = x_ij' alpha + z_ij' a_j + d_ij,    y_ij is observed where s_ij > 0,
    y_ij = 1 where x_ij' beta + z_ij' b_j + e_ij > 0, otherwise 0,

d and e standard normal with correlation rho_j. Effects are normal, ``(b_j, a_j, atanh rho_j -
their mean) ~ N(0, Psi)``. Those of s and y are correlated: where clusters with few values tend
to have low ones, independent effects would take that for a correlation of the residuals.

Latent variables would tie a chain to its correlations. They are integrated out: a row counts
with its bivariate probability. The log-likelihood of a cluster is close to a parabola, and were
it one, effects and their means would be normal given the rest. A step goes some way round an
ellipse, from where it stands towards a draw from that normal distribution, and is accepted by
Metropolis' rule for what the likelihood differs from the parabola (Neal 1999, Bayesian
Statistics 6, 475-501; Murray, Adams and MacKay 2010, AISTATS 9, 541-548, section 1). All
clusters propose and decide at once, each for itself; then all together move their means and, by
a factor each, the deviations of their effects, which given the effects would hardly move where
clusters say little of them (Liu and Sabatti 2000, Biometrika 87, 353-369, section 2).
"""

from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxmice.estimators import selection as se
from jaxmice.linalg import (
    cluster_sums,
    contract,
    draw_normal,
    eliminate,
    solve_lower,
    solve_lower_pseudo,
    solve_lower_transposed,
    to_rows,
)
from jaxmice.random import normals, uniforms, upper_tail
from jaxmice.samplers import (
    latent,
    linear_mixed as lm,
    selection_mixed as sm,
    selection_two_stage as st,
)
from jaxmice.samplers.sums import Sums
from jaxmice.target import Target

MEAN_DEVIATION, SPREAD_SCALE = 1.0, 0.5
"""Deviation of the normal prior of the mean of atanh rho, which makes a typical correlation all
but uniform; scale of the half-t prior of its spread over clusters."""

RECENTRE = lm.COUNTERS // 8
"""First counter, inside a step, of draws besides those that `linear_mixed` makes."""


class Data(eqx.Module):
    """What the steps read."""

    target: Target
    """Its ``selection`` marks rows that are not selected."""

    parabolas: Sums
    """Approximate log-likelihoods, as sums of unit variance; see `selection_two_stage.Summary`."""


class Parameters(eqx.Module):
    """One draw, for one chain. Parameters are in the order of `selection_two_stage.Summary`."""

    beta: Float[Array, " D"]
    """Means over clusters, and fixed coefficients."""

    b: Float[Array, "Q J"]
    """Effects of every cluster, those without an observed row included."""

    root_psi: Float[Array, "Q Q"]
    """Lower factor of their covariance Psi."""


def read(target: Target) -> Data:
    """Approximate the likelihood of every cluster."""
    target = replace(target, y=jnp.where(target.ry, target.y, 0))
    sums = st.whole_sums(se.approximate(st.rows_of(target)), target, binary=True)
    return Data(target, replace(sums, penalty=jnp.zeros_like(sums.penalty)))


def make_priors(data: Data) -> lm.Prior:
    """Return the prior: that of a probit regression for both equations.

    The mean of atanh rho is normal with deviation 1, its spread half-t of scale 0.5.
    """
    prior, q = latent.make_prior(data.target), len(data.target.z_live)
    own, half_t = prior.beta_precision, prior.half_t
    assert half_t is not None
    rho, spread = jnp.full((2,), MEAN_DEVIATION**-2), jnp.full((2,), SPREAD_SCALE)
    return replace(
        prior,
        beta_precision=jnp.concatenate([own[:q], own[:q], rho, own[q:], own[q:]]).astype(own.dtype),
        psi_scale=jnp.zeros((2 * q + 2, 2 * q + 2), own.dtype),
        half_t=jnp.concatenate([half_t, half_t, spread]).astype(own.dtype),
    )


def start(data: Data) -> Parameters:
    """Return what the parabolas say of means, and of effects of some size."""
    sums, prior = data.parabolas, latent.make_prior(data.target)
    root = 0.5 * jnp.eye(len(sums.k), dtype=sums.k.dtype)
    one, zero = jnp.ones((), root.dtype), jnp.zeros_like(sums.x_square)
    beta = lm.draw_beta(zero, root, one, sums, replace(prior, beta_precision=zero + 1))
    return Parameters(beta, lm.draw_b(jnp.zeros_like(sums.k), beta, root, one, sums)[1], root)


def run(
    key: Key[Array, ""],
    parameters: Parameters,
    data: Data,
    prior: lm.Prior,
    n_steps: Int[Array, ""],
) -> Parameters:
    """Take some steps; arguments as for `selection_mixed.run`."""
    sums = data.parabolas

    def one(
        counter: Int[Array, ""], noise: lm.Noise, state: tuple[Parameters, Float[Array, " J"]]
    ) -> tuple[Parameters, Float[Array, " J"]]:
        return step(key, counter, noise, *state, data, prior)

    state = parameters, log_likelihood(parameters.beta, parameters.b, data.target)
    return lm.in_batches(key, lm.psi_shapes(sums, prior), sums, one, state, n_steps)[0]


def step(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    noise: lm.Noise,
    before: Parameters,
    value: Float[Array, " J"],
    data: Data,
    prior: lm.Prior,
) -> tuple[Parameters, Float[Array, " J"]]:
    """Move effects, means and covariances once; return them with the log-likelihoods.

    Parameters
    ----------
    key, counter
        Key and the first of the counters of this step.
    noise
        Standard draws.
    before, value
        Where the chain stands, and the log-likelihood of every cluster there.
    data, prior
        The rows and the prior.
    """
    J, Q = len(value), len(before.b)
    # The means first, then the clusters: empty clusters that fill up the shape move no number.
    u = uniforms(key, counter + RECENTRE, (J + 1, 2), value.dtype)
    angle, bar = jnp.pi / 2 * u[:, 0], jnp.log(u[:, 1])
    b, value = move_effects(noise.b, angle[1:], bar[1:], before, value, data)
    z = normals(key, counter + RECENTRE + 1, (len(noise.beta) + Q,), value.dtype)
    now = Parameters(before.beta, b, before.root_psi)
    z_all = jnp.concatenate([noise.beta, z[:Q]])
    now, value = move_together(z_all, angle[0], bar[0], now, value, data, prior)
    sums = data.parabolas
    beta, b = recentre(z[Q:], now.beta, now.b, now.root_psi, sums, prior)
    root = lm.draw_root_psi(noise.gammas, noise.psi, b, now.root_psi, sums, prior)
    return Parameters(beta, b, root), value


def move_effects(
    z: Float[Array, "Q J"],
    angle: Float[Array, " J"],
    bar: Float[Array, " J"],
    before: Parameters,
    value: Float[Array, " J"],
    data: Data,
) -> tuple[Float[Array, "Q J"], Float[Array, " J"]]:
    """Move the effects of every cluster given their means, where their likelihood agrees.

    ``bar`` is the logarithm of a uniform variate; arguments else as for `step`.
    """
    sums, beta, root = data.parabolas, before.beta, before.root_psi
    # In whitened coordinates, b = L eta.
    V, precision, shift = lm.effect_equations(beta, root, jnp.ones((), z.dtype), sums)
    lower, half = eliminate(precision, shift[:, None])
    mean, width = jnp.swapaxes(
        solve_lower_transposed(lower, jnp.concatenate([half, z[:, None]], axis=1)), 0, 1
    )
    eta = solve_lower(root, before.b)
    trial = _round(angle, eta, mean, width)
    exists = sums.z_live[:, None] & sums.cluster_live
    b = jnp.where(exists, jnp.matmul(root, trial), 0)
    new = log_likelihood(beta, b, data.target)

    def parabola(eta: Float[Array, "Q J"]) -> Float[Array, " J"]:
        image = contract(jnp.swapaxes(V, 0, 1), eta[:, None])[:, 0]
        return jnp.sum(eta * shift - image**2 / 2, axis=0)

    moves = bar < new - value - (parabola(trial) - parabola(eta))
    return jnp.where(moves, b, before.b), jnp.where(moves, new, value)


def move_together(
    z: Float[Array, " D+Q"],
    angle: Float[Array, ""],
    bar: Float[Array, ""],
    before: Parameters,
    value: Float[Array, " J"],
    data: Data,
    prior: lm.Prior,
) -> tuple[Parameters, Float[Array, " J"]]:
    """Move means and fixed coefficients, and stretch the effects of all clusters alike.

    Stretched effects are as likely as before under a Psi that is stretched with them, so only
    the prior of Psi counts: of the factor s of a deviation it leaves the density
    ``(1 + s^2 / tails)^(-weight / 2)``, close to a normal one about zero. The parabolas are
    parabolas of means and factors together.
    """
    sums, beta, b, root = data.parabolas, before.beta, before.b, before.root_psi
    D, Q = len(beta), len(b)
    assert prior.half_t is not None
    inverse = solve_lower_pseudo(root, jnp.eye(Q, dtype=b.dtype))
    tails = lm.HALF_T_DF * jnp.sum(inverse**2, axis=0) * prior.half_t**2
    weight = lm.HALF_T_DF + jnp.sum(sums.z_live)
    stretches = sums.z_live & (tails > 0)
    tails = jnp.where(stretches, tails, weight)

    along = jnp.where(stretches[:, None], jnp.swapaxes(sums.root, 0, 1) * b, 0)
    design = jnp.concatenate([sums.K, along], axis=1)
    information = jnp.einsum("kaj,kbj->ab", design, design)
    information = information.at[Q:D, Q:D].add(sums.S)
    shift = jnp.einsum("kaj,kj->a", design, sums.k).at[Q:D].add(sums.s)
    held = jnp.where(sums.x_live, prior.beta_precision, 1)
    precision = information + jnp.diag(jnp.concatenate([held, weight / tails]))
    lower, half = eliminate(precision, shift[:, None])
    both = jnp.concatenate([half, z[:, None]], axis=1)
    mean, width = solve_lower_transposed(lower, both).T

    at = jnp.concatenate([beta, jnp.ones_like(tails)])
    moves = jnp.concatenate([sums.x_live, stretches])
    trial = jnp.where(moves, _round(angle, at, mean, width), at)
    factor = trial[D:]
    new = log_likelihood(trial[:D], factor[:, None] * b, data.target)

    def known(theta: Float[Array, " D+Q"]) -> Float[Array, ""]:
        """Return the log density of what is proposed, over that of the prior."""
        ratio = theta[D:] ** 2 / tails
        tail = weight / 2 * jnp.sum(jnp.log1p(ratio) - ratio)
        return jnp.sum(theta * (shift - jnp.matmul(information, theta) / 2)) + tail

    accepted = bar < jnp.sum(new - value) - (known(trial) - known(at))
    scaled = factor[:, None] * root * jnp.where(factor < 0, -1, 1)
    after = Parameters(trial[:D], factor[:, None] * b, scaled)
    keep = partial(jnp.where, accepted)
    return jax.tree.map(keep, after, before), jnp.where(accepted, new, value)


def recentre(
    z: Float[Array, " D"],
    beta: Float[Array, " D"],
    b: Float[Array, "Q J"],
    root_psi: Float[Array, "Q Q"],
    sums: Sums,
    prior: lm.Prior,
) -> tuple[Float[Array, " D"], Float[Array, "Q J"]]:
    """Draw the means given what coefficients the clusters have, which stay as they are."""
    Q = len(b)
    exists = sums.z_live[:, None] & sums.cluster_live
    own = jnp.where(exists, beta[:Q, None] + b, 0)
    inverse = solve_lower(root_psi, jnp.eye(Q, dtype=b.dtype))
    psi_inverse = jnp.matmul(inverse.T, inverse)
    held = jnp.where(sums.z_live, prior.beta_precision[:Q], 1)
    precision = jnp.sum(sums.cluster_live) * psi_inverse + jnp.diag(held)
    shift = jnp.matmul(psi_inverse, jnp.sum(own, axis=1))
    mean = jnp.where(sums.z_live, draw_normal(z[:Q], precision, shift, held), 0)
    return beta.at[:Q].set(mean), jnp.where(exists, own - mean[:, None], 0)


def _round(
    angle: Float[Array, "*J"],
    at: Float[Array, "k *J"],
    mean: Float[Array, "k *J"],
    width: Float[Array, "k *J"],
) -> Float[Array, "k *J"]:
    """Go round an ellipse about the mean, from a point towards one that is ``width`` away.

    A normal distribution with this mean, of which ``width`` is a draw less its mean, keeps
    pairs of points as likely in one direction as in the other.
    """
    return mean + jnp.cos(angle) * (at - mean) + jnp.sin(angle) * width


def log_likelihood(
    beta: Float[Array, " D"], b: Float[Array, "Q J"], target: Target
) -> Float[Array, " J"]:
    """Return the log-likelihood of every cluster.

    Single precision is enough for the probability of a row. One that all but contradicts the
    correlation counts with some rounding errors of what it would be without.
    """
    assert target.selection is not None
    parts = correlation_and_means(beta, b, target)
    atanh_rho, a, m = (part.astype(jnp.float32) for part in parts)
    limits, side = jnp.finfo(jnp.float32), jnp.where(target.y > 0.5, 1, -1)
    # Of the two sides of a, a row needs one.
    alone = upper_tail(jnp.where(target.ry, -a, a))
    apart = alone * upper_tail(-side * m)
    both = jnp.maximum(apart + side * se.excess(a, m, atanh_rho), 64 * limits.eps * apart)
    p = jnp.maximum(jnp.where(target.ry, both, alone), limits.tiny)
    live = (target.ry | target.selection.hidden) & target.layout.row_live
    row = jnp.where(live, jnp.log(p), 0).astype(target.y.dtype)
    return cluster_sums(row[None], target.layout)[0]


def correlation_and_means(
    beta: Float[Array, " D"], b: Float[Array, "Q J"], target: Target
) -> tuple[Float[Array, "K 1"], Float[Array, "K B"], Float[Array, "K B"]]:
    """Return atanh rho of every block, and the linear predictors of s and y."""
    Q, q = len(b), len(target.z_live)
    f = len(target.f_live)
    own = beta[:Q, None] + b
    fixed = jnp.broadcast_to(beta[Q:, None], (2 * f, b.shape[1]))
    of_y = jnp.concatenate([own[:q], fixed[:f]])
    of_s = jnp.concatenate([own[q : 2 * q], fixed[f:]])
    atanh_rho = to_rows(own[-1:], target.layout)[0]
    return atanh_rho, sm.combine(target, of_s), sm.combine(target, of_y)


def draw_values(
    key: Key[Array, ""], state: Parameters, target: Target, known: Bool[Array, "K B"]
) -> Float[Array, "K B"]:
    """Draw what is 1 above 0 in every row, given whether it was selected where that is known."""
    atanh_rho, *means = correlation_and_means(state.beta, state.b, target)
    rho = jnp.tanh(atanh_rho)
    return sm.draw_selected(key, (means[0], means[1]), rho, 1 - rho**2, target, known)
