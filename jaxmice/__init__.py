"""Multiple imputation of incomplete clustered data by chained equations, on JAX.

Three calls take a data frame with holes to a pooled table:

>>> import jaxmice as jm
>>> d = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
>>> imp = jm.mice(d, m=5, method={"popular": "2l.pan"}, cluster="school",
...               roles={"popular": {"sex": "random", "texp": "fixed"}}, seed=1)
>>> fit = imp.analyze("popular ~ sex * texp + (1 + sex | school)")
>>> list(jm.pool(fit).summary()["term"])
['Intercept', 'sex', 'texp', 'sex:texp']
"""

from importlib.metadata import version as _version

from jaxmice import datasets as datasets, errors as errors
from jaxmice.analysis import (
    Analyses as Analyses,
    analyze as analyze,
    lmm as lmm,
    register_extractor as register_extractor,
)
from jaxmice.imputed import ImputedData as ImputedData
from jaxmice.methods import (
    Method as Method,
    register_method as register_method,
)
from jaxmice.mice import mice as mice, replicate as replicate
from jaxmice.model import (
    ImputationModel as ImputationModel,
    find_default_method as find_default_method,
    make_blocks as make_blocks,
    make_method as make_method,
    make_predictor_matrix as make_predictor_matrix,
    make_visit_sequence as make_visit_sequence,
    make_where as make_where,
    role as role,
    setup as setup,
)
from jaxmice.pooling import (
    PooledResults as PooledResults,
    pool as pool,
    pool_scalar as pool_scalar,
    pool_table as pool_table,
)

__version__ = _version("jaxmice")
