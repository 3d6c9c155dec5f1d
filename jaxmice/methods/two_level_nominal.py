"""Method ``2l.nominal``: two-level multinomial probit regression."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.methods._categories import Read, TwoLevelCategories, draw_latent
from jaxmice.samplers import nominal_mixed
from jaxmice.target import Target


class TwoLevelNominal(TwoLevelCategories):
    r"""Two-level multinomial probit regression of unordered categories (not in R's ``mice``).

    .. math::

        g_{ijk} = x_{ij}' \beta_k + z_{ij}' b_{jk} + e_{ijk}, \qquad
        b_{jk} \sim N(0, \Psi_k), \qquad e_{ijk} \sim N(0, 1)

    for row i of cluster j and every category k but the first, which has :math:`g = 0`;
    the category with the largest g is the one that is seen. Drawn exactly by augmentation
    with these latent variables; each category has the priors of ``2l.bin``, which the
    method equals for two categories. Options: ``inner_iter``, ``burnin`` and ``restart``.
    A shift ``delta`` is added to the g of every category but the first.

    Missing data
    ------------
    Sporadic and systematic. A cluster without any observed value draws its effects from
    :math:`N(0, \Psi_k)`. A category without any observed value is never imputed.

    Differences from R
    ------------------
    ``mice``, ``miceadds`` and ``micemd`` have no such method. ``jomo`` correlates the
    latent residuals, and keeps them between -3 and 4.

    References
    ----------
    Albert JH, Chib S (1993). Bayesian analysis of binary and polychotomous response data.
    Journal of the American Statistical Association 88, 669-679, section 5.
    """

    name: ClassVar[str] = "2l.nominal"
    summary: ClassVar[str] = "two-level multinomial probit for unordered categories"
    source: ClassVar[str] = "Albert and Chib (1993), section 5"
    kinds: ClassVar[frozenset[str]] = frozenset({"nominal", "ordinal", "binary"})
    set_by_column: ClassVar[frozenset[str]] = frozenset({"n_categories"})

    n_categories: int = eqx.field(default=2, static=True)
    """Number of categories."""

    def init(self, key: Key[Array, ""], sums: Read) -> nominal_mixed.Parameters:
        """Return no effects."""
        del key
        return nominal_mixed.start(sums[0], sums[1], self.n_categories)

    def step(
        self,
        key: Key[Array, ""],
        state: nominal_mixed.Parameters,
        sums: Read,
        n_steps: Int[Array, ""],
    ) -> nominal_mixed.Parameters:
        """Take Gibbs steps."""
        categories = nominal_mixed.read_categories(sums[0], self.n_categories)
        return nominal_mixed.run(key, state, *sums, categories, n_steps)

    def impute(
        self, key: Key[Array, ""], state: nominal_mixed.Parameters, target: Target
    ) -> Float[Array, "K B"]:
        """Draw categories."""
        categories = nominal_mixed.read_categories(target, self.n_categories)
        counters = jnp.arange(self.n_categories - 1)
        draw = jax.vmap(draw_latent, in_axes=(None, 0, 0, None))
        g = draw(key, counters, state.regressions, target)
        g = jnp.where(categories.seen[:, None, None], g, -jnp.inf)
        g = jnp.concatenate([jnp.zeros_like(g[:1]), g])
        return nominal_mixed.exchange(jnp.argmax(g, axis=0).astype(g.dtype), categories)
