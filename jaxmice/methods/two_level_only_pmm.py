"""Method ``2lonly.pmm``: predictive mean matching of clusters."""

from typing import ClassVar

from jaxmice.methods._level_two import LevelTwo
from jaxmice.methods.pmm import Pmm


class TwoLevelOnlyPmm(LevelTwo, Pmm):
    """Predictive mean matching of clusters (``2lonly.pmm`` in R's ``mice``).

    ``pmm`` with one row per cluster: predictors enter with their cluster means in the
    completed data, level-2 columns as they are; donors are clusters. Options as for
    ``pmm``.

    Differences from R
    ------------------
    A cluster whose rows show the value in part is completed from them before the run; R
    stops. Otherwise as for ``pmm``.

    References
    ----------
    van Buuren S (2018). Flexible Imputation of Missing Data, 2nd edition, section 7.8.
    """

    name: ClassVar[str] = "2lonly.pmm"
    summary: ClassVar[str] = "predictive mean matching of clusters"
    source: ClassVar[str] = "van Buuren (2018), section 7.8"
