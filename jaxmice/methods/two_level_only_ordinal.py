"""Method ``2lonly.ordinal``: proportional odds regression of a level-2 column."""

from typing import ClassVar

from jaxmice.methods._level_two import LevelTwo
from jaxmice.methods.polr import Polr


class TwoLevelOnlyOrdinal(LevelTwo, Polr):
    """Proportional odds regression with one row per cluster.

    ``polr`` on the clusters: predictors enter with their cluster means in the completed
    data, level-2 columns as they are. All rows of a cluster get the same value.

    Differences from R
    ------------------
    R's ``miceadds`` reaches it by ``2lonly.function`` with ``imputationFunction="polr"``.
    Otherwise as for ``polr``.

    References
    ----------
    van Buuren S (2018). Flexible Imputation of Missing Data, 2nd edition, section 7.8, and
    those of ``polr``.
    """

    name: ClassVar[str] = "2lonly.ordinal"
    summary: ClassVar[str] = "proportional odds regression on clusters"
    source: ClassVar[str] = "van Buuren (2018), section 7.8"
