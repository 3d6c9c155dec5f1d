"""Options of the methods, by target."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxmice.errors import ModelError
from jaxmice.methods import Method
from jaxmice.model.blocks import Blocks
from jaxmice.model.names import check_names
from jaxmice.model.row import Row
from jaxmice.wording import some

Options = Mapping[str, Mapping[str, Any]]

INTERCEPT = "intercept"
"""Handled by the set-up, since it decides which terms there are."""


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
        if option != INTERCEPT and rows and not any(_knows(row.method, option) for row in rows):
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


def build_method(row: Row, options: Options) -> Method:
    """Return the method of a row with its options; those of the target count most."""
    merged: dict[str, Any] = {}
    for key in _keys(row):
        for option, value in options.get(key, {}).items():
            if option == INTERCEPT or (key == "*" and not _knows(row.method, option)):
                continue
            merged[option] = value
    return row.method.from_options(**merged)


def _keys(row: Row) -> tuple[str, ...]:
    return tuple(dict.fromkeys(("*", row.block, row.target)))


def _knows(method: type[Method], option: str) -> bool:
    return option in method.option_names()
