"""Looking at missing data before imputing them.

`md_pattern`, `md_pairs` and `flux` show which columns are missing together, `cluster_missing`
tells sporadic from systematic missingness, `missingness_table` says what goes with it, and
`icc` how much of a variable lies between clusters, which is what an imputation that ignores
the clusters destroys.
"""

from jaxmice.missingness.clusters import ClusterMissing, cluster_missing
from jaxmice.missingness.flux import fico, flux, md_pairs
from jaxmice.missingness.hazard import nelson_aalen
from jaxmice.missingness.intraclass import check_icc, icc
from jaxmice.missingness.patterns import is_monotone, md_pattern
from jaxmice.missingness.predictors import missingness_table
from jaxmice.missingness.propensity import propensity

__all__ = [
    "ClusterMissing",
    "check_icc",
    "cluster_missing",
    "fico",
    "flux",
    "icc",
    "is_monotone",
    "md_pairs",
    "md_pattern",
    "missingness_table",
    "nelson_aalen",
    "propensity",
]
