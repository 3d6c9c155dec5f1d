"""Method ``polr``: proportional odds regression."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.methods._base import Method
from jaxmice.random import uniforms
from jaxmice.samplers import proportional_odds
from jaxmice.target import Target


class Polr(Method):
    r"""Proportional odds regression with drawn parameters (``polr`` in R's ``mice``).

    .. math:: \Pr(y \le k) = 1 / (1 + e^{x'\beta - \zeta_k})

    with :math:`\beta`, the first cut and the logarithms of the gaps between cuts drawn from
    the normal approximation to their likelihood, which is augmented against separation. A
    category without an observed value is never imputed.

    Differences from R
    ------------------
    The parameters are drawn; R imputes from the estimate, which understates uncertainty.
    The model is never exchanged for another one; R turns to ``polyreg`` on failure.

    References
    ----------
    McCullagh P (1980). Regression models for ordinal data. Journal of the Royal Statistical
    Society B 42, 109-142. Augmentation: White IR, Daniel R, Royston P (2010), Computational
    Statistics and Data Analysis 54, 2267-2275.
    """

    name: ClassVar[str] = "polr"
    summary: ClassVar[str] = "proportional odds regression, parameters drawn"
    source: ClassVar[str] = "McCullagh (1980); White, Daniel and Royston (2010)"
    kinds: ClassVar[frozenset[str]] = frozenset({"binary", "ordinal"})
    codes: ClassVar[frozenset[int]] = frozenset({1, 3})
    exact: ClassVar[bool] = False
    standardised: ClassVar[bool] = False
    integral: ClassVar[bool] = True
    set_by_column: ClassVar[frozenset[str]] = frozenset({"n_categories"})

    n_categories: int = eqx.field(default=2, static=True)
    """Categories of the column."""

    def init(self, key: Key[Array, ""], sums: Target) -> proportional_odds.Parameters:
        """Return zeros, which the first step does not read."""
        del key
        return proportional_odds.start(sums, self.n_categories)

    def step(
        self,
        key: Key[Array, ""],
        state: proportional_odds.Parameters,
        sums: Target,
        n_steps: Int[Array, ""],
    ) -> proportional_odds.Parameters:
        """Draw the parameters; their likelihood has no sums, so rows are read."""
        del state, n_steps
        return proportional_odds.draw(key, sums, self.n_categories)

    def impute(
        self, key: Key[Array, ""], state: proportional_odds.Parameters, target: Target
    ) -> Float[Array, "K B"]:
        """Draw categories: a latent logistic variable between cuts."""
        none = jnp.zeros((0, target.y.shape[0]), target.y.dtype)
        eta = target.linear_predictor(none, state.beta) + target.delta
        u = uniforms(key, jnp.zeros((), int), target.y.shape, target.y.dtype)
        latent = eta + jax.scipy.special.logit(u)
        cuts = state.cuts[:, None, None]
        return jnp.sum(latent > cuts, axis=0).astype(target.y.dtype)
