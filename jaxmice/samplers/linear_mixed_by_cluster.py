"""Two-level normal regression with a residual variance of its own in every cluster.

    y_ij = x_ij' beta + z_ij' b_j + e_ij,    b_j ~ N(0, Psi),    e_ij ~ N(0, sigma2_j),
    1 / sigma2_j ~ Gamma(a, rate a s0)

Kasim and Raudenbush (1998), Journal of Educational and Behavioral Statistics 23, 93-116.
The spread a of the precisions is drawn exactly, with s0 integrated out.
"""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.special import ndtr
from jaxtyping import Array, Float, Int, Key

from jaxmice.random import log_gamma, slice_step
from jaxmice.samplers import linear_mixed as lm
from jaxmice.samplers.sums import Sums

LOG_A = (-6.0, 18.0)
"""Bounds of log a; a coefficient of variation of the precisions from 20 to 0.0001."""


class SpreadPrior(eqx.Module):
    """Prior of the hyperparameters a and s0 of the precisions.

    ``p(a)`` is proportional to ``a^-power exp(-rate / a)``, times a normal density of
    log a with mean ``log_mean`` and precision ``log_precision`` (zero: none).
    ``p(s0)`` is proportional to ``s0^(s0_shape - 1) exp(-s0_rate s0)``.
    """

    power: Float[Array, ""]
    rate: Float[Array, ""]
    log_mean: Float[Array, ""]
    log_precision: Float[Array, ""]
    s0_shape: Float[Array, ""]
    s0_rate: Float[Array, ""]


def weak_spread(dtype: jnp.dtype) -> SpreadPrior:
    """Return a prior that lets the precisions be anything from equal to far apart."""
    return SpreadPrior(*(jnp.asarray(value, dtype) for value in (1.5, 0.5, 0, 0, 0, 0)))


class Parameters(eqx.Module):
    """One draw of the parameters, for one chain."""

    beta: Float[Array, " p"]
    """Fixed effects of X = [Z, F]."""

    b: Float[Array, "q J"]
    """Random effects of every cluster."""

    root_psi: Float[Array, "q q"]
    """Lower Cholesky factor of Psi."""

    precision: Float[Array, " J"]
    """Residual precision 1 / sigma2_j of every cluster."""

    log_a: Float[Array, ""]
    """Logarithm of the shape a of the distribution of precisions."""

    s0: Float[Array, ""]
    """Inverse of the mean precision: the typical residual variance."""


def start(sums: Sums) -> Parameters:
    """Return a start: no effects, moderate spread, variances as the clusters show them.

    The precisions must differ: given equal ones the first draw of a would be very large,
    and the clusters would take long to grow apart again.
    """
    # What fixed effects explain is no residual.
    if sums.centre is not None:
        k = sums.k - lm.fitted(sums.centre, sums)
        sums = dataclasses.replace(sums, k=k, rho=sums.rho + lm.outside(sums.centre, sums))
    sigma2 = lm.start_sigma2(sums)
    df = jnp.maximum(sums.n - jnp.sum(sums.z_live), 0)
    a = 2.0
    return Parameters(
        beta=jnp.zeros(sums.x_live.shape, sigma2.dtype),
        b=jnp.zeros_like(sums.k),
        root_psi=lm.start_root(sums, sigma2),
        precision=(a + df / 2) / (a * sigma2 + sums.rho / 2),
        log_a=jnp.log(jnp.full((), a, sums.k.dtype)),
        s0=sigma2,
    )


def run(
    key: Key[Array, ""],
    parameters: Parameters,
    sums: Sums,
    prior: lm.Prior,
    spread: SpreadPrior,
    n_steps: Int[Array, ""],
) -> Parameters:
    """Take some Gibbs steps; arguments as for `linear_mixed.run`, and the spread's prior."""

    def one(counter: Int[Array, ""], noise: lm.Noise, parameters: Parameters) -> Parameters:
        return step(key, counter, noise, parameters, sums, prior, spread)

    return lm.in_batches(key, gamma_shapes(sums, prior), sums, one, parameters, n_steps)


def gamma_shapes(sums: Sums, prior: lm.Prior) -> Float[Array, " g"]:
    """Return the shapes of the gamma variates of a step that do not change.

    The last one is exponential: the height of a slice under the density of a.
    """
    return jnp.concatenate([lm.psi_shapes(sums, prior), jnp.ones((1,), sums.k.dtype)])


