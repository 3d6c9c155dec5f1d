"""Batched fits of statistical models, every data set of a stack in one compiled call."""

from jaxmice.estimators.linear_mixed import (
    LinearMixedFit as LinearMixedFit,
    fit_linear_mixed as fit_linear_mixed,
)
