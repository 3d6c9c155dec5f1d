"""Traces as an object of ArviZ."""

import warnings
from typing import TYPE_CHECKING, Any

from jaxmice.diagnostics.traces import traces

if TYPE_CHECKING:
    from jaxmice.imputed import ImputedData


def import_arviz() -> Any:
    """Import arviz, which is optional.

    Raises
    ------
    ImportError
        It is not installed.
    """
    try:
        with warnings.catch_warnings():
            # Announcements of the next version are not about what is done here.
            warnings.simplefilter("ignore", FutureWarning)
            import arviz
    except ImportError as error:
        raise ImportError(
            "this needs arviz, which is not installed: pip install 'jaxmice[bayes]'"
        ) from error
    return arviz


def to_inference_data(imp: "ImputedData") -> Any:
    """Return the traces as an ArviZ object, for its summaries and plots.

    Parameters
    ----------
    imp
        Result of an imputation.

    Returns
    -------
    arviz.InferenceData
        Group ``posterior`` with ``mean_<variable>`` and ``sd_<variable>`` of the imputed
        cells and, with clusters, ``icc_<variable>`` of the completed column; (m chains,
        iterations draws) each, in units of the data.

    Raises
    ------
    ImportError
        arviz is not installed.
    """
    names = ["mean", "sd"] + ["icc"] * (imp.model.cluster is not None)
    posterior = {
        f"{name}_{variable}": draws.T
        for name in names
        for variable, draws in zip(imp.variables, traces(imp, name), strict=True)
    }
    return import_arviz().from_dict(posterior=posterior)
