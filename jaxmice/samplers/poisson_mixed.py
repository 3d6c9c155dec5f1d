"""Two-level regression of counts: Poisson, or negative binomial.

    y_ij ~ Poisson(mu_ij e_ij),    log mu_ij = x_ij' beta + z_ij' b_j,    b_j ~ N(0, Psi)

with ``e_ij = 1``, or ``e_ij ~ Gamma(size, size)`` integrated out: a negative binomial.

One step moves beta, then the effects of all clusters at once, by Metropolis steps whose
proposal is a Newton step plus normal noise (Roberts and Tweedie 1996, Bernoulli 2,
341-363, the Langevin proposal with truncated drift), and draws Psi from its conditional.
The curvature of a proposal comes from the data alone: every count is an unbiased estimate
of its own mean, so the counts weigh the rows of a linear mixed model whose sums are made
once per visit. A step then takes two passes over the rows, for gradients only.

A move of beta takes the effects with it, by the regression of b on beta in that linear
mixed model (Papaspiliopoulos, Roberts and Skold 2007, Statistical Science 22, 59-73,
partial noncentring): so beta forgets its past at once, whether clusters are informative
or not.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr
from jaxtyping import Array, Bool, Float, Int, Key

from jaxmice.linalg import (
    cholesky,
    cluster_products,
    cluster_sums,
    contract,
    solve_lower,
    solve_lower_transposed,
    to_blocks,
    to_rows,
)
from jaxmice.random import slice_step, uniforms
from jaxmice.samplers import linear_mixed as lm
from jaxmice.samplers.linear_mixed_by_cluster import stirling_remainder
from jaxmice.samplers.sums import Sums, inside_clusters, make_sums
from jaxmice.target import Target

LOG_SIZE_MEAN, LOG_SIZE_SD = 1.0, 2.0
"""Prior of the logarithm of the size of a negative binomial: normal."""

LOG_SIZE = (-7.0, 11.0)
"""Its bounds; variances between a thousand and a hundred-thousandth of the mean squared."""

MAX_LOG_MEAN = 40.0
"""A logarithm of a mean above this counts as this."""

N_SETTLE = 4
"""Newton steps towards the mode at the start of a chain."""


class Counts(eqx.Module):
    """Rows of a visit, and the linear mixed model that shapes the proposals."""

    target: Target

    y: Float[Array, "K B"]
    """Counts; zero in rows that are not fitted."""

    log_y: Float[Array, "K B"]
    """Logarithm of the counts, zero for zeros."""

    typical: Float[Array, " J"]
    """Mean count of every cluster, shrunk towards that of all rows by the weight of one."""

    sums: Sums
    """Sums of the design with the counts as weights; for the negative binomial by cluster."""


class Parameters(eqx.Module):
    """One draw of the parameters, for one chain."""

    beta: Float[Array, " p"]
    """Fixed effects of X = [Z, F]."""

    b: Float[Array, "q J"]
    """Random effects of every cluster, those without an observed row included."""

    root_psi: Float[Array, "q q"]
    """Lower Cholesky factor of Psi."""

    log_size: Float[Array, ""] | None
    """Logarithm of the size of the negative binomial; None for Poisson."""

    settled: Bool[Array, ""]
    """Whether the chain has begun."""


class Fit(eqx.Module):
    """Likelihood of the fitted rows at one place, by cluster."""

    value: Float[Array, " J"]
    """Log-likelihood, up to what the counts and the size decide."""

    score: Float[Array, "p J"]
    """Its gradient in the effects of all columns of X."""


class Geometry(eqx.Module):
    """Shape of the proposals given Psi and the size; effects are white, b = L eta."""

    half: Float[Array, "q q J"]
    """Lower factors of the precision of eta given beta."""

    along: Float[Array, "q p J"]
    """Change of the mean of eta with beta."""

    half_beta: Float[Array, "p p"]
    """Lower factor of the precision of beta, the effects integrated out."""


def read(target: Target, *, overdispersed: bool) -> Counts:
    """Return what the steps of a visit need."""
    dtype, layout = target.y.dtype, target.layout
    live = target.ry.astype(dtype)
    y = jnp.round(target.y) * live
    n, total = cluster_sums(jnp.stack([live, y]), layout)
    mean = jnp.sum(total) / jnp.maximum(jnp.sum(n), 1)
    # Half a count for every cluster: one of zeros only is not without information.
    extra = to_rows((0.5 / jnp.maximum(n, 1))[None], layout)[0]
    return Counts(
        target=target,
        y=y,
        log_y=jnp.log(jnp.maximum(y, 1)),
        typical=(total + mean) / (n + 1),
        sums=_weighted_sums(target, y + extra, jnp.zeros_like(y), by_cluster=overdispersed),
    )


def _weighted_sums(
    target: Target, weight: Float[Array, "K B"], y: Float[Array, "K B"], *, by_cluster: bool
) -> Sums:
    """Return the sums of a linear mixed model with a precision for every row."""
    target, root = inside_clusters(target), jnp.sqrt(weight)
    no = jnp.zeros((), bool)
    # A weighted intercept is not constant any more.
    scaled = dataclasses.replace(
        target,
        y=y * root,
        z_shared=target.z_shared * root,
        z_chain=target.z_chain * root,
        f_shared=target.f_shared * root,
        f_chain=target.f_chain * root,
        z_intercept=no,
        f_intercept=no,
    )
    return make_sums(scaled, by_cluster=by_cluster)


def start(counts: Counts, *, overdispersed: bool) -> Parameters:
    """Return a start, from which the first step goes to the neighbourhood of the mode."""
    sums = counts.sums
    q, dtype = sums.z_live.shape[0], sums.k.dtype
    return Parameters(
        beta=jnp.zeros(sums.x_live.shape, dtype),
        b=jnp.zeros_like(sums.k),
        root_psi=jnp.diag(jnp.where(sums.z_live, 0.5, 1)).astype(dtype).reshape(q, q),
        log_size=jnp.full((), LOG_SIZE_MEAN, dtype) if overdispersed else None,
        settled=jnp.zeros((), bool),
    )


def run(
    key: Key[Array, ""],
    parameters: Parameters,
    counts: Counts,
    prior: lm.Prior,
    n_steps: Int[Array, ""],
) -> Parameters:
    """Take some steps.

    Parameters
    ----------
    key
        Key, consumed.
    parameters
        Where the chain stands.
    counts, prior
        The data and the prior.
    n_steps
        Number of steps.
    """
    begun = settle(parameters, counts, prior)

    def one(
        counter: Int[Array, ""], noise: lm.Noise, state: tuple[Parameters, Fit]
    ) -> tuple[Parameters, Fit]:
        return step(key, counter, noise, *state, counts, prior)

    state = begun, evaluate(begun.beta, begun.b, begun.log_size, counts)
    shapes = gamma_shapes(counts, prior)
    return lm.in_batches(key, shapes, counts.sums, one, state, n_steps)[0]


def gamma_shapes(counts: Counts, prior: lm.Prior) -> Float[Array, " g"]:
    """Return the shapes of the gamma variates of a step; the last two are exponential."""
    return jnp.concatenate([lm.psi_shapes(counts.sums, prior), jnp.ones(2, counts.y.dtype)])


def settle(parameters: Parameters, counts: Counts, prior: lm.Prior) -> Parameters:
    """Bring a chain that has not begun near the mode of beta and b given Psi.

    Iteratively reweighted least squares, in the first round with the counts themselves as
    means.
    """
    target, y = inside_clusters(counts.target), counts.y
    zeros = jnp.zeros_like(parameters.beta), jnp.zeros_like(parameters.b)
    one = jnp.ones((), y.dtype)

    def newton(_: int, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        eta = carry[2]
        mean = jnp.exp(eta)
        sums = _weighted_sums(
            target, mean, jnp.where(target.ry, eta + (y - mean) / mean, 0), by_cluster=False
        )
        beta = lm.draw_beta(zeros[0], parameters.root_psi, one, sums, prior)
        b = lm.draw_b(zeros[1], beta, parameters.root_psi, one, sums)[1]
        return beta, b, jnp.clip(predictor(beta, b, target), -15, MAX_LOG_MEAN)

    n_rounds = jnp.where(parameters.settled, 0, N_SETTLE)
    begin = parameters.beta, parameters.b, jnp.log(y + 0.1)
    beta, b, _ = jax.lax.fori_loop(0, n_rounds, newton, begin)
    return dataclasses.replace(parameters, beta=beta, b=b, settled=jnp.ones((), bool))


def predictor(
    beta: Float[Array, " p"], b: Float[Array, "q J"], target: Target
) -> Float[Array, "K B"]:
    """Return the linear predictor of every row."""
    q = b.shape[0]
    effects = to_blocks(b + beta[:q, None], target.layout)
    return target.linear_predictor(effects, beta[q:])


def evaluate(
    beta: Float[Array, " p"],
    b: Float[Array, "q J"],
    log_size: Float[Array, ""] | None,
    counts: Counts,
) -> Fit:
    """Return the likelihood and its gradient, in one pass over the rows."""
    target = counts.target
    # Elementwise arithmetic that several sums use is done once: what a product reads exists.
    both = jnp.stack(log_likelihood(predictor(beta, b, target), log_size, counts))
    columns = (target.z_shared, target.z_chain, target.f_shared, target.f_chain)
    parts = [cluster_products(part, both[1:], target.layout)[:, 0] for part in columns]
    return Fit(
        value=cluster_sums(both[:1], target.layout)[0],
        score=jnp.concatenate(parts),
    )


def log_likelihood(
    eta: Float[Array, "K B"], log_size: Float[Array, ""] | None, counts: Counts
) -> tuple[Float[Array, "K B"], Float[Array, "K B"]]:
    """Return the log-likelihood of every row relative to a perfect fit, and its slope.

    As multiples of how far a count is from its mean: large counts lose no digits.
    """
    y = counts.y
    delta, excess = residuals(eta, counts)
    if log_size is None:
        value, slope = y * delta - excess, -excess
    else:
        size = jnp.exp(log_size)
        value = y * delta - (y + size) * jnp.log1p(excess / (size + y))
        slope = -excess / (1 + (y + excess) / size)
    rows = counts.target.ry
    return jnp.where(rows, value, 0), jnp.where(rows, slope, 0)


def residuals(
    eta: Float[Array, "K B"], counts: Counts
) -> tuple[Float[Array, "K B"], Float[Array, "K B"]]:
    """Return ``eta - log y`` (y of zero counting as one) and ``mu - y``."""
    delta = jnp.minimum(eta, MAX_LOG_MEAN) - counts.log_y
    growth = jnp.expm1(delta)
    return delta, jnp.where(counts.y > 0, counts.y * growth, growth + 1)


def step(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    noise: lm.Noise,
    parameters: Parameters,
    fit: Fit,
    counts: Counts,
    prior: lm.Prior,
) -> tuple[Parameters, Fit]:
    """Move or draw every parameter once; ``fit`` is that of the parameters.

    Parameters
    ----------
    key, counter
        Key and the first of the counters of this step.
    noise
        Standard draws, gammas of the shapes given by `gamma_shapes`.
    parameters, fit, counts, prior
        Where the chain stands, the data, and the prior.
    """
    root, log_size = parameters.root_psi, parameters.log_size
    beta, b = parameters.beta, parameters.b
    if log_size is not None:
        u = jnp.concatenate([jnp.exp(-noise.gammas[-1:]), ndtr(noise.spare)])
        eta = predictor(beta, b, counts.target)
        log_size = draw_log_size(key, counter + 2, u, log_size, eta, counts)
        fit = evaluate(beta, b, log_size, counts)
    shape = geometry(root, log_size, counts, prior)
    log_u = -noise.gammas[-2]
    beta, b, fit = move_beta(noise.beta, log_u, beta, b, root, log_size, fit, shape, counts, prior)
    J = counts.typical.shape
    log_u = jnp.log(uniforms(key, counter + 1, J, counts.y.dtype))
    b, fit = move_effects(noise.b, log_u, beta, b, root, log_size, fit, shape, counts)
    root = lm.draw_root_psi(noise.gammas[:-2], noise.psi, b, root, counts.sums, prior)
    moved = dataclasses.replace(parameters, beta=beta, b=b, root_psi=root, log_size=log_size)
    return moved, fit


def geometry(
    root: Float[Array, "q q"],
    log_size: Float[Array, ""] | None,
    counts: Counts,
    prior: lm.Prior,
) -> Geometry:
    """Return the shape of the proposals: that of a linear mixed model given Psi."""
    sums = counts.sums
    q, p = root.shape[0], sums.x_live.shape[0]
    V, K, S = lm.projected_root(root, sums), sums.K, sums.S
    if log_size is not None:
        # The weight of a row relative to that in a Poisson model.
        weight = 1 / (1 + counts.typical * jnp.exp(-log_size))
        V, K, S = V * jnp.sqrt(weight), K * jnp.sqrt(weight), sums.S @ weight
    half, along = V, K
    precision = jnp.zeros((p, p), root.dtype)
    if q:
        eye = jnp.eye(q, dtype=root.dtype)[:, :, None]
        half = cholesky(eye + contract(V, V))
        along = -solve_lower_transposed(half, solve_lower(half, contract(V, K)))
        left = K + contract(jnp.swapaxes(V, 0, 1), along)
        flat = jnp.moveaxis(jnp.concatenate([left, along]), 1, 0).reshape(p, -1)
        precision = jnp.matmul(flat, flat.T)
    # The ridge of the sums guards the factor; a proposal may be narrower than it need be.
    extra = jnp.where(sums.x_live, sums.penalty + prior.beta_precision, 1)
    precision = precision.at[q:, q:].add(S) + jnp.diag(extra)
    return Geometry(half=half, along=along, half_beta=cholesky(precision))


def whiten(b: Float[Array, "q J"], root: Float[Array, "q q"]) -> Float[Array, "q J"]:
    """Return ``L^-1 b``."""
    return solve_lower(root, b) if b.shape[0] else b


def truncate(drift: Float[Array, "d *J"]) -> Float[Array, "d *J"]:
    """Shorten a drift, in posterior deviations, where it is too long to be near the mode."""
    d = drift.shape[0]
    length = jnp.sqrt(jnp.sum(drift**2, axis=0))
    longest = 2 + d**0.5
    return drift * jnp.where(length > longest, longest / length, 1)


def normal_gain(new: Float[Array, "*n"], old: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return the gain of a standard normal log density, without subtracting large squares."""
    return 0.5 * (old - new) * (old + new)


