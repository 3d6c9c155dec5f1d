"""The steps of the set-up: methods, codes, corrections, screening, terms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from jaxmice.events import EventLog
from jaxmice.frame import Frame
from jaxmice.methods import Method
from jaxmice.model.blocks import Blocks
from jaxmice.model.choice import CONSTANT, default_methods, named_methods
from jaxmice.model.codes import (
    apply_budget,
    check_codes,
    check_dummies,
    correct_levels,
    report_weak_slopes,
    warn_clustered,
    warn_unrestricted,
)
from jaxmice.model.defaults import single_level_default, two_level_defaults
from jaxmice.model.groups import Groups
from jaxmice.model.missing_predictors import check_missing_predictors
from jaxmice.model.moments import Moments
from jaxmice.model.predictor_matrix import find_ids, user_matrix
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


@dataclass
class Rows:
    """The rows under construction and what they are checked against."""

    frame: Frame
    groups: Groups | None
    ignore: np.ndarray
    where: np.ndarray
    rows: list[Row]
    events: EventLog

    def fit(self, row: Row) -> np.ndarray:
        """Return (n,) the rows that the method is fitted to."""
        seen = np.array([~self.frame.columns[name].missing for name in row.targets])
        return seen.any(axis=0) & ~self.ignore

    def want(self, row: Row) -> np.ndarray:
        """Return (n,) the rows that are imputed."""
        names = list(self.frame.columns)
        return np.any(self.where[:, [names.index(name) for name in row.targets]], axis=1)


def make_rows(
    frame: Frame,
    classes: Mapping[str, type[Method]],
    blocks: Blocks,
    members: Mapping[str, Sequence[str]],
    matrix: pd.DataFrame,
    explicit: pd.DataFrame,
) -> list[Row]:
    """Return a row for every target, or for a whole block that is drawn together.

    Complete members of such a block are responses like the others.
    """
    names, rows = list(frame.columns), []
    for block, method in classes.items():
        parts = [tuple(blocks[block])] if method.joint else [(n,) for n in members[block]]
        for targets in parts:
            first = min(targets, key=lambda name: frame.columns[name].level == 2)
            codes = matrix.loc[block].to_numpy(copy=True)
            # No column predicts itself.
            codes[[names.index(name) for name in targets]] = 0
            given = explicit.loc[block].to_numpy(copy=True)
            rows.append(Row(block, first, targets, method, codes, given))
    return rows


def choose_methods(
    frame: Frame,
    groups: Groups | None,
    blocks: Blocks,
    where: np.ndarray,
    ignore: np.ndarray,
    method: Any,
    constants: Mapping[str, Any],
    *,
    passive: Sequence[str] = (),
    single: Sequence[str] = (),
    multilevel: bool,
    default_method: Sequence[str] | None = None,
    family: str = "gibbs",
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Return the method of every block that has work, and its columns with cells to impute.

    Columns that are computed from others say nothing about how those are distributed. The
    blocks of `single` get methods for one level, unless their columns are constant in clusters.
    """
    names = list(frame.columns)
    flat = {name for block in single for name in blocks[block] if frame.columns[name].level == 1}
    work = {
        name for j, name in enumerate(names) if where[:, j].any() and frame.columns[name].level != 0
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
        predictors = [name for name in names if name not in ids and name not in passive]
        found = two_level_defaults(frame, groups, varying, ignore, predictors, family=family)
        out = {n: found[n].method if n in found else CONSTANT for n in targets}
        return out | {n: single_level_default(frame.columns[n], None) for n in flat & out.keys()}

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
    # In arrays: pandas takes a fraction of a millisecond for every cell.
    codes = base.to_numpy(copy=True)
    explicit = np.zeros(codes.shape, bool)
    columns = list(base.columns)
    row = {block: i for i, block in enumerate(base.index)}
    place = {name: j for j, name in enumerate(columns)}
    if matrix is not None:
        given = user_matrix(matrix, blocks, columns)
        at = [row[block] for block in given.index]
        codes[at], explicit[at] = given, True
    for block, column, code in compile_roles(roles or {}, blocks, columns):
        codes[row[block], place[column]] = code
        explicit[row[block], place[column]] = True
    for block, members in blocks.items():
        if len(members) == 1:
            codes[row[block], place[members[0]]] = 0
    axes = (base.index, base.columns)
    return pd.DataFrame(codes, *axes), pd.DataFrame(explicit, *axes)


def correct(state: Rows, constants: Mapping[str, Any], on_missing_predictor: str) -> None:
    """Bring the codes in line with methods, levels and missing cells."""
    frame, groups, events = state.frame, state.groups, state.events
    check_codes(state.rows, frame)
    for name in constants:
        j = list(frame.columns).index(name)
        using = [row for row in state.rows if row.uses(j)]
        for row in using:
            row.codes[j] = 0
        if using:
            events.add("constant", f"{name!r} is not used as predictor: it has one value", out=name)
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


def design(
    state: Rows,
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
        check_size(row, part, fit, frame, groups, events)
        check_separation(row, moments, fit, events)
        warn_unrestricted(row)
    if groups is not None:
        warn_clustered(rows, frame, groups, moments)
    return terms


def final_matrix(
    matrix: pd.DataFrame, rows: Sequence[Row], blocks: Blocks, members: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Return the codes as they are used; rows of blocks that are not imputed are 0.

    In a block of several columns, what screening took out for one target stays in the row.
    """
    codes = matrix.to_numpy(copy=True)
    used = {row.block for row in rows}
    codes[[block not in used for block in matrix.index]] = 0
    place = {block: i for i, block in enumerate(matrix.index)}
    for row in rows:
        if len(members[row.block]) == 1 and len(blocks[row.block]) == 1:
            codes[place[row.block]] = row.codes
    return pd.DataFrame(codes, matrix.index, matrix.columns)
