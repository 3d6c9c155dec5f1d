"""Method ``2l.pan``: two-level normal regression with one residual variance."""

from typing import ClassVar

from jaxtyping import Array, Float, Int, Key

from jaxmice.methods._several_clusters import Drawn, Read, SeveralClusters
from jaxmice.target import Target


class TwoLevelPan(SeveralClusters):
    r"""Two-level normal model with one residual variance (``2l.pan`` in R's ``mice``).

    .. math::

        y_{ij} = x_{ij}' \beta + z_{ij}' b_j + e_{ij}, \qquad
        b_j \sim N(0, \Psi), \qquad e_{ij} \sim N(0, \sigma^2)

    for row i of cluster j. Options: ``inner_iter``, ``burnin``, ``restart`` and
    ``prior``, one of ``"hw"`` (Huang and Wand, scaled to the data), ``"pan"`` (that of
    R: :math:`\sigma^2 \sim IG(1/2, 1/2)`, :math:`\Psi \sim IW(q, I)` in the units of
    the data) and ``"pan_scaled"`` (the same in standardised units).

    Every further cluster column, nested or crossed, adds a random intercept, and the random
    slopes that the option ``slopes`` lists for it; the prior of their covariance is of the
    same kind as that of :math:`\Psi`.

    Missing data
    ------------
    Sporadic and systematic. A cluster without any observed value draws its effects from
    :math:`N(0, \Psi)`, in every cluster column.

    Differences from R
    ------------------
    The default prior has no units, so that multiplying y by ten changes nothing. Visits
    go on from the parameters of the visit before; R starts anew and keeps the last of
    500 steps (``restart=True``). Any type of cluster id will do. R takes one cluster
    column.

    References
    ----------
    Schafer JL, Yucel RM (2002). Computational strategies for multivariate linear
    mixed-effects models with missing values. Journal of Computational and Graphical
    Statistics 11, 437-457, sections 2 and 3.
    """

    name: ClassVar[str] = "2l.pan"
    summary: ClassVar[str] = "two-level normal, one residual variance"
    source: ClassVar[str] = "Schafer and Yucel (2002), sections 2-3"
    priors: ClassVar[tuple[str, ...]] = ("hw", "pan", "pan_scaled")
    restart_iter: ClassVar[int] = 500
    by_cluster: ClassVar[bool] = False

    def init(self, key: Key[Array, ""], sums: Read) -> Drawn:
        """Return no effects, and half of the residual deviation between clusters."""
        del key
        return self.begin(sums)

    def step(self, key: Key[Array, ""], state: Drawn, sums: Read, n_steps: Int[Array, ""]) -> Drawn:
        """Take Gibbs steps."""
        return self.advance(key, state, sums, n_steps)

    def impute(self, key: Key[Array, ""], state: Drawn, target: Target) -> Float[Array, "K B"]:
        """Draw ``y = X beta + Z b + e``."""
        return self.draw(key, state, target)
