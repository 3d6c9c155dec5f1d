"""Joint two-level model of numbers and categories at both levels, by latent normals.

    Y_ij = B' x_ij + U_j' z_ij + e_ij,    e_ij ~ N(0, Omega_j)
    W_j  = B2' x2_j + v_j,                (v_j, vec U_j) ~ N(0, Psi)

A number is an element of Y or W. A category of K levels is K - 1 latent normals: it is
category k > 0 if the k-th is the largest and positive, category 0 if all are negative.
Carpenter and Kenward (2013), Multiple Imputation and its Application, chapters 5 and 9;
Quartagno and Carpenter (2019), Biometrical Journal 61, 1003-1019; cluster-specific
Omega_j: Yucel (2011), Statistical Modelling 11, 351-370.

The latent normals come first in both vectors and have a fixed scale given those before
(`jaxmice.samplers.covariance`), so that every conditional is conjugate. x2 are the means
of x in the clusters. See `jaxmice.samplers.joint_normal` for shapes and for level 1.
"""

from dataclasses import dataclass
from functools import cached_property

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int, Key

from jaxmice.linalg import cholesky, draw_normal, solve_lower, solve_lower_transposed
from jaxmice.random import (
    inverse_wishart_factor,
    log_gamma,
    normal_tail,
    once,
    row_uniforms,
    slice_step,
    uniforms,
    wishart_shapes,
)
from jaxmice.samplers import covariance, joint_normal as jn
from jaxmice.samplers.covariance import Groups
from jaxmice.samplers.linear_mixed import COUNTERS
from jaxmice.samplers.linear_mixed_by_cluster import stirling_remainder
from jaxmice.samplers.sums import Sums
from jaxmice.target import JointTarget

LOG_EXCESS = (-6.0, 9.0)
"""Bounds of the logarithm of the excess degrees of freedom of a covariance by cluster."""


@dataclass(frozen=True)
class Members:
    """The columns of one level, those with categories first."""

    at: tuple[int, ...]
    """Place of each column in the block."""

    sizes: tuple[int, ...]
    """Number of categories of each, 0 for a number."""

    @cached_property
    def groups(self) -> Groups:
        """The latent normals of every category."""
        return Groups(tuple(size - 1 for size in self.sizes if size))

    @property
    def dimension(self) -> int:
        """Number r of elements of the vector."""
        return self.groups.n + self.sizes.count(0)

    @cached_property
    def column(self) -> np.ndarray:
        """(r,) place in the block of the column that each element belongs to."""
        return np.repeat(self.at, [max(size - 1, 1) for size in self.sizes]).astype(int)

    @cached_property
    def category(self) -> np.ndarray:
        """(c,) category that each latent normal stands for."""
        ranges = [np.arange(1, size) for size in self.sizes if size]
        return np.concatenate([*ranges, np.zeros(0)]).astype(int)


def split_members(
    n_categories: tuple[int, ...], levels: tuple[int, ...]
) -> tuple[Members, Members]:
    """Return the columns of level 1 and of level 2."""

    def of(level: int) -> Members:
        own = [i for i, at in enumerate(levels) if at == level]
        own.sort(key=lambda i: n_categories[i] == 0)
        return Members(tuple(own), tuple(n_categories[i] for i in own))

    return of(1), of(2)


class SpreadPrior(eqx.Module):
    """How covariances differ between clusters, and the prior of that.

    With f numbers, ``Sigma_j ~ IW(alpha, (alpha - f - 1) S)``, of mean S, and the
    coefficients on latent normals vary about theirs with precision alpha: large alpha
    means one covariance for all. ``alpha - f - 1 ~ Gamma(shape, rate)``,
    ``S ~ W(df, scale^-1)``, mean coefficients ``N(0, 1 / precision)``.
    """

    shape: Float[Array, ""]
    rate: Float[Array, ""]
    df: Float[Array, ""]
    scale: Float[Array, "f f"]
    precision: Float[Array, ""]


class Prior(eqx.Module):
    """Priors; that of Omega is unread where covariances differ between clusters."""

    level1: jn.Prior
    """Of B, Omega and Psi."""

    penalty: Float[Array, "p s"]
    """Precision of B2 in units of the precision of v given U."""

    beta_precision: Float[Array, "p s"]
    """Further precision of B2."""

    spread: SpreadPrior | None


