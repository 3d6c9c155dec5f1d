"""Method ``2l.pois``: two-level Poisson regression, and its other names."""

import math
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.methods._two_level import TwoLevelGibbs, all_random
from jaxmice.random import log_gamma, poisson
from jaxmice.samplers import latent, linear_mixed as lm, poisson_mixed as pm
from jaxmice.target import Target

Read = tuple[pm.Counts, lm.Prior]

FARTHEST = 100.0
"""No mean is larger than this many times the largest count that was observed."""


class TwoLevelPois(TwoLevelGibbs):
    r"""Two-level Poisson regression of counts.

    .. math::

        y_{ij} \sim Poisson(\exp(x_{ij}' \beta + z_{ij}' b_j)), \qquad b_j \sim N(0, \Psi)

    for row i of cluster j, drawn exactly by Metropolis steps. Options: ``inner_iter``,
    ``burnin`` and ``restart``. With all predictors scaled, :math:`\beta_k \sim N(0, 2.5^2)`,
    the intercept :math:`N(0, 10^2)`, :math:`\Psi` Huang and Wand with scale 2.5. A shift
    ``delta`` is in units of the linear predictor. Counts that vary more than their mean
    allows want ``2l.negbin``.

    Missing data
    ------------
    Sporadic and systematic. A cluster without any observed value draws its effects from
    :math:`N(0, \Psi)`.

    Differences from R
    ------------------
    The effects of a cluster are drawn given its values; ``2l.glm.pois`` of R's ``micemd``
    draws them as if the cluster had none. A mean is at most a hundred times the largest
    observed count; in R it may overflow.

    References
    ----------
    Gamerman D (1997). Sampling from the posterior distribution in generalized linear
    mixed models. Statistics and Computing 7, 57-68. Use for imputation: Jolani S et al.
    (2015). Imputation of systematically missing predictors in an individual participant
    data meta-analysis. Statistics in Medicine 34, 1841-1863.
    """

    name: ClassVar[str] = "2l.pois"
    summary: ClassVar[str] = "two-level Poisson for counts"
    source: ClassVar[str] = "Gamerman (1997); Jolani et al. (2015)"
    kinds: ClassVar[frozenset[str]] = frozenset({"integer", "continuous", "binary_numeric"})
    counts: ClassVar[bool] = True
    standardised: ClassVar[bool] = False
    integral: ClassVar[bool] = True
    restart_iter: ClassVar[int] = 100
    overdispersed: ClassVar[bool] = False

    def read(self, target: Target) -> Read:
        """Return the counts, the sums that shape the proposals, and the prior."""
        counts = pm.read(target, overdispersed=self.overdispersed)
        return counts, latent.make_prior(target)

    def init(self, key: Key[Array, ""], sums: Read) -> pm.Parameters:
        """Return a start from which the first step goes to the neighbourhood of the mode."""
        del key
        return pm.start(sums[0], overdispersed=self.overdispersed)

    def step(
        self,
        key: Key[Array, ""],
        state: pm.Parameters,
        sums: Read,
        n_steps: Int[Array, ""],
    ) -> pm.Parameters:
        """Take Metropolis and Gibbs steps."""
        return pm.run(key, state, *sums, n_steps)

    def impute(
        self, key: Key[Array, ""], state: pm.Parameters, target: Target
    ) -> Float[Array, "K B"]:
        """Draw counts."""
        log_mean = pm.predictor(state.beta, state.b, target) + target.delta
        if state.log_size is not None:
            shape = jnp.broadcast_to(jnp.exp(state.log_size), target.y.shape)
            log_mean = log_mean + log_gamma(key, jnp.asarray(0), shape) - state.log_size
        most = jnp.maximum(jnp.max(jnp.where(target.ry, target.y, 0)), 1)
        log_mean = jnp.minimum(log_mean, jnp.log(most) + math.log(FARTHEST))
        return poisson(key, jnp.asarray(1 << 20), log_mean)


class TwoLevelGlmPois(TwoLevelPois):
    """``2l.pois`` under the name that R's ``micemd`` gives it.

    Differences from R
    ------------------
    Those of ``2l.pois``. ``micemd`` draws the effects of every cluster from their
    distribution over clusters, also where the cluster has observed values.

    References
    ----------
    Jolani S et al. (2015). Imputation of systematically missing predictors in an
    individual participant data meta-analysis. Statistics in Medicine 34, 1841-1863.
    """

    name: ClassVar[str] = "2l.glm.pois"
    summary: ClassVar[str] = "two-level Poisson for counts, as 2l.pois"


class TwoLevelStagesPois(TwoLevelPois):
    """Two-level Poisson regression with cluster-specific coefficients throughout.

    ``2l.2stage.pois`` of R's ``micemd``: as ``2l.pois``, and every predictor that varies
    inside clusters has a random slope, whatever its code.

    Differences from R
    ------------------
    One model is fitted to all clusters at once; R fits every cluster alone, treats those
    that it cannot fit as if they had no values, and combines the estimates.

    References
    ----------
    Gamerman D (1997). Sampling from the posterior distribution in generalized linear
    mixed models. Statistics and Computing 7, 57-68. Use for imputation: Resche-Rigon M,
    White IR (2018). Multiple imputation by chained equations for systematically and
    sporadically missing multilevel data. Statistical Methods in Medical Research 27,
    1634-1649.
    """

    name: ClassVar[str] = "2l.2stage.pois"
    summary: ClassVar[str] = "two-level Poisson for counts, all predictors random"
    source: ClassVar[str] = "Gamerman (1997); Resche-Rigon and White (2018)"

    def read(self, target: Target) -> Read:
        """Return what the steps need, all columns random."""
        return super().read(all_random(target))

    def impute(
        self, key: Key[Array, ""], state: pm.Parameters, target: Target
    ) -> Float[Array, "K B"]:
        """Draw counts."""
        return super().impute(key, state, all_random(target))
