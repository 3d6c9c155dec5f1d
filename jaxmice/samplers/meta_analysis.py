r"""Two-level normal regression with log-normal residual variances, one per cluster.

    y_ij = x_ij' beta + z_ij' b_j + e_ij,    b_j ~ N(0, Psi),    e_ij ~ N(0, sigma2_j),
    log sigma2_j ~ N(centre, spread)

The random-effects meta-analyses of Resche-Rigon and White (2018, Statistical Methods in
Medical Research 27, 1634-1649, section 3), one of the coefficients of the clusters and one
of the logarithms of their variances, drawn together with what they summarise: no cluster
needs an estimate of its own, so none is too small.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxmice.random import log_gamma, normals, once, uniforms
from jaxmice.samplers import linear_mixed as lm
from jaxmice.samplers.sums import Sums

N_NEWTON = 4
"""Steps towards the mode of a log variance; the draw is exact wherever they end."""


class VariancePrior(eqx.Module):
    """Prior of the distribution of the log variances.

    ``centre ~ N(centre_mean, 1 / centre_precision)``, zero precision for a flat prior;
    the square root of ``spread`` is half-t with two degrees of freedom and scale
    ``half_t``.
    """

    centre_mean: Float[Array, ""]
    centre_precision: Float[Array, ""]
    half_t: Float[Array, ""]


class Parameters(eqx.Module):
    """One draw of the parameters, for one chain."""

    beta: Float[Array, " p"]
    """Fixed effects of X = [Z, F]."""

    b: Float[Array, "q J"]
    """Random effects of every cluster."""

    root_psi: Float[Array, "q q"]
    """Lower Cholesky factor of Psi."""

    log_sigma2: Float[Array, " J"]
    """Logarithm of the residual variance of every cluster."""

    centre: Float[Array, ""]
    """Mean of the log variances."""

    spread: Float[Array, ""]
    """Variance of the log variances."""


def start(sums: Sums) -> Parameters:
    """Return a start: no effects, variances between what the clusters show and their mean."""
    sigma2 = lm.start_sigma2(sums)
    df = jnp.maximum(sums.n - jnp.sum(sums.z_live), 0)
    log_sigma2 = jnp.log((4 * sigma2 + sums.rho) / (4 + df))
    return Parameters(
        beta=jnp.zeros(sums.x_live.shape, sigma2.dtype),
        b=jnp.zeros_like(sums.k),
        root_psi=lm.start_root(sums, sigma2),
        log_sigma2=jnp.where(sums.cluster_live, log_sigma2, 0),
        centre=jnp.log(sigma2),
        spread=jnp.full((), 0.5, sigma2.dtype),
    )


def run(
    key: Key[Array, ""],
    parameters: Parameters,
    sums: Sums,
    prior: lm.Prior,
    variance_prior: VariancePrior,
    n_steps: Int[Array, ""],
) -> Parameters:
    """Take some Gibbs steps; arguments as for `linear_mixed.run`, and the variances' prior."""

    def one(counter: Int[Array, ""], noise: lm.Noise, parameters: Parameters) -> Parameters:
        return step(key, counter, noise, parameters, sums, prior, variance_prior)

    return lm.in_batches(key, gamma_shapes(sums, prior), sums, one, parameters, n_steps)


def gamma_shapes(sums: Sums, prior: lm.Prior) -> Float[Array, " g"]:
    """Return the shapes of the gamma variates of a step that do not change.

    The last two belong to the spread of the log variances and to its mixing variable.
    """
    J = jnp.sum(sums.cluster_live)
    last = jnp.stack([(lm.HALF_T_DF + J) / 2, jnp.asarray((lm.HALF_T_DF + 1) / 2)])
    return jnp.concatenate([lm.psi_shapes(sums, prior), last]).astype(sums.k.dtype)


def step(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    noise: lm.Noise,
    parameters: Parameters,
    sums: Sums,
    prior: lm.Prior,
    variance_prior: VariancePrior,
) -> Parameters:
    """Draw every parameter once from its conditional distribution.

    Parameters
    ----------
    key, counter
        Key and the first of the counters of this step.
    noise
        Standard draws, gammas of the shapes given by `gamma_shapes`.
    parameters, sums, prior, variance_prior
        Where the chain stands, the data, and the priors.
    """
    x, live = parameters.log_sigma2, sums.cluster_live
    centre, spread = draw_centre(
        noise.spare[0], noise.gammas[-2:], x, parameters.spread, live, variance_prior
    )
    root = parameters.root_psi
    sigma2 = jnp.maximum(jnp.exp(x), smallest_sigma2(root, sums))
    beta = lm.draw_beta(noise.beta, root, sigma2, sums, prior)
    eta, b = lm.draw_b(noise.b, beta, root, sigma2, sums)
    misfit = jnp.sum(lm.misfit(eta, beta, root, sums) ** 2, axis=0)
    rss = sums.rho + lm.outside(beta, sums) + misfit
    root = lm.draw_root_psi(noise.gammas[:-2], noise.psi, b, root, sums, prior)
    x = draw_log_sigma2(key, counter + 1, x, sums.n, rss, centre, spread)
    return Parameters(
        beta=beta,
        b=b,
        root_psi=root,
        log_sigma2=jnp.where(live, x, 0),
        centre=centre,
        spread=spread,
    )


