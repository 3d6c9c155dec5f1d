"""Method ``2l.heckman``: a two-level selection model."""

import dataclasses
from types import ModuleType
from typing import Any, ClassVar

from jaxtyping import Array, Float, Int, Key

from jaxmice.methods._selection import TwoLevelSelected, has_value
from jaxmice.methods._two_level import TwoLevelGibbs, all_random
from jaxmice.samplers import selection_mixed, selection_probit
from jaxmice.target import Target


class TwoLevelHeckman(TwoLevelSelected, TwoLevelGibbs):
    r"""Two-level selection model, for values missing not at random.

    .. math::

        s_{ij} = x_{ij}' \alpha_j + d_{ij}, \qquad
        y_{ij} = x_{ij}' \beta_j + \gamma_j d_{ij} + e_{ij}, \qquad
        d_{ij} \sim N(0, 1), \quad e_{ij} \sim N(0, \xi_j)

    for row i of cluster j, y observed where :math:`s_{ij} > 0`: the residuals of the two
    equations correlate by :math:`\rho_j = \gamma_j / \sqrt{\xi_j + \gamma_j^2}`. A binary y is 1
    where its equation exceeds 0, with :math:`\xi_j + \gamma_j^2 = 1`. All coefficients of
    predictors that vary inside clusters, and :math:`\gamma_j` or, for a binary y,
    :math:`\operatorname{atanh} \rho_j`, are normal over clusters; those of the two equations
    are correlated where y is binary. A missing value is drawn given that it was not selected,
    from the extended skew-normal distribution that follows.

    Codes: 1 or 2 for predictors of both equations; -3 for the selection only; -4 for y only. At
    least one predictor should have code -3: without it the data tell selection from y by the
    shape of distributions only.

    Options: ``inner_iter``, ``burnin`` and ``restart``. ``systematic``: ``"marginal"`` draws the
    values of a cluster that has none from the distribution of y; ``"nonselected"`` as if each of
    them had not been selected, which is wrong unless that is why the cluster has none.

    Missing data
    ------------
    Sporadic and systematic. A cluster without any observed value draws its coefficients from
    their distribution over clusters and says nothing about selection elsewhere.

    Differences from R
    ------------------
    ``micemd`` has the two-stage estimator, see ``2l.2stage.heckman``.

    References
    ----------
    Heckman JJ (1979). Sample selection bias as a specification error. Econometrica 47,
    153-161. Sampler of numbers: van Hasselt M (2011). Bayesian inference in a sample selection
    model. Journal of Econometrics 165, 221-232. Of two categories: Neal RM (1999). Regression
    and classification using Gaussian process priors. Bayesian Statistics 6, 475-501.
    Use for imputation: Munoz J et al. (2023). Multiple imputation of incomplete multilevel data
    using Heckman selection models. arXiv 2301.05043.
    """

    name: ClassVar[str] = "2l.heckman"
    summary: ClassVar[str] = "two-level selection model, values missing not at random"
    source: ClassVar[str] = "Heckman (1979); van Hasselt (2011); Neal (1999)"
    restart_iter: ClassVar[int] = 100

    @property
    def runs_plainly(self) -> bool:
        """Whether kernels that are faster to compile are no slower to run."""
        return self.binary

    def read(self, target: Target) -> tuple[Any, Any]:
        """Return what the steps read of the rows, and the priors."""
        target = all_random(target)
        assert target.selection is not None
        # Why a cluster has no value at all is not what hides values elsewhere.
        hidden = target.selection.hidden & has_value(target)
        selection = dataclasses.replace(target.selection, hidden=hidden)
        data = self._sampler().read(dataclasses.replace(target, selection=selection))
        return data, self._sampler().make_priors(data)

    def init(self, key: Key[Array, ""], sums: tuple[Any, Any]) -> Any:
        """Return the start of the sampler."""
        del key
        return self._sampler().start(sums[0])

    def step(
        self, key: Key[Array, ""], state: Any, sums: tuple[Any, Any], n_steps: Int[Array, ""]
    ) -> Any:
        """Take steps."""
        return self._sampler().run(key, state, *sums, n_steps)

    def impute(self, key: Key[Array, ""], state: Any, target: Target) -> Float[Array, "K B"]:
        """Draw every row, given whether it was selected where its cluster shows that."""
        target = all_random(target)
        known = self.knows_selection(target)
        y = self._sampler().draw_values(key, state, target, known) + target.delta
        return (y > 0).astype(y.dtype) if self.binary else y

    def _sampler(self) -> ModuleType:
        """Return the sampler of this kind of column."""
        return selection_probit if self.binary else selection_mixed
