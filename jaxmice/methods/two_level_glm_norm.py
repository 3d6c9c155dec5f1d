"""Method ``2l.glm.norm``: two-level normal regression under the name of R's ``micemd``."""

from typing import ClassVar

from jaxmice.methods.two_level_lmer import TwoLevelLmer


class TwoLevelGlmNorm(TwoLevelLmer):
    r"""Two-level normal model with one residual variance (``2l.glm.norm`` in R's ``micemd``).

    The model, the engines and the options of ``2l.lmer``:
    :math:`y_{ij} = x_{ij}' \beta + z_{ij}' b_j + e_{ij}`, :math:`b_j \sim N(0, \Psi)`,
    :math:`e_{ij} \sim N(0, \sigma^2)`.

    Missing data
    ------------
    Sporadic and systematic.

    Differences from R
    ------------------
    As for ``2l.lmer``: R draws :math:`\Psi` from shrunken effects, which makes
    systematically missing clusters too alike.

    References
    ----------
    Jolani S, Debray TPA, Koffijberg H, van Buuren S, Moons KGM (2015). Imputation of
    systematically missing predictors in an individual participant data meta-analysis.
    Statistics in Medicine 34, 1841-1863. Audigier V et al. (2018). Multiple imputation
    for multilevel data with continuous and binary variables. Statistical Science 33,
    160-183.
    """

    name: ClassVar[str] = "2l.glm.norm"
    summary: ClassVar[str] = "two-level normal of meta-analyses, the same as 2l.lmer"
    source: ClassVar[str] = "Jolani et al. (2015); Audigier et al. (2018)"
