"""Multivariate two-level normal regression of incomplete responses.

    Y_ij = B' x_ij + U_j' z_ij + e_ij,    vec(U_j) ~ N(m_j, Psi),    e_ij ~ N(0, Omega_j)

with r responses, B (p, r), U_j (q, r), and one Omega for all clusters or one for each.
Schafer and Yucel (2002), Journal of Computational and Graphical Statistics 11, 437-457.

A step draws the missing cells of every row given the parameters, in one pass over the
rows that also sums the residuals; everything else comes from those sums, all clusters at
once. B is drawn with U integrated out.

Shapes: vec(U) runs over the columns of Z first and the responses within each. An axis G
is one long if clusters share Omega and J long if they do not.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxmice.linalg import (
    Layout,
    cluster_products,
    contract,
    draw_normal,
    solve_half,
    solve_lower,
    solve_lower_pseudo,
    to_blocks,
    total_products,
)
from jaxmice.random import log_gamma, normals, once, row_normals
from jaxmice.samplers import covariance
from jaxmice.samplers.covariance import Groups
from jaxmice.samplers.linear_mixed import COUNTERS
from jaxmice.samplers.sums import Sums, make_sums
from jaxmice.target import JointTarget, Target


class Responses(eqx.Module):
    """What the steps read of the rows."""

    y: Float[Array, "r K B"]
    """Responses, zero where they are not given."""

    given: Bool[Array, "r K B"]
    """Cells whose value is given."""

    fitted: Bool[Array, "K B"]
    """Rows that the parameters depend on."""

    target: JointTarget
    """Predictors."""

    sums: Sums
    """Sums of the predictors over the fitted rows; those of responses are unread."""


class Prior(eqx.Module):
    """Prior of the covariances and of B, whose elements are independent normals.

    The precision of an element of B is ``penalty`` in units of the residual precision of
    its response plus ``beta_precision``.
    """

    omega: covariance.Prior
    psi: covariance.Prior
    penalty: Float[Array, "p r"]
    beta_precision: Float[Array, "p r"]


class Parameters(eqx.Module):
    """One draw of the parameters, for one chain."""

    beta: Float[Array, "p r"]
    """Fixed effects B of X = [Z, F]."""

    b: Float[Array, "q r J"]
    """Random effects U of every cluster."""

    root_psi: Float[Array, "qr qr"]
    """Lower factor of Psi."""

    root_omega: Float[Array, "r r G"]
    """Lower factors of Omega."""


class Residuals(eqx.Module):
    """Sums of ``Y - X B0`` over the fitted rows, inside and outside the space of Z."""

    beta: Float[Array, "p r"]
    """B0: the fixed effects when the rows were read."""

    k: Float[Array, "q r J"]
    """R^+ Z'(Y - X B0)."""

    s: Float[Array, "f r G"]
    """Cross products of F and what Z leaves of the residuals."""

    rho: Float[Array, "r r G"]
    """Cross products of what Z leaves of the residuals."""


def make_responses(
    y: Float[Array, "r K B"],
    given: Bool[Array, "r K B"],
    fitted: Bool[Array, "K B"],
    target: JointTarget,
    *,
    by_cluster: bool,
) -> Responses:
    """Read the predictors once; with ``by_cluster`` for an Omega of every cluster."""
    blank = jnp.zeros(fitted.shape, y.dtype)
    alone = Target(
        y=blank,
        ry=fitted,
        wy=fitted,
        used=fitted,
        delta=blank,
        z_shared=target.z_shared,
        z_chain=target.z_chain,
        f_shared=target.f_shared,
        f_chain=target.f_chain,
        z_live=target.z_live,
        f_live=target.f_live,
        z_intercept=target.z_intercept,
        f_intercept=target.f_intercept,
        y_scale=jnp.ones((), y.dtype),
        z_units=target.z_units,
        layout=target.layout,
    )
    sums = make_sums(alone, by_cluster=by_cluster)
    return Responses(jnp.where(given, y, 0), given, fitted, target, sums)


