"""The predictor matrix: defaults, and what users write in its place."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxmice.errors import ModelError
from jaxmice.events import EventLog
from jaxmice.frame import Frame
from jaxmice.methods import Method
from jaxmice.model.blocks import Blocks
from jaxmice.model.groups import Groups
from jaxmice.model.names import check_names
from jaxmice.wording import some


def default_code(method: type[Method], between: bool) -> int:
    """Return the code of an ordinary predictor for a method.

    `between` asks for its cluster mean as well, where the method can use that.
    """
    if not method.uses_predictors:
        return 0
    wanted = (3, 1, 2) if between and method.needs_cluster else (1, 2)
    return next((code for code in wanted if code in method.codes), 0)


def default_matrix(
    frame: Frame,
    blocks: Blocks,
    classes: Mapping[str, type[Method]],
    unused: Sequence[str],
    multilevel: bool,
) -> pd.DataFrame:
    """Return the default codes, rows blocks, columns data columns.

    Parameters
    ----------
    classes
        Method of every block that has one; other rows are as for a method that takes any
        predictor.
    unused
        Columns that predict nothing: ids and constants.
    multilevel
        Level-1 predictors of level-1 targets come with their cluster means.
    """
    names = list(frame.columns)
    level = {name: column.level for name, column in frame.columns.items()}
    out = np.zeros((len(blocks), len(names)), dtype=int)
    for i, (block, members) in enumerate(blocks.items()):
        method = classes.get(block)
        first = any(level[name] == 1 for name in members)
        for j, name in enumerate(names):
            if name in unused or members == (name,):
                continue
            if level[name] == 0:
                out[i, j] = -2 if method is None or method.needs_cluster else 0
                continue
            between = multilevel and first and level[name] == 1
            out[i, j] = (3 if between else 1) if method is None else default_code(method, between)
    return pd.DataFrame(out, index=pd.Index(list(blocks)), columns=pd.Index(names))


def leave_outer_clusters(
    matrix: pd.DataFrame,
    frame: Frame,
    classes: Mapping[str, type[Method]],
    events: EventLog,
) -> pd.DataFrame:
    """Return codes in which default methods name the first of several cluster columns only.

    Parameters
    ----------
    matrix
        Default codes.
    classes
        Methods by block that nobody asked for; event ``clusters_left_out`` for those that take
        one cluster column.
    """
    outer = [own.name for own in frame.clusters.further] if frame.clusters else []
    matrix = matrix.copy()
    for block, method in classes.items():
        if not outer or method.several_clusters or not method.needs_cluster:
            continue
        matrix.loc[block, outer] = 0
        events.add(
            "clusters_left_out",
            f"{method.name!r} takes one cluster column: {some(outer)} not used for {block!r}",
            dep=block,
            meth=method.name,
        )
    return matrix


def user_matrix(matrix: Any, blocks: Blocks, columns: Sequence[str]) -> pd.DataFrame:
    """Return what the user wrote, with rows blocks and columns data columns.

    Columns that are not named have code 0; rows that are not named are left out.

    Parameters
    ----------
    matrix
        DataFrame, dict of dicts (rows outside), or square array over the columns.

    Raises
    ------
    ModelError
        E27 for labels that fit neither blocks nor columns, or a wrong shape; E25 for codes
        that are not whole numbers.
    """
    if isinstance(matrix, np.ndarray):
        p = len(columns)
        if matrix.shape != (p, p) or list(blocks) != list(columns):
            raise ModelError(
                "E27",
                f"predictor_matrix is an array of shape {matrix.shape}; without labels it must "
                f"be ({p}, {p}) and every column its own block; pass a DataFrame",
            )
        matrix = pd.DataFrame(matrix, index=pd.Index(columns), columns=pd.Index(columns))
    elif isinstance(matrix, Mapping):
        rows = {block: dict(row) for block, row in matrix.items()}
        matrix = pd.DataFrame.from_dict(rows, orient="index").fillna(0)
        matrix = matrix.reindex(list(rows), fill_value=0)
    elif not isinstance(matrix, pd.DataFrame):
        raise ModelError(
            "E27",
            "predictor_matrix must be a DataFrame, a dict of dicts or a square array, got "
            f"{type(matrix).__name__}",
        )
    check_names(matrix.index, blocks, "E27", "predictor_matrix: rows {} not among the blocks")
    check_names(matrix.columns, columns, "E27", "predictor_matrix: columns {} not in data")
    for axis, labels in (("rows", matrix.index), ("columns", matrix.columns)):
        if not labels.is_unique:
            raise ModelError("E27", f"predictor_matrix names {axis} twice")
    matrix = matrix.reindex(columns=pd.Index(columns), fill_value=0)
    for block, row in matrix.iterrows():
        for name, code in row.items():
            number = isinstance(code, int | float | np.number | np.bool_)
            if not number or not float(code).is_integer():
                raise ModelError(
                    "E25",
                    f"code {code!r} at [{block!r}, {name!r}] is not a whole number; role names "
                    "belong into roles",
                )
    return matrix.astype(int)


def find_ids(frame: Frame, groups: Groups | None, restarting: bool) -> dict[str, str]:
    """Return columns that only number the rows, and why they look like it.

    Parameters
    ----------
    restarting
        Also whole numbers and categories without repeats, and numbers that count the rows
        inside every cluster.
    """
    out = {}
    for name, column in frame.columns.items():
        if column.level == 0:
            continue
        if column.kind == "id":
            out[name] = "text with many distinct values"
        elif restarting and not column.missing.any() and frame.n > 1:
            if column.kind not in {"integer", "nominal"}:
                continue
            if len(np.unique(column.values)) == frame.n:
                out[name] = "its values are all distinct"
            elif column.kind == "integer" and groups and _counts_rows(column.values, groups):
                out[name] = "it numbers the rows inside every cluster"
    return out


def _counts_rows(values: np.ndarray, groups: Groups) -> bool:
    """Say whether the values are 1..n_j or 0..n_j-1 inside every cluster, in any order."""
    low, high = groups.ranges(values, groups.member)
    sizes = groups.count(groups.member)
    filled = sizes > 0
    if not filled.any() or low[filled].min() != low[filled].max() or low[filled][0] not in (0, 1):
        return False
    if (high - low + 1 != sizes)[filled].any():
        return False
    pairs = groups.codes[groups.member] * (sizes.max() + 1) + values[groups.member].astype(int)
    return len(np.unique(pairs)) == len(pairs)


def log_ids(ids: Mapping[str, str], frame: Frame, events: EventLog) -> None:
    """Report columns that are left out as ids, and text of which cells stay missing."""
    for name, reason in ids.items():
        events.add("id_excluded", f"{name!r} is not used as predictor: {reason}", out=name)
        column = frame.columns[name]
        if column.kind != "id" or not column.missing.any():
            continue
        left = f"{int(column.missing.sum())} cells of {name!r} stay missing: it is {reason}"
        numbers = pd.to_numeric(frame.data[name].dropna(), errors="coerce").notna().all()
        hint = (
            "it holds numbers as text, turn it into numbers by pd.to_numeric"
            if numbers
            else "make it categories or raise max_categories= to impute it"
        )
        events.add("left_missing", f"{left}; {hint}", dep=name)
