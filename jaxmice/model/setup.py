"""From data and arguments to an `ImputationModel`, without drawing any random number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from jaxmice.errors import ModelError
from jaxmice.events import EventLog
from jaxmice.frame import Frame, deduce_level2, encode
from jaxmice.frame._text import near, some
from jaxmice.model.blocks import Blocks, compile_blocks, compile_sequence
from jaxmice.model.choice import CONSTANT, default_methods, method_classes, named_methods
from jaxmice.model.codes import (
    apply_budget,
    check_codes,
    check_dummies,
    correct_levels,
    report_weak_slopes,
    warn_clustered,
)
from jaxmice.model.constants import fill_constants, find_constants
from jaxmice.model.defaults import single_level_default, two_level_defaults
from jaxmice.model.groups import Groups
from jaxmice.model.masks import compile_ignore, compile_where
from jaxmice.model.missing_predictors import check_missing_predictors
from jaxmice.model.model import ImputationModel, Visit
from jaxmice.model.moments import Moments
from jaxmice.model.options import build_method, check_options, intercepts
from jaxmice.model.predictor_matrix import default_matrix, find_ids, log_ids, user_matrix
from jaxmice.model.roles import compile_roles
from jaxmice.model.row import Row
from jaxmice.model.screening import (
    centred_products,
    check_separation,
    check_size,
    screen_pairs,
    screen_terms,
    slopes,
    within_products,
)
from jaxmice.model.terms import Terms, build_terms, codes_left


def setup(
    data: Any,
    method: str | Mapping[str, str] | Sequence[str] | None = None,
    predictor_matrix: Any = None,
    *,
    cluster: str | Sequence[str] | None = None,
    roles: Mapping[str, Any] | None = None,
    blocks: Any = None,
    where: Any = "missing",
    ignore: Any = None,
    visit_sequence: str | Sequence[str] = "roman",
    levels: Mapping[str, int] | None = None,
    defaults: str = "auto",
    default_method: Sequence[str] | None = None,
    family: str = "gibbs",
    deductive: bool = True,
    on_missing_predictor: str = "error",
    standardize: bool = True,
    group_mean: str = "manifest",
    group_center: bool = False,
    screen: str = "on",
    keep_near_perfect: bool = False,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    missing_cluster: str = "error",
    max_categories: int = 20,
) -> ImputationModel:
    """Describe an imputation run completely; nothing is drawn.

    Parameters
    ----------
    data
        Data frame with n rows and p columns; it is not modified.
    method
        One name for all incomplete blocks, a dict by block, or a list in block order.
        ``""`` does not impute. Blocks without cells to impute get ``""`` in any case.
    predictor_matrix
        Codes -2 (cluster), 0 (not used), 1 (fixed), 2 (random slope), 3 (fixed and cluster
        mean), 4 (random slope and cluster mean); rows blocks, columns data columns. A
        DataFrame, a dict of dicts, or a square array over the columns. Rows that are not
        given keep the default.
    cluster
        The cluster column.
    roles
        Words in place of codes, by target: ``{"popular": {"school": "cluster", "sex":
        "random"}, "*": {"pupil": "none"}}``. A mapping changes the columns that it names; a
        string of columns (fixed effects) or an expression of `jaxmice.role` is a whole row.
        An entry of the target beats one of ``"*"``, which beats the matrix or default.
    blocks
        Columns that are imputed together: a dict, a list, ``"scatter"``, ``"collect"`` or
        ``"void"``. Columns in no block are not imputed.
    where
        Cells to impute: (n, p) booleans, ``"missing"``, ``"observed"``, ``"all"`` or
        ``"none"``.
    ignore
        (n,) True for rows that are imputed but have no influence on parameters.
    visit_sequence
        ``"roman"``, ``"arabic"``, ``"monotone"``, ``"revmonotone"``, ``"level"`` or a list of
        blocks, in which a block may occur again.
    levels
        Levels that override what the data show.
    defaults
        ``"mice"`` (single level), ``"multilevel"`` or ``"auto"``: by whether there is a
        cluster.
    default_method
        Four default methods, for numbers, binary, nominal and ordinal columns.
    family
        Table of default methods for clustered data, ``"gibbs"`` or ``"micemd"``.
    deductive
        Fill level-2 cells that another row of the cluster shows.
    on_missing_predictor
        What to do with a predictor that stays missing: ``"error"`` or ``"drop"``.
    standardize
        Work on the scale of standard deviations, so that units do not matter.
    group_mean
        Cluster means ``"manifest"`` or ``"leave_one_out"``.
    group_center
        Columns of codes 3 and 4 enter as deviations from their cluster mean.
    screen
        ``"off"`` keeps duplicate, collinear and almost perfect predictors.
    keep_near_perfect
        Keep predictors that almost determine the target.
    options
        Options of the methods by target or block; ``"*"`` for all that know them.
        ``intercept`` (``"random"``, ``"fixed"`` or False) belongs to every method.
    missing_cluster
        Rows without a cluster id: ``"error"``, ``"own"`` or ``"drop"``.
    max_categories
        Text columns with more distinct values are ids.

    Returns
    -------
    ImputationModel
        The model; ``print`` shows it and ``model.events`` what was changed.

    Raises
    ------
    DataError, ModelError
        The codes E01 to E27, E46, E49 and E51.

    Source: van Buuren S (2018), Flexible Imputation of Missing Data, 2nd ed., sections 4.5,
    6.3 and 7.
    """
    _check_choices(
        defaults=(defaults, ("auto", "mice", "multilevel")),
        on_missing_predictor=(on_missing_predictor, ("error", "drop")),
        group_mean=(group_mean, ("manifest", "leave_one_out")),
        screen=(screen, ("on", "off")),
    )
    events = EventLog()
    frame = encode(
        data,
        cluster=cluster,
        levels=levels,
        max_categories=max_categories,
        missing_cluster=missing_cluster,
        events=events,
    )
    original, missing = frame.data, _missing(frame)
    if deductive:
        frame = deduce_level2(frame, events)
    groups = Groups(frame.clusters) if frame.clusters else None
    names = list(frame.columns)
    compiled = compile_blocks(blocks, names)
    ignored = compile_ignore(ignore, frame, groups)
    cells = compile_where(where, frame, missing & ~_missing(frame), groups)
    multilevel = defaults == "multilevel" or (defaults == "auto" and groups is not None)
    if multilevel and groups is None:
        raise ModelError("E23", "defaults='multilevel' needs a cluster column; pass cluster=")

    constants = find_constants(frame, ignored)
    chosen, members = choose_methods(
        frame,
        groups,
        compiled,
        cells,
        ignored,
        method,
        constants,
        multilevel=multilevel,
        default_method=default_method,
        family=family,
    )
    frame, chosen, members = fill_constants(frame, chosen, members, cells, constants, events)
    classes = method_classes(frame, chosen, members)
    targets = {name for block in classes for name in members[block]}
    cells[:, [j for j, name in enumerate(names) if name not in targets]] = False

    ids = find_ids(frame, groups, multilevel)
    base = default_matrix(frame, compiled, classes, list(ids), multilevel)
    matrix, explicit = merge_codes(base, compiled, predictor_matrix, roles)
    unused = (matrix == 0).to_numpy().all(axis=0)
    log_ids({n: r for n, r in ids.items() if classes and unused[names.index(n)]}, events)
    rows = [
        Row(
            block,
            target,
            classes[block],
            _off_diagonal(matrix.loc[block].to_numpy(copy=True), names.index(target)),
            explicit.loc[block].to_numpy(copy=True),
        )
        for block in classes
        for target in members[block]
    ]
    opts = {} if options is None else {key: dict(value) for key, value in options.items()}
    check_options(opts, rows, compiled)
    state = _Rows(frame, groups, ignored, cells, rows, events)
    _correct(state, constants, on_missing_predictor)
    terms = _design(state, intercepts(opts, rows), group_center, screen == "on", keep_near_perfect)

    methods = [build_method(row, opts) for row in rows]
    if groups is not None:
        for row, built, (random, _) in zip(rows, methods, terms, strict=True):
            informative = int((groups.count(state.fit(row)) > 0).sum())
            built.check(len(random), informative, f"target {row.target!r}")
    sequence = compile_sequence(
        visit_sequence,
        compiled,
        list(classes),
        {
            block: int(cells[:, [names.index(n) for n in members[block]]].sum())
            for block in classes
        },
        {name: column.level for name, column in frame.columns.items()},
    )
    visits = []
    for place, block in enumerate(sequence):
        number = sequence[:place].count(block)
        for row, built, (random, fixed) in zip(rows, methods, terms, strict=True):
            if row.block == block:
                visits.append(Visit(block, row.target, built, number, fixed, random, row.absorb))
    return ImputationModel(
        original=original,
        frame=frame,
        blocks=compiled,
        method={block: chosen.get(block, "") for block in compiled},
        predictor_matrix=_final_matrix(matrix, rows, compiled, members),
        visit_sequence=sequence,
        where=cells,
        ignore=ignored,
        options=opts,
        cluster=frame.clusters.name if frame.clusters else None,
        levels={name: column.level for name, column in frame.columns.items()},
        kinds={name: column.kind for name, column in frame.columns.items()},
        standardize=standardize,
        group_mean=group_mean,
        group_center=group_center,
        events=events,
        visits=tuple(visits),
    )


@dataclass
class _Rows:
    """The rows under construction and what they are checked against."""

    frame: Frame
    groups: Groups | None
    ignore: np.ndarray
    where: np.ndarray
    rows: list[Row]
    events: EventLog

    def fit(self, row: Row) -> np.ndarray:
        """Return (n,) the rows that the method is fitted to."""
        return ~self.frame.columns[row.target].missing & ~self.ignore

    def want(self, row: Row) -> np.ndarray:
        """Return (n,) the rows that are imputed."""
        return self.where[:, list(self.frame.columns).index(row.target)]


def _check_choices(**choices: tuple[str, tuple[str, ...]]) -> None:
    for argument, (value, known) in choices.items():
        if value not in known:
            raise ModelError(
                "E51", f"{argument} must be one of {some(known)}, got {value!r}; "
                f"{near(value, known)}"
            )


def _missing(frame: Frame) -> np.ndarray:
    return np.column_stack([column.missing for column in frame.columns.values()])


def _off_diagonal(codes: np.ndarray, target: int) -> np.ndarray:
    codes[target] = 0
    return codes


def choose_methods(
    frame: Frame,
    groups: Groups | None,
    blocks: Blocks,
    where: np.ndarray,
    ignore: np.ndarray,
    method: Any,
    constants: Mapping[str, Any],
    *,
    multilevel: bool,
    default_method: Sequence[str] | None = None,
    family: str = "gibbs",
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Return the method of every block that has work, and its columns with cells to impute."""
    names = list(frame.columns)
    work = {
        name
        for j, name in enumerate(names)
        if where[:, j].any() and frame.columns[name].level != 0
    }
    members = {
        block: tuple(name for name in columns if name in work) for block, columns in blocks.items()
    }
    members = {block: columns for block, columns in members.items() if columns}
    named = named_methods(method, blocks)
    chosen = {block: named[block] for block in members if block in named}

    def by_column(targets: Sequence[str]) -> dict[str, str]:
        if not multilevel or default_method is not None:
            return {n: single_level_default(frame.columns[n], default_method) for n in targets}
        assert groups is not None
        # A constant has no distribution to choose a method by; it is filled in later.
        varying = [name for name in targets if name not in constants]
        ids = find_ids(frame, groups, True)
        predictors = [name for name in names if name not in ids]
        found = two_level_defaults(frame, groups, varying, ignore, predictors, family=family)
        return {n: found[n].method if n in found else CONSTANT for n in targets}

    rest = {block: columns for block, columns in members.items() if block not in chosen}
    chosen |= default_methods(frame, rest, by_column)
    return {block: chosen[block] for block in members}, members


