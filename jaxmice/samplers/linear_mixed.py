"""Two-level normal regression with one residual variance.

    y_ij = x_ij' beta + z_ij' b_j + e_ij,    b_j ~ N(0, Psi),    e_ij ~ N(0, sigma2)

One step draws (beta, b) jointly, then Psi, then sigma2 (Chib and Carlin 1999, Statistics
and Computing 9, 17-26, algorithm 3), all clusters at once and from sums only.
"""

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.linalg import UNROLLED, contract, draw_normal, solve_half, solve_lower_pseudo
from jaxmice.random import inverse_wishart_factor, log_gamma, normals, once, wishart_shapes
from jaxmice.samplers.sums import Sums

State = TypeVar("State")


class Prior(eqx.Module):
    """Prior of the regression, on the scale of the sums.

    ``sigma2 ~ IG(sigma2_df / 2, sigma2_rate / 2)``, zero and zero for ``1 / sigma2``.
    ``beta ~ N(0, 1 / beta_precision)``, zero for a flat prior.
    ``Psi ~ IW(psi_df, psi_scale)``; with ``half_t`` instead the prior of Huang and Wand
    (2013, Bayesian Analysis 8, 439-452): standard deviations half-t with two degrees of
    freedom and these scales, correlations uniform, ``psi_df`` and ``psi_scale`` unread.
    """

    sigma2_df: Float[Array, ""]
    sigma2_rate: Float[Array, ""]
    beta_precision: Float[Array, " p"]
    psi_df: Float[Array, ""]
    psi_scale: Float[Array, "q q"]
    half_t: Float[Array, " q"] | None = None


class Parameters(eqx.Module):
    """One draw of the parameters, for one chain."""

    beta: Float[Array, " p"]
    """Fixed effects of X = [Z, F]."""

    b: Float[Array, "q J"]
    """Random effects of every cluster, those without an observed row included."""

    root_psi: Float[Array, "q q"]
    """Lower Cholesky factor of Psi."""

    sigma2: Float[Array, ""]
    """Residual variance."""


class Noise(eqx.Module):
    """The standard draws that one step turns into parameters."""

    beta: Float[Array, " p"]
    """Normals for the fixed effects."""

    psi: Float[Array, "q q"]
    """Normals for Psi."""

    b: Float[Array, "q J"]
    """Normals for the random effects."""

    spare: Float[Array, "2"]
    """Two more normals."""

    gammas: Float[Array, " g"]
    """Gammas, whose shapes do not change from step to step."""


HALF_T_DF, HALF_T_SCALE = 2.0, 2.5
"""Of the half-t prior of standard deviations; the scale per unit of the standardised y."""

COUNTERS = MOST_STEPS = 1 << 16
"""Counters of the random bits that belong to one step, and the steps that have their own."""

BATCH = 10
"""Steps whose gamma variates are drawn together."""


def start(sums: Sums) -> Parameters:
    """Return a start: no effects, and half of the residual deviation between clusters."""
    sigma2 = start_sigma2(sums)
    return Parameters(
        beta=jnp.zeros(sums.x_live.shape, sigma2.dtype),
        b=jnp.zeros_like(sums.k),
        root_psi=start_root(sums, sigma2),
        sigma2=sigma2,
    )


def start_sigma2(sums: Sums) -> Float[Array, ""]:
    """Return the variance within clusters, or a share of all of it where rows are few."""
    n = jnp.maximum(jnp.sum(sums.n), 1)
    rho = jnp.sum(sums.rho)
    total = rho + jnp.sum(sums.k**2)
    df = jnp.sum(jnp.maximum(sums.n - jnp.sum(sums.z_live), 0))
    within = jnp.where(df > 0, rho / jnp.maximum(df, 1), 0)
    return within + 1e-3 * total / n + least_sigma2(sums)


def least_sigma2(sums: Sums) -> Float[Array, ""]:
    """Return the residual variance below which sums of squares hold nothing but rounding.

    Where rows are fitted exactly a variance would fall without end, and weights by it would
    lose every digit. Positive also where the variable is zero throughout.
    """
    limits = jnp.finfo(sums.k.dtype)
    total = jnp.sum(sums.rho) + jnp.sum(sums.k**2)
    return limits.eps * total / jnp.maximum(jnp.sum(sums.n), 1) + limits.tiny**0.5


