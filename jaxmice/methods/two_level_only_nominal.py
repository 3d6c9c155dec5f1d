"""Method ``2lonly.nominal``: multinomial logistic regression of a level-2 column."""

from typing import ClassVar

from jaxmice.methods._level_two import LevelTwo
from jaxmice.methods.polyreg import Polyreg


class TwoLevelOnlyNominal(LevelTwo, Polyreg):
    """Multinomial logistic regression with one row per cluster.

    ``polyreg`` on the clusters: predictors enter with their cluster means in the completed
    data, level-2 columns as they are. All rows of a cluster get the same value.

    Differences from R
    ------------------
    R's ``miceadds`` reaches it by ``2lonly.function`` with ``imputationFunction="polyreg"``.
    Otherwise as for ``polyreg``.

    References
    ----------
    van Buuren S (2018). Flexible Imputation of Missing Data, 2nd edition, section 7.8, and
    those of ``polyreg``.
    """

    name: ClassVar[str] = "2lonly.nominal"
    summary: ClassVar[str] = "multinomial logistic regression on clusters"
    source: ClassVar[str] = "van Buuren (2018), section 7.8"
