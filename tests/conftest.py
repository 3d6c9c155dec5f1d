"""Fixtures for the tests of everything that computes with JAX."""

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(scope="module")
def double_precision() -> Iterator[None]:
    """Compute in 64 bits in one module; no global setting is left changed."""
    with jax.enable_x64(True):
        yield
