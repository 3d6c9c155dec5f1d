"""One visit of a method, as the engine makes it."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxmice.methods import Method
from jaxmice.target import Target


@partial(jax.jit, static_argnums=3)
def visit(method: Method, key: jax.Array, target: Target, n_steps: int = 20) -> tuple[Any, Any]:
    """Return the state and the imputed rows after a first visit."""
    key_init, key_step, key_impute = jax.random.split(key, 3)
    sums = method.read(target)
    state = method.step(key_step, method.init(key_init, sums), sums, jnp.asarray(n_steps))
    return state, method.impute(key_impute, state, target)


@partial(jax.jit, static_argnums=3)
def visits(method: Method, keys: jax.Array, target: Target, n_steps: int = 20) -> tuple[Any, Any]:
    """Return states and rows of independent visits, one a key."""
    return jax.vmap(lambda key: visit(method, key, target, n_steps))(keys)
