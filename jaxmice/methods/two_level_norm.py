"""Method ``2l.norm``: two-level normal regression, a residual variance per cluster."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.errors import ModelError
from jaxmice.linalg import to_rows
from jaxmice.methods._two_level import TwoLevelNormal
from jaxmice.samplers import linear_mixed as lm, linear_mixed_by_cluster as lmc
from jaxmice.samplers.sums import Sums
from jaxmice.target import Target


class TwoLevelNorm(TwoLevelNormal):
    r"""Two-level normal model with heterogeneous residual variances (``2l.norm`` in R).

    .. math::

        y_{ij} = x_{ij}' \beta + z_{ij}' b_j + e_{ij}, \qquad b_j \sim N(0, \Psi),
        \qquad e_{ij} \sim N(0, \sigma_j^2), \qquad
        \sigma_j^{-2} \sim \mathrm{Ga}(a, a \sigma_0^2)

    for row i of cluster j; :math:`a^{-1/2}` is the coefficient of variation of the
    precisions. Options: ``inner_iter``, ``burnin``, ``restart`` and ``prior``, one of
    ``"hw"`` (Huang and Wand for :math:`\Psi`, a half-normal for the coefficient of
    variation) and ``"kr"`` (that of R: flat on :math:`\Psi`, :math:`\sigma_0^2` and
    :math:`1/(2a)`; it needs 2 q + 2 clusters with data for q random effects).

    Missing data
    ------------
    Sporadic and systematic. A cluster without any observed value draws its effects and
    its variance from their distributions over clusters.

    Differences from R
    ------------------
    Code 1, a fixed effect without random slope, is honoured; R drops such predictors.
    The spread of the variances is drawn exactly; R replaces a gamma function by
    Stirling's formula, which overstates :math:`1/(2a)` by 14 % at 0.5 and 35 % at 2.
    Visits go on from the parameters of the visit before (``restart=True``: 100 steps
    from a fresh start, as in R).

    References
    ----------
    Kasim RM, Raudenbush SW (1998). Application of Gibbs sampling to nested variance
    components models with heterogeneous within-group variance. Journal of Educational
    and Behavioral Statistics 23, 93-116. Use for imputation: van Buuren (2011), Multiple
    imputation of multilevel data, in Hox and Roberts (eds), chapter 10.
    """

    name: ClassVar[str] = "2l.norm"
    summary: ClassVar[str] = "two-level normal, a residual variance per cluster"
    source: ClassVar[str] = "Kasim and Raudenbush (1998); van Buuren (2011)"
    priors: ClassVar[tuple[str, ...]] = ("hw", "kr")
    restart_iter: ClassVar[int] = 100
    by_cluster: ClassVar[bool] = True

    def check(self, n_random: int, n_observed_clusters: int, where: str) -> None:
        """Raise a `ModelError` where a flat prior leaves the posterior improper."""
        needed = 2 * n_random + 2
        if self.prior == "kr" and n_observed_clusters < needed:
            message = (
                f"{where}: prior 'kr' needs at least {needed} clusters with observed "
                f"values for {n_random} random effects, found {n_observed_clusters}; "
                "use prior='hw' or fewer random slopes"
            )
            raise ModelError("E16", message)

    def init(self, key: Key[Array, ""], sums: tuple[Sums, lm.Prior]) -> lmc.Parameters:
        """Return no effects, variances as the clusters show them."""
        del key
        return lmc.start(sums[0])

    def spread_prior(self, sums: Sums) -> lmc.SpreadPrior:
        """Return the prior of the distribution of the residual precisions."""
        if self.prior == "hw":
            return lmc.weak_spread(sums.k.dtype)
        return lmc.SpreadPrior(*(jnp.asarray(value, sums.k.dtype) for value in (2, 0, 0, 0, 1, 0)))

    def step(
        self,
        key: Key[Array, ""],
        state: lmc.Parameters,
        sums: tuple[Sums, lm.Prior],
        n_steps: Int[Array, ""],
    ) -> lmc.Parameters:
        """Take Gibbs steps."""
        return lmc.run(key, state, *sums, self.spread_prior(sums[0]), n_steps)

    def impute(
        self, key: Key[Array, ""], state: lmc.Parameters, target: Target
    ) -> Float[Array, "K B"]:
        """Draw ``y = X beta + Z b + e`` with the variance of each cluster."""
        sigma = to_rows(1 / jnp.sqrt(state.precision)[None], target.layout)[0]
        return self.draw_rows(key, state.beta, state.b, sigma, target)
