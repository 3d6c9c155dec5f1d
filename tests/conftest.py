"""Fixtures for the tests of everything that computes with JAX."""

from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

MAPS = Path("/proc/self/maps")
MANY_MAPS = 30_000
"""Linux ends a process at 65,530; every compiled program holds dozens until it is dropped."""


@pytest.fixture(scope="module")
def double_precision() -> Iterator[None]:
    """Compute in 64 bits in one module; no global setting is left changed."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(autouse=True)
def _drop_programs() -> Iterator[None]:
    """Drop compiled programs before they are too many for one process."""
    yield
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > MANY_MAPS:
        jax.clear_caches()
