"""Batched fits of statistical models, every data set of a stack in one compiled call."""

from jaxmice.estimators.generalised_mixed import (
    FAMILIES as FAMILIES,
    GeneralisedMixedFit as GeneralisedMixedFit,
    evaluate_generalised_mixed as evaluate_generalised_mixed,
    fit_generalised_mixed as fit_generalised_mixed,
)
from jaxmice.estimators.linear_mixed import (
    LinearMixedFit as LinearMixedFit,
    fit_linear_mixed as fit_linear_mixed,
)
