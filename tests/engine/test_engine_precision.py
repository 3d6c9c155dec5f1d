"""Precision and device of a run."""

import jax
import jax.numpy as jnp

from jaxmice.engine.precision import platform, precision_scope


def test_products_keep_all_digits_on_any_device() -> None:
    """A GPU would otherwise round factors of 32 bits to ten bits of mantissa."""
    ones = jnp.ones((3, 3), jnp.float32)
    with precision_scope("float32"):
        assert jax.jit(lambda a: a @ a).lower(ones).as_text().count("HIGHEST") == 2
    assert "HIGHEST" not in jax.jit(lambda a: a @ a).lower(ones).as_text()


def test_platform_is_that_of_the_device_given_or_of_the_default() -> None:
    with jax.default_device("cpu"):
        assert platform() == "cpu"
    with jax.default_device(jax.devices("cpu")[0]):
        assert platform() == "cpu"
    assert platform(jax.devices("cpu")[0]) == "cpu"
    assert platform() == jax.devices()[0].platform
