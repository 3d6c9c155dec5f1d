"""Reading a data set from a file."""

from pathlib import Path
from typing import Any

import pandas as pd

from jaxmice.errors import DataError
from jaxmice.exchange import delimited, parquet, spss, stata
from jaxmice.files import CODE, reading
from jaxmice.wording import some

READERS = {
    ".csv": ("a csv file", delimited.load),
    ".parquet": ("a parquet file", parquet.load),
    ".dta": ("a Stata file", stata.load),
    ".sav": ("an SPSS file", spss.load),
}
"""By the ending of the name: what it stands for, and what reads it."""


def read_data(path: Any) -> pd.DataFrame:
    """Read a data set; the ending of the name says in which format.

    Columns with value labels become categories if every value has a label; otherwise the
    labels stand for a few special values and the column stays numbers.

    Parameters
    ----------
    path
        A file that ends in ``.csv``, ``.parquet``, ``.dta`` (Stata) or ``.sav`` (SPSS).

    Returns
    -------
    pandas.DataFrame
        The data.

    Raises
    ------
    DataError
        E70: no such file, another ending, or contents that cannot be read.
    """
    ending = Path(path).suffix.lower()
    if ending not in READERS:
        message = f"{str(path)!r} ends in {ending!r}; jaxmice reads {some(list(READERS))}"
        raise DataError(CODE, message)
    what, load = READERS[ending]
    with reading(path, what) as source:
        return load(source)
