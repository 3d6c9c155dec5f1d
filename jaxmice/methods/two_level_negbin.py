"""Method ``2l.negbin``: two-level negative binomial regression."""

from typing import ClassVar

from jaxmice.methods.two_level_pois import TwoLevelPois


class TwoLevelNegbin(TwoLevelPois):
    r"""Two-level negative binomial regression of counts that vary more than Poisson ones.

    .. math::

        y_{ij} \sim Poisson(e_{ij} \exp(x_{ij}' \beta + z_{ij}' b_j)), \qquad
        b_j \sim N(0, \Psi), \qquad e_{ij} \sim Gamma(s, s)

    for row i of cluster j: variance :math:`\mu + \mu^2 / s` given the effects. The size s
    is drawn with the others, :math:`\log s \sim N(1, 2^2)`: where the counts are Poisson it
    becomes large. All else as for ``2l.pois``; a visit takes some ten times as long.

    Missing data
    ------------
    Sporadic and systematic. A cluster without any observed value draws its effects from
    :math:`N(0, \Psi)`.

    Differences from R
    ------------------
    R's ``mice`` and ``micemd`` have no such method.

    References
    ----------
    Gamerman D (1997). Sampling from the posterior distribution in generalized linear
    mixed models. Statistics and Computing 7, 57-68. Lawless JF (1987). Negative binomial
    and mixed Poisson regression. Canadian Journal of Statistics 15, 209-225.
    """

    name: ClassVar[str] = "2l.negbin"
    summary: ClassVar[str] = "two-level negative binomial for counts"
    source: ClassVar[str] = "Gamerman (1997); Lawless (1987)"
    overdispersed: ClassVar[bool] = True