class Data(eqx.Module):
    """What the steps read: level 1, and level 2 by cluster."""

    rows: jn.Responses
    """Level 1; categories by their codes."""

    w: Float[Array, "s J"]
    """Level 2, zero where not given."""

    given: Bool[Array, "s J"]
    """Elements of level 2 whose value or category is given."""

    x2: Float[Array, "p J"]
    """Predictors of level 2, zero for clusters without a row in use."""


class Spread(eqx.Module):
    """Distribution of the covariances over clusters."""

    log_excess: Float[Array, ""]
    """Logarithm of alpha - f - 1."""

    scale: Float[Array, "f f"]
    """S."""

    a: Float[Array, "c c"]
    """Mean coefficients of latent normals on earlier ones."""

    phi: Float[Array, "f c"]
    """Mean coefficients of numbers on latent normals."""


class State(eqx.Module):
    """One draw of parameters, latent normals and missing cells, for one chain."""

    level1: jn.Parameters
    """B, U, the factor of Psi, v first, and the factors of Omega."""

    y: Float[Array, "r K B"]
    """Level 1, latent normals and missing cells included."""

    beta2: Float[Array, "p s"]
    w: Float[Array, "s J"]
    spread: Spread | None


def start(data: Data, first: Members, second: Members, prior: Prior) -> State:
    """Return no effects, moderate covariances, latent normals in the observed categories."""
    rows, dtype = data.rows, data.rows.y.dtype
    n = 1 if prior.spread is None else data.w.shape[1]
    level1 = jn.start(rows, n)
    s, d = second.dimension, level1.root_psi.shape[0]
    root = jnp.eye(s + d, dtype=dtype).at[s:, s:].set(level1.root_psi)
    level1 = eqx.tree_at(lambda at: at.root_psi, level1, root)
    c, f = first.groups.n, first.dimension - first.groups.n
    coefficients = jnp.zeros((c + f, c), dtype)
    excess = jnp.full((), 2.0, dtype)
    spread = Spread(excess, jnp.eye(f, dtype=dtype), coefficients[:c], coefficients[c:])
    return State(
        level1=level1,
        y=_start_latents(rows.y, rows.given, first),
        beta2=jnp.zeros((data.x2.shape[0], s), dtype),
        w=_start_latents(data.w, data.given, second),
        spread=None if prior.spread is None else spread,
    )


def _start_latents(
    y: Float[Array, "r *n"], given: Bool[Array, "r *n"], members: Members
) -> Float[Array, "r *n"]:
    c = members.groups.n
    category = members.category.reshape(c, *[1] * (y.ndim - 1))
    latent = jnp.where(y[:c] == category, 0.5, -0.5)
    return jnp.concatenate([jnp.where(given[:c], latent, 0), y[c:]])


def run(
    key: Key[Array, ""],
    state: State,
    data: Data,
    first: Members,
    second: Members,
    prior: Prior,
    n_steps: Int[Array, ""],
) -> State:
    """Take some Gibbs steps.

    Parameters
    ----------
    key
        Key, consumed.
    state
        Where the chain stands.
    data, first, second, prior
        The data, its columns of both levels, and the prior.
    n_steps
        Number of steps.
    """

    def body(i: Int[Array, ""], state: State) -> State:
        return step(key, i * COUNTERS, state, data, first, second, prior, n_steps)

    return jax.lax.fori_loop(0, n_steps, body, state)


class _Noise:
    """Standard normals of a step, handed out piece by piece."""

    def __init__(self, few: Float[Array, " n"], by_cluster: Float[Array, "k J"]) -> None:
        self._few, self._by_cluster = few, by_cluster

    def take(self, *shape: int) -> Float[Array, "..."]:
        size = int(np.prod(shape))
        out, self._few = self._few[:size], self._few[size:]
        return out.reshape(shape)

    def take_by_cluster(self, *shape: int) -> Float[Array, "... J"]:
        size = int(np.prod(shape))
        out, self._by_cluster = self._by_cluster[:size], self._by_cluster[size:]
        return out.reshape(*shape, out.shape[1])


