"""Normal regression with the effects of several factors, nested or crossed.

    y_i = x_i' beta + z_i' b_c(i) + sum_v w_vi' u_v,g(i) + e_i,
    b_c ~ N(0, Psi),    u_vg ~ N(0, Psi_v),    e_i ~ N(0, sigma2)

The first factor, the clusters, is drawn jointly with beta given the others, by the
kernels of `linear_mixed`; then every further factor given the rest. All of them read the
residuals of the rows, which a step keeps up to date: what it adds to a residual is the
change of the effects, so nothing large is ever subtracted. Intercepts of factors that
explain each other, a class alone in its school, hardly move that way. They move along
the shifts that leave every fitted value as it is, whose conditional law is normal (Liu
and Sabatti 2000, Biometrika 87, 353-369).
"""

from collections.abc import Sequence
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.linalg import (
    Factor,
    Link,
    eliminate,
    group_sums,
    solve_lower,
    solve_lower_pseudo,
    to_blocks,
    to_group_rows,
)
from jaxmice.random import normals, once
from jaxmice.samplers import linear_mixed as lm
from jaxmice.samplers.latent import read_outcome
from jaxmice.samplers.sums import Sums
from jaxmice.target import Target

Residuals = Float[Array, "K B"]


class Effects(eqx.Module):
    """One draw of the effects of a further factor."""

    u: Float[Array, "q G"]
    """Effects of every group, the intercept first."""

    root_psi: Float[Array, "q q"]
    """Lower Cholesky factor of their covariance."""


class Parameters(eqx.Module):
    """One draw of the parameters, for one chain."""

    first: lm.Parameters
    """Fixed effects, effects of the clusters, residual variance."""

    further: tuple[Effects, ...]
    """Effects of every further factor."""


class Prior(eqx.Module):
    """Prior of the regression; of those of further factors only Psi's part is read."""

    first: lm.Prior
    further: tuple[lm.Prior, ...]


def half_t(sums: Sums, scale: float) -> lm.Prior:
    """Return the half-t prior of Psi for a further factor, given the sums of its design."""
    q, dtype = len(sums.z_live), sums.k.dtype
    zero, none = jnp.zeros((), dtype), jnp.zeros((0,), dtype)
    scales = jnp.full((q,), scale, dtype)
    return lm.Prior(zero, zero, none, zero, jnp.zeros((q, q), dtype), half_t=scales)


class Data(eqx.Module):
    """What the steps of a visit read, for one chain."""

    target: Target
    first: Sums
    """Sums by cluster; those that depend on the response are replaced in every step."""

    further: tuple[Sums, ...]
    """Sums of the design of every further factor, of no response."""


def read(target: Target, sums: Sums) -> Data:
    """Return what the steps read: the rows, and sums of every design over fitted rows."""
    further = tuple(design_sums(factor, target.ry) for factor in target.factors)
    return Data(target=target, first=sums, further=further)


def design_sums(factor: Factor, fitted: Array) -> Sums:
    """Return sums of the design of a further factor, as if it alone were the regression."""
    dtype = factor.slopes.dtype
    columns = [jnp.ones(fitted.shape, dtype), *factor.slopes]
    q = len(columns)
    live = fitted.astype(dtype)
    squares = [columns[i] * columns[k] * live for i in range(q) for k in range(q)]
    gram = group_sums(jnp.stack(squares), factor).reshape(q, q, -1)
    root, _ = eliminate(gram, gram[:, :0], 64 * float(jnp.finfo(dtype).eps))
    z_live = jnp.concatenate([jnp.ones((1,), bool), factor.slopes_live])
    none = jnp.zeros((0,), dtype)
    return Sums(
        root=root,
        K=jnp.swapaxes(root, 0, 1),
        k=jnp.zeros_like(gram[0]),
        S=jnp.zeros((0, 0), dtype),
        s=none,
        rho=jnp.zeros((), dtype),
        n=gram[0, 0],
        x_square=jnp.sum(jnp.diagonal(gram), axis=0),
        penalty=jnp.zeros((q,), dtype),
        z_live=z_live,
        x_live=z_live,
        cluster_live=factor.live,
    )


def start(data: Data) -> Parameters:
    """Return a start: no effects, and half of the residual deviation in every factor."""
    first = lm.start(data.first)
    further = tuple(
        Effects(jnp.zeros_like(sums.k), lm.start_root(sums, first.sigma2)) for sums in data.further
    )
    return Parameters(first, further)


def fitted(parameters: Parameters, target: Target) -> Residuals:
    """Return the expected value of all rows, given all effects."""
    first = parameters.first
    q = first.b.shape[0]
    effects = to_blocks(first.b + first.beta[:q, None], target.layout)
    total = target.linear_predictor(effects, first.beta[q:])
    for effect, factor in zip(parameters.further, target.factors, strict=True):
        total = total + contribution(effect.u, factor)
    return total


