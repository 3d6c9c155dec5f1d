"""Looking at missing data before imputing them.

`md_pattern` counts which columns are missing together, `cluster_missing` tells sporadic
from systematic missingness, and `icc` says how much of a variable lies between clusters,
which is what an imputation that ignores the clusters destroys.
"""

from jaxmice.missingness.clusters import ClusterMissing, cluster_missing
from jaxmice.missingness.intraclass import icc
from jaxmice.missingness.patterns import md_pattern

__all__ = ["ClusterMissing", "cluster_missing", "icc", "md_pattern"]