def start_root(sums: Sums, sigma2: Float[Array, ""]) -> Float[Array, "q q"]:
    """Return a diagonal factor of Psi that gives every random column half of sigma."""
    q = sums.z_live.shape[0]
    n = jnp.maximum(jnp.sum(sums.n), 1)
    size = jnp.sqrt(sums.x_square[:q] / n)
    usable = sums.z_live & (size > 0)
    return jnp.diag(jnp.where(usable, 0.5 * jnp.sqrt(sigma2) / jnp.where(usable, size, 1), 1))


def run(
    key: Key[Array, ""],
    parameters: Parameters,
    sums: Sums,
    prior: Prior,
    n_steps: Int[Array, ""],
) -> Parameters:
    """Take some Gibbs steps.

    Parameters
    ----------
    key
        Key, consumed.
    parameters
        Where the chain stands.
    sums, prior
        The data and the prior.
    n_steps
        Number of steps.
    """

    def one(_: Int[Array, ""], noise: Noise, parameters: Parameters) -> Parameters:
        return step(noise, parameters, sums, prior)

    return in_batches(key, gamma_shapes(sums, prior), sums, one, parameters, n_steps)


def in_batches(
    key: Key[Array, ""],
    shapes: Float[Array, " g"],
    sums: Sums,
    one: Callable[[Int[Array, ""], Noise, State], State],
    state: State,
    n_steps: Int[Array, ""],
) -> State:
    """Run a step many times, with its gamma variates drawn for many steps at once.

    A rejection loop costs much the same for one variate as for a hundred. A step gets the
    first of its counters.
    """

    def batch(index: Int[Array, ""], state: State) -> State:
        begin = index * BATCH
        wide = jnp.broadcast_to(shapes, (BATCH, *shapes.shape))
        gammas = jnp.exp(log_gamma(key, begin * COUNTERS + COUNTERS // 2, wide))

        def body(i: Int[Array, ""], state: State) -> State:
            counter = (begin + i) * COUNTERS
            noise = draw_noise(key, counter, gammas[i], sums, n_steps)
            return one(counter, noise, state)

        return jax.lax.fori_loop(0, jnp.minimum(BATCH, n_steps - begin), body, state)

    return jax.lax.fori_loop(0, (n_steps + BATCH - 1) // BATCH, batch, state)


def draw_noise(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    gammas: Float[Array, " g"],
    sums: Sums,
    n_steps: Int[Array, ""],
) -> Noise:
    """Draw the normals of a step and put them together with its gamma variates."""
    q, p, J = sums.z_live.shape[0], sums.x_live.shape[0], sums.cluster_live.shape[0]
    few = p + q * q + 2
    blank = jnp.zeros((few + q * J,), sums.k.dtype)
    # Stored with the clusters last, addressed with them first: so empty clusters that
    # fill up the shape move no number.
    by_cluster = few + jnp.arange(q)[:, None] + q * jnp.arange(J)
    place = jnp.concatenate([jnp.arange(few), jnp.ravel(by_cluster)]).astype(jnp.uint32)
    own = once(n_steps, lambda: normals(key, counter, blank.shape, blank.dtype, place), blank)
    return Noise(
        beta=own[:p],
        psi=own[p : p + q * q].reshape(q, q),
        b=own[few:].reshape(q, J),
        spare=own[p + q * q : few],
        gammas=gammas,
    )


def gamma_shapes(sums: Sums, prior: Prior) -> Float[Array, " g"]:
    """Return the shapes of the gamma variates of a step."""
    own = (prior.sigma2_df + jnp.sum(sums.n)) / 2
    return jnp.concatenate([psi_shapes(sums, prior), own[None]])


def step(noise: Noise, parameters: Parameters, sums: Sums, prior: Prior) -> Parameters:
    """Draw every parameter once from its conditional distribution.

    Parameters
    ----------
    noise
        Standard draws, gammas of the shapes given by `gamma_shapes`.
    parameters, sums, prior
        Where the chain stands, the data, and the prior.
    """
    root, sigma2 = parameters.root_psi, parameters.sigma2
    beta = draw_beta(noise.beta, root, sigma2, sums, prior)
    eta, b = draw_b(noise.b, beta, root, sigma2, sums)
    rss = sums.rho + outside(beta, sums) + jnp.sum(misfit(eta, beta, root, sums) ** 2)
    root = draw_root_psi(noise.gammas[:-1], noise.psi, b, root, sums, prior)
    sigma2 = jnp.maximum((prior.sigma2_rate + rss) / 2 / noise.gammas[-1], least_sigma2(sums))
    return Parameters(beta=beta, b=b, root_psi=root, sigma2=sigma2)


def projected_root(root_psi: Float[Array, "q q"], sums: Sums) -> Float[Array, "q q J"]:
    """Return V_j = R_j' L with Psi = L L'."""
    return contract(sums.root, root_psi[:, :, None])


def draw_beta(
    z: Float[Array, " p"],
    root_psi: Float[Array, "q q"],
    sigma2: Float[Array, "*J"],
    sums: Sums,
    prior: Prior,
) -> Float[Array, " p"]:
    """Draw the fixed effects with the random effects integrated out.

    The precision is a sum of positive semidefinite terms, K' (sigma2 I + V V')^-1 K over
    clusters and S / sigma2: valid for singular Psi and for empty clusters.
    """
    precision, shift, extra = beta_equations(root_psi, sigma2, sums, prior)
    return jnp.where(sums.x_live, draw_normal(z, precision, shift, extra), 0)


def beta_equations(
    root_psi: Float[Array, "q q"], sigma2: Float[Array, "*J"], sums: Sums, prior: Prior
) -> tuple[Float[Array, "p p"], Float[Array, " p"], Float[Array, " p"]]:
    """Return the precision of the fixed effects, times their mean, and prior and ridge in it."""
    q, p = root_psi.shape[0], sums.x_live.shape[0]
    both = jnp.zeros((p + 1, p + 1), root_psi.dtype)
    if q:
        V = projected_root(root_psi, sums)
        eye = jnp.eye(q, dtype=root_psi.dtype)[:, :, None]
        rows = jnp.swapaxes(V, 0, 1)
        marginal = eye * sigma2 + contract(rows, rows)
        columns = jnp.concatenate([sums.K, sums.k[:, None]], axis=1)
        solved = solve_half(marginal, columns, least=[sigma2] * q)
        # One matrix product gives the precision and the shift.
        flat = solved.reshape(p + 1, -1)
        both = jnp.matmul(flat, flat.T)
    if sums.rho.ndim:
        weight = 1 / sigma2
        S, s = sums.S @ weight, sums.s @ weight
        typical = jnp.sum(weight * sums.n) / jnp.maximum(jnp.sum(sums.n), 1)
    else:
        S, s, typical = sums.S / sigma2, sums.s / sigma2, 1 / sigma2
    precision = _add_block(both[:-1, :-1], S)
    # Where effects vary much, rows say little about their mean: a ridge in units of the
    # rows would pull it to zero.
    share = sums.penalty / jnp.where(sums.x_square > 0, sums.x_square, 1)
    ridge = jnp.minimum(sums.penalty * typical, share * jnp.diagonal(precision))
    # A column that is zero in all rows, such as one not computed yet, tells nothing.
    told = sums.x_live & ((sums.x_square > 0) | (prior.beta_precision > 0))
    extra = jnp.where(told, ridge + prior.beta_precision, 1)
    shift = both[:-1, -1].at[q:].add(s)
    if sums.centre is not None:
        shift = shift + ridge * sums.centre
    return precision + jnp.diag(extra), shift, extra


def effect_equations(
    beta: Float[Array, " p"],
    root_psi: Float[Array, "q q"],
    sigma2: Float[Array, "*J"],
    sums: Sums,
) -> tuple[Float[Array, "q q J"], Float[Array, "q q J"], Float[Array, "q J"]]:
    """Return R'L, and of the whitened effects the precision and its product with the mean."""
    V = projected_root(root_psi, sums)
    r = sums.k - fitted(beta, sums)
    weight = 1 / sigma2
    eye = jnp.eye(len(r), dtype=r.dtype)[:, :, None]
    return V, eye + contract(V, V) * weight, contract(V, r[:, None])[:, 0] * weight


def draw_b(
    z: Float[Array, "q J"],
    beta: Float[Array, " p"],
    root_psi: Float[Array, "q q"],
    sigma2: Float[Array, "*J"],
    sums: Sums,
) -> tuple[Float[Array, "q J"], Float[Array, "q J"]]:
    """Draw the effects of all clusters at once; return them whitened and as they are.

    In whitened coordinates, b = L eta, the precision I + V'V / sigma2 has no eigenvalue
    below one: it can always be factored, also for a singular Psi or an empty cluster.
    """
    q = root_psi.shape[0]
    if q == 0:
        return z, z
    _, precision, shift = effect_equations(beta, root_psi, sigma2, sums)
    eta = draw_normal(z, precision, shift, least=[1.0] * q)
    b = contract(eta[:, None], root_psi.T[:, :, None])[0]
    return eta, jnp.where(sums.z_live[:, None] & sums.cluster_live, b, 0)


def fitted(beta: Float[Array, " p"], sums: Sums) -> Float[Array, "q J"]:
    """Return K beta."""
    p = beta.shape[0]
    if p > UNROLLED:
        return jnp.sum(sums.K * beta[:, None], axis=1)
    return sum((sums.K[:, i] * beta[i] for i in range(p)), jnp.zeros_like(sums.k))


def misfit(
    eta: Float[Array, "q J"], beta: Float[Array, " p"], root_psi: Float[Array, "q q"], sums: Sums
) -> Float[Array, "q J"]:
    """Return R'b - (k - K beta): what the effects leave unexplained inside Z."""
    V = projected_root(root_psi, sums)
    return contract(jnp.swapaxes(V, 0, 1), eta[:, None])[:, 0] - (sums.k - fitted(beta, sums))


def outside(beta: Float[Array, " p"], sums: Sums) -> Float[Array, "*J"]:
    """Return the part of the residual sum of squares that beta adds outside Z."""
    beta_f = beta[sums.z_live.shape[0] :]
    if sums.rho.ndim:
        quadratic = jnp.einsum("abj,a,b->j", sums.S, beta_f, beta_f)
        return jnp.maximum(quadratic - 2 * beta_f @ sums.s, -sums.rho)
    return jnp.maximum(beta_f @ sums.S @ beta_f - 2 * beta_f @ sums.s, -sums.rho)


def psi_shapes(sums: Sums, prior: Prior) -> Float[Array, " g"]:
    """Return the shapes of the gamma draws that `draw_root_psi` needs."""
    live = sums.z_live
    J = jnp.sum(sums.cluster_live)
    if prior.half_t is None:
        return wishart_shapes(prior.psi_df + J, live)
    q = jnp.sum(live)
    scales = jnp.full(live.shape, 0.5) * (HALF_T_DF + q)
    df = HALF_T_DF + q - 1
    return jnp.concatenate([wishart_shapes(df + J, live), scales]).astype(sums.k.dtype)


def draw_root_psi(
    gammas: Float[Array, " g"],
    normals: Float[Array, "q q"],
    b: Float[Array, "q J"],
    root_psi: Float[Array, "q q"],
    sums: Sums,
    prior: Prior,
) -> Float[Array, "q q"]:
    """Draw the factor of Psi given all effects.

    Under the half-t prior its scales are drawn first, given the Psi before.
    """
    q = b.shape[0]
    if q == 0:
        return root_psi
    scale = prior.psi_scale
    if prior.half_t is not None:
        inverse = solve_lower_pseudo(root_psi, jnp.eye(q, dtype=b.dtype))
        scale = half_t_scale(gammas[q:], inverse, prior.half_t)
    scale = scale + jnp.matmul(b, b.T)
    return inverse_wishart_factor(gammas[:q], normals, scale, sums.z_live)


def half_t_scale(
    gammas: Float[Array, " q"], inverse_root: Float[Array, "q q"], half_t: Float[Array, " q"]
) -> Float[Array, "q q"]:
    """Draw the scale matrix that mixes to half-t deviations, given the root of a covariance."""
    rate = HALF_T_DF * jnp.sum(inverse_root**2, axis=0) + 1 / half_t**2
    return jnp.diag(2 * HALF_T_DF * gammas / rate)


def _add_block(matrix: Float[Array, "p p"], block: Float[Array, "f f"]) -> Float[Array, "p p"]:
    """Add a matrix to the last rows and columns of another."""
    at = matrix.shape[0] - block.shape[0]
    return matrix.at[at:, at:].add(block)