def contribution(u: Float[Array, "q G"], factor: Factor) -> Float[Array, "K _"]:
    """Return what the effects of a factor add to its rows."""
    rows = to_group_rows(u, factor)
    return sum((rows[1 + i] * z for i, z in enumerate(factor.slopes)), rows[0])


def run(
    key: Key[Array, ""],
    parameters: Parameters,
    data: Data,
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
    data, prior
        The data and the prior.
    n_steps
        Number of steps.
    """
    target = data.target
    residuals = jnp.where(target.ry, target.y - fitted(parameters, target), 0)

    def one(
        counter: Int[Array, ""], noise: lm.Noise, state: tuple[Parameters, Residuals]
    ) -> tuple[Parameters, Residuals]:
        own = further_noise(key, counter, noise.gammas, data, prior, n_steps)
        return step(noise, own, *state, data, prior)

    shapes, state = gamma_shapes(data, prior), (parameters, residuals)
    return lm.in_batches(key, shapes, data.first, one, state, n_steps)[0]


N_SWEEPS = 50
"""Steps without noise in which effects come to their expectations."""


def expected(parameters: Parameters, data: Data, prior: Prior) -> Parameters:
    """Return the expectations of all effects given the variances, which stay as they are."""
    target, first = data.target, data.first
    q, p = first.k.shape[0], first.x_live.shape[0]
    n_gammas = gamma_shapes(data, prior).shape[0]
    dtype = first.k.dtype
    zero = lm.Noise(
        beta=jnp.zeros((p,), dtype),
        psi=jnp.zeros((q, q), dtype),
        b=jnp.zeros_like(first.k),
        spare=jnp.zeros((2,), dtype),
        gammas=jnp.zeros((n_gammas,), dtype),
    )
    further = tuple(
        FactorNoise(
            u=jnp.zeros_like(sums.k),
            psi=jnp.zeros_like(sums.root[..., 0]),
            mean=jnp.zeros((), dtype),
            parts=jnp.zeros((len(factor.links), sums.k.shape[1]), dtype),
            gammas=zero.gammas[:0],
        )
        for factor, sums in zip(target.factors, data.further, strict=True)
    )
    residuals = jnp.where(target.ry, target.y - fitted(parameters, target), 0)

    def sweep(
        _: Int[Array, ""], state: tuple[Parameters, Residuals]
    ) -> tuple[Parameters, Residuals]:
        return draw_effects(zero, further, *state, data, prior)

    return jax.lax.fori_loop(0, N_SWEEPS, sweep, (parameters, residuals))[0]


class FactorNoise(eqx.Module):
    """The standard draws that one step turns into the effects of a further factor."""

    u: Float[Array, "q G"]
    """Normals for the effects."""

    psi: Float[Array, "q q"]
    """Normals for their covariance."""

    mean: Float[Array, ""]
    """A normal for the shift against the fixed intercept."""

    parts: Float[Array, "l G"]
    """Normals for the shifts along every link, one per part."""

    gammas: Float[Array, " g"]
    """Gammas for the covariance."""


def gamma_shapes(data: Data, prior: Prior) -> Float[Array, " g"]:
    """Return the shapes of the gamma variates of a step: first factor, sigma2, the others."""
    further = [lm.psi_shapes(*pair) for pair in zip(data.further, prior.further, strict=True)]
    return jnp.concatenate([lm.gamma_shapes(data.first, prior.first), *further])


def further_noise(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    gammas: Float[Array, " g"],
    data: Data,
    prior: Prior,
    n_steps: Int[Array, ""],
) -> tuple[FactorNoise, ...]:
    """Draw what a step needs for the further factors, from the counters of that step."""
    used = lm.gamma_shapes(data.first, prior.first).shape[0]
    out = []
    for v, (factor, sums) in enumerate(zip(data.target.factors, data.further, strict=True)):
        q, G = sums.k.shape
        few, each = q * q + 1, q + len(factor.links)
        # Addressed by group first: groups that fill up the shape move no number.
        by_group = few + jnp.arange(each)[:, None] + each * jnp.arange(G)
        place = jnp.concatenate([jnp.arange(few), jnp.ravel(by_group)]).astype(jnp.uint32)
        blank = jnp.zeros(place.shape, sums.k.dtype)
        at = counter + 1 + v

        def draw(at: Array = at, blank: Array = blank, place: Array = place) -> Array:
            return normals(key, at, blank.shape, blank.dtype, place)

        z = once(n_steps, draw, blank)
        groups = z[few:].reshape(each, G)
        count = lm.psi_shapes(sums, prior.further[v]).shape[0]
        out.append(
            FactorNoise(
                u=groups[:q],
                psi=z[1:few].reshape(q, q),
                mean=z[0],
                parts=groups[q:],
                gammas=gammas[used : used + count],
            )
        )
        used += count
    return tuple(out)


def step(
    noise: lm.Noise,
    further_noise: Sequence[FactorNoise],
    parameters: Parameters,
    residuals: Residuals,
    data: Data,
    prior: Prior,
) -> tuple[Parameters, Residuals]:
    """Draw every parameter once from its conditional distribution.

    Parameters
    ----------
    noise, further_noise
        Standard draws.
    parameters
        Where the chain stands.
    residuals
        Its residuals, zero for rows that are not fitted.
    data, prior
        The data and the prior.

    Returns
    -------
    The parameters after the step and their residuals.
    """
    parameters, residuals = draw_effects(noise, further_noise, parameters, residuals, data, prior)
    parameters = draw_covariances(noise, further_noise, parameters, data, prior)
    n_first = lm.gamma_shapes(data.first, prior.first).shape[0]
    rate = prior.first.sigma2_rate + jnp.sum(residuals**2)
    sigma2 = jnp.maximum(rate / 2 / noise.gammas[n_first - 1], lm.least_sigma2(data.first))
    first = replace(parameters.first, sigma2=sigma2)
    return replace(parameters, first=first), residuals


def draw_effects(
    noise: lm.Noise,
    further_noise: Sequence[FactorNoise],
    parameters: Parameters,
    residuals: Residuals,
    data: Data,
    prior: Prior,
) -> tuple[Parameters, Residuals]:
    """Draw the effects of all factors given the variances; arguments as for `step`.

    Without noise these are conditional expectations, and repeated steps go to the joint one.
    """
    first, residuals = draw_first(noise, parameters.first, residuals, data, prior)
    further = list(parameters.further)
    for v in range(len(further)):
        further[v], residuals = draw_further(
            further_noise[v].u, further[v], residuals, first.sigma2, v, data
        )
    first, further = recentre(further_noise, first, further, data, prior)
    return Parameters(first, tuple(further)), residuals


def draw_covariances(
    noise: lm.Noise,
    further_noise: Sequence[FactorNoise],
    parameters: Parameters,
    data: Data,
    prior: Prior,
) -> Parameters:
    """Draw the covariance matrices of all factors given their effects; arguments as for `step`."""
    first = parameters.first
    n_psi = lm.psi_shapes(data.first, prior.first).shape[0]
    root = lm.draw_root_psi(
        noise.gammas[:n_psi], noise.psi, first.b, first.root_psi, data.first, prior.first
    )
    further = []
    for v, (own, effects) in enumerate(zip(further_noise, parameters.further, strict=True)):
        drawn = lm.draw_root_psi(
            own.gammas, own.psi, effects.u, effects.root_psi, data.further[v], prior.further[v]
        )
        further.append(Effects(effects.u, drawn))
    return Parameters(replace(first, root_psi=root), tuple(further))


def draw_first(
    noise: lm.Noise, before: lm.Parameters, residuals: Residuals, data: Data, prior: Prior
) -> tuple[lm.Parameters, Residuals]:
    """Draw (beta, b) jointly given the effects of the further factors."""
    target = data.target
    q = before.b.shape[0]
    left = read_outcome(residuals, target, data.first)
    # With what beta and b explain now added back: sums of the response less the others.
    explained = lm.fitted(before.beta, data.first)
    explained = explained + transposed_product(data.first.root, before.b)
    s = left.s + data.first.S @ before.beta[q:]
    sums = replace(data.first, k=left.k + explained, s=s)
    beta = lm.draw_beta(noise.beta, before.root_psi, before.sigma2, sums, prior.first)
    _, b = lm.draw_b(noise.b, beta, before.root_psi, before.sigma2, sums)
    change = beta - before.beta
    effects = to_blocks(b - before.b + change[:q, None], target.layout)
    moved = target.linear_predictor(effects, change[q:])
    after = replace(before, beta=beta, b=b)
    return after, jnp.where(target.ry, residuals - moved, 0)


def transposed_product(
    root: Float[Array, "q q G"], values: Float[Array, "q G"]
) -> Float[Array, "q G"]:
    """Return ``R' values``."""
    terms = [root[i] * values[i] for i in range(root.shape[0])]
    return sum(terms, jnp.zeros_like(values))


def draw_further(
    z: Float[Array, "q G"],
    before: Effects,
    residuals: Residuals,
    sigma2: Float[Array, ""],
    v: int,
    data: Data,
) -> tuple[Effects, Residuals]:
    """Draw the effects of the v-th further factor given everything else."""
    factor, sums = data.target.factors[v], data.further[v]
    weighted = jnp.stack([residuals, *(column * residuals for column in factor.slopes)])
    k = solve_lower_pseudo(sums.root, group_sums(weighted, factor)[:, None])[:, 0]
    sums = replace(sums, k=k + transposed_product(sums.root, before.u))
    none = jnp.zeros(sums.x_live.shape, z.dtype)
    _, u = lm.draw_b(z, none, before.root_psi, sigma2, sums)
    explained = contribution(u - before.u, factor)
    after = Effects(u, before.root_psi)
    return after, jnp.where(data.target.ry, residuals - explained, 0)


def recentre(
    noise: Sequence[FactorNoise],
    first: lm.Parameters,
    further: list[Effects],
    data: Data,
    prior: Prior,
) -> tuple[lm.Parameters, list[Effects]]:
    """Draw the shifts of intercepts that leave every fitted value as it is.

    Of every further factor against the fixed intercept, and, part by part of their links,
    against the clusters and the further factors before it.
    """
    target, further = data.target, list(further)
    for v, factor in enumerate(target.factors):
        own = further[v]
        if first.beta.shape[0]:
            beta, own = shift_mean(noise[v].mean, first, own, factor, data, prior)
            first = replace(first, beta=beta)
        if first.b.shape[0]:
            b, u = shift_parts(
                noise[v].parts[0],
                factor.links[0],
                (own.u, own.root_psi, factor.live),
                (first.b, first.root_psi, target.layout.cluster_live & target.z_intercept),
            )
            first, own = replace(first, b=b), Effects(u, own.root_psi)
        for w in range(v):
            other = further[w]
            b, u = shift_parts(
                noise[v].parts[1 + w],
                factor.links[1 + w],
                (own.u, own.root_psi, factor.live),
                (other.u, other.root_psi, target.factors[w].live),
            )
            further[w], own = Effects(b, other.root_psi), Effects(u, own.root_psi)
        further[v] = own
    return first, further


def shift_mean(
    z: Float[Array, ""],
    first: lm.Parameters,
    own: Effects,
    factor: Factor,
    data: Data,
    prior: Prior,
) -> tuple[Float[Array, " p"], Effects]:
    """Shift the intercepts of a factor against the fixed one, where there is one."""
    target, p, q = data.target, first.beta.shape[0], first.b.shape[0]
    in_z, in_f = target.z_intercept & (q > 0), target.f_intercept & (q < p)
    at = jnp.where(in_z, 0, min(q, p - 1))
    weight = intercept_precision(own.root_psi)
    held = data.first.penalty[at] / first.sigma2 + prior.first.beta_precision[at]
    precision = weight[0] * jnp.sum(factor.live) + held
    pull = jnp.sum(weight @ own.u) - held * first.beta[at]
    shift = jnp.where(in_z | in_f, pull / precision + z / jnp.sqrt(precision), 0)
    u = own.u.at[0].add(jnp.where(factor.live, -shift, 0))
    return first.beta.at[at].add(shift), Effects(u, own.root_psi)


def shift_parts(
    z: Float[Array, " G"],
    link: Link,
    own: tuple[Float[Array, "q G"], Float[Array, "q q"], Array],
    other: tuple[Float[Array, "r H"], Float[Array, "r r"], Array],
) -> tuple[Float[Array, "r H"], Float[Array, "q G"]]:
    """Shift the intercepts of two factors against each other, one shift per part.

    Each factor by its effects, the root of their covariance, and which groups take part.
    Returns the effects of the other factor and of the own one.
    """
    total, pull = jnp.zeros_like(z), jnp.zeros_like(z)
    for part, (u, root, live), sign in ((link.own, own, 1), (link.other, other, -1)):
        weight = intercept_precision(root)
        both = jnp.stack([jnp.broadcast_to(weight[0], live.shape), sign * (weight @ u)])
        sums = jax.ops.segment_sum(jnp.where(live, both, 0).T, part, num_segments=len(z))
        total, pull = total + sums[:, 0], pull + sums[:, 1]
    # A part that exists has groups of both factors, unless one of them takes no part.
    usable = (total > 0) & jnp.any(other[2])
    safe = jnp.where(usable, total, 1)
    shift = jnp.where(usable, pull / safe + z / jnp.sqrt(safe), 0)
    u = own[0].at[0].add(jnp.where(own[2], -shift[link.own], 0))
    b = other[0].at[0].add(jnp.where(other[2], shift[link.other], 0))
    return b, u


def intercept_precision(root: Float[Array, "q q"]) -> Float[Array, " q"]:
    """Return the first row of the inverse of a covariance matrix, given its root."""
    inverse = solve_lower(root, jnp.eye(root.shape[0], dtype=root.dtype))
    return inverse[:, 0] @ inverse