def step(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    state: State,
    data: Data,
    first: Members,
    second: Members,
    prior: Prior,
    n_steps: Int[Array, ""],
) -> State:
    """Draw latent normals, missing cells and every parameter once.

    Parameters
    ----------
    key, counter
        Key and the first of the counters of this step.
    state, data, first, second, prior
        Where the chain stands, the data, its columns of both levels, and the prior.
    n_steps
        Any traced number above zero.
    """
    sums, dtype = data.rows.sums, data.rows.y.dtype
    p, r = state.level1.beta.shape
    q, J, s = sums.z_live.shape[0], sums.cluster_live.shape[0], second.dimension
    d, D = q * r, s + q * r
    c, f = first.groups.n, r - first.groups.n
    common = state.spread is None
    few = p * (r + s) + D * D + (r * r if common else c * c + f * (f + c))
    wide = d + s - second.groups.n + (0 if common else r * r)
    flat = jn.draw_effects_noise(key, counter, few, wide, J, n_steps, dtype)
    noise = _Noise(flat[:few], flat[few:].reshape(wide, J))

    # The spread of the covariances first: the degrees of freedom below depend on it.
    spread, omega = state.spread, prior.level1.omega
    shapes = []
    if spread is not None and prior.spread is not None:
        log_excess = draw_log_excess(key, counter + 1, spread, state.level1, first, sums, prior)
        spread = eqx.tree_at(lambda at: at.log_excess, spread, log_excess)
        alpha = jnp.exp(log_excess) + f + 1
        J_live = jnp.sum(sums.cluster_live)
        shapes.append(wishart_shapes(J_live * alpha + prior.spread.df, jnp.ones((f,), bool)))
        omega = _omega_prior(spread, f)
    psi_live = jnp.concatenate([jnp.ones((s - second.groups.n,), bool), jnp.repeat(sums.z_live, r)])
    omega_live = jnp.ones((f,), bool)
    n_clusters = jnp.sum(sums.cluster_live).astype(dtype)[None]
    count = jnp.sum(sums.n)[None] if common else sums.n
    psi_shapes = covariance.gamma_shapes(prior.level1.psi, n_clusters, psi_live)
    omega_shapes = covariance.gamma_shapes(omega, count, omega_live)
    # Clusters first, and last of all: those that fill up the shape move no number.
    shapes += [jnp.ravel(psi_shapes), jnp.ravel(omega_shapes.T)]
    gammas = jnp.exp(log_gamma(key, counter + COUNTERS // 2, jnp.concatenate(shapes)))
    if spread is not None:
        spread = draw_spread(noise, gammas[:f], spread, state.level1, first, sums, prior)
        omega = _omega_prior(spread, f)
        gammas = gammas[f:]
    cut = psi_shapes.shape[0]

    # Level 2 given U.
    parameters = state.level1
    beta2, w, v = draw_level2(key, counter + 2, noise, state, data, second, prior, n_steps)
    # Level 1 given v.
    z_rows = jn.draw_rows(key, counter + 3, state.y[c:], n_steps)
    y, residuals = row_pass(key, counter + 4, z_rows, state, data.rows, first, n_steps)
    mean, root_u = effects_given(v, parameters.root_psi, (q, r))
    z = jnp.ravel(noise.take(p, r))
    roots = root_u, parameters.root_omega
    beta = jn.draw_beta(z, *roots, residuals, sums, prior.level1, mean)
    b = jn.draw_b(noise.take_by_cluster(d), beta, *roots, residuals, sums, mean)
    both = jnp.concatenate([v, b.reshape(d, J)])
    root_psi = covariance.draw_root(
        gammas[:cut, None],
        noise.take(D, D, 1),
        parameters.root_psi[:, :, None],
        jnp.matmul(both, both.T)[:, :, None],
        prior.level1.psi,
        second.groups,
        psi_live,
    )
    root_omega = covariance.draw_root(
        gammas[cut:].reshape(omega_shapes.T.shape).T,
        noise.take(r, r, 1) if common else noise.take_by_cluster(r, r),
        parameters.root_omega,
        jn.residual_products(beta, b, residuals, sums),
        omega,
        first.groups,
        omega_live,
    )
    return State(
        level1=jn.Parameters(beta=beta, b=b, root_psi=root_psi[:, :, 0], root_omega=root_omega),
        y=y,
        beta2=beta2,
        w=w,
        spread=spread,
    )


def effects_given(
    v: Float[Array, "s J"], root_psi: Float[Array, "D D"], shape: tuple[int, int]
) -> tuple[Float[Array, "q r J"], Float[Array, "d d"]]:
    """Return mean and factor of the covariance of U given v."""
    s = v.shape[0]
    if s == 0:
        return jnp.zeros((*shape, v.shape[1]), root_psi.dtype), root_psi
    white = solve_lower(root_psi[:s, :s], v)
    mean = jnp.matmul(root_psi[s:, :s], white)
    return mean.reshape(*shape, v.shape[1]), root_psi[s:, s:]


def level2_given(
    b: Float[Array, "q r J"], root_psi: Float[Array, "D D"]
) -> tuple[Float[Array, "s J"], Float[Array, "s s"]]:
    """Return mean and precision of v given U."""
    q, r, J = b.shape
    s = root_psi.shape[0] - q * r
    precision = jn.precision_of(root_psi[:, :, None])[:, :, 0]
    shift = jnp.matmul(precision[:s, s:], b.reshape(q * r, J))
    lower = cholesky(precision[:s, :s])
    return -solve_lower_transposed(lower, solve_lower(lower, shift)), precision[:s, :s]


def draw_level2(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    noise: _Noise,
    state: State,
    data: Data,
    second: Members,
    prior: Prior,
    n_steps: Int[Array, ""],
) -> tuple[Float[Array, "p s"], Float[Array, "s J"], Float[Array, "s J"]]:
    """Draw latent normals and missing values of level 2, then B2; return B2, W and v."""
    (p, s), J = state.beta2.shape, data.w.shape[1]
    z, z_beta = noise.take_by_cluster(s - second.groups.n), noise.take(p, s)
    if s == 0:
        return state.beta2, state.w, state.w
    shift, precision = level2_given(state.level1.b, state.level1.root_psi)
    fitted = jnp.matmul(state.beta2.T, data.x2)
    mean = fitted + shift
    u = draw_uniforms(key, counter, (second.groups.n, J), n_steps)
    each = precision[:, :, None]
    e, z_latent = sweep_latents(u, state.w - mean, mean, data.w, data.given, each, second)
    e = jn.draw_missing(jnp.concatenate([z_latent, z]), e, data.given, each)
    w = keep_numbers(mean + e, data.w, data.given, second)

    flat = jnp.einsum("aj,bj,lm->albm", data.x2, data.x2, precision)
    left = jnp.einsum("aj,mj,lm->al", data.x2, w - shift, precision)
    x_live = data.rows.sums.x_live
    weight = prior.penalty * jnp.diag(precision) + prior.beta_precision
    weight = jnp.ravel(jnp.where(x_live[:, None], weight, 1))
    matrix = flat.reshape(p * s, p * s) + jnp.diag(weight)
    drawn = draw_normal(jnp.ravel(z_beta), matrix, jnp.ravel(left)).reshape(p, s)
    beta2 = jnp.where(x_live[:, None], drawn, 0)
    v = w - jnp.matmul(beta2.T, data.x2)
    return beta2, w, jnp.where(data.rows.sums.cluster_live, v, 0)


def row_pass(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    z: Float[Array, "f K B"],
    state: State,
    rows: jn.Responses,
    first: Members,
    n_steps: Int[Array, ""],
) -> tuple[Float[Array, "r K B"], jn.Residuals]:
    """Draw latent normals and missing cells of every row; sum the residuals."""
    parameters = state.level1
    mean = jn.fitted_rows(parameters.beta, parameters.b, rows.target)
    precision = jn.by_row(jn.precision_of(parameters.root_omega), rows.target.layout)
    shape = (first.groups.n, *mean.shape[1:])
    u = draw_uniforms(key, counter, shape, n_steps)
    e, z_latent = sweep_latents(u, state.y - mean, mean, rows.y, rows.given, precision, first)
    e = jn.draw_missing(jnp.concatenate([z_latent, z]), e, rows.given, precision)
    y = keep_numbers(mean + e, rows.y, rows.given, first)
    return y, jn.sum_residuals(e, parameters, rows)


def keep_numbers(
    drawn: Float[Array, "r *n"],
    y: Float[Array, "r *n"],
    given: Bool[Array, "r *n"],
    members: Members,
) -> Float[Array, "r *n"]:
    """Put given numbers, free of rounding, in the place of their sums."""
    c = members.groups.n
    return jnp.concatenate([drawn[:c], jnp.where(given[c:], y[c:], drawn[c:])])


def draw_uniforms(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    shape: tuple[int, ...],
    n_steps: Int[Array, ""],
) -> Float32[Array, "..."]:
    """Draw uniforms for the latent normals of every row or cluster."""
    blank = jnp.zeros(shape, jnp.float32)
    if shape[0] == 0:
        return blank
    return once(n_steps, lambda: row_uniforms(key, counter, shape, blank.dtype), blank)


def sweep_latents(
    u: Float[Array, "c *n"],
    e: Float[Array, "r *n"],
    mean: Float[Array, "r *n"],
    codes: Float[Array, "r *n"],
    given: Bool[Array, "r *n"],
    precision: Float[Array, "r r *n"],
    members: Members,
) -> tuple[Float[Array, "r *n"], Float[Array, "c *n"]]:
    """Draw the latent normals of given categories, each given all other elements.

    Parameters
    ----------
    u
        Uniforms.
    e, mean
        Elements minus their means, and the means.
    codes, given
        Category of every latent normal's column, and whether it is given.
    precision
        Inverse of the covariance of a column of ``e``, must broadcast against it.
    members
        Columns.

    Returns
    -------
    The elements, and a standard normal for every latent normal that is not given.

    Notes
    -----
    One bound does for all: the largest other latent normal of the column, or zero. The
    latent normal of the given category lies above it, any other below.
    """
    c = members.groups.n
    if c == 0:
        return e, u.astype(e.dtype)
    category = jnp.asarray(members.category, e.dtype)
    others = jnp.asarray(members.groups.same & ~np.eye(c, dtype=bool))
    trailing = [1] * (e.ndim - 1)

    def one(k: Int[Array, ""], both: tuple[Array, Array]) -> tuple[Array, Array]:
        e, u = both
        row, own, centre = precision[k], precision[k, k], mean[k]
        at = e[k] - jnp.sum(row * e, axis=0) / own
        deviation = jax.lax.rsqrt(own)
        rival = jnp.where(others[k].reshape(c, *trailing), mean[:c] + e[:c], 0)
        bound = (jnp.maximum(jnp.max(rival, axis=0), 0) - centre - at) / deviation
        sign = jnp.where(codes[k] == category[k], 1, -1).astype(e.dtype)
        z = normal_tail(u[k], jnp.where(given[k], sign * bound, -jnp.inf))
        drawn = jnp.where(given[k], at + deviation * sign * z, e[k])
        return e.at[k].set(drawn), u.at[k].set(z.astype(u.dtype))

    e, z = jax.lax.fori_loop(0, c, one, (e, u))
    return e, z.astype(e.dtype)


def impute(
    key: Key[Array, ""],
    state: State,
    given: Bool[Array, "r K B"],
    given2: Bool[Array, "s J"],
    x2: Float[Array, "p J"],
    target: JointTarget,
    shift: Float[Array, "r K B"],
    shift2: Float[Array, "s J"],
) -> tuple[Float[Array, "r K B"], Float[Array, "s J"]]:
    """Draw the elements that are not given, shifted, given the others; of both levels."""
    y = jn.impute(key, state.level1, state.y, given, target, shift)
    s = state.w.shape[0]
    if s == 0:
        return y, state.w
    mean, precision = level2_given(state.level1.b, state.level1.root_psi)
    mean = mean + jnp.matmul(state.beta2.T, x2)
    z = jn.draw_effects_noise(
        key, jnp.ones((), int), 0, s, x2.shape[1], jnp.ones((), int), x2.dtype
    )
    e = jn.draw_missing(z.reshape(s, -1), state.w - mean, given2, precision[:, :, None])
    return y, jnp.where(given2, state.w, mean + e + shift2)


def decode(latent: Float[Array, "k *n"]) -> Float[Array, "*n"]:
    """Return the category that latent normals stand for."""
    best = jnp.argmax(latent, axis=0) + 1
    return jnp.where(jnp.max(latent, axis=0) > 0, best, 0).astype(latent.dtype)


def _omega_prior(spread: Spread, f: int) -> covariance.Prior:
    """Return the distribution of the covariance of a cluster."""
    excess = jnp.exp(spread.log_excess)
    alpha = excess + f + 1
    return covariance.Prior(alpha, excess * spread.scale, spread.a, spread.phi, alpha)


def draw_log_excess(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    spread: Spread,
    parameters: jn.Parameters,
    first: Members,
    sums: Sums,
    prior: Prior,
) -> Float[Array, ""]:
    """Move the logarithm of alpha - f - 1 by slice sampling, given all covariances."""
    assert prior.spread is not None
    shape, rate = prior.spread.shape, prior.spread.rate
    a, phi, free = covariance.split(parameters.root_omega, first.groups)
    live = sums.cluster_live
    J = jnp.sum(live).astype(free.dtype)
    f, c = free.shape[0], a.shape[0]
    inverse = jn.inverse_of(free) if f else free
    root = cholesky(spread.scale) if f else spread.scale
    ratio = jnp.einsum("ikj,kl->ilj", inverse, root)
    # Jensen's gap of every cluster: tr(S Sigma_j^-1) - f - log |S Sigma_j^-1|.
    diagonal = jnp.einsum("iij->ij", ratio)
    gaps = jnp.sum(ratio**2, axis=(0, 1)) - f - 2 * jnp.sum(jnp.log(diagonal), axis=0)
    off = jnp.einsum("ikj,klj->ilj", inverse, phi - spread.phi[:, :, None])
    squares = jnp.sum(off**2, axis=(0, 1)) + jnp.sum((a - spread.a[:, :, None]) ** 2, axis=(0, 1))
    gap, square = (jnp.sum(jnp.where(live, each, 0)) for each in (gaps, squares))
    n_coefficients = int(first.groups.earlier.sum()) + f * c

    def log_density(log_excess: Float[Array, " n"]) -> Float[Array, " n"]:
        return spread_log_density(log_excess, J, f, gap, n_coefficients, square, shape, rate)

    u = uniforms(key, counter, (3,), free.dtype)
    width = 4 * jnp.sqrt(2 / J)
    start = spread.log_excess
    return slice_step(key, counter + COUNTERS // 4, u, start, log_density, width, *LOG_EXCESS)


def spread_log_density(
    log_excess: Float[Array, " n"],
    J: Float[Array, ""],
    f: int,
    gap: Float[Array, ""],
    n_coefficients: int,
    square: Float[Array, ""],
    shape: Float[Array, ""],
    rate: Float[Array, ""],
) -> Float[Array, " n"]:
    """Return the log density of log(alpha - f - 1) up to a constant.

    Stirling's leading terms are taken out, so that no large terms cancel.

    Parameters
    ----------
    log_excess
        Logarithm of alpha - f - 1.
    J, f
        Numbers of clusters and of free dimensions.
    gap
        Sum over clusters of ``tr(S Sigma_j^-1) - f - log |S Sigma_j^-1|``.
    n_coefficients, square
        Number of coefficients of a cluster, and the sum of squares of their deviations.
    shape, rate
        Of the gamma prior of alpha - f - 1.
    """
    excess = jnp.exp(log_excess)
    alpha = excess + f + 1
    core = jnp.zeros_like(excess)
    for i in range(f):
        a = (alpha - i) / 2
        core = core + alpha / 2 * jnp.log1p(-(f + 1 - i) / (alpha - i))
        core = core + (i + 1) / 2 * jnp.log(a) - stirling_remainder(a)
    coefficients = J * n_coefficients / 2 * jnp.log(alpha) - alpha / 2 * square
    return J * core - excess / 2 * gap + coefficients + shape * log_excess - rate * excess


def draw_spread(
    noise: _Noise,
    gammas: Float[Array, " f"],
    spread: Spread,
    parameters: jn.Parameters,
    first: Members,
    sums: Sums,
    prior: Prior,
) -> Spread:
    """Draw S and the mean coefficients given alpha and all covariances."""
    assert prior.spread is not None
    a, phi, free = covariance.split(parameters.root_omega, first.groups)
    live = sums.cluster_live
    f, c = free.shape[0], a.shape[0]
    excess = jnp.exp(spread.log_excess)
    alpha = excess + f + 1
    z_scale, z_phi, z_a = noise.take(f, f), noise.take(f, c), noise.take(c, c)
    scale, mean_phi, mean_a = spread.scale, spread.phi, spread.a
    if f:
        precisions = jnp.where(live, jn.precision_of(free), 0)
        total = jnp.sum(precisions, axis=2)
        both = prior.spread.scale + excess * total
        root = inverse_wishart_factor(gammas, z_scale, both, jnp.ones((f,), bool))
        half = solve_lower(root, jnp.eye(f, dtype=root.dtype))
        scale = jnp.matmul(half.T, half)
    if f and c:
        left = alpha * jnp.einsum("ikj,klj->il", precisions, phi)
        matrix = alpha * total + prior.spread.precision * jnp.eye(f, dtype=free.dtype)
        lower = cholesky(matrix)
        mean_phi = solve_lower_transposed(lower, solve_lower(lower, left) + z_phi)
    if c:
        weight = alpha * jnp.sum(live) + prior.spread.precision
        mean_a = (alpha * jnp.sum(jnp.where(live, a, 0), axis=2)) / weight + z_a / jnp.sqrt(weight)
        mean_a = jnp.where(jnp.asarray(first.groups.earlier), mean_a, 0)
    return Spread(spread.log_excess, scale, mean_a, mean_phi)
