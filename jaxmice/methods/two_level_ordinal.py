"""Method ``2l.ordinal``: two-level cumulative probit regression."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.methods._categories import Read, TwoLevelCategories, draw_latent
from jaxmice.samplers import ordinal_mixed
from jaxmice.target import Target


class TwoLevelOrdinal(TwoLevelCategories):
    r"""Two-level cumulative probit regression of an ordered variable (not in R's ``mice``).

    .. math::

        \Pr(y_{ij} \le k) = \Phi(c_k - x_{ij}' \beta - z_{ij}' b_j),
        \qquad b_j \sim N(0, \Psi)

    for row i of cluster j, drawn by augmentation with latent normal variables; the
    thresholds by Metropolis with these integrated out. :math:`c_1 = 0`, and the logarithm
    of each width :math:`c_k - c_{k-1}` is :math:`N(0, 1.5^2)`; the other priors are those
    of ``2l.bin``, which the method equals for two categories. Options: ``inner_iter``,
    ``burnin`` and ``restart``. A shift ``delta`` is in units of the linear predictor.

    Missing data
    ------------
    Sporadic and systematic. A cluster without any observed value draws its effects from
    :math:`N(0, \Psi)`. A category without any observed value is never imputed.

    Differences from R
    ------------------
    ``mice``, ``miceadds`` and ``micemd`` have no such method; they match means of integer
    codes or ignore the clusters (``polr``).

    References
    ----------
    Albert JH, Chib S (1993). Bayesian analysis of binary and polychotomous response data.
    Journal of the American Statistical Association 88, 669-679. Cowles MK (1996).
    Accelerating Monte Carlo Markov chain convergence for cumulative-link generalized
    linear models. Statistics and Computing 6, 101-111.
    """

    name: ClassVar[str] = "2l.ordinal"
    summary: ClassVar[str] = "two-level cumulative probit for ordered categories"
    source: ClassVar[str] = "Albert and Chib (1993); Cowles (1996)"
    kinds: ClassVar[frozenset[str]] = frozenset({"ordinal", "binary"})
    set_by_column: ClassVar[frozenset[str]] = frozenset({"n_categories"})

    n_categories: int = eqx.field(default=2, static=True)
    """Number of categories."""

    def init(self, key: Key[Array, ""], sums: Read) -> ordinal_mixed.Parameters:
        """Return no effects and the thresholds of the observed shares."""
        del key
        return ordinal_mixed.start(sums[1], self.categories(sums[0]))

    def categories(self, target: Target) -> ordinal_mixed.Categories:
        """Return what the fitted rows tell about the categories."""
        return ordinal_mixed.read_categories(target, self.n_categories)

    def step(
        self,
        key: Key[Array, ""],
        state: ordinal_mixed.Parameters,
        sums: Read,
        n_steps: Int[Array, ""],
    ) -> ordinal_mixed.Parameters:
        """Take steps of the chain."""
        return ordinal_mixed.run(key, state, *sums, self.categories(sums[0]), n_steps)

    def impute(
        self, key: Key[Array, ""], state: ordinal_mixed.Parameters, target: Target
    ) -> Float[Array, "K B"]:
        """Draw categories."""
        g = draw_latent(key, jnp.zeros((), int), state.regression, target)
        upper = ordinal_mixed.thresholds(state.log_width, self.categories(target))
        above = [(g > upper[k]).astype(g.dtype) for k in range(self.n_categories - 1)]
        return sum(above, jnp.zeros_like(g))
