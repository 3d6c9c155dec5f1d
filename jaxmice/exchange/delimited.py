"""Text files, as R reads and writes them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jaxmice.combine import as_imputed, from_list
from jaxmice.errors import DataError
from jaxmice.files import CODE, reading, replacing
from jaxmice.wording import some

if TYPE_CHECKING:
    from jaxmice.imputed import ImputedData

MISSING = "NA"
"""Stands for a missing value."""


BLANK = ("", MISSING, "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null")
"""What is read as missing. The word None is not: it names a category more often."""

SAMPLE = 100_000
"""Characters that are looked at to tell how decimals are written."""

EXACT: dict[str, Any] = (
    {"float_precision": "round_trip"}
    if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1)
    else {}
)
"""Later versions of pandas read numbers to their last digit unasked."""


def load(path: Path) -> pd.DataFrame:
    """Read a csv file, numbers to their last digit.

    Semicolons or tabulators separate where the first line has them and no comma; with
    semicolons a comma between digits is that of a decimal.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        head = file.readline()
        sample = file.read(SAMPLE)
    found = [sep for sep in ";\t" if sep in head and "," not in head]
    sep = found[0] if found else ","
    decimal = "," if sep == ";" and re.search(r"\d,\d", sample) else "."
    return pd.read_csv(
        path, sep=sep, decimal=decimal, na_values=list(BLANK), keep_default_na=False, **EXACT
    )


def to_csv(imp: "ImputedData", path: Any, action: str = "long") -> None:
    """Write completed data as text that R's ``as.mids(read.csv(path))`` understands.

    Parameters
    ----------
    imp
        The imputations.
    path
        File to write.
    action
        ``"long"`` has the original as number 0 and the columns ``.imp`` and ``.id``; see
        `ImputedData.complete` for others.

    Raises
    ------
    DataError
        E70: a category is called ``NA``, which means missing in such a file, or the file
        cannot be written.
    """
    frame = imp.complete(action, include=action == "long")
    if ".id" in frame and not imp.data.index.is_unique:
        # Repeated labels tell no row from another.
        copies = len(frame) // len(imp.data)
        frame[".id"] = np.tile(np.arange(len(imp.data)), copies)
    for name in frame.columns[frame.dtypes.map(pd.api.types.is_bool_dtype)]:
        frame[name] = frame[name].map({True: "TRUE", False: "FALSE"})
    taken = [str(c) for c in frame.select_dtypes(exclude="number") if (frame[c] == MISSING).any()]
    if taken:
        message = f"{some(taken)} has a value {MISSING!r}, which is read as missing; rename it"
        raise DataError(CODE, message)
    with replacing(path) as part:
        frame.to_csv(part, index=False, na_rep=MISSING)


def read_long_csv(path: Any, **options: Any) -> "ImputedData":
    """Read imputations from a long text file, such as R's ``complete(imp, "long", TRUE)``.

    Text does not say which columns are categories; text columns are treated as such.

    Parameters
    ----------
    path
        File with the columns ``.imp`` and ``.id``, the original being number 0.
    **options
        Those of `as_imputed`.

    Raises
    ------
    DataError
        E70: not such a file; E32 to E34: see `as_imputed`.
    """
    with reading(path, "a csv file") as source:
        long = load(source)
    return as_imputed(long, **options)


def read_mitml_list(paths: Sequence[Any], original: Any, **options: Any) -> "ImputedData":
    """Read imputations from one text file each, such as R's list of completed data.

    Parameters
    ----------
    paths
        Files of the completed data sets, in their order.
    original
        File of the incomplete data.
    **options
        Those of `from_list`.

    Raises
    ------
    DataError
        E70, and E33 and E34 of `as_imputed`.
    """
    frames = []
    for path in (original, *paths):
        with reading(path, "a csv file") as source:
            frames.append(load(source))
    return from_list(frames[1:], frames[0], **options)
