"""Method ``logreg``: Bayesian logistic regression."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.methods._base import Method
from jaxmice.random import uniforms
from jaxmice.samplers import logistic
from jaxmice.target import Target


class Logreg(Method):
    r"""Logistic regression with drawn coefficients (``logreg`` in R's ``mice``).

    :math:`\Pr(y = 1) = 1 / (1 + e^{-x'\beta})`, :math:`\beta` drawn from the normal
    approximation to its likelihood, which is augmented against separation.

    Differences from R
    ------------------
    The augmentation is always applied; R leaves it out when exactly one value is missing.

    References
    ----------
    Rubin DB (1987), page 169. White IR, Daniel R, Royston P (2010). Avoiding bias due to
    perfect prediction in multiple imputation of incomplete categorical variables.
    Computational Statistics and Data Analysis 54, 2267-2275.
    """

    name: ClassVar[str] = "logreg"
    summary: ClassVar[str] = "logistic regression, coefficients drawn"
    source: ClassVar[str] = "Rubin (1987), page 169; White, Daniel and Royston (2010)"
    kinds: ClassVar[frozenset[str]] = frozenset({"binary", "binary_numeric"})
    codes: ClassVar[frozenset[int]] = frozenset({1, 3})
    exact: ClassVar[bool] = False
    standardised: ClassVar[bool] = False
    integral: ClassVar[bool] = True

    def init(self, key: Key[Array, ""], sums: Target) -> Float[Array, " f"]:
        """Return zeros, which the first step does not read."""
        del key
        return jnp.zeros(sums.f_live.shape, sums.y.dtype)

    def step(
        self,
        key: Key[Array, ""],
        state: Float[Array, " f"],
        sums: Target,
        n_steps: Int[Array, ""],
    ) -> Float[Array, " f"]:
        """Draw the coefficients; their likelihood has no sums, so rows are read."""
        del state, n_steps
        return logistic.draw(key, sums)

    def impute(
        self, key: Key[Array, ""], state: Float[Array, " f"], target: Target
    ) -> Float[Array, "K B"]:
        """Draw ones and zeros."""
        none = jnp.zeros((0, target.y.shape[0]), target.y.dtype)
        eta = target.linear_predictor(none, state) + target.delta
        u = uniforms(key, jnp.zeros((), int), target.y.shape, target.y.dtype)
        return (u < jax.nn.sigmoid(eta)).astype(target.y.dtype)
