"""Options of the methods, by target."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxmice.errors import ModelError
from jaxmice.frame import Frame
from jaxmice.methods import Method
from jaxmice.model.blocks import Blocks
from jaxmice.model.names import check_names
from jaxmice.model.row import Row
from jaxmice.wording import some

Options = Mapping[str, Mapping[str, Any]]

INTERCEPT, SLOPES = SET_UP = ("intercept", "slopes")
"""Handled by the set-up, since they decide which terms there are."""


def check_options(options: Options, rows: Sequence[Row], blocks: Blocks) -> None:
    """Check that options are for known targets and that some method knows those for all.

    Raises
    ------
    ModelError
        E51.
    """
    known = [*blocks, *(name for members in blocks.values() for name in members), "*"]
    check_names(options, dict.fromkeys(known), "E51", "options: {} are not targets or blocks")
    for option in options.get("*", {}):
        if option not in SET_UP and rows and not any(_knows(row.method, option) for row in rows):
            methods = dict.fromkeys(row.method.name for row in rows)
            raise ModelError(
                "E51", f"options['*']: none of {some(list(methods))} has an option {option!r}"
            )


def intercepts(options: Options, rows: Sequence[Row]) -> list[str | bool]:
    """Return ``"random"``, ``"fixed"`` or False for every row.

    Raises
    ------
    ModelError
        E51 for another value.
    """
    out: list[str | bool] = []
    for row in rows:
        value: Any = "random"
        for key in _keys(row):
            value = options.get(key, {}).get(INTERCEPT, value)
        if value is True:
            value = "random"
        if value not in ("random", "fixed", False):
            raise ModelError(
                "E51",
                f"option intercept of {row.target!r} must be 'random', 'fixed' or False, "
                f"got {value!r}",
            )
        out.append(value)
    return out


def factor_slopes(
    options: Options, rows: Sequence[Row], frame: Frame
) -> list[tuple[tuple[str, ...], ...]]:
    """Return for every row, by further cluster column that it names, the columns with slopes.

    Raises
    ------
    ModelError
        E51 for a cluster column that the row does not name besides the first, or a column
        that does not predict.
    """
    names = list(frame.columns)
    out = []
    for row in rows:
        further = frame.clusters.further if frame.clusters else ()
        used = [further[v].name for v in row.factors(frame)]
        given: Any = {}
        for key in _keys(row):
            if key != "*" or used:
                given = options.get(key, {}).get(SLOPES, given)
        if not isinstance(given, Mapping) or any(isinstance(v, str) for v in given.values()):
            message = f"must be a dict of cluster column to list of columns, got {given!r}"
            raise ModelError("E51", f"option slopes of {row.target!r} {message}")
        where = f"option slopes of {row.target!r}"
        for name, columns in given.items():
            if name not in used:
                raise ModelError(
                    "E51",
                    f"{where} names {name!r}, but its further cluster columns are "
                    f"{some(used) if used else 'none'}; slopes of the first are code 2",
                )
            for column in columns:
                if column not in names or row.codes[names.index(column)] <= 0:
                    message = "which does not predict; give it a fixed effect (code 1)"
                    raise ModelError("E51", f"{where} names {column!r}, {message}")
        out.append(tuple(tuple(given.get(name, ())) for name in used))
    return out


def build_method(row: Row, options: Options) -> Method:
    """Return the method of a row with its options; those of the target count most."""
    merged: dict[str, Any] = {}
    for key in _keys(row):
        for option, value in options.get(key, {}).items():
            if option in SET_UP or (key == "*" and not _knows(row.method, option)):
                continue
            merged[option] = value
    return row.method.from_options(**merged)


def _keys(row: Row) -> tuple[str, ...]:
    return tuple(dict.fromkeys(("*", row.block, row.target)))


def _knows(method: type[Method], option: str) -> bool:
    return option in method.option_names()
