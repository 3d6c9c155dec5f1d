"""Which method imputes which block."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxmice.errors import ModelError
from jaxmice.events import EventLog
from jaxmice.frame import Column, Frame, check_target
from jaxmice.methods import REGISTRY, Method
from jaxmice.model.blocks import Blocks
from jaxmice.model.groups import Groups
from jaxmice.model.names import Complaints, check_names
from jaxmice.wording import near, some

CONSTANT = "constant"
"""Stands for the method of a column that shows one value; it is filled in and never imputed."""

Members = Mapping[str, Sequence[str]]
"""The columns of every block that have cells to impute."""


def named_methods(method: Any, blocks: Blocks) -> dict[str, str]:
    """Return the methods that the user named, by block.

    A single string holds for all blocks, a list is in block order, and blocks that a dict
    does not name are left to the default.

    Raises
    ------
    ModelError
        E21 if it is none of these; E27 for unknown blocks or a list of another length.
    """
    if method is None:
        return {}
    if isinstance(method, str):
        return dict.fromkeys(blocks, method)
    if isinstance(method, Mapping):
        check_names(method, blocks, "E27", "method: {} not among the blocks")
        named = {str(block): name for block, name in method.items()}
    elif isinstance(method, Sequence):
        if len(method) != len(blocks):
            raise ModelError(
                "E27", f"method has {len(method)} names for {len(blocks)} blocks; pass a dict"
            )
        named = dict(zip(blocks, method, strict=True))
    else:
        raise ModelError(
            "E21", f"method must be a name, a dict or a list, got {type(method).__name__}"
        )
    for block, name in named.items():
        if not isinstance(name, str):
            raise ModelError("E21", f"method of {block!r} must be a name, got {name!r}")
    return named


def default_methods(
    frame: Frame, members: Members, defaults: Callable[[Sequence[str]], Mapping[str, str]]
) -> dict[str, str]:
    """Return the default method of every block, given the defaults of columns.

    Columns that can never be imputed have no default. Members of a block that disagree get
    predictive mean matching.

    Raises
    ------
    DataError
        E07 for an incomplete date.
    """
    wanted = {
        block: [name for name in names if frame.columns[name].kind != "id"]
        for block, names in members.items()
    }
    targets = list(dict.fromkeys(name for names in wanted.values() for name in names))
    for name in targets:
        check_target(frame.columns[name])
    by_column = defaults(targets)
    out = {}
    for block, names in wanted.items():
        found = {by_column[name] for name in names}
        if len(found) > 1:
            found.discard(CONSTANT)
        matching = "2l.pmm" if any(name.startswith("2l") for name in found) else "pmm"
        out[block] = found.pop() if len(found) == 1 else matching if found else ""
    return out


def method_classes(
    frame: Frame, method: Mapping[str, str], members: Members
) -> dict[str, type[Method]]:
    """Look up the methods and check that they can impute their columns.

    Raises
    ------
    ModelError
        E21 for an unknown method, E22 for one that does not fit; all complaints at once.
    """
    complaints = Complaints()
    for block, name in method.items():
        if not name:
            continue
        for target in members[block]:
            column = frame.columns[target]
            check_target(column)
            level = max(column.level, 1)
            offer = f"available for {column.kind} at level {level}: {_offer(column.kind, level)}"
            cls = REGISTRY.get(name)
            if cls is None:
                hint = near(name, REGISTRY) if _resembles(name) else "it is not part of jaxmice"
                complaints.add("E21", f"unknown method {name!r} for {target!r}; {hint}; {offer}")
            elif column.kind not in cls.kinds:
                complaints.add(
                    "E22",
                    f"method {name!r} imputes {', '.join(sorted(cls.kinds))}; "
                    f"column {target!r} is {column.kind}; {offer}",
                )
            elif level not in cls.levels:
                levels = some(sorted(cls.levels))
                hint = (
                    f"; if it may vary inside clusters, pass levels={{{target!r}: 1}}"
                    if level == 2
                    else _where_it_varies(frame, column)
                )
                complaints.add(
                    "E22",
                    f"method {name!r} imputes columns of level {levels}; {target!r} has level "
                    f"{level}; {offer}{hint}",
                )
            elif cls.needs_cluster and not cls.uses_predictors and frame.clusters is None:
                complaints.add(
                    "E23", f"method {name!r} of {target!r} needs clusters; pass cluster="
                )
            elif cls.counts and (odd := _no_counts(column)):
                complaints.add(
                    "E22",
                    f"method {name!r} imputes counts, whole numbers from 0 on; column "
                    f"{target!r} has {some(odd)}",
                )
    complaints.raise_any()
    return {block: REGISTRY[name] for block, name in method.items() if name}


def _where_it_varies(frame: Frame, column: Column) -> str:
    """Name the clusters inside which observed values differ."""
    if frame.clusters is None:
        return ""
    low, high = Groups(frame.clusters).ranges(column.values, ~column.missing)
    labels = [frame.clusters.labels[j] for j in np.flatnonzero(high > low)]
    return f"; its values differ inside clusters {some(labels)}" if labels else ""


def computed_columns(named: Mapping[str, str], blocks: Blocks) -> set[str]:
    """Return the columns whose method needs no observed value of them."""
    return {
        column
        for block, name in named.items()
        if name in REGISTRY and not REGISTRY[name].needs_observed
        for column in blocks[block]
    }


def leave_missing(
    frame: Frame,
    groups: Groups | None,
    classes: Mapping[str, type[Method]],
    members: Members,
    ignore: np.ndarray,
    events: EventLog,
) -> np.ndarray:
    """Return the (n, p) cells that their methods cannot fill: no row of the cluster shows a value.

    Event ``left_missing``, one a column.
    """
    names = list(frame.columns)
    out = np.zeros((frame.n, len(names)), bool)
    own = [
        name for block, cls in classes.items() if cls.own_cluster_only for name in members[block]
    ]
    if groups is None:
        return out
    for name in own:
        missing = frame.columns[name].missing
        empty = np.flatnonzero(groups.count(~missing & ~ignore) == 0)
        cells = missing & np.isin(groups.codes, empty)
        out[:, names.index(name)] = cells
        if cells.any():
            assert frame.clusters is not None
            labels = some([frame.clusters.labels[k] for k in empty])
            events.add(
                "left_missing",
                f"{int(cells.sum())} cells of {name!r} stay missing: no row of clusters {labels} "
                "shows a value",
                dep=name,
            )
    return out


def _no_counts(column: Column) -> list[float]:
    """Return the distinct observed values that are no counts."""
    seen = np.unique(column.values[~column.missing])
    return seen[(seen < 0) | (seen != np.round(seen))].tolist()


def _resembles(name: str) -> bool:
    return near(name, REGISTRY).startswith("did you mean")


def _offer(kind: str, level: int) -> str:
    fitting = [name for name, cls in REGISTRY.items() if kind in cls.kinds and level in cls.levels]
    return ", ".join(repr(name) for name in sorted(fitting)) or "none, set it to ''"
