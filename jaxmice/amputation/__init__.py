"""Making complete data incomplete by a known mechanism.

`ampute` makes holes row by row in patterns of columns. `multilevel_ampute` knows clusters:
whole clusters lose a column, columns that are constant in clusters lose their value for all
rows, and scattered holes follow mechanisms that may differ between clusters. The expected
shares of holes are those asked for, whatever the distribution of the data.
"""

from jaxmice.amputation.ampute import ampute
from jaxmice.amputation.layers import Level2, Sporadic, Systematic
from jaxmice.amputation.multilevel import multilevel_ampute
from jaxmice.amputation.result import AmputedData, MultilevelAmputedData

__all__ = [
    "AmputedData",
    "Level2",
    "MultilevelAmputedData",
    "Sporadic",
    "Systematic",
    "ampute",
    "multilevel_ampute",
]
