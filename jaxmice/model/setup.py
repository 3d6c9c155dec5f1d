"""From data and arguments to an `ImputationModel`, without drawing any random number."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from jaxmice.errors import ModelError
from jaxmice.events import EventLog
from jaxmice.frame import Frame, deduce_level2, encode
from jaxmice.model.assemble import (
    Rows,
    choose_methods,
    correct,
    design,
    final_matrix,
    make_rows,
    merge_codes,
)
from jaxmice.model.blocks import compile_blocks, compile_sequence
from jaxmice.model.choice import computed_columns, leave_missing, method_classes
from jaxmice.model.constants import fill_constants, find_constants
from jaxmice.model.formulas import (
    add_columns,
    blocks_of,
    cluster_of,
    compile_formulas,
    given_columns,
    lay_formulas,
    with_formulas,
)
from jaxmice.model.groups import Groups
from jaxmice.model.masks import compile_ignore, compile_where
from jaxmice.model.model import ImputationModel, Visit
from jaxmice.model.options import build_method, check_options, factor_slopes, intercepts
from jaxmice.model.passive import (
    check_ingredients,
    compile_rules,
    fill_known,
    remove_circular,
    split_rules,
)
from jaxmice.model.predictor_matrix import (
    default_matrix,
    find_ids,
    leave_outer_clusters,
    log_ids,
)
from jaxmice.model.processing import compile_post, stated_shifts
from jaxmice.model.screening import check_clusters
from jaxmice.model.terms import slope_terms
from jaxmice.wording import is_whole, meant, some


def setup(
    data: Any,
    method: str | Mapping[str, str] | Sequence[str] | None = None,
    predictor_matrix: Any = None,
    *,
    cluster: str | Sequence[str] | None = None,
    roles: Mapping[str, Any] | None = None,
    formulas: Mapping[str, str] | None = None,
    blocks: Any = None,
    where: Any = "missing",
    ignore: Any = None,
    visit_sequence: str | Sequence[str] = "roman",
    post: Mapping[str, Any] | None = None,
    passive: Mapping[str, Any] | None = None,
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
    relabel_nested: bool | None = None,
    max_categories: int = 20,
) -> ImputationModel:
    """Describe an imputation run completely; nothing is drawn.

    Parameters
    ----------
    data
        Data frame with n rows and p columns; it is not modified.
    method
        One name for all incomplete blocks, a dict by block, or a list in block order.
        ``""`` does not impute. Blocks without cells to impute get ``""`` in any case. Text
        that starts with ``~`` is a rule, as in `passive`.
    predictor_matrix
        Codes -2 (cluster), 0 (not used), 1 (fixed), 2 (random slope), 3 (fixed and cluster
        mean), 4 (random slope and cluster mean); rows blocks, columns data columns. A
        DataFrame, a dict of dicts, or a square array over the columns. Rows that are not
        given keep the default.
    cluster
        The cluster column, or several: nested ones from the innermost to the outermost, or
        crossed ones (see `relabel_nested`). Level 2, cluster means and random slopes are
        those of the first; every further one has a random intercept, in the methods that
        take several.
    roles
        Words in place of codes, by target: ``{"popular": {"school": "cluster", "sex":
        "random"}, "*": {"pupil": "none"}}``. A mapping changes the columns that it names; a
        string of columns (fixed effects) or an expression of `jaxmice.role` is a whole row.
        An entry of the target beats one of ``"*"``, which beats the matrix or default.
    formulas
        Formulas in place of rows, by target: ``{"popular": "popular ~ sex * texp +
        mean(sex) + (1 + sex | school)"}``. Terms may be columns, products of columns, and
        functions (those of `passive`, and ``center``); ``mean(x)`` is a cluster mean, ``.``
        all other columns, and the cluster column itself one dummy per cluster. A random
        effect has a fixed one as well. Without random part the default method is one for a
        single level. With several columns on the left they are a block. A formula beats
        matrix and roles.
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
    post
        What happens to the imputed cells of a column right after the draw: by column one of
        `jaxmice.post`, a function of values and columns that works row by row, or a list.
    passive
        Rules that compute a column from others whenever one of those was imputed: by column
        an expression such as ``"weight / height**2"`` (see `jaxmice.model.expressions`), or a
        function of a mapping of columns that works row by row.
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
        ``intercept`` (``"random"``, ``"fixed"`` or False) belongs to every method;
        ``slopes`` lists by further cluster column the predictors with random slopes there.
    missing_cluster
        Rows without a cluster id: ``"error"``, ``"own"`` or ``"drop"``.
    relabel_nested
        For several cluster columns, what an id means that occurs in several clusters of the
        next column: True, it counts anew in each; False, it is one cluster and the columns
        cross; None, an error.
    max_categories
        Text columns with more distinct values are ids.

    Returns
    -------
    ImputationModel
        The model; ``print`` shows it and ``model.events`` what was changed.

    Raises
    ------
    DataError, ModelError
        The codes E01 to E30, E46, E49 and E51.

    Source: van Buuren S (2018), Flexible Imputation of Missing Data, 2nd ed., sections 4.5,
    6.3 and 7.
    """
    arguments = copy.deepcopy({name: value for name, value in locals().items() if name != "data"})
    _check_choices(
        defaults=(defaults, ("auto", "mice", "multilevel")),
        on_missing_predictor=(on_missing_predictor, ("error", "drop")),
        group_mean=(group_mean, ("manifest", "leave_one_out")),
        screen=(screen, ("on", "off")),
        deductive=(deductive, (True, False)),
        standardize=(standardize, (True, False)),
        group_center=(group_center, (True, False)),
        keep_near_perfect=(keep_near_perfect, (True, False)),
        relabel_nested=(relabel_nested, (None, True, False)),
    )
    if not is_whole(max_categories, 1):
        message = f"max_categories must be a positive integer, got {max_categories!r}"
        raise ModelError("E51", message)
    by_column: dict[str, Any] = {"levels": levels, "options": options}
    for name, value in by_column.items():
        if not isinstance(value, Mapping | None):
            kind = type(value).__name__
            raise ModelError("E51", f"{name} must be a dict by column, got {kind}")
    events = EventLog()
    frame = encode(
        data,
        cluster=cluster_of(formulas, cluster),
        levels=levels,
        max_categories=max_categories,
        missing_cluster=missing_cluster,
        relabel_nested=relabel_nested,
        least_rows=1 if isinstance(where, str) and where == "none" else 2,
        events=events,
    )
    original, missing = frame.data, _missing(frame)
    if deductive:
        frame = deduce_level2(frame, events)
    groups = Groups(frame.clusters) if frame.clusters else None
    own = list(frame.columns)
    compiled = compile_blocks(blocks_of(formulas, blocks, own), own)
    named, given = split_rules(method, passive, compiled)
    ignored = compile_ignore(ignore, frame, groups)
    written, derived = compile_formulas(formulas, frame, compiled)
    frame = add_columns(frame, derived)
    names = list(frame.columns)
    given |= derived
    rules = compile_rules(given, frame)
    shown = {rule.target: rule.text for rule in rules}
    frame = fill_known(frame, rules, groups, ignored, events, derived)
    left = _missing(frame)
    cells = compile_where(where, given_columns(frame, own), missing & ~left[:, : len(own)], groups)
    cells = np.hstack([cells, left[:, len(own) :]])
    computed = cells & left
    computed[:, [name not in given for name in names]] = False
    cells[:, [name in given for name in names]] = False
    multilevel = defaults == "multilevel" or (defaults == "auto" and groups is not None)
    if multilevel and groups is None:
        raise ModelError("E23", "defaults='multilevel' needs a cluster column; pass cluster=")

    made = {*given, *computed_columns(named, compiled)}
    constants = {
        name: row
        for name, row in find_constants(frame, ignored).items()
        if row is not None or name not in made
    }
    chosen, members = choose_methods(
        frame,
        groups,
        compiled,
        cells,
        ignored,
        named,
        constants,
        passive=list(given),
        single=[block for block, row in written.items() if not row.mixed],
        multilevel=multilevel,
        default_method=default_method,
        family=family,
    )
    frame, chosen, members = fill_constants(frame, chosen, members, cells, constants, events)
    classes = method_classes(frame, chosen, members)
    targets = {name for block in classes for name in members[block]}
    cells[:, [j for j, name in enumerate(names) if name not in targets]] = False
    cells &= ~leave_missing(frame, groups, classes, members, ignored, events)
    cells |= computed
    rules = tuple(rule for rule in rules if computed[:, names.index(rule.target)].any())
    check_ingredients(rules, frame, cells, groups, ignored)

    ids = find_ids(frame, groups, multilevel)
    base = default_matrix(given_columns(frame, own), compiled, classes, list(ids), multilevel)
    unasked = {block: method for block, method in classes.items() if block not in named}
    base = leave_outer_clusters(base, frame, unasked, events)
    matrix, explicit = merge_codes(base, compiled, predictor_matrix, roles)
    replaced = [block for block in written if explicit.loc[block].any()]
    matrix, explicit = lay_formulas(matrix, explicit, written, frame, classes, replaced, events)
    used = {n for n, codes in matrix.items() if np.any(codes.to_numpy())}
    told = {n: r for n, r in ids.items() if n not in used}
    if not classes:
        told = {n: r for n, r in told.items() if frame.columns[n].missing.any()}
    log_ids(told, frame, events)
    rows = make_rows(frame, classes, compiled, members, matrix, explicit)
    remove_circular(rows, rules, names, events)
    opts = with_formulas(options or {}, written)
    check_options(opts, rows, compiled)
    sequence = compile_sequence(
        visit_sequence,
        compiled,
        list(classes),
        {block: int(cells[:, [names.index(n) for n in members[block]]].sum()) for block in classes},
        {name: column.level for name, column in frame.columns.items()},
    )
    rows = [row for row in rows if row.block in sequence]
    visited = {name for block in sequence for name in members[block]}
    for name in sorted(targets - visited, key=names.index):
        cells[:, names.index(name)] = False
        message = f"{name!r} stays missing: visit_sequence does not name it"
        events.add("left_missing", message, dep=name)
    state = Rows(frame, groups, ignored, cells, rows, events)
    correct(state, constants, on_missing_predictor)
    varying = factor_slopes(opts, rows, frame)
    terms = design(state, intercepts(opts, rows), group_center, screen == "on", keep_near_perfect)

    methods = [build_method(row, opts) for row in rows]
    if groups is not None:
        for row, built, (random, _) in zip(rows, methods, terms, strict=True):
            counts = groups.count(state.fit(row))
            informative = int((counts > 0).sum())
            built.check(len(random), informative, f"target {row.target!r}")
            if random and row.method.needs_observed and frame.columns[row.target].level == 1:
                check_clusters(row, counts, events)
    visits = []
    for place, block in enumerate(sequence):
        number = sequence[:place].count(block)
        for row, built, part, columns in zip(rows, methods, terms, varying, strict=True):
            if row.block == block:
                random, fixed = part
                visit = Visit(block, row.targets, built, number, fixed, random, row.absorb)
                factors, slopes = row.factors(frame), slope_terms(part, columns)
                visits.append(
                    replace(
                        visit,
                        factors=factors,
                        slopes=slopes,
                        selection_only=row.with_code(-3, frame),
                        outcome_only=row.with_code(-4, frame),
                    )
                )
    by_target = {
        name: [classes[block] for block in classes if name in members[block]] for name in targets
    }
    return ImputationModel(
        original=original,
        frame=frame,
        blocks=compiled,
        method={
            block: chosen.get(block) or _rule(columns, shown) for block, columns in compiled.items()
        },
        predictor_matrix=final_matrix(matrix, rows, compiled, members),
        visit_sequence=sequence,
        where=cells,
        ignore=ignored,
        options=opts,
        formulas=dict(formulas or {}),
        cluster=frame.clusters.name if frame.clusters else None,
        levels={name: column.level for name, column in frame.columns.items()},
        kinds={name: column.kind for name, column in frame.columns.items()},
        standardize=standardize,
        group_mean=group_mean,
        group_center=group_center,
        events=events,
        visits=tuple(visits),
        rules=rules,
        post=compile_post(
            stated_shifts(post, rows, methods),
            frame,
            by_target,
            list(given),
            groups,
            ignored,
            events,
        ),
        arguments=arguments,
    )


def _check_choices(**choices: tuple[Any, tuple[Any, ...]]) -> None:
    for argument, (value, known) in choices.items():
        value = bool(value) if isinstance(value, np.bool_) else value
        if not any(value is one or (isinstance(one, str) and value == one) for one in known):
            hint = meant(value, [one for one in known if isinstance(one, str)])
            message = f"{argument} must be one of {some(known)}, got {value!r}"
            raise ModelError("E51", f"{message}; {hint}" if hint else message)


def _rule(columns: Sequence[str], shown: Mapping[str, str]) -> str:
    """Return the rule of a block that is one passive column; nothing for others."""
    return shown.get(columns[0], "") if len(columns) == 1 else ""


def _missing(frame: Frame) -> np.ndarray:
    return np.column_stack([column.missing for column in frame.columns.values()])