def merge_codes(
    base: pd.DataFrame, blocks: Blocks, matrix: Any, roles: Mapping[str, Any] | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Lay the user's matrix and roles over the default codes.

    Returns
    -------
    codes : pandas.DataFrame
        Rows blocks, columns data columns; a block of one column does not predict itself.
    explicit : pandas.DataFrame
        True where the user gave the code.
    """
    codes = base.copy()
    explicit = pd.DataFrame(False, index=base.index, columns=base.columns)
    columns = list(base.columns)
    if matrix is not None:
        given = user_matrix(matrix, blocks, columns)
        codes.loc[given.index] = given
        explicit.loc[given.index] = True
    for block, column, code in compile_roles(roles or {}, blocks, columns):
        codes.loc[block, column] = code
        explicit.loc[block, column] = True
    for block, members in blocks.items():
        if len(members) == 1:
            codes.loc[block, members[0]] = 0
    return codes, explicit


def _correct(state: _Rows, constants: Mapping[str, Any], on_missing_predictor: str) -> None:
    """Bring the codes in line with methods, levels and missing cells."""
    frame, groups, events = state.frame, state.groups, state.events
    check_codes(state.rows, frame)
    for name in constants:
        j = list(frame.columns).index(name)
        using = [row for row in state.rows if row.codes[j] > 0]
        for row in using:
            row.codes[j] = 0
        if using:
            events.add(
                "constant", f"{name!r} is not used as predictor: it has one value", out=name
            )
    check_missing_predictors(
        state.rows, frame, state.where, state.ignore, on_missing_predictor, events
    )
    if groups is None:
        return
    for row in state.rows:
        correct_levels(row, frame, groups, events)
        if row.absorb:
            check_dummies(row, frame, groups, state.fit(row), state.want(row))
        elif row.codes.any():
            apply_budget(row, frame, groups.J, events)
    report_weak_slopes(state.rows, frame, groups, events)


def _design(
    state: _Rows,
    intercept: Sequence[str | bool],
    group_center: bool,
    screen: bool,
    keep_near_perfect: bool,
) -> list[Terms]:
    """Screen the rows and expand them into terms."""
    frame, groups, rows, events = state.frame, state.groups, state.rows, state.events
    columns = frame.columns
    moments = Moments(frame, groups, ~state.ignore)
    if screen and rows:
        screen_pairs(rows, moments, keep_near_perfect, events)
    terms = [
        build_terms(row, columns, start, group_center)
        for row, start in zip(rows, intercept, strict=True)
    ]
    if screen and rows:
        averaged = {t.column for part in terms for t in part[1] if t.mean}
        means = moments.means({name for name in averaged if name}) if averaged else None
        grams = moments.grams([state.fit(row) for row in rows], means)
        for i, (row, gram) in enumerate(zip(rows, grams, strict=True)):
            live = slopes(terms[i])
            if row.absorb and groups is not None:
                products = within_products(live, state.fit(row), moments, groups)
            else:
                products = centred_products(live, gram, moments)
            terms[i] = screen_terms(row, terms[i], products, frame, events)
            codes_left(row, columns, terms[i])
    for row, part in zip(rows, terms, strict=True):
        fit = state.fit(row)
        check_size(row, part, fit, groups.J if groups else 0, events)
        check_separation(row, moments, fit, events)
    if groups is not None:
        warn_clustered(rows, frame, groups, moments)
    return terms


def _final_matrix(
    matrix: pd.DataFrame, rows: Sequence[Row], blocks: Blocks, members: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Return the codes as they are used; rows of blocks that are not imputed are 0.

    In a block of several columns, what screening took out for one target stays in the row.
    """
    out = matrix.copy()
    used = {row.block for row in rows}
    out.loc[[block for block in blocks if block not in used]] = 0
    for row in rows:
        if len(members[row.block]) == 1 and len(blocks[row.block]) == 1:
            out.loc[row.block] = row.codes
    return out
