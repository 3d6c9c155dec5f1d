"""Precision and device of a run."""

import jax
import jax.numpy as jnp
import pandas as pd

import jaxmice as jm
from jaxmice.engine.precision import platform, precision_scope
from tests.frames import two_level


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


def test_what_users_ask_of_their_own_programs_is_not_asked_of_a_run() -> None:
    given = {"method": "2l.pan", "cluster": "g", "m": 2, "maxit": 1, "seed": 1}
    given["options"] = {"y": {"burnin": 5}}
    plain = jm.mice(two_level(), **given)
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        strict = jm.mice(two_level(), **given)
    pd.testing.assert_frame_equal(strict.complete(1), plain.complete(1))
