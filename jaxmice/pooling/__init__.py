"""Rubin's rules on estimates and covariances, wherever they come from."""

from jaxmice.pooling.compare import anova as anova, compare_models as compare_models
from jaxmice.pooling.constraints import constraint_test as constraint_test
from jaxmice.pooling.correlations import (
    PooledCorrelations as PooledCorrelations,
    pool_correlations as pool_correlations,
)
from jaxmice.pooling.draws import MixedDraws as MixedDraws, mix_draws as mix_draws
from jaxmice.pooling.estimates import (
    Components as Components,
    Design as Design,
    Estimates as Estimates,
    Stack as Stack,
    stack_estimates as stack_estimates,
)
from jaxmice.pooling.extract import extract as extract, register_extractor as register_extractor
from jaxmice.pooling.joint import pool_chi2 as pool_chi2, pool_F as pool_F
from jaxmice.pooling.planning import (
    ImputationsNeeded as ImputationsNeeded,
    how_many_imputations as how_many_imputations,
)
from jaxmice.pooling.pool import pool as pool
from jaxmice.pooling.quantity import (
    PooledQuantity as PooledQuantity,
    pool_p_values as pool_p_values,
    pool_quantity as pool_quantity,
)
from jaxmice.pooling.results import PooledResults as PooledResults
from jaxmice.pooling.scalar import ScalarPool as ScalarPool, pool_scalar as pool_scalar
from jaxmice.pooling.table import pool_table as pool_table
