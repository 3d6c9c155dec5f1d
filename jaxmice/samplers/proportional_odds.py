r"""Proportional odds regression: weighted maximum likelihood and its normal approximation.

.. math:: \Pr(y \le k) = \mathrm{expit}(\zeta_k - x'\beta), \qquad \zeta_0 < \zeta_1 < \dots

(McCullagh 1980, Journal of the Royal Statistical Society B 42, 109-142, section 2). With F
the logistic distribution function,

.. math:: F(u) - F(l) = F(u) F(-l) (1 - e^{l - u}),

so the log-likelihood is a sum over cuts of weighted logistic regressions and of a function
of the gaps between cuts: concave, and free of differences of near equals.

Categories without an observed row take no part; the others are ranked anew. Augmented
against separation like `jaxmice.samplers.logistic`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from jaxmice.samplers.logistic import make_design
from jaxmice.samplers.multinomial import count_rows
from jaxmice.samplers.newton import Here, draw_normal, maximise
from jaxmice.target import Target


class Parameters(eqx.Module):
    """One draw of the parameters, for one chain."""

    cuts: Float[Array, " c-1"]
    """Upper ends of the categories but the last; those of absent categories repeat the one
    before, minus infinity at first, and none follows the last observed category."""

    beta: Float[Array, " f"]
    """Coefficients; there is no intercept."""


def start(target: Target, n_categories: int) -> Parameters:
    """Return zeros, which a draw does not read."""
    dtype = target.y.dtype
    return Parameters(jnp.zeros(n_categories - 1, dtype), jnp.zeros(target.f_live.shape, dtype))


def draw(key: Key[Array, ""], target: Target, n_categories: int) -> Parameters:
    """Draw cuts and coefficients; the first cut and the logarithms of the gaps are normal."""
    f, d = target.f_live.shape[0], n_categories - 1
    count = count_rows(target, n_categories)
    present = count > 0
    design = make_design(target, n_categories, present)
    # The cuts take the place of the intercept.
    is_slope = design.live & ~((jnp.arange(f) == 0) & target.f_intercept)
    X = jnp.where(is_slope[:, None], design.X, 0)
    # Present categories first, in their order; as many cuts as there are but one.
    order = jnp.argsort(~present, stable=True)
    weight, count = design.weight[order], jnp.sum(design.weight, axis=1)[order]
    used = jnp.arange(d) < jnp.sum(present) - 1
    above, below = jnp.where(used[:, None], weight[1:], 0), jnp.where(used[:, None], weight[:-1], 0)
    inner = jnp.where(used[1:], count[1:-1], 0)
    dead = jnp.concatenate([~used, ~is_slope])
    ridge = jnp.concatenate([jnp.zeros(d, X.dtype), jnp.where(is_slope, design.penalty, 0)])

    def evaluate(point: Float[Array, " df"]) -> Here:
        cuts, beta = point[:d], point[d:]
        eta = jnp.einsum("fn,f->n", X, beta)
        at = cuts[:, None] - eta
        F = jax.nn.sigmoid(at)
        gap = jnp.where(used[1:], jnp.diff(cuts), 1)
        value = -jnp.sum(below * jax.nn.softplus(-at) + above * jax.nn.softplus(at))
        value = value + jnp.sum(inner * jnp.log(-jnp.expm1(-gap)))
        pull = below * (1 - F) - above * F
        push = inner / jnp.expm1(gap)
        zero = jnp.zeros(1, X.dtype)
        of_cuts = jnp.sum(pull, axis=1) + _differences(push, zero)
        of_slopes = -jnp.einsum("fn,n->f", X, jnp.sum(pull, axis=0))
        w = (below + above) * F * (1 - F)
        bend = inner * jnp.exp(gap) / jnp.expm1(gap) ** 2
        gaps = jnp.eye(d, dtype=X.dtype)[1:] - jnp.eye(d, dtype=X.dtype)[:-1]
        cut_cut = jnp.diag(jnp.sum(w, axis=1)) + gaps.T @ (bend[:, None] * gaps)
        cut_slope = -jnp.einsum("cn,fn->cf", w, X)
        slope = jnp.einsum("fn,gn->fg", X * jnp.sum(w, axis=0), X)
        fisher = jnp.block([[cut_cut, cut_slope], [cut_slope.T, slope]])
        score = jnp.concatenate([of_cuts, of_slopes]) - ridge * point
        return Here(
            value - ridge @ point**2 / 2,
            jnp.where(dead, 0, score),
            fisher + jnp.diag(jnp.where(dead, 1, ridge)),
        )

    begin = jnp.concatenate([_marginal_cuts(count), jnp.zeros(f, X.dtype)])
    maximum, information = maximise(evaluate, begin)
    cuts, beta = _draw(key, maximum, information, used)
    return Parameters(_by_category(cuts, present, used), jnp.where(is_slope, beta, 0))


def _differences(push: Float[Array, " d-1"], zero: Float[Array, "1"]) -> Float[Array, " d"]:
    """Return what every cut gets from the gaps below and above it."""
    return jnp.concatenate([zero, push]) - jnp.concatenate([push, zero])


def _marginal_cuts(count: Float[Array, " c"]) -> Float[Array, " c-1"]:
    """Return the cuts of a model without predictors; increasing also where nothing is seen."""
    share = jnp.cumsum(count + 0.1) / jnp.sum(count + 0.1)
    return jax.scipy.special.logit(share[:-1])


def _draw(
    key: Key[Array, ""],
    maximum: Float[Array, " df"],
    information: Float[Array, "df df"],
    used: Bool[Array, " d"],
) -> tuple[Float[Array, " d"], Float[Array, " f"]]:
    """Draw on the scale of the first cut and the log gaps, where every point is allowed."""
    d, size = used.shape[0], maximum.shape[0]
    gap = jnp.where(used[1:], jnp.diff(maximum[:d]), 1)
    free = jnp.concatenate([maximum[:1], jnp.log(gap), maximum[d:]])
    first = jnp.arange(d)
    by_gap = (first[:, None] >= first[None, 1:]) * gap
    jacobian = jnp.concatenate([jnp.ones((d, 1), gap.dtype), by_gap], axis=1)
    jacobian = jnp.where(used[:, None], jacobian, jnp.eye(d, dtype=gap.dtype))
    whole = jnp.eye(size, dtype=gap.dtype).at[:d, :d].set(jacobian)
    # At the maximum the curvature of the transformation does not count: the score is zero.
    drawn = draw_normal(key, free, whole.T @ information @ whole)
    return jnp.cumsum(jnp.concatenate([drawn[:1], jnp.exp(drawn[1:d])])), drawn[d:]


def _by_category(
    cuts: Float[Array, " d"], present: Bool[Array, " c"], used: Bool[Array, " d"]
) -> Float[Array, " d"]:
    """Give every category but the last its upper end."""
    ends = jnp.where(used, cuts, jnp.inf)
    rank = jnp.cumsum(present)[:-1] - 1
    return jnp.where(rank >= 0, ends[jnp.maximum(rank, 0)], -jnp.inf)