def smallest_sigma2(root: Float[Array, "q q"], sums: Sums) -> Float[Array, " J"]:
    """Return the residual variances next to which the effects leave no digits.

    Log variances are unbounded below; a cluster with fewer rows than effects then has a
    covariance matrix that cannot be factored.
    """
    total = jnp.sum(lm.projected_root(root, sums) ** 2, axis=(0, 1))
    return 64 * jnp.finfo(total.dtype).eps * total


def draw_centre(
    z: Float[Array, ""],
    gammas: Float[Array, "2"],
    x: Float[Array, " J"],
    spread: Float[Array, ""],
    live: Bool[Array, " J"],
    prior: VariancePrior,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Draw mean and variance of the log variances given all of them."""
    precision = jnp.sum(live) / spread + prior.centre_precision
    total = jnp.sum(jnp.where(live, x, 0)) / spread
    centre = (total + prior.centre_precision * prior.centre_mean) / precision
    centre = centre + z / jnp.sqrt(precision)
    # Huang and Wand's half-t: an inverse gamma whose scale is a gamma variate.
    mixing = gammas[1] / (lm.HALF_T_DF / spread + 1 / prior.half_t**2)
    squares = jnp.sum(jnp.where(live, (x - centre) ** 2, 0))
    return centre, (lm.HALF_T_DF * mixing + squares / 2) / gammas[0]


def draw_log_sigma2(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    x: Float[Array, " J"],
    n: Float[Array, " J"],
    rss: Float[Array, " J"],
    centre: Float[Array, ""],
    spread: Float[Array, ""],
) -> Float[Array, " J"]:
    """Move all log variances by one independence step of Metropolis.

    The log density ``-n x / 2 - rss exp(-x) / 2 - (x - centre)^2 / (2 spread)`` is a sum
    of two concave terms. A tangent in place of the flatter of them gives a proposal that
    bounds the density: a log inverse gamma where the data weigh more, a normal where the
    prior does. Acceptance is above 0.6 in the worst case and 1 without data.
    """
    half_n, rate = n / 2, jnp.maximum(rss / 2, jnp.finfo(x.dtype).tiny)
    at = near_mode(half_n, rate, centre, spread)
    pull = rate * jnp.exp(-at)
    by_data = pull * spread > 1
    shape = jnp.where(by_data, pull, 1)
    own = jnp.log(rate) - log_gamma(key, counter + lm.COUNTERS // 4, shape)
    middle = centre + spread * (pull - half_n)
    z = once(counter, lambda: normals(key, counter, x.shape, x.dtype), x)
    proposal = jnp.where(by_data, own, middle + jnp.sqrt(spread) * z)

    def log_weight(x: Float[Array, " J"]) -> Float[Array, " J"]:
        left = jnp.where(by_data, pull * x, 0) - half_n * x - (x - centre) ** 2 / (2 * spread)
        rest = (x - middle) ** 2 / (2 * spread) - rate * jnp.exp(-x)
        return left + jnp.where(by_data, 0, rest)

    u = uniforms(key, counter + 1, x.shape, x.dtype)
    accepted = jnp.log(u) < log_weight(proposal) - log_weight(x)
    return jnp.where(accepted, proposal, x)


def near_mode(
    half_n: Float[Array, " J"],
    rate: Float[Array, " J"],
    centre: Float[Array, ""],
    spread: Float[Array, ""],
) -> Float[Array, " J"]:
    """Return where ``rate exp(-x) = half_n + (x - centre) / spread``, nearly."""
    lowest = centre - half_n * spread
    data = jnp.log(rate / jnp.maximum(half_n, 0.5))
    x = (half_n * data + centre / spread) / (half_n + 1 / spread)
    for _ in range(N_NEWTON):
        x = jnp.maximum(x, lowest)
        pull = rate * jnp.exp(-x)
        x = x + (pull - half_n - (x - centre) / spread) / (pull + 1 / spread)
    return jnp.maximum(x, lowest)
