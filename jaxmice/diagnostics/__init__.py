"""Whether the chains have settled, and whether imputed values are plausible.

`convergence` and `converged` look at the traces, `compare` sets imputed beside observed values,
`ppc` replicates what was observed, and `overimpute` holds observed cells out and finds them
again. The methods of `jaxmice.ImputedData` of these names lead here.
"""

from jaxmice.diagnostics.convergence import converged, convergence, run_until, split_rhat
from jaxmice.diagnostics.inference_data import to_inference_data
from jaxmice.diagnostics.overimpute import Overimputed, overimpute
from jaxmice.diagnostics.plausibility import compare
from jaxmice.diagnostics.ppc import ppc

__all__ = [
    "Overimputed",
    "compare",
    "converged",
    "convergence",
    "overimpute",
    "ppc",
    "run_until",
    "split_rhat",
    "to_inference_data",
]
