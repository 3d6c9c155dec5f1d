"""Method ``2l.heckman``: a two-level selection model."""

import dataclasses
from typing import ClassVar

from jaxtyping import Array, Float, Int, Key

from jaxmice.methods._selection import TwoLevelSelected, has_value
from jaxmice.methods._two_level import TwoLevelGibbs, all_random
from jaxmice.samplers import selection_mixed as sm
from jaxmice.target import Target

BINARY_ITER = 800
"""Steps from a fresh start for two categories: a strong correlation forgets its start in 200."""


class TwoLevelHeckman(TwoLevelSelected, TwoLevelGibbs):
    r"""Two-level selection model, for values missing not at random.

    .. math::

        s_{ij} = x_{ij}' \alpha_j + d_{ij}, \qquad
        y_{ij} = x_{ij}' \beta_j + \gamma_j d_{ij} + e_{ij}, \qquad
        d_{ij} \sim N(0, 1), \quad e_{ij} \sim N(0, \xi_j)

    for row i of cluster j, y observed where :math:`s_{ij} > 0`: the residuals of the two
    equations correlate by :math:`\gamma_j / \sqrt{\xi_j + \gamma_j^2}`. A binary y is 1 where its
    equation exceeds 0, with :math:`\xi_j = 1`, and the prior of its correlation is uniform. All
    coefficients of predictors that vary inside clusters, and :math:`\gamma_j`, are normal over
    clusters. A missing value is drawn given that it was not selected, from the extended
    skew-normal distribution that follows.

    Codes: 1 or 2 for predictors of both equations; -3 for the selection only; -4 for y only. At
    least one predictor should have code -3: without it the data tell selection from y by the
    shape of distributions only.

    Options: ``inner_iter``, ``burnin`` and ``restart``; from a fresh start two categories take
    800 steps and numbers 100. ``systematic``: ``"marginal"`` draws the values of a cluster that
    has none from the distribution of y; ``"nonselected"`` as if each of them had not been
    selected, which is wrong unless that is why the cluster has none.

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
    153-161. Sampler: van Hasselt M (2011). Bayesian inference in a sample selection model.
    Journal of Econometrics 165, 221-232. Use for imputation: Munoz J et al. (2023). Multiple
    imputation of incomplete multilevel data using Heckman selection models. arXiv 2301.05043.
    """

    name: ClassVar[str] = "2l.heckman"
    summary: ClassVar[str] = "two-level selection model, values missing not at random"
    source: ClassVar[str] = "Heckman (1979); van Hasselt (2011)"
    restart_iter: ClassVar[int] = 100

    burnin: int | None = None
    """Gibbs steps of the first visit; by default 100, and 800 for two categories."""

    def schedule(self, *, first: bool) -> tuple[int, bool]:
        """Return the inner iterations of a visit and whether it starts afresh."""
        usual = BINARY_ITER if self.binary else self.restart_iter
        if self.restart:
            return self.inner_iter or usual, True
        return (self.burnin or usual if first else self.inner_iter or 10), first

    def read(self, target: Target) -> tuple[sm.Data, sm.Priors]:
        """Return the rows with their products, and the priors."""
        target = all_random(target)
        assert target.selection is not None
        # Why a cluster has no value at all is not what hides values elsewhere.
        hidden = target.selection.hidden & has_value(target)
        selection = dataclasses.replace(target.selection, hidden=hidden)
        data = sm.read(dataclasses.replace(target, selection=selection))
        return data, sm.make_priors(data, binary=self.binary)

    def init(self, key: Key[Array, ""], sums: tuple[sm.Data, sm.Priors]) -> sm.Parameters:
        """Return no effects."""
        del key
        return sm.start(sums[0], binary=self.binary)

    def step(
        self,
        key: Key[Array, ""],
        state: sm.Parameters,
        sums: tuple[sm.Data, sm.Priors],
        n_steps: Int[Array, ""],
    ) -> sm.Parameters:
        """Take Gibbs steps."""
        return sm.run(key, state, *sums, n_steps)

    def impute(
        self, key: Key[Array, ""], state: sm.Parameters, target: Target
    ) -> Float[Array, "K B"]:
        """Draw every row, given whether it was selected where its cluster shows that."""
        target = all_random(target)
        y = sm.draw_values(key, state, target, self.knows_selection(target)) + target.delta
        return (y > 0).astype(y.dtype) if self.binary else y
