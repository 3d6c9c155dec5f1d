"""Marginal deviance of a generalised linear mixed model, by Laplace or quadrature."""

from functools import partial
from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln, logsumexp
from jaxtyping import Array, Float, Int

from jaxmice.estimators._profiled import factor_index
from jaxmice.estimators._trust_region import minimise_one
from jaxmice.linalg import (
    Layout,
    cluster_products,
    cluster_sums,
    eliminate,
    solve_lower_transposed,
    to_rows,
)

MODE_STEPS = 50
"""Newton steps allowed for the modes of the random effects; four to eight are usual."""
MODE_TOLERANCE = 1e-12
"""Newton decrement at which a mode is found; two further steps take it to rounding."""

T = TypeVar("T")
"""Arrays of JAX or of numpy, or what applies to each of them."""


class Rows(NamedTuple, Generic[T]):
    """Rows of one data set, in blocks: ``y`` (K, B), ``x`` (p, K, B), ``z`` (q, K, B)."""

    y: T
    x: T
    z: T


class Point(NamedTuple):
    """The deviance at one ``theta``: free elements of the factor, then fixed effects.

    ``modes`` (q, J) are those of the random effects, in units of the factor.
    """

    theta: Float[Array, " k"]
    value: Float[Array, ""]
    gradient: Float[Array, " k"]
    hessian: Float[Array, "k k"]
    modes: Float[Array, "q J"]


class Modes(NamedTuple):
    """Modes of the random effects so far, how good they are, and the next step."""

    u: Float[Array, "q J"]
    value: Float[Array, " J"]
    move: Float[Array, "q J"]
    decrement: Float[Array, " J"]
    damping: Float[Array, " J"]
    tried: Int[Array, ""]


def log_density(family: str, y: Array, eta: Array) -> Array:
    """Log-likelihood of each row, under the canonical link."""
    if family == "binomial":
        return y * eta - jax.nn.softplus(eta)
    return y * eta - jnp.exp(eta) - gammaln(y + 1)


def _mean_and_weight(family: str, eta: Array) -> tuple[Array, Array]:
    mean = jax.nn.sigmoid(eta) if family == "binomial" else jnp.exp(eta)
    return mean, mean * (1 - mean) if family == "binomial" else mean


class Model:
    """The joint density of outcomes and random effects of one data set.

    ``y | u`` has the canonical link at ``x beta + z factor u`` with standard normal u.
    """

    def __init__(self, theta: Array, rows: Rows[Array], layout: Layout, family: str) -> None:
        q, p = rows.z.shape[0], rows.x.shape[0]
        i, j = factor_index(q)
        factor = jnp.zeros((q, q), theta.dtype).at[i, j].set(theta[: len(i)])
        self.y, self.layout, self.family = rows.y, layout, family
        self.z = jnp.einsum("ab,akn->bkn", factor, rows.z)
        self.fixed = sum(theta[len(i) + c] * rows.x[c] for c in range(p))

    def _eta(self, u: Float[Array, "q J"]) -> Float[Array, "K B"]:
        return self.fixed + jnp.sum(self.z * to_rows(u, self.layout), axis=0)

    def log_joint(self, u: Float[Array, "q J"]) -> Float[Array, " J"]:
        """Log density of outcomes and random effects by cluster, without its constant."""
        density = log_density(self.family, self.y, self._eta(u))
        density = jnp.where(self.layout.row_live, density, 0)
        return cluster_sums(density[None], self.layout)[0] - 0.5 * jnp.sum(u**2, axis=0)

    def newton(self, u: Float[Array, "q J"]) -> tuple[Array, Array, Array]:
        """Return the Newton step, its decrement, and the factor of the curvature."""
        mean, weight = _mean_and_weight(self.family, self._eta(u))
        live = self.layout.row_live
        residual = jnp.where(live, self.y - mean, 0)
        weight = jnp.where(live, weight, 0)
        slope = cluster_sums(self.z * residual, self.layout) - u
        curvature = cluster_products(self.z * weight, self.z, self.layout)
        curvature = curvature + jnp.eye(u.shape[0])[:, :, None]
        lower, half = eliminate(curvature, slope[:, None])
        move = solve_lower_transposed(lower, half)[:, 0]
        return move, jnp.sum(half[:, 0] ** 2, axis=0), lower

    def modes(self, start: Float[Array, "q J"]) -> Float[Array, "q J"]:
        """Maximise the joint density in every cluster; a step that does not help is halved."""

        def advance(at: Modes) -> Modes:
            u = at.u + at.damping * at.move
            move, decrement, _ = self.newton(u)
            value = self.log_joint(u)
            # Near the mode the gain is less than the rounding of a sum over rows.
            better = value >= at.value - 1e-13 * (1 + jnp.abs(at.value))

            def pick(new: Array, old: Array) -> Array:
                return jnp.where(better, new, old)

            return Modes(
                pick(u, at.u),
                pick(value, at.value),
                pick(move, at.move),
                pick(decrement, at.decrement),
                pick(jnp.minimum(1, 2 * at.damping), at.damping / 2),
                at.tried + 1,
            )

        def going(at: Modes) -> Array:
            return (at.tried < MODE_STEPS) & jnp.any(at.decrement > MODE_TOLERANCE)

        far = jnp.full(start.shape[1], jnp.inf)
        first = Modes(start, -far, jnp.zeros_like(start), far, jnp.ones_like(far), jnp.array(0))
        return jax.lax.while_loop(going, advance, first).u


