"""Method ``2l.bin``: two-level probit regression, and its other names."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.methods._categories import TwoLevelCategories, draw_latent
from jaxmice.methods._two_level import all_random
from jaxmice.random import normals
from jaxmice.samplers import (
    latent,
    linear_mixed as lm,
    linear_mixed_crossed as crossed,
    probit_mixed,
    probit_mixed_crossed,
)
from jaxmice.target import Target

State = latent.Regression | crossed.Parameters
"""Parameters with one cluster column, or with several."""

Read = tuple[Any, ...]
"""Target, sums and prior with one cluster column; else data and prior of the crossed model."""


class TwoLevelBin(TwoLevelCategories):
    r"""Two-level probit regression of a binary variable (``2l.bin`` in R's ``mice``).

    .. math::

        \Pr(y_{ij} = 1) = \Phi(x_{ij}' \beta + z_{ij}' b_j), \qquad b_j \sim N(0, \Psi)

    for row i of cluster j, drawn exactly by augmentation with latent normal variables.
    Options: ``inner_iter``, ``burnin`` and ``restart``. With all predictors scaled,
    :math:`\beta_k \sim N(0, 2.5^2)`, the intercept :math:`N(0, 10^2)`, :math:`\Psi` Huang
    and Wand with scale 2.5: answers that a predictor or a cluster separates leave
    everything finite. A shift ``delta`` is in units of the linear predictor. Every further
    cluster column, nested or crossed, adds a random intercept.

    Missing data
    ------------
    Sporadic and systematic. A cluster without any observed value draws its effects from
    :math:`N(0, \Psi)`.

    Differences from R
    ------------------
    The link is probit; R's is logit, with coefficients about 1.7 times as large and much
    the same imputations. The effects of a cluster are drawn given its values and given
    the drawn coefficients and :math:`\Psi`; R draws from an approximation at estimates
    and, before version 3.19.7, ignores the values of the cluster. A model that R cannot
    fit leaves the old imputations in place there.

    References
    ----------
    Albert JH, Chib S (1993). Bayesian analysis of binary and polychotomous response data.
    Journal of the American Statistical Association 88, 669-679. Use for imputation:
    Jolani S et al. (2015). Imputation of systematically missing predictors in an
    individual participant data meta-analysis. Statistics in Medicine 34, 1841-1863.
    """

    name: ClassVar[str] = "2l.bin"
    summary: ClassVar[str] = "two-level probit for two categories"
    source: ClassVar[str] = "Albert and Chib (1993); Jolani et al. (2015)"
    kinds: ClassVar[frozenset[str]] = frozenset({"binary", "binary_numeric"})

    several_clusters: ClassVar[bool] = True

    def read(self, target: Target) -> Read:
        """Return what the steps read, and the prior."""
        _, sums, prior = read = super().read(target)
        if not target.factors:
            return read
        data = crossed.read(target, sums)
        further = tuple(crossed.half_t(own, lm.HALF_T_SCALE) for own in data.further)
        return data, crossed.Prior(prior, further)

    def init(self, key: Key[Array, ""], sums: Read) -> State:
        """Return no effects, and half of the residual deviation between clusters."""
        del key
        if isinstance(sums[0], crossed.Data):
            return probit_mixed_crossed.start(sums[0])
        return latent.start(sums[1])

    def step(self, key: Key[Array, ""], state: State, sums: Read, n_steps: Int[Array, ""]) -> State:
        """Take Gibbs steps."""
        if isinstance(state, crossed.Parameters):
            data, prior = sums
            return probit_mixed_crossed.run(key, state, data, prior, n_steps)
        rows, design, prior = sums
        return probit_mixed.run(key, state, rows, design, prior, n_steps)

    def impute(self, key: Key[Array, ""], state: State, target: Target) -> Float[Array, "K B"]:
        """Draw ones and zeros."""
        if isinstance(state, crossed.Parameters):
            noise = normals(key, jnp.zeros((), int), target.y.shape, target.y.dtype)
            g = crossed.fitted(state, target) + target.delta + noise
        else:
            g = draw_latent(key, jnp.zeros((), int), state, target)
        return (g > 0).astype(g.dtype)


class TwoLevelBinary(TwoLevelBin):
    """``2l.bin`` under the name that R's ``miceadds`` gives it.

    Differences from R
    ------------------
    Those of ``2l.bin``. ``miceadds`` draws fixed effects with a wrong covariance and keeps
    the variances at their estimates.

    References
    ----------
    Albert JH, Chib S (1993). Bayesian analysis of binary and polychotomous response data.
    Journal of the American Statistical Association 88, 669-679.
    """

    name: ClassVar[str] = "2l.binary"
    summary: ClassVar[str] = "two-level probit for two categories, as 2l.bin"
    source: ClassVar[str] = "Albert and Chib (1993)"


class TwoLevelGlmBin(TwoLevelBin):
    """``2l.bin`` under the name that R's ``micemd`` gives it.

    Differences from R
    ------------------
    Those of ``2l.bin``. ``micemd`` draws the effects of every cluster from their
    distribution over clusters, also where the cluster has observed values.

    References
    ----------
    Albert JH, Chib S (1993). Bayesian analysis of binary and polychotomous response data.
    Journal of the American Statistical Association 88, 669-679. Use for imputation:
    Jolani S et al. (2015). Imputation of systematically missing predictors in an
    individual participant data meta-analysis. Statistics in Medicine 34, 1841-1863.
    """

    name: ClassVar[str] = "2l.glm.bin"
    summary: ClassVar[str] = "two-level probit for two categories, as 2l.bin"


class TwoLevelStagesBin(TwoLevelBin):
    r"""Two-level probit regression with cluster-specific coefficients throughout.

    ``2l.2stage.bin`` of R's ``micemd``: as ``2l.bin``, and every predictor that varies
    inside clusters has a random slope, whatever its code.

    Differences from R
    ------------------
    One model is fitted to all clusters at once; R fits every cluster alone, treats those
    that it cannot fit as if they had no values, and combines the estimates. Link and
    priors are those of ``2l.bin``.

    References
    ----------
    Albert JH, Chib S (1993). Bayesian analysis of binary and polychotomous response data.
    Journal of the American Statistical Association 88, 669-679. Use for imputation:
    Resche-Rigon M, White IR (2018). Multiple imputation by chained equations for
    systematically and sporadically missing multilevel data. Statistical Methods in
    Medical Research 27, 1634-1649.
    """

    name: ClassVar[str] = "2l.2stage.bin"
    summary: ClassVar[str] = "two-level probit for two categories, all predictors random"
    source: ClassVar[str] = "Albert and Chib (1993); Resche-Rigon and White (2018)"

    def read(self, target: Target) -> Read:
        """Return the target with all columns random, its sums and the prior."""
        return super().read(all_random(target))

    def impute(self, key: Key[Array, ""], state: State, target: Target) -> Float[Array, "K B"]:
        """Draw ones and zeros."""
        return super().impute(key, state, all_random(target))
