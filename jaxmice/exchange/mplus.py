"""Mplus: numbers in one file per imputation, a list of the files, and an input to start from."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from jaxmice.errors import DataError
from jaxmice.exchange.columns import coded, simple
from jaxmice.files import CODE, replacing

if TYPE_CHECKING:
    from jaxmice.imputed import ImputedData

MISSING = "-99999"
"""Stands for what is still missing."""

WIDTH = 80
"""Mplus reads no more than 90 characters of a line."""


def to_mplus(imp: "ImputedData", folder: Any) -> None:
    """Write completed data for Mplus.

    ``imp1.dat``, ... hold numbers only: categories and text are codes 1..K. ``implist.dat``
    lists the files. ``imputed.inp`` is an input to start from; it explains codes and names,
    which have at most eight characters.

    Parameters
    ----------
    imp
        The imputations.
    folder
        Folder to write to, made if need be.

    Raises
    ------
    DataError
        E70: the folder cannot be written to, or a column is a date.
    """
    home = Path(folder)
    stacked = imp.complete("stacked")
    out, notes = pd.DataFrame(index=stacked.index), []
    names = _short_names(list(stacked))
    for name, short in names.items():
        series = simple(stacked[name])
        if pd.api.types.is_datetime64_any_dtype(series.dtype):
            message = f"column {name!r} holds dates, which Mplus does not read; leave it out"
            raise DataError(CODE, message)
        if not pd.api.types.is_numeric_dtype(series.dtype):
            if pd.api.types.is_object_dtype(series.dtype):
                series = series.where(series != "").astype("category")
            series, labels = coded(series)
            notes.append(f"{short}: " + ", ".join(f"{k} = {v}" for k, v in labels.items()))
        if short != name:
            notes.append(f"{short} is {name}")
        out[short] = series
    n = len(imp.data)
    files = [f"imp{number}.dat" for number in range(1, imp.m + 1)]
    with replacing(home / "imputed.inp") as part:
        home.mkdir(parents=True, exist_ok=True)
        for k, file in enumerate(files):
            rows = out.iloc[k * n : (k + 1) * n]
            rows.to_csv(home / file, sep=" ", header=False, index=False, na_rep=MISSING)
        (home / "implist.dat").write_text("\n".join(files) + "\n")
        part.write_text(_input(imp, names, notes))


def _input(imp: "ImputedData", names: dict[str, str], notes: list[str]) -> str:
    lines = ["TITLE: imputed data;", "DATA: FILE = implist.dat;", "  TYPE = IMPUTATION;"]
    lines += ["VARIABLE: NAMES =", *(f"    {short}" for short in names.values()), "  ;"]
    lines += [f"  MISSING = ALL ({MISSING});"]
    if imp.model.cluster is not None:
        lines += [f"  CLUSTER = {names[imp.model.cluster]};", "ANALYSIS: TYPE = TWOLEVEL;"]
    # An exclamation mark starts a comment.
    pieces = [note[i : i + WIDTH] for note in notes for i in range(0, len(note), WIDTH)]
    return "\n".join([*lines, *(f"! {' '.join(piece.split())}" for piece in pieces)]) + "\n"


def _short_names(names: list[str]) -> dict[str, str]:
    """Return a name of letters and digits, at most eight, for every column."""
    out: dict[str, str] = {}
    for name in names:
        plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
        plain = plain if plain[:1].isalpha() else f"v{plain}"
        short, k = plain[:8], 1
        while short.lower() in {taken.lower() for taken in out.values()}:
            short, k = f"{plain[: 8 - len(str(k))]}{k}", k + 1
        out[name] = short
    return out
