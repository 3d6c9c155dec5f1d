"""Logarithms in short arithmetic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmice.random.logarithm import log

pytestmark = pytest.mark.usefixtures("double_precision")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_logarithm_to_rounding(dtype: str) -> None:
    rng = np.random.default_rng(0)
    exponents = rng.uniform(-37, 37, 10_000) * (8 if dtype == "float64" else 1)
    near_one = 1 + rng.uniform(-0.5, 1, 10_000)
    edges = [1, np.sqrt(0.5), np.sqrt(2), 2, 0.5, 1 - 2.0**-24, 1 + 2.0**-23]
    x = np.concatenate([10.0**exponents, near_one, edges]).astype(dtype)
    found = np.asarray(jax.jit(log)(jnp.asarray(x)))
    assert found.dtype == dtype
    exact = np.log(x.astype(np.longdouble))
    step = np.finfo(dtype).eps
    np.testing.assert_allclose(found, exact.astype(float), rtol=4 * step, atol=step / 4)
