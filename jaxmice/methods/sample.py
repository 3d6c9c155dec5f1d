"""Method ``sample``: a random draw from the observed values."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.methods._base import Method
from jaxmice.random import resample, uniforms
from jaxmice.target import Target


class Sample(Method):
    """Draw with replacement from the observed values (``sample`` in R's ``mice``).

    Ignores every predictor and the clusters: relations are lost. Useful for starting
    values and for comparison.

    Differences from R
    ------------------
    None.

    References
    ----------
    van Buuren S (2018). Flexible Imputation of Missing Data, 2nd edition, section 6.5.1.
    """

    name: ClassVar[str] = "sample"
    summary: ClassVar[str] = "random draw from the observed values"
    source: ClassVar[str] = "van Buuren (2018), section 6.5.1"
    kinds: ClassVar[frozenset[str]] = frozenset(
        {"continuous", "integer", "binary_numeric", "binary", "nominal", "ordinal"}
    )
    codes: ClassVar[frozenset[int]] = frozenset({1, 2, 3, 4})
    cluster_codes: ClassVar[frozenset[int]] = frozenset({-2, 1})
    donor_based: ClassVar[bool] = True
    uses_predictors: ClassVar[bool] = False

    def init(self, key: Key[Array, ""], sums: Target) -> tuple[()]:
        """Return nothing: there are no parameters."""
        del key, sums
        return ()

    def step(
        self, key: Key[Array, ""], state: tuple[()], sums: Target, n_steps: Int[Array, ""]
    ) -> tuple[()]:
        """Return nothing: there are no parameters."""
        del key, sums, n_steps
        return state

    def impute(self, key: Key[Array, ""], state: tuple[()], target: Target) -> Float[Array, "K B"]:
        """Give every row an observed value."""
        del state
        u = uniforms(key, jnp.zeros((), int), target.y.shape, target.y.dtype)
        return resample(u, jnp.ravel(target.y), jnp.ravel(target.ry))
