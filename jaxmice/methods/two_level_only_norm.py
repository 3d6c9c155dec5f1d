"""Method ``2lonly.norm``: Bayesian linear regression of a level-2 column."""

from typing import ClassVar

from jaxmice.methods._level_two import LevelTwo
from jaxmice.methods.norm import Norm


class TwoLevelOnlyNorm(LevelTwo, Norm):
    """Bayesian linear regression with one row per cluster (``2lonly.norm`` in R's ``mice``).

    ``norm`` on the clusters: predictors enter with their cluster means in the completed
    data, level-2 columns as they are. All rows of a cluster get the same value.

    The regression on means of few rows is an approximation where cluster sizes differ.

    Differences from R
    ------------------
    A cluster whose rows show the value in part is completed from them before the run; R
    stops. A ridge of 1e-8 (float64) of the diagonal is always there.

    References
    ----------
    Gelman A, Hill J (2007). Data Analysis Using Regression and Multilevel/Hierarchical
    Models. Cambridge University Press, page 541. van Buuren S (2018). Flexible Imputation
    of Missing Data, 2nd edition, section 7.8.
    """

    name: ClassVar[str] = "2lonly.norm"
    summary: ClassVar[str] = "Bayesian linear regression on clusters"
    source: ClassVar[str] = "Gelman and Hill (2007), page 541; van Buuren (2018), section 7.8"
