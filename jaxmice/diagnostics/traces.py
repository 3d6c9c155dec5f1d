"""Traces by name."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jaxmice.errors import DataError
from jaxmice.wording import some

if TYPE_CHECKING:
    from jaxmice.imputed import ImputedData

PARAMETERS = ("mean", "sd", "icc", "between_sd")
"""Traced statistics."""


def traces(imp: "ImputedData", parameter: str) -> NDArray[np.float64]:
    """Return the trace (variable, iteration, m) of a statistic.

    Parameters
    ----------
    imp
        Result of an imputation.
    parameter
        ``"mean"`` or ``"sd"`` of the imputed cells, ``"icc"`` or ``"between_sd"``
        (standard deviation between clusters, 0 where its estimated variance is negative) of
        the completed column, in units of the data.

    Raises
    ------
    DataError
        E51: another name.
    """
    if parameter not in PARAMETERS:
        raise DataError("E51", f"parameter must be one of {some(PARAMETERS)}, got {parameter!r}")
    if parameter == "mean":
        return imp.chain_mean
    if parameter == "icc":
        return imp.chain_icc
    variance = imp.chain_var if parameter == "sd" else imp.chain_between
    return np.sqrt(np.maximum(variance, 0.0))
