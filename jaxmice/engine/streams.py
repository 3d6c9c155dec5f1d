"""Random streams: every draw has an address.

The address is (seed, imputation, iteration, block, visit, purpose), so that an
imputation is the same whatever m, the chunks in which chains are run, or the order of
other blocks. Keys are derived on the host, by what `jax.random.fold_in` does.
"""

from zlib import crc32

import jax
import numpy as np
from jaxtyping import Array, Key, UInt32

from jaxmice.random.bits import threefry

IMPLEMENTATION = "threefry2x32"

PURPOSES = ("init", "step", "impute")


def settings() -> dict[str, object]:
    """Return what random numbers depend on besides their seed."""
    partitionable = getattr(jax.config, "jax_threefry_partitionable", True)
    return {
        "implementation": IMPLEMENTATION,
        "jax_threefry_partitionable": bool(partitionable),
    }


def as_keys(words: UInt32[Array, "*n 2"]) -> Key[Array, "*n"]:
    """Turn words into keys of JAX."""
    return jax.random.wrap_key_data(words, impl=IMPLEMENTATION)


def fold_in(keys: np.ndarray, data: np.ndarray | int) -> np.ndarray:
    """Derive keys (..., 2) from keys and numbers; the same as `jax.random.fold_in`."""
    number = np.asarray(data).astype(np.uint32)
    first, second, number = np.broadcast_arrays(keys[..., 0], keys[..., 1], number)
    words = threefry(
        np.atleast_1d(first), np.atleast_1d(second), np.zeros_like(number), np.atleast_1d(number)
    )
    return np.stack(words, axis=-1).reshape(*number.shape, 2)


def root_keys(seed: int, n_replications: int) -> np.ndarray:
    """Return a root (R, 2) per replication; the first is that of a single data set."""
    root = fold_in(np.array([0, seed & 0xFFFFFFFF], np.uint32), seed >> 32)
    further = fold_in(fold_in(root, 0), np.arange(1, n_replications))
    return np.concatenate([root[None], further])


def visit_keys(
    roots: np.ndarray, chains: np.ndarray, iteration: int, block: str, number: int
) -> np.ndarray:
    """Return the keys of one visit, (R, m, 3, 2) words: one key for every purpose.

    Parameters
    ----------
    roots
        Roots (R, 2).
    chains
        Numbers of the imputations (m,), from one.
    iteration
        Iteration, 0 for starting values.
    block
        Name of what is visited.
    number
        How often it was visited before in this iteration.
    """
    keys = fold_in(roots[:, None], chains)
    keys = fold_in(keys, iteration)
    keys = fold_in(fold_in(keys, crc32(block.encode())), number)
    keys = fold_in(keys[:, :, None], np.arange(len(PURPOSES)))
    return keys
