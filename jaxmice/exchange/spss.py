"""SPSS: all data sets one below the other, told apart by ``Imputation_``."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.api.types import is_string_dtype

from jaxmice.combine import as_imputed
from jaxmice.errors import DataError
from jaxmice.exchange.columns import as_text, coded, simple
from jaxmice.files import CODE, optional, reading, replacing
from jaxmice.wording import some

if TYPE_CHECKING:
    from jaxmice.imputed import ImputedData

IMPUTATION = "Imputation_"
"""The name by which SPSS knows imputed data."""

PURPOSE = "a file of SPSS"

NAME = re.compile(r"[^\W\d_]([\w.$#@]{0,62}[\w$#@])?")
RESERVED = {"ALL", "AND", "BY", "EQ", "GE", "GT", "LE", "LT", "NE", "NOT", "OR", "TO", "WITH"}
"""How SPSS lets columns be called, and what of that means something else."""


def load(path: Path) -> pd.DataFrame:
    """Read an SPSS file; a column is categories if all its values have labels."""
    pyreadstat = optional("pyreadstat", PURPOSE)
    frame, about = pyreadstat.read_sav(str(path))
    for name, labels in about.variable_value_labels.items():
        if name == IMPUTATION or not frame[name].dropna().isin(labels).all():
            continue
        ordered = about.variable_measure.get(name) == "ordinal"
        dtype = pd.CategoricalDtype([labels[code] for code in sorted(labels)], ordered)
        frame[name] = frame[name].map(labels).astype(dtype)
    texts = [name for name in frame if is_string_dtype(frame[name].dtype)]
    frame[texts] = frame[texts].replace("", np.nan)
    return frame


def to_spss(imp: "ImputedData", path: Any) -> None:
    """Write completed data for SPSS, the original being number 0.

    In SPSS: ``SPLIT FILE LAYERED BY Imputation_.``; procedures that pool do so then.
    Categories are codes 1..K with value labels.

    Parameters
    ----------
    imp
        The imputations.
    path
        File to write, ``.sav``.

    Raises
    ------
    DataError
        E70: pyreadstat is not installed, the file cannot be written, or columns have names
        that SPSS does not allow.
    """
    columns = [str(name) for name in imp.data]
    if bad := [n for n in columns if not NAME.fullmatch(n) or n.upper() in RESERVED]:
        raise DataError(
            CODE,
            f"SPSS does not allow the names {some(bad)}; rename them, with a letter first, then "
            "letters, digits and underscores",
        )
    pyreadstat = optional("pyreadstat", PURPOSE)
    long = imp.complete("stacked", include=True)
    out = pd.DataFrame({IMPUTATION: np.repeat(np.arange(imp.m + 1), len(imp.data))})
    labels: dict[str, dict[int, str]] = {IMPUTATION: {0: "Original data"}}
    measure = {IMPUTATION: "nominal"}
    for name in long:
        series = simple(long[name])
        if isinstance(series.dtype, pd.CategoricalDtype):
            series, names = coded(series)
            labels[name] = {code: as_text(label) for code, label in names.items()}
            measure[name] = "ordinal" if long[name].cat.ordered else "nominal"
        out[name] = series.array
    with replacing(path) as part:
        pyreadstat.write_sav(
            out,
            str(part),
            variable_value_labels=labels,
            variable_measure=measure,
            note=f"Imputed data: SPLIT FILE LAYERED BY {IMPUTATION}.",
        )


def read_spss_mi(path: Any, **options: Any) -> "ImputedData":
    """Read imputations from an SPSS file with a column ``Imputation_``.

    Parameters
    ----------
    path
        The file; rows of every data set in the same order.
    **options
        Those of `as_imputed`.

    Raises
    ------
    DataError
        E70: not such a file; E32 to E34: see `as_imputed`.
    """
    with reading(path, "an SPSS file of imputations") as source:
        long = load(source)
        if IMPUTATION not in long:
            raise ValueError(f"it has no column {IMPUTATION!r}")
    return as_imputed(long, imp=IMPUTATION, **options)
