"""Method ``polyreg``: multinomial logistic regression."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.methods._base import Method
from jaxmice.random import uniforms
from jaxmice.samplers import multinomial
from jaxmice.target import Target


class Polyreg(Method):
    r"""Multinomial logistic regression with drawn coefficients (``polyreg`` in R's ``mice``).

    .. math:: \Pr(y = c) \propto e^{x' \beta_c}

    with the :math:`\beta_c` drawn from the normal approximation to their likelihood, which
    is augmented against separation. A category without an observed value is never imputed.
    A shift ``delta`` moves the linear predictor of every category but the first.

    Differences from R
    ------------------
    The coefficients are drawn; R imputes from the estimate, which understates uncertainty.

    References
    ----------
    van Buuren S (2018). Flexible Imputation of Missing Data, 2nd edition, section 3.6.
    White IR, Daniel R, Royston P (2010). Avoiding bias due to perfect prediction in
    multiple imputation of incomplete categorical variables. Computational Statistics and
    Data Analysis 54, 2267-2275.
    """

    name: ClassVar[str] = "polyreg"
    summary: ClassVar[str] = "multinomial logistic regression, coefficients drawn"
    source: ClassVar[str] = "van Buuren (2018), section 3.6; White, Daniel and Royston (2010)"
    kinds: ClassVar[frozenset[str]] = frozenset({"binary", "nominal", "ordinal"})
    codes: ClassVar[frozenset[int]] = frozenset({1, 3})
    exact: ClassVar[bool] = False
    standardised: ClassVar[bool] = False
    integral: ClassVar[bool] = True
    set_by_column: ClassVar[frozenset[str]] = frozenset({"n_categories"})

    n_categories: int = eqx.field(default=2, static=True)
    """Categories of the column."""

    def init(self, key: Key[Array, ""], sums: Target) -> multinomial.Parameters:
        """Return zeros, which the first step does not read."""
        del key
        return multinomial.start(sums, self.n_categories)

    def step(
        self,
        key: Key[Array, ""],
        state: multinomial.Parameters,
        sums: Target,
        n_steps: Int[Array, ""],
    ) -> multinomial.Parameters:
        """Draw the coefficients; their likelihood has no sums, so rows are read."""
        del state, n_steps
        return multinomial.draw(key, sums, self.n_categories)

    def impute(
        self, key: Key[Array, ""], state: multinomial.Parameters, target: Target
    ) -> Float[Array, "K B"]:
        """Draw categories: the largest of linear predictors plus Gumbel variates."""
        none = jnp.zeros((0, target.y.shape[0]), target.y.dtype)
        eta = jnp.stack([target.linear_predictor(none, beta) for beta in state.beta])
        eta = jnp.where(state.present[:, None, None], eta.at[1:].add(target.delta), -jnp.inf)
        # Categories last: then empty blocks that fill up the shape move no number.
        u = uniforms(key, jnp.zeros((), int), (*target.y.shape, len(eta)), eta.dtype)
        u = jnp.moveaxis(u, -1, 0)
        return jnp.argmax(eta - jnp.log(-jnp.log(u)), axis=0).astype(eta.dtype)
