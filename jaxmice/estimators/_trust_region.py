"""Trust-region Newton method for smooth functions that may have saddles."""

from collections.abc import Callable
from typing import Generic, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmice.linalg import eigh

NEGATIVE = -1e-8
"""Curvature below this fraction of the largest one marks a saddle."""
FLAT = 1e-10
"""Curvature below this fraction of the largest one is treated as this fraction."""
ESCAPE = 0.1
"""Step away from a saddle, in relative standard deviations."""


class Located(Protocol):
    """A function at one point: where, value, gradient (k,) and hessian (k, k)."""

    @property
    def theta(self) -> Array: ...
    @property
    def value(self) -> Array: ...
    @property
    def gradient(self) -> Array: ...
    @property
    def hessian(self) -> Array: ...


P = TypeVar("P", bound=Located)


class State(NamedTuple, Generic[P]):
    """Best point so far and the next one to try."""

    best: P
    trial: Float[Array, " k"]
    predicted: Float[Array, ""]
    radius: Float[Array, ""]
    steps: Array
    done: Array


def minimise_one(
    evaluate: Callable[[Array, P], P], nowhere: P, max_steps: int, tolerance: float
) -> tuple[P, Array, Array]:
    """Minimise a function of variance factors, for one data set.

    A factor is free of sign constraints: a deviance does not change with the sign of a
    column of it, so a variance of zero is an interior stationary point and needs no
    special case. Negative curvature is followed downhill, so that a saddle at zero does
    not hold the search.

    Parameters
    ----------
    evaluate
        The function at a point, given the best point so far.
    nowhere
        Where to start, with a value of infinity.
    max_steps
        Evaluations allowed.
    tolerance
        Bound on the Newton decrement, in units of the function.

    Returns
    -------
    The best point, whether it has converged, and the evaluations it took.
    """
    state = State(
        nowhere,
        nowhere.theta,
        jnp.array(1.0),
        jnp.array(1.0),
        jnp.array(0),
        jnp.array(False),
    )
    state = jax.lax.while_loop(
        lambda at: ~at.done & (at.steps < max_steps) & (at.radius > 1e-14),
        lambda at: _step(at, evaluate(at.trial, at.best), tolerance),
        state,
    )
    return state.best, state.done, state.steps


def minimise_all(
    evaluate: Callable[[Array, P], P], nowhere: P, max_steps: int, tolerance: float
) -> tuple[P, Array]:
    """Minimise one function per cluster, all in one search; see `minimise_one`.

    All arrays have a leading axis of J clusters, of which ``evaluate`` sees every one. A
    cluster that has converged stays where it is, whatever the others need.

    Returns
    -------
    The best points, and whether each has converged.
    """
    J = nowhere.theta.shape[0]
    one, none = jnp.ones((J,), nowhere.theta.dtype), jnp.zeros((J,), bool)
    state = State(nowhere, nowhere.theta, one, one, jnp.zeros((J,), int), none)

    def advance(at: State[P]) -> State[P]:
        new = jax.vmap(lambda s, n: _step(s, n, tolerance))(at, evaluate(at.trial, at.best))

        def keep(old: Array, new: Array) -> Array:
            return jnp.where(at.done.reshape(-1, *[1] * (old.ndim - 1)), old, new)

        return jax.tree.map(keep, at, new)

    state = jax.lax.while_loop(
        lambda at: jnp.any(~at.done & (at.radius > 1e-14) & (at.steps < max_steps)),
        advance,
        state,
    )
    return state.best, state.done


def _step(state: State[P], new: P, tolerance: float) -> State[P]:
    """Keep the better point, propose the next."""
    best = state.best
    # Rounding of the value must not reject the last steps.
    accept = new.value <= best.value + 1e-11 * jnp.abs(best.value)
    gain = (best.value - new.value) / state.predicted
    point = jax.tree.map(lambda a, b: jnp.where(accept, a, b), new, best)
    tried = jnp.linalg.norm(state.trial - best.theta)
    radius = jnp.where(
        accept,
        jnp.where(gain > 0.75, jnp.maximum(state.radius, 2.5 * tried), state.radius),
        0.25 * tried,
    )
    radius = jnp.where(accept & (gain < 0.25), 0.5 * radius, radius)

    safe = jnp.where(jnp.isfinite(point.hessian), point.hessian, 0)
    curvature, basis = eigh(safe)
    largest = jnp.max(jnp.abs(curvature))
    size = jnp.maximum(jnp.abs(curvature), FLAT * largest + 1e-30)
    slope = basis.T @ point.gradient
    move = -slope / size
    saddle = curvature < NEGATIVE * largest
    away = jnp.where(slope > 0, -1.0, 1.0) * jnp.maximum(jnp.abs(move), ESCAPE)
    move = jnp.where(saddle, away, move)
    done = ~jnp.any(saddle) & (jnp.sum(slope**2 / size) < tolerance) & accept
    length = jnp.linalg.norm(move)
    move = move * jnp.minimum(1.0, radius / jnp.maximum(length, 1e-30))
    predicted = -(slope @ move + 0.5 * jnp.sum(curvature * move**2))
    return State(
        point,
        point.theta + basis @ move,
        jnp.maximum(predicted, 1e-30),
        radius,
        state.steps + 1,
        done,
    )
