"""Wording that messages share: short lists, near matches, complaints collected into one error."""

import difflib
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxmice.errors import DataError, JaxMiceError, JaxMiceWarning

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 5
"""How many rows, clusters or categories a message names."""


def some(items: Sequence[Any]) -> str:
    """Name the first few items, and say how many there are when not all are named."""
    text = ", ".join(repr(x) if isinstance(x, str) else str(x) for x in items[:SHOWN])
    return f"{text}, ... ({len(items)} in all)" if len(items) > SHOWN else text


def is_whole(value: Any, least: float = 0) -> bool:
    """Say whether a value is a whole number from `least` on; True and False are none."""
    is_int = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return bool(is_int and value >= least)


def rows_at(index: "pd.Index", positions: Sequence[int]) -> str:
    """Name rows by their labels."""
    return some(index[list(positions)].tolist())


def near(name: object, known: Iterable[str]) -> str:
    """Suggest what an unknown name was meant to be, or list what there is."""
    names = list(known)
    return meant(name, names) or f"there is {some(names)}"


def meant(name: object, known: Sequence[str]) -> str:
    """Suggest what an unknown name was meant to be; nothing if no known one is near."""
    folded = {x.casefold(): x for x in reversed(known)}
    matches = difflib.get_close_matches(str(name).casefold(), folded, n=3)
    return f"did you mean {' or '.join(repr(folded[x]) for x in matches)}?" if matches else ""


def raise_all(complaints: Sequence[tuple[str, str]], error: type[JaxMiceError] = DataError) -> None:
    """Raise one error for everything found wrong; its code is that of the first complaint."""
    if not complaints:
        return
    code, message = complaints[0]
    rest = [text if c == code else f"{c}: {text}" for c, text in complaints[1:]]
    raise error(code, "\n".join([message, *rest]))


def warn_user(message: str) -> None:
    """Warn at the line outside of the package that led here."""
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] == "jaxmice":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, JaxMiceWarning, stacklevel=level)
