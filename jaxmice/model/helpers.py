"""Starting points for the arguments of `setup`, to be edited and passed back."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload

import numpy as np
import pandas as pd

from jaxmice.errors import ModelError
from jaxmice.events import EventLog
from jaxmice.frame import Frame, deduce_level2, encode
from jaxmice.methods import REGISTRY
from jaxmice.model.analysis_model import quote
from jaxmice.model.assemble import choose_methods
from jaxmice.model.blocks import Blocks, compile_blocks, compile_sequence, partition
from jaxmice.model.constants import find_constants
from jaxmice.model.defaults import Choice, two_level_defaults
from jaxmice.model.groups import Groups
from jaxmice.model.masks import compile_where, where_of_mask
from jaxmice.model.model import ImputationModel
from jaxmice.model.predictor_matrix import default_matrix, find_ids
from jaxmice.model.setup import setup


def make_blocks(data: pd.DataFrame, partition_by: str = "scatter") -> Blocks:
    """Return blocks of columns.

    Parameters
    ----------
    data
        The data frame.
    partition_by
        ``"scatter"``: every column its own block; ``"collect"``: one block of all;
        ``"void"``: none.
    """
    return partition(list(data.columns), partition_by)


def make_where(data: pd.DataFrame, keyword: str = "missing") -> pd.DataFrame:
    """Return the (n, p) cells that a keyword stands for: missing, observed, all or none."""
    mask = where_of_mask(data.isna().to_numpy(), keyword)
    return pd.DataFrame(mask, index=data.index, columns=data.columns)


def make_method(
    data: pd.DataFrame,
    cluster: str | None = None,
    *,
    blocks: Any = None,
    where: Any = "missing",
    levels: Mapping[str, int] | None = None,
    defaults: str = "auto",
    default_method: Sequence[str] | None = None,
    family: str = "gibbs",
) -> dict[str, str]:
    """Return the default method of every block, ``""`` where nothing is to be imputed.

    The arguments are those of `setup`. Names that are not available are returned as well;
    `setup` refuses them and says what is available.
    """
    frame, groups = _frame(data, cluster, levels)
    compiled = compile_blocks(blocks, list(frame.columns))
    ignore = np.zeros(frame.n, dtype=bool)
    cells = compile_where(where, frame, np.zeros((frame.n, len(frame.columns)), bool), groups)
    chosen, _ = choose_methods(
        frame,
        groups,
        compiled,
        cells,
        ignore,
        None,
        {},
        multilevel=_multilevel(defaults, groups),
        default_method=default_method,
        family=family,
    )
    return {block: chosen.get(block, "") for block in compiled}


def make_predictor_matrix(
    data: pd.DataFrame,
    cluster: str | None = None,
    *,
    method: Mapping[str, str] | None = None,
    blocks: Any = None,
    levels: Mapping[str, int] | None = None,
    defaults: str = "auto",
) -> pd.DataFrame:
    """Return the default predictor codes, rows blocks, columns data columns.

    Parameters
    ----------
    data, cluster, blocks, levels, defaults
        As for `setup`.
    method
        Methods by block; codes are those that the method understands. Without it the
        codes are those of a two-level method if there is a cluster.

    Returns
    -------
    pandas.DataFrame
        Codes, to be edited and passed to `setup`.
    """
    frame, groups = _frame(data, cluster, levels)
    compiled = compile_blocks(blocks, list(frame.columns))
    classes = {b: REGISTRY[name] for b, name in (method or {}).items() if name in REGISTRY}
    multilevel = _multilevel(defaults, groups)
    unused = [*find_ids(frame, groups, multilevel)]
    unused += find_constants(frame, np.zeros(frame.n, dtype=bool))
    return default_matrix(frame, compiled, classes, unused, multilevel)


def make_formulas(data: Any, **options: Any) -> dict[str, str]:
    """Return the default model of every imputed block as a formula, to be edited.

    Parameters
    ----------
    data
        The data frame.
    **options
        Arguments of `setup`, such as ``cluster`` and ``method``. Pass ``method`` on with the
        formulas: they do not say everything about it.

    Returns
    -------
    dict of str
        By block, for ``formulas=`` of `setup` or `mice`.

    Raises
    ------
    DataError, ModelError
        As `setup`; E18: a selection model, which has no formula.

    Examples
    --------
    >>> import jaxmice as jm
    >>> d = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
    >>> jm.make_formulas(d, cluster="school")
    {'popular': 'popular ~ sex + mean(sex) + texp + (1 | school)'}
    """
    model = setup(data, **options)
    imputed = {visit.block for visit in model.visits}
    return {block: _formula(model, block) for block in model.blocks if block in imputed}


def _formula(model: ImputationModel, block: str) -> str:
    """Return the row of a block as a formula."""
    columns, members = model.frame.columns, model.blocks[block]
    fixed, random, clusters = [], ["1"], []
    lower = any(columns[name].level == 1 for name in members)
    for name, code in model.predictor_matrix.loc[block].items():
        term = quote(str(name))
        if code < -2:
            raise ModelError("E18", f"the selection model of {block!r} has no formula; use roles")
        if code == -2:
            clusters.append(term)
        elif code and name not in members:
            averaged = columns[str(name)].level == 1
            fixed += [term] if lower or not averaged else [f"mean({term})"]
            fixed += [f"mean({term})"] if lower and code in (3, 4) else []
            random += [term] if code in (2, 4) else []
    parts = fixed or ["1"]
    for place, cluster in enumerate(clusters if lower else []):
        parts.append(f"({' + '.join(['1'] if place else random)} | {cluster})")
    return f"{' + '.join(map(quote, members))} ~ {' + '.join(parts)}"


def make_visit_sequence(
    data: pd.DataFrame,
    visit_sequence: str | Sequence[str] = "roman",
    *,
    blocks: Any = None,
    cluster: str | None = None,
    levels: Mapping[str, int] | None = None,
) -> tuple[str, ...]:
    """Return the blocks with missing cells in the order of their visits, see `setup`."""
    frame, _ = _frame(data, cluster, levels)
    compiled = compile_blocks(blocks, list(frame.columns))
    cells = {
        block: sum(int(frame.columns[name].missing.sum()) for name in members)
        for block, members in compiled.items()
    }
    return compile_sequence(
        visit_sequence,
        compiled,
        [block for block in compiled if cells[block]],
        cells,
        {name: column.level for name, column in frame.columns.items()},
    )


CHOICE = ("I", "s", "branch", "method", "reason")
"""What `find_default_method` explains, besides kind and level."""


@overload
def find_default_method(
    data: pd.DataFrame,
    cluster: str,
    i_small: int = 7,
    ni_small: int = 100,
    prop_small: float = 0.4,
    *,
    family: str = "gibbs",
    levels: Mapping[str, int] | None = None,
    explain: Literal[False] = False,
) -> dict[str, str]: ...


@overload
def find_default_method(
    data: pd.DataFrame,
    cluster: str,
    i_small: int = 7,
    ni_small: int = 100,
    prop_small: float = 0.4,
    *,
    family: str = "gibbs",
    levels: Mapping[str, int] | None = None,
    explain: Literal[True],
) -> pd.DataFrame: ...


def find_default_method(
    data: pd.DataFrame,
    cluster: str,
    i_small: int = 7,
    ni_small: int = 100,
    prop_small: float = 0.4,
    *,
    family: str = "gibbs",
    levels: Mapping[str, int] | None = None,
    explain: bool = False,
) -> dict[str, str] | pd.DataFrame:
    """Choose a method for every incomplete column of clustered data.

    Parameters
    ----------
    data, cluster
        Data frame and its cluster column.
    i_small
        At most so many clusters with an observed value are few.
    ni_small
        A cluster with at most so many observed values is small.
    prop_small
        Clusters are small if more than this share of them is.
    family
        ``"gibbs"``: exact samplers; ``"micemd"``: the published decision table.
    levels
        Levels that override what the data show.
    explain
        Return the reasons as well.

    Returns
    -------
    dict or pandas.DataFrame
        Method by column, ``""`` for complete ones. With `explain` a table of the incomplete
        columns: ``kind``, ``level``, ``I`` (clusters with an observed value), ``s`` (share of
        them that is small), ``branch``, ``method`` and ``reason``.

    Source: Audigier V et al. (2018), Multiple imputation for multilevel data with continuous
    and binary variables, Statistical Science 33(2), section 6.
    """
    before = encode(data, cluster=cluster, levels=levels, events=EventLog())
    frame = deduce_level2(before, EventLog())
    assert frame.clusters is not None
    groups = Groups(frame.clusters)
    columns = frame.columns
    targets = [
        name
        for name, column in columns.items()
        if column.missing.any() and column.kind not in {"id", "time"}
    ]
    ids = find_ids(frame, groups, True)
    chosen = two_level_defaults(
        frame,
        groups,
        targets,
        np.zeros(frame.n, dtype=bool),
        [name for name in columns if name not in ids],
        i_small=i_small,
        ni_small=ni_small,
        prop_small=prop_small,
        family=family,
    )
    if not explain:
        return {name: chosen[name].method if name in chosen else "" for name in columns}
    for name, column in before.columns.items():
        if column.missing.any() and not columns[name].missing.any():
            seen = groups.count(~column.missing) > 0
            reason = "another row of the cluster shows the value"
            chosen[name] = Choice("", "deductive", reason, int(seen.sum()))
    shown = pd.Index([name for name in columns if name in chosen], name="column")
    table: dict[str, list[Any]] = {
        **{field: [getattr(columns[name], field) for name in shown] for field in ("kind", "level")},
        **{field: [getattr(chosen[name], field) for name in shown] for field in CHOICE},
    }
    return pd.DataFrame(table, index=shown)


def _frame(
    data: pd.DataFrame, cluster: str | None, levels: Mapping[str, int] | None
) -> tuple[Frame, Groups | None]:
    events = EventLog()
    frame = deduce_level2(encode(data, cluster=cluster, levels=levels, events=events), events)
    return frame, Groups(frame.clusters) if frame.clusters else None


def _multilevel(defaults: str, groups: Groups | None) -> bool:
    return defaults == "multilevel" or (defaults == "auto" and groups is not None)
