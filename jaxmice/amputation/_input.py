"""The complete data that holes are made in, and checks that arguments share."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxmice.errors import AmputeError
from jaxmice.frame import Frame
from jaxmice.missingness._look import look
from jaxmice.wording import near, some, warn_user

MECHANISMS = ("MCAR", "MAR", "MNAR")


def complete_frame(data: Any, cluster: str | None = None) -> Frame:
    """Code complete data.

    Raises
    ------
    AmputeError
        E39: cells are missing.
    """
    frame = look(data, cluster)
    holes = {name: int(c.missing.sum()) for name, c in frame.columns.items() if c.missing.any()}
    if holes:
        raise AmputeError(
            "E39",
            f"data has {sum(holes.values())} missing cells, in {some(list(holes))}; make holes in "
            "complete rows (data.dropna()) or in one completed data set",
        )
    return frame


def clusters_in(frame: Frame) -> tuple[np.ndarray, tuple[Any, ...], int]:
    """Return (n,) codes, (J,) labels and the number of clusters."""
    assert frame.clusters is not None
    return frame.clusters.codes, frame.clusters.labels, frame.clusters.J


def check_known(names: Iterable[str], frame: Frame, what: str) -> None:
    """Raise E12 for a name that is no column."""
    for name in names:
        if name not in frame.columns:
            raise AmputeError(
                "E12", f"{what}: column {name!r} not found; {near(name, frame.columns)}"
            )


def score_columns(frame: Frame, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Return the numbers behind columns that scores are made of.

    Raises
    ------
    AmputeError
        E57: a column of ids.

    Warns
    -----
    JaxMiceWarning
        W21: categories that count by their order.
    """
    names = list(dict.fromkeys(names))
    ids = [name for name in names if frame.columns[name].kind == "id"]
    if ids:
        raise AmputeError("E57", f"a weight on {some(ids)}, whose many texts have no order")
    coded = [
        name
        for name in names
        if frame.columns[name].categories and frame.data[name].dtype.kind != "b"
    ]
    if coded:
        warn_user(
            f"W21: categories of {some(coded)} count 0, 1, 2, ... in their order in the scores; "
            "recode them to choose other numbers"
        )
    return {name: frame.columns[name].values for name in names}


def warn_flat(flat: Sequence[bool], names: Sequence[str]) -> None:
    """Warn of scores that are constant (W23)."""
    found = [name for name, constant in zip(names, flat, strict=True) if constant]
    if found:
        warn_user(
            f"W23: the scores of {some(found)} are constant; all candidates have the same "
            "probability"
        )


NULLABLE = {
    "bool": "boolean",
    **{f"int{bits}": f"Int{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"UInt{bits}" for bits in (8, 16, 32, 64)},
}
"""Types that can have holes, by the name of those that cannot."""


def with_holes(data: pd.DataFrame, where: np.ndarray) -> pd.DataFrame:
    """Empty the cells of an (n, p) mask; integers and truth values become nullable."""
    out: dict[Any, Any] = {}
    for k, name in enumerate(data.columns):
        column: Any = data[name]
        if where[:, k].any():
            if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iub":
                column = column.astype(NULLABLE.get(column.dtype.name, "Int64"))
            column = column.mask(where[:, k])
        out[name] = column
    return pd.DataFrame(out, index=data.index)


def check_share(value: Any, what: str) -> None:
    """Raise E57 unless a value is a share."""
    if not isinstance(value, (int, float, np.number)) or not 0 <= value <= 1:
        raise AmputeError("E57", f"{what} must be a share from 0 to 1, got {value!r}")


def check_choice(value: Any, offered: Sequence[str], what: str) -> None:
    """Raise E57 unless a value is one of those offered."""
    if value not in offered:
        raise AmputeError("E57", f"{what} must be one of {some(offered)}, got {value!r}")