def step(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    noise: lm.Noise,
    parameters: Parameters,
    sums: Sums,
    prior: lm.Prior,
    spread: SpreadPrior,
) -> Parameters:
    """Draw every parameter once from its conditional distribution.

    Parameters
    ----------
    key, counter
        Key and the first of the counters of this step.
    noise
        Standard draws, gammas of the shapes given by `gamma_shapes`.
    parameters, sums, prior, spread
        Where the chain stands, the data, and the priors.
    """
    precision = parameters.precision
    u = jnp.concatenate([jnp.exp(-noise.gammas[-1:]), ndtr(noise.spare)])
    log_a = draw_log_a(key, counter + 1, u, parameters.log_a, precision, sums, spread)
    a = jnp.exp(log_a)
    # The precisions are drawn last, but their shapes are known now.
    s0_shape = jnp.sum(sums.cluster_live) * a + spread.s0_shape
    shapes = jnp.concatenate([s0_shape[None], a + sums.n / 2])
    log_gammas = log_gamma(key, counter + lm.COUNTERS // 4, shapes)
    # a was drawn with s0 integrated out, so s0 follows at once.
    total = jnp.sum(jnp.where(sums.cluster_live, precision, 0))
    s0 = jnp.exp(log_gammas[0]) / (a * total + spread.s0_rate)

    sigma2 = 1 / precision
    root = parameters.root_psi
    beta = lm.draw_beta(noise.beta, root, sigma2, sums, prior)
    eta, b = lm.draw_b(noise.b, beta, root, sigma2, sums)
    misfit = jnp.sum(lm.misfit(eta, beta, root, sums) ** 2, axis=0)
    rss = sums.rho + lm.outside(beta, sums) + misfit
    root = lm.draw_root_psi(noise.gammas[:-1], noise.psi, b, root, sums, prior)
    log_precision = log_gammas[1:] - jnp.log(a * s0 + rss / 2)
    # Beyond these bounds a precision has left every plausible scale and would overflow.
    centre = -jnp.log(s0)
    precision = jnp.exp(jnp.clip(log_precision, centre - 40, centre + 40))
    precision = jnp.minimum(precision, 1 / lm.least_sigma2(sums))
    return Parameters(beta=beta, b=b, root_psi=root, precision=precision, log_a=log_a, s0=s0)


def draw_log_a(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    u: Float[Array, "3"],
    log_a: Float[Array, ""],
    precision: Float[Array, " J"],
    sums: Sums,
    spread: SpreadPrior,
) -> Float[Array, ""]:
    """Move log a by slice sampling, given the precisions and with s0 integrated out."""
    live = sums.cluster_live
    J = jnp.sum(live)
    mean = jnp.sum(jnp.where(live, precision, 0)) / J
    # Jensen's gap: how much the precisions differ.
    gap = -jnp.sum(jnp.where(live, jnp.log(precision / mean), 0)) / J
    # A few posterior standard deviations, which shrink with the number of clusters.
    width = 4 * jnp.sqrt(2 / J)

    def log_density(log_a: Float[Array, ""]) -> Float[Array, ""]:
        return spread_log_density(log_a, J, mean, gap, spread)

    return slice_step(key, counter, u, log_a, log_density, width, *LOG_A)


def spread_log_density(
    log_a: Float[Array, ""],
    J: Float[Array, ""],
    mean: Float[Array, ""],
    gap: Float[Array, ""],
    spread: SpreadPrior,
) -> Float[Array, ""]:
    """Return the log density of log a up to a constant, free of large cancelling terms.

    With Stirling's leading terms taken out of both gamma functions, what is left is of
    the order of the answer also for a or J in the millions.

    Parameters
    ----------
    log_a
        Logarithm of a.
    J
        Number of clusters.
    mean
        Mean of the precisions.
    gap
        Log of their mean minus the mean of their logs, not negative.
    spread
        Prior.
    """
    a = jnp.exp(log_a)
    shape = J * a + spread.s0_shape
    core = (
        0.5 * J * log_a
        - J * stirling_remainder(a)
        + stirling_remainder(shape)
        + shape * jnp.log1p(spread.s0_shape / (J * a))
        - 0.5 * jnp.log(shape)
        - shape * jnp.log1p(spread.s0_rate / (J * a * mean))
        - J * a * gap
    )
    log_normal = -0.5 * spread.log_precision * (log_a - spread.log_mean) ** 2
    return core + (1 - spread.power) * log_a - spread.rate / a + log_normal


def stirling_remainder(a: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return lgamma(a) minus Stirling's leading terms; positive, about 1 / (12 a).

    A series above 8; below, lgamma(a) = lgamma(a + 8) - log(a (a + 1) ... (a + 7)).
    """
    small = jnp.minimum(a, 8)
    large = jnp.where(a > 8, a, small + 8)
    square = large**2
    series = (1 / 12 - (1 / 360 - (1 / 1260 - 1 / (1680 * square)) / square) / square) / large
    shift = _leading(small + 8) - _leading(small)
    rising = small
    for k in range(1, 8):
        rising = rising * (small + k)
    return series + jnp.where(a > 8, 0, shift - jnp.log(rising))


def _leading(a: Float[Array, "*n"]) -> Float[Array, "*n"]:
    return (a - 0.5) * jnp.log(a) - a
