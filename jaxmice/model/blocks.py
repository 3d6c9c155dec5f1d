"""Blocks of columns that are imputed together, and the order of their visits."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxmice.errors import ModelError
from jaxmice.model.names import check_names
from jaxmice.wording import near, some

Blocks = dict[str, tuple[str, ...]]


def partition(columns: Sequence[str], how: str) -> Blocks:
    """Split columns into blocks: ``"scatter"``, ``"collect"`` or ``"void"``."""
    if how == "scatter":
        return {column: (column,) for column in columns}
    if how == "collect":
        return {"collect": tuple(columns)}
    if how == "void":
        return {}
    raise ModelError("E27", f"partition must be 'scatter', 'collect' or 'void', got {how!r}")


def compile_blocks(blocks: Any, columns: Sequence[str]) -> Blocks:
    """Return named blocks from ``None``, a partition, a dict or a list.

    Unnamed blocks are named after their only column, or ``B1``, ``B2``, ...

    Raises
    ------
    ModelError
        E27 for an empty block, a column twice in a block, two blocks of one name, or a
        column that is not in the data.
    """
    if blocks is None:
        return partition(columns, "scatter")
    if isinstance(blocks, str):
        return partition(columns, blocks)
    named: list[tuple[str, tuple[str, ...]]] = []
    if isinstance(blocks, Mapping):
        named = [(str(name), _members(members)) for name, members in blocks.items()]
    else:
        joint = 0
        for members in map(_members, blocks):
            joint += len(members) != 1
            named.append((members[0] if len(members) == 1 else f"B{joint}", members))
    for name, members in named:
        if not members:
            raise ModelError("E27", f"block {name!r} has no columns; leave it out")
        check_names(members, columns, "E27", f"block {name!r}: {{}} not in data")
        if len(set(members)) < len(members):
            raise ModelError("E27", f"block {name!r} names a column twice: {some(members)}")
    names = [name for name, _ in named]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ModelError("E27", f"several blocks are called {some(repeated)}; pass a dict")
    return dict(named)


def _members(members: Any) -> tuple[str, ...]:
    return (members,) if isinstance(members, str) else tuple(members)


def compile_sequence(
    sequence: str | Sequence[str],
    blocks: Blocks,
    active: Sequence[str],
    cells: Mapping[str, int],
    levels: Mapping[str, int],
) -> tuple[str, ...]:
    """Return the blocks in the order of their visits, without those that have no work.

    Parameters
    ----------
    sequence
        ``"roman"``, ``"arabic"``, ``"monotone"``, ``"revmonotone"``, ``"level"`` or a list
        of blocks, in which a block may occur again.
    blocks
        All blocks.
    active
        Blocks with something to impute, in block order.
    cells
        Number of cells to impute in every block.
    levels
        Level of every column.

    Raises
    ------
    ModelError
        E49 for an unknown block or keyword.
    """
    if isinstance(sequence, str) and sequence not in blocks:
        counts = np.array([cells[block] for block in active])
        if sequence == "roman":
            order = np.arange(len(active))
        elif sequence == "arabic":
            order = np.arange(len(active))[::-1]
        elif sequence == "monotone":
            order = np.argsort(counts, kind="stable")
        elif sequence == "revmonotone":
            order = np.argsort(-counts, kind="stable")
        elif sequence == "level":
            second = [all(levels[name] == 2 for name in blocks[block]) for block in active]
            order = np.argsort(second, kind="stable")
        else:
            keywords = ["roman", "arabic", "monotone", "revmonotone", "level"]
            raise ModelError(
                "E49",
                f"visit_sequence {sequence!r} is neither a block nor one of {some(keywords)}"
                f"; {near(sequence, [*keywords, *blocks])}",
            )
        return tuple(active[i] for i in order.tolist())
    visits = [sequence] if isinstance(sequence, str) else list(sequence)
    unknown = [block for block in visits if block not in blocks]
    if unknown:
        raise ModelError(
            "E49",
            f"visit_sequence: unknown blocks {some(unknown)}; {near(unknown[0], blocks)}",
        )
    return tuple(block for block in visits if block in active)
