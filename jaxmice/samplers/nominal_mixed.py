"""Two-level multinomial probit regression of a variable with K unordered categories.

    g_ijk = x_ij' beta_k + z_ij' b_jk + e_ijk,    b_jk ~ N(0, Psi_k),    e_ijk ~ N(0, 1)

for every category k but the reference, whose g is zero; y_ij is the category with the
largest g (Albert and Chib 1993, Journal of the American Statistical Association 88,
669-679, section 5, with independent residuals). One step draws the g that lose given the
one that wins and the reverse, rescales all of them, then draws every regression. Only the
winner has to be kept: what the losers were does not matter to the next step.

A category without an observed value takes no part: it is never drawn and bounds no g. The
reference is the first category with an observed value.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxmice.random import normal_tail, normals, once, uniforms
from jaxmice.samplers import latent, linear_mixed as lm, probit_mixed
from jaxmice.samplers.sums import Sums
from jaxmice.target import Target

REGRESSIONS = 1 << 14
"""First of the counters of a step that belong to the normals of the regressions."""


class Parameters(eqx.Module):
    """One draw of the parameters, for one chain."""

    regressions: latent.Regression
    """Effects, with a leading axis of K - 1 categories."""

    winner: Float[Array, "K B"]
    """The largest g of every row, zero where the reference wins."""


class Categories(eqx.Module):
    """What is known of the categories before anything is drawn."""

    reference: Int[Array, ""]
    """Code of the reference, which changes places with category 0."""

    seen: Bool[Array, " c"]
    """Categories with an observed value, in the new order, without the reference."""


def read_categories(target: Target, n_categories: int) -> Categories:
    """Return what the fitted rows tell about the categories."""
    seen = jnp.stack([jnp.any(target.ry & (target.y == i)) for i in range(n_categories)])
    reference = jnp.argmax(seen)
    other = jnp.arange(1, n_categories)
    return Categories(reference, jnp.where(other == reference, seen[0], seen[1:]))


def exchange(y: Float[Array, "K B"], categories: Categories) -> Float[Array, "K B"]:
    """Let the reference and category 0 change places; the same call changes them back."""
    reference = categories.reference.astype(y.dtype)
    return jnp.where(y == reference, 0, jnp.where(y == 0, reference, y))


def start(target: Target, sums: Sums, n_categories: int) -> Parameters:
    """Return a start: no effects, and every winner one residual deviation above zero."""
    one = latent.start(sums)
    wide = jax.tree.map(lambda x: jnp.broadcast_to(x, (n_categories - 1, *x.shape)), one)
    return Parameters(regressions=wide, winner=jnp.ones_like(target.y))


def run(
    key: Key[Array, ""],
    parameters: Parameters,
    target: Target,
    sums: Sums,
    prior: lm.Prior,
    categories: Categories,
    n_steps: Int[Array, ""],
) -> Parameters:
    """Take some Gibbs steps.

    Parameters
    ----------
    key
        Key, consumed.
    parameters
        Where the chain stands.
    target
        The rows; ``target.y`` is a category from 0 on.
    sums, prior
        The sums of the target, of which those with y are not read, and the prior of each
        regression.
    categories
        What `read_categories` returned.
    n_steps
        Number of steps.
    """
    dtype, c = target.y.dtype, categories.seen.shape[0]
    y = exchange(target.y, categories)
    per_row = jnp.zeros((c + 1, *y.shape), dtype)

    def one(counter: Int[Array, ""], noise: lm.Noise, parameters: Parameters) -> Parameters:
        def draw(k: Int[Array, ""]) -> Float[Array, "K B"]:
            return uniforms(key, counter + 1 + k, y.shape, jnp.float32)

        blank = per_row[1:].astype(jnp.float32)
        u = once(n_steps, lambda: jax.vmap(draw)(jnp.arange(c)), blank)
        eta = latent.predictors(parameters.regressions, target)
        g = once(
            n_steps,
            lambda: draw_latents(u, eta, parameters.winner, y, target.ry, categories, n_steps),
            per_row,
        )
        own = noise_of(key, counter + REGRESSIONS, noise.gammas[:-1], sums, c, n_steps)
        return step(own, noise.gammas[-1], g, parameters, target, sums, prior)

    return lm.in_batches(key, gamma_shapes(sums, prior, c), sums, one, parameters, n_steps)


def gamma_shapes(sums: Sums, prior: lm.Prior, c: int) -> Float[Array, " g"]:
    """Return the shapes of the gamma variates of a step with c regressions."""
    own = jnp.tile(lm.psi_shapes(sums, prior), c)
    return jnp.concatenate([own, c * jnp.sum(sums.n)[None] / 2])


def noise_of(
    key: Key[Array, ""],
    counter: Int[Array, ""],
    gammas: Float[Array, " g"],
    sums: Sums,
    c: int,
    n_steps: Int[Array, ""],
) -> lm.Noise:
    """Return the standard draws of c regressions, on a leading axis."""
    q, p, J = sums.z_live.shape[0], sums.x_live.shape[0], sums.cluster_live.shape[0]
    dtype = sums.k.dtype
    # Clusters first: so empty ones that fill up the shape move no number.
    shapes = ((p,), (q, q), (J, q))

    def draw(k: Int[Array, ""]) -> Float[Array, " n"]:
        parts = [
            jnp.ravel(normals(key, counter + 3 * k + i, shape, dtype))
            for i, shape in enumerate(shapes)
        ]
        return jnp.concatenate(parts)

    blank = jnp.zeros((c, p + q * q + J * q), dtype)
    flat = once(n_steps, lambda: jax.vmap(draw)(jnp.arange(c)), blank)
    beta, psi, b = jnp.split(flat, [p, p + q * q], axis=1)
    return lm.Noise(
        beta=beta,
        psi=psi.reshape(c, q, q),
        b=jnp.swapaxes(b.reshape(c, J, q), 1, 2),
        spare=jnp.zeros((c, 2), dtype),
        gammas=gammas.reshape(c, -1),
    )


def draw_latents(
    u: Float[Array, "c K B"],
    eta: Float[Array, "c K B"],
    winner: Float[Array, "K B"],
    y: Float[Array, "K B"],
    ry: Bool[Array, "K B"],
    categories: Categories,
    n_steps: Int[Array, ""],
) -> Float[Array, "c+1 K B"]:
    """Draw the losers given the winner, then the winner given the losers.

    Returns the winner, and the g of every category but the reference, zero in rows that
    are not fitted. A row has c variates: turn k draws category k, or the one after it where
    the winner comes no later than k; the last turn draws what is left, the winner if it is
    not the reference.
    """
    c = eta.shape[0]
    highest = jnp.where(y > 0, winner, 0)
    bound, own = jnp.zeros_like(winner), jnp.zeros_like(winner)
    drawn = []
    for k in range(c - 1):
        later = (y > 0) & (y <= k + 1)
        mean = jnp.where(later, eta[k + 1], eta[k])
        seen = jnp.where(later, categories.seen[k + 1], categories.seen[k])
        lower = mean - jnp.where(seen, highest, jnp.inf)
        # In memory: the bound of the last turn, which every result reads, would repeat it.
        loser = mean - once(n_steps, partial(normal_tail, u[k], lower), lower)
        drawn.append(loser)
        bound = jnp.where(seen, jnp.maximum(bound, loser), bound)
    for k in range(c):
        own = jnp.where(y == k + 1, eta[k], own)
    wins = y > 0
    mean = jnp.where(wins, own, eta[-1])
    side = jnp.where(wins, 1, -1)
    limit = jnp.where(wins, bound, jnp.where(categories.seen[-1], 0, jnp.inf))
    lower = side * (limit - mean)
    last = mean + side * once(n_steps, partial(normal_tail, u[-1], lower), lower)
    drawn.append(last)
    rows = [jnp.where(wins, last, 0)]
    for k in range(c):
        # Drawn in turn k, or in the turn before where the winner comes earlier.
        loser = jnp.where(wins & (y < k + 1), drawn[k - 1], drawn[k]) if k else drawn[0]
        rows.append(jnp.where(y == k + 1, last, loser))
    return jnp.where(ry, jnp.stack(rows), 0)


def step(
    noise: lm.Noise,
    gamma: Float[Array, ""],
    g: Float[Array, "c+1 K B"],
    parameters: Parameters,
    target: Target,
    sums: Sums,
    prior: lm.Prior,
) -> Parameters:
    """Draw the regressions given the latent variables, after rescaling these."""
    roots = parameters.regressions.root_psi
    outcomes = jax.vmap(lambda g: latent.read_outcome(g, target, sums))(g[1:])

    def misfit(root: Float[Array, "q q"], outcome: latent.Outcome) -> Float[Array, ""]:
        return latent.misfit(root, outcome.put(sums), prior)

    growth = probit_mixed.growth_of(gamma, jnp.sum(jax.vmap(misfit)(roots, outcomes)))

    def regress(
        noise: lm.Noise, root: Float[Array, "q q"], outcome: latent.Outcome
    ) -> latent.Regression:
        return latent.regress(noise, growth, root, outcome.put(sums), prior)

    regressions = jax.vmap(regress)(noise, roots, outcomes)
    return Parameters(regressions=regressions, winner=growth * g[0])