def proposal_gain(forth: Float[Array, "*n"], back: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return the log density of the noise that would lead back minus that of the noise drawn."""
    return 0.5 * (forth - back) * (forth + back)


def move_beta(
    z: Float[Array, " p"],
    log_u: Float[Array, ""],
    beta: Float[Array, " p"],
    b: Float[Array, "q J"],
    root: Float[Array, "q q"],
    log_size: Float[Array, ""] | None,
    fit: Fit,
    shape: Geometry,
    counts: Counts,
    prior: lm.Prior,
) -> tuple[Float[Array, " p"], Float[Array, "q J"], Fit]:
    """Move beta, and with it the part of all effects that depends on it."""
    white = whiten(b, root)

    def drift(beta: Float[Array, " p"], white: Float[Array, "q J"], fit: Fit) -> Float[Array, " p"]:
        pull = root.T @ fit.score[: len(white)] - white
        gradient = jnp.sum(fit.score, axis=1) - prior.beta_precision * beta
        gradient = gradient + jnp.einsum("kpj,kj->p", shape.along, pull)
        return truncate(solve_lower(shape.half_beta, gradient[:, None])[:, 0])

    z = jnp.where(counts.sums.x_live, z, 0)
    forth = drift(beta, white, fit) + z
    change = solve_lower_transposed(shape.half_beta, forth[:, None])[:, 0]
    swing = jnp.einsum("kpj,p->kj", shape.along, change)
    new_beta, new_white = beta + change, white + swing
    new_b = root @ new_white
    new_fit = evaluate(new_beta, new_b, log_size, counts)
    back = forth + drift(new_beta, new_white, new_fit)
    ratio = (
        jnp.sum(new_fit.value - fit.value)
        + jnp.sum(prior.beta_precision * normal_gain(new_beta, beta))
        + jnp.sum(normal_gain(new_white, white))
        + jnp.sum(proposal_gain(z, back))
    )
    accepted = log_u < ratio
    return jax.tree.map(
        lambda new, old: jnp.where(accepted, new, old), (new_beta, new_b, new_fit), (beta, b, fit)
    )


def move_effects(
    z: Float[Array, "q J"],
    log_u: Float[Array, " J"],
    beta: Float[Array, " p"],
    b: Float[Array, "q J"],
    root: Float[Array, "q q"],
    log_size: Float[Array, ""] | None,
    fit: Fit,
    shape: Geometry,
    counts: Counts,
) -> tuple[Float[Array, "q J"], Fit]:
    """Move the effects of all clusters at once, each accepted or not on its own."""
    q = b.shape[0]
    if q == 0:
        return b, fit
    white = whiten(b, root)

    def drift(white: Float[Array, "q J"], fit: Fit) -> Float[Array, "q J"]:
        gradient = root.T @ fit.score[:q] - white
        return truncate(solve_lower(shape.half, gradient[:, None])[:, 0])

    live = counts.sums.z_live[:, None] & counts.sums.cluster_live
    z = jnp.where(live, z, 0)
    forth = drift(white, fit) + z
    change = solve_lower_transposed(shape.half, forth[:, None])[:, 0]
    new_white = white + change
    new_b = root @ new_white
    new_fit = evaluate(beta, new_b, log_size, counts)
    back = forth + drift(new_white, new_fit)
    ratio = (
        new_fit.value
        - fit.value
        + jnp.sum(normal_gain(new_white, white), axis=0)
        + jnp.sum(proposal_gain(z, back), axis=0)
    )
    accepted = log_u < ratio
    # The cluster is the last axis of all of them.
    return jax.tree.map(lambda new, old: jnp.where(accepted, new, old), (new_b, new_fit), (b, fit))


def draw_log_size(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    u: Float[Array, "3"],
    log_size: Float[Array, ""],
    eta: Float[Array, "K B"],
    counts: Counts,
) -> Float[Array, ""]:
    """Move the logarithm of the size by slice sampling, given the means."""
    rows, y = counts.target.ry, counts.y
    excess = residuals(eta, counts)[1]

    def one(log_size: Float[Array, ""]) -> Float[Array, ""]:
        size = jnp.exp(log_size)
        value = (
            -(y + size) * jnp.log1p(excess / (size + y))
            - 0.5 * jnp.log1p(y / size)
            + stirling_remainder(y + size)
            - stirling_remainder(size)
        )
        normal = -0.5 * ((log_size - LOG_SIZE_MEAN) / LOG_SIZE_SD) ** 2
        return jnp.sum(jnp.where(rows, value, 0)) + normal

    def log_density(log_size: Float[Array, " n"]) -> Float[Array, " n"]:
        return jnp.stack([one(log_size[i]) for i in range(log_size.shape[0])])

    # A few posterior deviations, were every row as informative as a moderate count.
    width = jnp.clip(6 * jax.lax.rsqrt(jnp.sum(counts.sums.n) + 1), 0.05, 2)
    return slice_step(key, counter, u, log_size, log_density, width, *LOG_SIZE)
