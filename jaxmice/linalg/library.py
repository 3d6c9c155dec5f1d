"""Decompositions by the library, which do no harm in stacks.

jaxlib hands parts of a large stack to the threads that it may be running on, and waits for
them: where every thread waits, nothing goes on (jaxlib 0.10). Up to `LARGEST` operations a
stack stays whole; here larger ones are taken in such portions, one after another.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float

LARGEST = 100_000
"""Operations of a portion, half of what the library takes for worth dividing."""

COST = 30
"""Operations of a decomposition, in cubes of the size of the matrix: more than any takes."""


def _in_portions(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let ``vmap`` make stacks of any depth, and call the library for a portion at a time."""

    @custom_vmap
    def stacked(a: Array, *others: Array) -> Any:
        batch = a.shape[:-2]
        size = max(1, LARGEST // (COST * max(a.shape[-1], 1) ** 3))
        if math.prod(batch) <= size:
            return function(a, *others)
        flat = [part.reshape(-1, *part.shape[len(batch) :]) for part in (a, *others)]
        found = lax.map(lambda parts: function(*parts), tuple(flat), batch_size=size)
        return jax.tree.map(lambda part: part.reshape(*batch, *part.shape[1:]), found)

    @stacked.def_vmap
    def _(axis_size: int, batched: list[bool], *parts: Array) -> tuple[Any, Any]:
        whole = [
            part if own else jnp.broadcast_to(part, (axis_size, *part.shape))
            for part, own in zip(parts, batched, strict=True)
        ]
        found = stacked(*whole)
        return found, jax.tree.map(lambda _: True, found)

    return stacked


@_in_portions
def eigh(a: Float[Array, "*batch q q"]) -> tuple[Float[Array, "*batch q"], Float[Array, "..."]]:
    """Return eigenvalues, ascending, and eigenvectors of symmetric matrices."""
    values, vectors = jnp.linalg.eigh(a)
    return values, vectors


@_in_portions
def least_squares(a: Float[Array, "*batch q q"], b: Float[Array, "*batch q"]) -> Array:
    """Return the shortest solutions of ``a x = b``, where b is nearest to a solution."""
    solve = jnp.vectorize(lambda a, b: jnp.linalg.lstsq(a, b)[0], signature="(q,q),(q)->(q)")
    found: Array = solve(a, b)
    return found
