"""Compilation of roles to predictor codes, and back."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from jaxmice.errors import ModelError
from jaxmice.model import role
from jaxmice.model.names import check_names
from jaxmice.wording import near

_CODES: dict[frozenset[str], int] = {
    frozenset(): 0,
    frozenset({"cluster"}): -2,
    frozenset({"fixed"}): 1,
    frozenset({"random"}): 2,
    frozenset({"mean"}): 3,
    frozenset({"random", "mean"}): 4,
    frozenset({"latent_mean"}): 5,
    frozenset({"random", "latent_mean"}): 6,
    frozenset({"selection"}): -3,
    frozenset({"outcome"}): -4,
}
_PRINTED: dict[int, tuple[str, ...]] = {
    code: tuple(name for name in role.BUILDERS if name in names) for names, code in _CODES.items()
}
ROLE_NAMES = {
    0: "none",
    1: "fixed",
    2: "random",
    3: "fixed+mean",
    4: "random+mean",
    5: "fixed+latent_mean",
    6: "random+latent_mean",
    -2: "cluster",
    -3: "selection",
    -4: "outcome",
}
"""The name of every predictor code."""


def role_code(text: object, where: str) -> int:
    """Return the predictor code of a role such as ``"random+mean"``.

    `where` names the cell for the error (E25).
    """
    if not isinstance(text, str):
        raise ModelError(
            "E25",
            f"{where}: a role is a name such as 'fixed', got {text!r}; numbers belong into "
            "predictor_matrix",
        )
    words = {word.strip() for word in text.split("+")} - {"none"}
    for word in sorted(words - set(role.BUILDERS)):
        raise ModelError(
            "E25",
            f"{where}: unknown role {word!r}; {near(word, [*role.BUILDERS, 'none'])} "
            f"(roles are {', '.join(ROLE_NAMES.values())})",
        )
    # A slope or a cluster mean comes with the fixed effect in any case.
    if words & {"random", "mean", "latent_mean"}:
        words.discard("fixed")
    code = _CODES.get(frozenset(words))
    if code is None:
        raise ModelError("E25", f"{where}: roles {text!r} contradict each other; give one of them")
    return code


def compile_roles(
    roles: Mapping[str, Any], blocks: Mapping[str, Sequence[str]], columns: Sequence[str]
) -> Iterator[tuple[str, str, int]]:
    """Yield block, column and code of every cell that the roles set.

    Cells of ``"*"`` come first, then those of the blocks, so that later ones win.

    Raises
    ------
    ModelError
        E25 for an unknown role;
        E27 for an unknown block or column.
    """
    named = [key for key in roles if key != "*"]
    check_names(named, blocks, "E27", "roles: {} not among the blocks and targets")
    if "*" in roles:
        cells = list(_row("*", roles["*"], columns))
        for block in blocks:
            if not _whole(roles.get(block)):
                yield from ((block, column, code) for column, code in cells)
    for block, entry in roles.items():
        if block != "*":
            yield from ((block, column, code) for column, code in _row(block, entry, columns))


def _whole(entry: Any) -> bool:
    """Say whether an entry is a whole row: columns it does not name are not used."""
    return isinstance(entry, str | role.Roles)


def _row(target: str, entry: Any, columns: Sequence[str]) -> Iterator[tuple[str, int]]:
    if isinstance(entry, str):
        entry = role.fixed(*(name.strip() for name in entry.split(",") if name.strip()))
    if isinstance(entry, role.Roles):
        named: dict[str, object] = {column: entry.of(column) for column in entry}
    elif isinstance(entry, Mapping):
        named = dict(entry)
    else:
        raise ModelError(
            "E25",
            f"roles[{target!r}] must be a mapping, a string of columns or a role expression, "
            f"got {type(entry).__name__}",
        )
    check_names(named, columns, "E27", f"roles[{target!r}]: {{}} not in data")
    if _whole(entry):
        yield from ((column, 0) for column in columns if column not in named)
    for column, text in named.items():
        yield column, role_code(text, f"roles[{target!r}][{column!r}]")


def roles_of(matrix: pd.DataFrame) -> dict[str, role.Roles]:
    """Return the rows of a predictor matrix as role expressions; empty rows are left out."""
    return {
        str(block): role.Roles(
            tuple((str(c), name) for c, code in row.items() for name in _PRINTED[int(code)])
        )
        for block, row in matrix.iterrows()
        if row.any()
    }
