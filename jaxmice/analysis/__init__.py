"""Analysis models on completed data."""

from jaxmice.analysis.analyses import Analyses as Analyses
from jaxmice.analysis.bayes import analyze_numpyro as analyze_numpyro
from jaxmice.analysis.explained import multilevel_r2 as multilevel_r2
from jaxmice.analysis.mixed import LmmFit as LmmFit, lmm as lmm
from jaxmice.analysis.run import (
    analyze as analyze,
    complete_case as complete_case,
    with_ as with_,
)
from jaxmice.pooling import register_extractor as register_extractor
