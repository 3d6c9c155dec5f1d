"""The values that the comparisons of observed and imputed draw."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxmice.wording import near

if TYPE_CHECKING:
    from jaxmice.imputed import ImputedData


def imputed_variables(imp: "ImputedData", variables: list[str] | str | None) -> list[str]:
    """Return the numeric imputed variables, or check those asked for.

    Raises
    ------
    ValueError
        A variable that was not imputed, or has categories without numeric values.
    """
    if not hasattr(imp, "imp"):
        raise ValueError(f"this figure is of imputed data, got {type(imp).__name__}")
    imputed = [name for name, cells in imp.imp.items() if len(cells)]
    if variables is None:
        return [name for name in imputed if pd.api.types.is_numeric_dtype(imp.data[name])]
    names = [variables] if isinstance(variables, str) else list(variables)
    for name in names:
        if name not in imputed:
            raise ValueError(f"{name!r} was not imputed; {near(name, imputed)}")
    return names


def observed_and_imputed(
    imp: "ImputedData", variable: str, rows: np.ndarray | None = None
) -> list[np.ndarray]:
    """Return the observed values, then the imputed ones of each imputation.

    Parameters
    ----------
    imp, variable
        Result of an imputation and one of its numeric variables.
    rows
        (n,) rows to take; by default all.

    Returns
    -------
    list of numpy.ndarray
        m + 1 arrays of floats in the units of the variable.
    """
    (name,) = imputed_variables(imp, variable)
    column = imp.data[name]
    if not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)):
        raise ValueError(f"{name!r} has categories; this figure is for numeric variables")
    cells, at = imp.imp[name], imp._cells[name][0]
    kept = np.ones(len(column), bool) if rows is None else rows
    return [
        column[kept].dropna().to_numpy(dtype=float),
        *(cells[i].to_numpy(dtype=float)[kept[at]] for i in range(1, imp.m + 1)),
    ]
