"""Method ``mean``: the mean of the observed values."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.methods._base import Method
from jaxmice.methods.sample import Sample
from jaxmice.target import Target


class Mean(Method):
    """Impute the mean, for categories the most frequent one (``mean`` in R's ``mice``).

    Understates every variance and all uncertainty: for comparison only.

    Differences from R
    ------------------
    Categories get their mode; R's method takes numbers only.

    References
    ----------
    van Buuren S (2018). Flexible Imputation of Missing Data, 2nd edition, section 1.3.3.
    """

    name: ClassVar[str] = "mean"
    summary: ClassVar[str] = "mean of the observed values, mode of categories"
    source: ClassVar[str] = "van Buuren (2018), section 1.3.3"
    kinds: ClassVar[frozenset[str]] = Sample.kinds
    codes: ClassVar[frozenset[int]] = Sample.codes
    cluster_codes: ClassVar[frozenset[int]] = Sample.cluster_codes
    uses_predictors: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    mode: bool = eqx.field(default=False, static=True)
    """Impute the most frequent value; always so for categories."""

    def for_column(self, kind: str, n_categories: int) -> "Mean":
        """Return the mode for categories."""
        del n_categories
        return Mean(mode=self.mode or kind in ("binary", "nominal", "ordinal"))

    def init(self, key: Key[Array, ""], sums: Target) -> Float[Array, ""]:
        """Return zero, which the first step does not read."""
        del key
        return jnp.zeros((), sums.y.dtype)

    def step(
        self, key: Key[Array, ""], state: Float[Array, ""], sums: Target, n_steps: Int[Array, ""]
    ) -> Float[Array, ""]:
        """Return the value to impute."""
        del key, state, n_steps
        observed, y = jnp.ravel(sums.ry), jnp.ravel(sums.y)
        if not self.mode:
            return jnp.sum(jnp.where(observed, y, 0)) / jnp.sum(observed)
        ordered = jnp.sort(jnp.where(observed, y, jnp.inf))
        size = jnp.searchsorted(ordered, y, side="right") - jnp.searchsorted(ordered, y)
        return y[jnp.argmax(jnp.where(observed, size, -1))]

    def impute(
        self, key: Key[Array, ""], state: Float[Array, ""], target: Target
    ) -> Float[Array, "K B"]:
        """Give every row the same value."""
        del key
        return jnp.full_like(target.y, 1) * state
