"""Random streams: every draw has an address.

The address is (seed, imputation, iteration, block, visit), so that an imputation is the
same whatever m, the chunks in which chains are run, or the order of other blocks.
"""

from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

IMPLEMENTATION = "threefry2x32"


def root_key(seed: int) -> Key[Array, ""]:
    """Return the root of all streams of a run."""
    key = jax.random.key(seed & 0xFFFFFFFF, impl=IMPLEMENTATION)
    return jax.random.fold_in(key, (seed >> 32) & 0xFFFFFFFF)


def root_keys(seed: int, n_replications: int) -> Key[Array, " R"]:
    """Return a root per replication; the first is that of a single data set."""
    root = root_key(seed)
    if n_replications == 1:
        return root[None]
    rest = jax.vmap(lambda r: jax.random.fold_in(jax.random.fold_in(root, 0), r))(
        jnp.arange(1, n_replications)
    )
    return jnp.concatenate([root[None], rest])


def address(block: str, number: int) -> np.ndarray:
    """Return the part of the address that names a visit within an iteration."""
    return np.array([crc32(block.encode()), number], np.uint32)


def visit_key(
    root: Key[Array, ""], chain: Int[Array, ""], iteration: Int[Array, ""], visit: Array
) -> Key[Array, ""]:
    """Return the key of one visit in one chain; chains are numbered from one."""
    key = jax.random.fold_in(root, chain)
    key = jax.random.fold_in(key, iteration)
    return jax.random.fold_in(jax.random.fold_in(key, visit[0]), visit[1])