def deviance(
    theta: Float[Array, " k"],
    near: Float[Array, "q J"],
    rows: Rows[Array],
    layout: Layout,
    family: str,
    nodes: int,
) -> Point:
    """Marginal deviance with exact first and second derivatives.

    The modes are found without derivatives. Newton steps from there move them by less
    than rounding, but carry the derivatives of the modes with respect to all parameters:
    each step doubles the order to which these are right, so that two are enough for the
    curvature, and a third serves the modes.

    Parameters
    ----------
    theta
        Free elements of the factor, then fixed effects.
    near
        Where to start the search for the modes (q, J).
    rows, layout
        One data set.
    family
        ``"binomial"`` or ``"poisson"``, with the canonical link.
    nodes
        Points of adaptive Gauss-Hermite quadrature of a single random effect; 1 is
        Laplace's approximation.
    """
    found = Model(theta, rows, layout, family).modes(near)

    def value(at: Array) -> Array:
        return _marginal(Model(at, rows, layout, family), found, nodes)

    (height, gradient), tangent = jax.linearize(jax.value_and_grad(value), theta)
    # One direction at a time: memory for all of them would be many times the rows.
    hessian = jax.lax.map(lambda unit: tangent(unit)[1], jnp.eye(len(theta)))
    return Point(theta, height, gradient, 0.5 * (hessian + hessian.T), found)


def _marginal(model: Model, found: Float[Array, "q J"], nodes: int) -> Float[Array, ""]:
    """Return the marginal deviance, given the modes but for rounding."""

    def step(u: Array, none: None) -> tuple[Array, Array]:
        move, _, lower = model.newton(u)
        return u + move, lower

    u, lowers = jax.lax.scan(step, found, length=3)
    lower = lowers[-1]
    log_det = 2 * sum(jnp.log(lower[i, i]) for i in range(u.shape[0]))
    return -2 * jnp.sum(_log_integral(model, u, lower, nodes) - 0.5 * log_det)


@partial(jax.jit, static_argnames=("family", "nodes", "shared"))
def evaluate(
    theta: Float[Array, " k"],
    rows: Rows[Array],
    layout: Layout,
    *,
    family: str,
    nodes: int,
    shared: Rows[int | None],
) -> tuple[Float[Array, " m"], Float[Array, "m q J"]]:
    """Return the deviance of every data set at ``theta``, and the modes, see `minimise`."""

    def lane(one: Rows[Array]) -> tuple[Array, Array]:
        model = Model(theta, one, layout, family)
        found = model.modes(jnp.zeros((one.z.shape[0], layout.cluster_live.shape[0])))
        return _marginal(model, found, nodes), found

    return jax.vmap(lane, in_axes=(shared,))(rows)


def _log_integral(model: Model, u: Array, lower: Array, nodes: int) -> Float[Array, " J"]:
    """Logarithm of the integral over u, by cluster, in units of its local spread."""
    if nodes == 1:
        return model.log_joint(u)
    at, weights = np.polynomial.hermite_e.hermegauss(nodes)
    shift = jnp.asarray(at)[:, None, None] / lower[0, 0]
    heights = jax.vmap(model.log_joint)(u + shift)
    constants = np.log(weights / weights.sum()) + 0.5 * at**2
    return logsumexp(heights + jnp.asarray(constants)[:, None], axis=0)


def _start(rows: Rows[Array], layout: Layout, family: str) -> Float[Array, " k"]:
    """Return a factor of one, and one step of least squares without random effects."""
    q = rows.z.shape[0]
    i, j = factor_index(q)
    y = rows.y
    mean = (y + 0.5) / 2 if family == "binomial" else y + 0.1
    link = jnp.log(mean / (1 - mean)) if family == "binomial" else jnp.log(mean)
    weight = mean * (1 - mean) if family == "binomial" else mean
    weight = jnp.where(layout.row_live, weight, 0)
    working = link + (y - mean) * jnp.where(layout.row_live, 1 / weight, 0)
    xwx = jnp.einsum("akb,kb,ckb->ac", rows.x, weight, rows.x)
    xwy = jnp.einsum("akb,kb,kb->a", rows.x, weight, working)
    lower, half = eliminate(xwx, xwy[:, None], loop=True)
    beta = solve_lower_transposed(lower, half, loop=True)[:, 0]
    return jnp.concatenate([jnp.asarray(i == j, float), beta])


@partial(jax.jit, static_argnames=("family", "nodes", "max_steps", "tolerance", "shared"))
def minimise(
    rows: Rows[Array],
    layout: Layout,
    *,
    family: str,
    nodes: int,
    shared: Rows[int | None],
    max_steps: int,
    tolerance: float,
) -> tuple[Point, Array, Array]:
    """Minimise the deviance of every data set over factor and fixed effects together.

    Parameters
    ----------
    rows
        Stacked over data sets where ``shared`` has 0, common to all where it has None.
    layout
        Where the rows of every cluster lie, the same in all data sets.
    family, nodes
        As in `deviance`.
    shared
        Axis of the data sets in each part of the rows: 0, or None.
    max_steps
        Evaluations allowed.
    tolerance
        Bound on the Newton decrement, in units of the deviance.

    Returns
    -------
    The best points, whether each has converged, and the evaluations each took.
    """

    def lane(one: Rows[Array]) -> tuple[Point, Array, Array]:
        first = _start(one, layout, family)
        k, clusters = len(first), layout.cluster_live.shape[0]
        modes = jnp.zeros((one.z.shape[0], clusters))
        nowhere = Point(first, jnp.array(jnp.inf), jnp.zeros(k), jnp.eye(k), modes)
        return minimise_one(
            lambda theta, best: deviance(theta, best.modes, one, layout, family, nodes),
            nowhere,
            max_steps,
            tolerance,
        )

    return jax.vmap(lane, in_axes=(shared,))(rows)