def start(responses: Responses, n_covariances: int) -> Parameters:
    """Return no effects, unit residual variances and random effects half as large."""
    sums, r = responses.sums, responses.y.shape[0]
    q, p, J = sums.z_live.shape[0], sums.x_live.shape[0], sums.cluster_live.shape[0]
    dtype = responses.y.dtype
    size = jnp.sqrt(sums.x_square[:q] / jnp.maximum(jnp.sum(sums.n), 1))
    usable = sums.z_live & (size > 0)
    spread = jnp.where(usable, 0.5 / jnp.where(usable, size, 1), 1)
    return Parameters(
        beta=jnp.zeros((p, r), dtype),
        b=jnp.zeros((q, r, J), dtype),
        root_psi=jnp.diag(jnp.repeat(spread, r)),
        root_omega=jnp.broadcast_to(jnp.eye(r, dtype=dtype)[:, :, None], (r, r, n_covariances)),
    )


def run(
    key: Key[Array, ""],
    parameters: Parameters,
    responses: Responses,
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
    responses, prior
        The data and the prior.
    n_steps
        Number of steps.
    """

    def body(i: Int[Array, ""], parameters: Parameters) -> Parameters:
        return step(key, i * COUNTERS, parameters, responses, prior, n_steps)

    return jax.lax.fori_loop(0, n_steps, body, parameters)


def step(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    parameters: Parameters,
    responses: Responses,
    prior: Prior,
    n_steps: Int[Array, ""],
) -> Parameters:
    """Draw the missing cells and then every parameter once from its conditional.

    Parameters
    ----------
    key, counter
        Key and the first of the counters of this step.
    parameters, responses, prior
        Where the chain stands, the data, and the prior.
    n_steps
        Any traced number above zero.
    """
    sums, (p, r) = responses.sums, parameters.beta.shape
    q, J = sums.z_live.shape[0], sums.cluster_live.shape[0]
    d = q * r
    z_rows = draw_rows(key, counter, responses.y, n_steps)
    residuals = row_pass(z_rows, parameters, responses)
    few = p * r + d * d + r * r
    z = draw_effects_noise(key, counter + 1, few, d, J, n_steps, responses.y.dtype)
    beta = draw_beta(z[: p * r], parameters.root_psi, parameters.root_omega, residuals, sums, prior)
    noise = z[few:].reshape(d, J)
    b = draw_b(noise, beta, parameters.root_psi, parameters.root_omega, residuals, sums)
    vec_b = b.reshape(d, J)
    psi_live, omega_live = jnp.repeat(sums.z_live, r), jnp.ones((r,), bool)
    n_clusters = jnp.sum(sums.cluster_live).astype(z.dtype)[None]
    shapes = [
        covariance.gamma_shapes(prior.psi, n_clusters, psi_live),
        covariance.gamma_shapes(prior.omega, jnp.sum(sums.n)[None], omega_live),
    ]
    drawn = jnp.exp(log_gamma(key, counter + COUNTERS // 2, jnp.concatenate(shapes)[:, 0]))
    gammas = drawn[:, None]
    cut, at = shapes[0].shape[0], p * r + d * d
    root_psi = covariance.draw_root(
        gammas[:cut],
        z[p * r : at].reshape(d, d, 1),
        parameters.root_psi[:, :, None],
        jnp.matmul(vec_b, vec_b.T)[:, :, None],
        prior.psi,
        Groups(),
        psi_live,
    )
    root_omega = covariance.draw_root(
        gammas[cut:],
        z[at:few].reshape(r, r, 1),
        parameters.root_omega,
        residual_products(beta, b, residuals, sums),
        prior.omega,
        Groups(),
        omega_live,
    )
    return Parameters(beta=beta, b=b, root_psi=root_psi[:, :, 0], root_omega=root_omega)


def draw_rows(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    like: Float[Array, "r K B"],
    n_steps: Int[Array, ""],
) -> Float[Array, "r K B"]:
    """Draw a standard normal for every cell."""
    blank = jnp.zeros(like.shape, like.dtype)
    if like.shape[0] == 0:
        return blank
    return once(n_steps, lambda: row_normals(key, counter, like.shape, like.dtype), blank)


def draw_effects_noise(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    few: int,
    by_cluster: int,
    J: int,
    n_steps: Int[Array, ""],
    dtype: jnp.dtype,
) -> Float[Array, " n"]:
    """Draw standard normals: some, then some for every cluster, clusters last."""
    place = few + jnp.arange(by_cluster)[:, None] + by_cluster * jnp.arange(J)
    at = jnp.concatenate([jnp.arange(few), jnp.ravel(place)]).astype(jnp.uint32)
    blank = jnp.zeros(at.shape, dtype)
    return once(n_steps, lambda: normals(key, counter, at.shape, dtype, at), blank)


def impute(
    key: Key[Array, ""],
    parameters: Parameters,
    y: Float[Array, "r K B"],
    given: Bool[Array, "r K B"],
    target: JointTarget,
    shift: Float[Array, "r K B"] | None = None,
) -> Float[Array, "r K B"]:
    """Draw the cells that are not given, shifted if asked, given the others of their row."""
    z = row_normals(key, jnp.zeros((), int), y.shape, y.dtype)
    mean = fitted_rows(parameters.beta, parameters.b, target)
    precision = by_row(precision_of(parameters.root_omega), target.layout)
    drawn = mean + draw_missing(z, y - mean, given, precision)
    return jnp.where(given, y, drawn if shift is None else drawn + shift)


def fitted_rows(
    beta: Float[Array, "p r"], b: Float[Array, "q r J"], target: JointTarget
) -> Float[Array, "r K B"]:
    """Return ``B'x + U'z`` of every row."""
    q, r, J = b.shape
    qs, fs = target.z_shared.shape[0], target.f_shared.shape[0]
    total = jnp.zeros((r, *target.layout.row_live.shape), beta.dtype)
    effects = (b + beta[:q, :, None]).reshape(q * r, J)
    by_block = to_blocks(effects, target.layout).reshape(q, r, total.shape[1])
    for columns, weights in ((target.z_shared, by_block[:qs]), (target.z_chain, by_block[qs:])):
        for column, weight in zip(columns, weights, strict=True):
            total = total + column * weight[:, :, None]
    fixed = beta[q:]
    for columns, weights in ((target.f_shared, fixed[:fs]), (target.f_chain, fixed[fs:])):
        if columns.shape[0]:
            total = total + jnp.einsum("fkb,fr->rkb", columns, weights)
    return total


def draw_missing(
    z: Float[Array, "r *n"],
    e: Float[Array, "r *n"],
    given: Bool[Array, "r *n"],
    precision: Float[Array, "r r *n"],
) -> Float[Array, "r *n"]:
    """Draw the residuals of the cells that are not given from their conditional law.

    Parameters
    ----------
    z
        Standard normals.
    e
        Residuals; those not given are unread.
    given
        Cells to leave as they are. Any pattern: a given cell has precision one and shift
        zero in a system in which only the others take part.
    precision
        Inverse of the covariance of a column of ``e``, must broadcast against it.
    """
    r = e.shape[0]
    known = jnp.where(given, e, 0)
    free = (~given).astype(e.dtype)
    eye = jnp.eye(r, dtype=e.dtype).reshape(r, r, *[1] * (e.ndim - 1))
    system = free[:, None] * free[None] * precision + eye * (1 - free)
    shift = -free * sum(precision[:, i] * known[i] for i in range(r))
    return jnp.where(given, e, draw_normal(z, system, shift))


def precision_of(root: Float[Array, "r r G"]) -> Float[Array, "r r G"]:
    """Return the inverse of ``root root'``."""
    inverse = inverse_of(root)
    return jnp.einsum("kag,kbg->abg", inverse, inverse)


def inverse_of(root: Float[Array, "r r G"]) -> Float[Array, "r r G"]:
    """Return the inverses of lower triangular matrices."""
    eye = jnp.eye(root.shape[0], dtype=root.dtype)[:, :, None]
    return solve_lower(root, jnp.broadcast_to(eye, root.shape))


def by_row(matrices: Float[Array, "r r G"], layout: Layout) -> Float[Array, "r r _ 1"]:
    """Return one matrix per block, or one for all, ready to broadcast over rows."""
    r, _, G = matrices.shape
    if G > 1:
        matrices = to_blocks(matrices.reshape(r * r, G), layout).reshape(r, r, -1)
    return matrices[..., None]


def row_pass(z: Float[Array, "r K B"], parameters: Parameters, responses: Responses) -> Residuals:
    """Draw the missing cells of every row and sum the residuals of the fitted rows."""
    mean = fitted_rows(parameters.beta, parameters.b, responses.target)
    precision = by_row(precision_of(parameters.root_omega), responses.target.layout)
    e = draw_missing(z, responses.y - mean, responses.given, precision)
    return sum_residuals(e, parameters, responses)


def sum_residuals(
    e: Float[Array, "r K B"], parameters: Parameters, responses: Responses
) -> Residuals:
    """Sum the residuals of the fitted rows at the given (B, U).

    Sums of residuals, not of responses, lose no digits where clusters differ much.
    """
    target, sums = responses.target, responses.sums
    r, q, J = e.shape[0], sums.z_live.shape[0], sums.cluster_live.shape[0]
    e = e * responses.fitted
    z_parts = [part for part in (target.z_shared, target.z_chain) if part.shape[0]]
    f_parts = [part for part in (target.f_shared, target.f_chain) if part.shape[0]]
    ze = [cluster_products(part, e, target.layout) for part in z_parts]
    k = solve_lower_pseudo(sums.root, jnp.concatenate(ze)) if q else jnp.zeros((0, r, J), e.dtype)
    by_cluster = parameters.root_omega.shape[2] > 1

    def products(u: Float[Array, "a K B"]) -> Float[Array, "a r G"]:
        if by_cluster:
            return cluster_products(u, e, target.layout)
        return total_products(e, u).T[:, :, None]

    def inside(u: Float[Array, "q a J"]) -> Float[Array, "a r G"]:
        how = "kaj,krj->arj" if by_cluster else "kaj,krj->ar"
        product = jnp.einsum(how, u, k)
        return product if by_cluster else product[:, :, None]

    fe = [products(part) for part in f_parts]
    blank = jnp.zeros((0, r, parameters.root_omega.shape[2]), e.dtype)
    s = jnp.concatenate([blank, *fe]) - inside(sums.K[:, q:])
    return Residuals(
        beta=parameters.beta,
        k=k + spread_inside(parameters.b, sums),
        s=s,
        rho=products(e) - inside(k),
    )


def fitted_inside(beta: Float[Array, "p r"], sums: Sums) -> Float[Array, "q r J"]:
    """Return K B."""
    terms = [sums.K[:, a, None] * beta[a][:, None] for a in range(beta.shape[0])]
    return sum(terms, jnp.zeros((), beta.dtype))


def spread_inside(b: Float[Array, "q r J"], sums: Sums) -> Float[Array, "q r J"]:
    """Return R'U."""
    terms = [sums.root[a][:, None] * b[a] for a in range(b.shape[0])]
    return sum(terms, jnp.zeros_like(b))


def projected_root(
    root_psi: Float[Array, "qr qr"], inverse: Float[Array, "r r G"], sums: Sums
) -> Float[Array, "qr qr J"]:
    """Return V_j: what a unit effect does inside Z, in units of the residuals there.

    ``inverse`` holds the inverses of the factors of Omega.
    """
    q, r = sums.z_live.shape[0], inverse.shape[0]
    split = root_psi.reshape(q, r, q * r)
    turned = jnp.einsum("mlg,alc->amcg", inverse, split)
    terms = [sums.root[a][:, None, None] * turned[a][None] for a in range(q)]
    return sum(terms[1:], terms[0]).reshape(q * r, q * r, -1)


def turn(inverse: Float[Array, "r r G"], k: Float[Array, "q r J"]) -> Float[Array, "qr J"]:
    """Return vectors inside Z in units of the residuals there."""
    q, r, J = k.shape
    turned = sum(inverse[None, :, i] * k[:, i, None] for i in range(r))
    return jnp.reshape(turned, (q * r, J))


def draw_beta(
    z: Float[Array, " pr"],
    root_psi: Float[Array, "qr qr"],
    root_omega: Float[Array, "r r G"],
    residuals: Residuals,
    sums: Sums,
    prior: Prior,
    mean: Float[Array, "q r J"] | None = None,
) -> Float[Array, "p r"]:
    """Draw B with the random effects, of mean ``mean``, integrated out.

    The precision is a sum of positive semidefinite terms as in the univariate model.
    """
    inverse = inverse_of(root_omega)
    precision = precision_of(root_omega)
    q, (p, r) = sums.z_live.shape[0], prior.penalty.shape
    both = jnp.zeros((p * r + 1, p * r + 1), z.dtype)
    if q:
        V = projected_root(root_psi, inverse, sums)
        eye = jnp.eye(q * r, dtype=z.dtype)[:, :, None]
        rows = jnp.swapaxes(V, 0, 1)
        marginal = eye + contract(rows, rows)
        design = sums.K[:, None, :, None] * inverse[None, :, None]
        k = residuals.k if mean is None else residuals.k - spread_inside(mean, sums)
        rhs = [design.reshape(q * r, p * r, -1), turn(inverse, k)[:, None]]
        solved = solve_half(marginal, jnp.concatenate(rhs, axis=1))
        flat = solved.reshape(p * r + 1, -1)
        both = jnp.matmul(flat, flat.T)
    outside = jnp.einsum("abg,lmg->albm", _by_group(sums), precision)
    left = jnp.einsum("alg,lmg->am", residuals.s, precision)
    f, live = p - q, jnp.repeat(sums.x_live, r)
    inner = both[:-1, :-1].reshape(p, r, p, r).at[q:, :, q:].add(outside.reshape(f, r, f, r))
    matrix = inner.reshape(p * r, p * r)
    # No more than its share of the information, see `linear_mixed.beta_equations`.
    square = jnp.where(sums.x_square > 0, sums.x_square, 1)[:, None]
    share = prior.penalty / square * jnp.diagonal(matrix).reshape(p, r)
    ridge = jnp.minimum(prior.penalty * _typical(precision, sums), share)
    weight = ridge + prior.beta_precision
    told = (sums.x_square > 0)[:, None] | (prior.beta_precision > 0)
    matrix = matrix + jnp.diag(jnp.where(live & jnp.ravel(told), jnp.ravel(weight), 1))
    shift = both[:-1, -1].reshape(p, r).at[q:].add(left) - weight * residuals.beta
    drawn = draw_normal(z, matrix, jnp.ravel(shift)).reshape(p, r)
    return jnp.where(sums.x_live[:, None], residuals.beta + drawn, 0)


def _typical(precision: Float[Array, "r r G"], sums: Sums) -> Float[Array, " r"]:
    """Return the mean precision of every response over the clusters that exist."""
    each = jnp.einsum("iig->ig", precision)
    if each.shape[1] == 1:
        return each[:, 0]
    return jnp.mean(each, axis=1, where=sums.cluster_live)


def _by_group(sums: Sums) -> Float[Array, "f f G"]:
    return sums.S if sums.S.ndim == 3 else sums.S[:, :, None]


def draw_b(
    z: Float[Array, "qr J"],
    beta: Float[Array, "p r"],
    root_psi: Float[Array, "qr qr"],
    root_omega: Float[Array, "r r G"],
    residuals: Residuals,
    sums: Sums,
    mean: Float[Array, "q r J"] | None = None,
) -> Float[Array, "q r J"]:
    """Draw the effects of all clusters at once, given their mean and B.

    In whitened coordinates, vec(U - m) = L eta, no eigenvalue of the precision is below
    one: it can be factored for a singular Psi and for an empty cluster.
    """
    q, r, J = residuals.k.shape
    if q == 0:
        return residuals.k
    inverse = inverse_of(root_omega)
    V = projected_root(root_psi, inverse, sums)
    k = residuals.k - fitted_inside(beta - residuals.beta, sums)
    k = turn(inverse, k if mean is None else k - spread_inside(mean, sums))
    eye = jnp.eye(q * r, dtype=z.dtype)[:, :, None]
    eta = draw_normal(z, eye + contract(V, V), contract(V, k[:, None])[:, 0])
    b = jnp.matmul(root_psi, eta).reshape(q, r, J)
    b = b if mean is None else b + mean
    return jnp.where(sums.z_live[:, None, None] & sums.cluster_live, b, 0)


def residual_products(
    beta: Float[Array, "p r"], b: Float[Array, "q r J"], residuals: Residuals, sums: Sums
) -> Float[Array, "r r G"]:
    """Return the cross products of the residuals at (B, U), without reading rows."""
    change = beta - residuals.beta
    fixed = change[sums.z_live.shape[0] :]
    cross = jnp.einsum("al,amg->lmg", fixed, residuals.s)
    square = jnp.einsum("al,abg,bm->lmg", fixed, _by_group(sums), fixed)
    misfit = spread_inside(b, sums) - (residuals.k - fitted_inside(change, sums))
    inside = jnp.einsum("klj,kmj->lmj", misfit, misfit)
    if residuals.rho.shape[2] == 1:
        inside = jnp.sum(inside, axis=2, keepdims=True)
    return residuals.rho - cross - jnp.swapaxes(cross, 0, 1) + square + inside
