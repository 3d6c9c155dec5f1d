"""Checks of predictor codes against the methods, and automatic corrections."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from jaxmice.errors import ModelError
from jaxmice.events import EventLog
from jaxmice.frame import Clusters, Frame
from jaxmice.model.groups import Groups
from jaxmice.model.moments import Moments
from jaxmice.model.names import Complaints, warn
from jaxmice.model.row import Row, expansion
from jaxmice.wording import some

WEAK_SLOPE = 0.9
"""A slope is weak if its column is constant in more than this share of the clusters."""

HIGH_ICC = 0.05


def check_codes(rows: Sequence[Row], frame: Frame) -> None:
    """Check every code against its method; translate those that have no meaning for it.

    Raises
    ------
    ModelError
        E23 (cluster), E25 or E26 (codes); all complaints at once.

    Warns
    -----
    JaxMiceWarning
        W12 for slopes without meaning, W13 for a cluster in a single-level method.
    """
    complaints = Complaints()
    for row in rows:
        if not row.method.uses_predictors:
            row.codes[:] = 0
            continue
        _check_cluster(row, frame, complaints)
        slopes = []
        for j, (name, column) in enumerate(frame.columns.items()):
            code = int(row.codes[j])
            if column.level == 0 or code in (0, -2):
                continue
            if code in (2, 4) and _no_slopes(row, frame):
                slopes.append(name)
                code = row.codes[j] = code - 1
            _check_code(row, name, code, frame, complaints)
        if slopes:
            warn(
                "W12",
                f"method {row.method.name!r} of {row.target!r} has no random slopes; "
                f"{some(slopes)} enter as fixed",
            )
    complaints.raise_any()


def _no_slopes(row: Row, frame: Frame) -> bool:
    return not row.method.needs_cluster or row.aggregated(frame.columns[row.target])


def _check_cluster(row: Row, frame: Frame, complaints: Complaints) -> None:
    names = list(frame.columns)
    marked = [names[j] for j in np.flatnonzero(row.codes == -2)]
    clusters = frame.clusters
    known = clusters.names if clusters else ()
    method = row.method
    others = [name for name in marked if name not in known]
    if clusters is None:
        if others or method.needs_cluster:
            complaints.add(
                "E23",
                f"row {row.block!r}: method {method.name!r} needs a cluster column; pass cluster="
                if method.needs_cluster
                else f"row {row.block!r}: code -2 at {some(others)}, but no cluster= was given",
            )
        return
    if others:
        complaints.add(
            "E23",
            f"row {row.block!r}: exactly one cluster (-2) needed, found {len(marked)}: "
            f"{some(marked)}; the cluster column is {clusters.name!r}"
            if len(known) == 1
            else f"row {row.block!r}: code -2 at {some(others)}; the cluster columns are "
            f"{some(known)}",
        )
        return
    if method.needs_cluster and method.levels == {2} and _is_outer(row, frame, complaints):
        return
    for place, own in enumerate((clusters, *clusters.further)):
        _check_cluster_code(row, names.index(own.name), own, place == 0, complaints)
    if method.needs_cluster and not method.several_clusters and len(marked) > 1:
        further = [name for name in marked if name != clusters.name]
        complaints.add(
            "E13",
            f"method {method.name!r} of {row.target!r} takes one cluster column, {len(marked)} "
            f"given; to leave {some(further)} out for it, pass "
            f"roles={{{row.block!r}: {{{further[0]!r}: 'none'}}}}",
        )


OUTER_SHOWN = 3
"""Clusters with several inner ones inside which a column must be constant to belong to them."""


def _is_outer(row: Row, frame: Frame, complaints: Complaints) -> bool:
    """Refuse a target that belongs to a further cluster column: inner clusters would differ."""
    clusters, column = frame.clusters, frame.columns[row.target]
    for outer in clusters.further if clusters else ():
        assert clusters is not None
        seen = ~column.missing
        pairs = np.unique(np.stack([outer.codes[seen], clusters.codes[seen]]), axis=1)
        several = np.bincount(pairs[0], minlength=outer.J) > 1
        low, high = Groups(outer).ranges(column.values, seen)
        if several.sum() >= OUTER_SHOWN and not (high > low)[several].any():
            complaints.add(
                "E13",
                f"{row.target!r} is constant in {outer.name!r} too, and would be drawn for every "
                f"{clusters.name!r}; impute it with cluster={outer.name!r}, or give it the "
                "method ''",
            )
            return True
    return False


def _check_cluster_code(
    row: Row, place: int, clusters: Clusters, first: bool, complaints: Complaints
) -> None:
    """Check the code of one cluster column."""
    method, code, cluster = row.method, int(row.codes[place]), clusters.name
    if method.needs_cluster:
        if first and code != -2:
            complaints.add(
                "E23",
                f"row {row.block!r}: the cluster {cluster!r} needs the role 'cluster' (code -2), "
                f"it has code {code}"
                + ("; it is the first of several" if clusters.further else ""),
            )
        elif code not in (0, -2):
            complaints.add(
                "E25",
                f"code {code} at [{row.block!r}, {cluster!r}] not understood by {method.name!r}; "
                "valid for a cluster column: -2, 0",
            )
        elif code == -2 and clusters.J < 2:
            complaints.add(
                "E23",
                f"method {method.name!r} of {row.target!r} needs at least 2 clusters"
                + ("" if first else f" in every cluster column, {cluster!r} has one"),
            )
    elif code == -2 and -2 not in method.cluster_codes:
        row.codes[place] = 0
        warn(
            "W13",
            f"method {method.name!r} of {row.target!r} knows no clusters; {cluster!r} is not used"
            + ("; for cluster dummies give it code 1" if first else ""),
        )
    elif first and code == 1 and 1 in method.cluster_codes:
        row.absorb = True
    elif code not in (0, -2):
        valid = sorted({0} | (method.cluster_codes if first else frozenset()))
        complaints.add(
            "E25",
            f"code {code} at [{row.block!r}, {cluster!r}] not understood by {method.name!r}; "
            f"valid for the cluster column: {some(valid)}",
        )


def _check_code(row: Row, name: str, code: int, frame: Frame, complaints: Complaints) -> None:
    method, cell = row.method, f"[{row.block!r}, {name!r}]"
    valid = ", ".join(map(str, sorted({0} | method.codes | method.cluster_codes)))
    if frame.columns[name].kind == "id":
        complaints.add("E25", f"code {code} at {cell}: {name!r} is an id; set it to 0")
    elif code in (-3, -4) and code not in method.codes:
        complaints.add(
            "E26",
            f"code {code} at {cell} needs a selection (Heckman) method, {row.target!r} uses "
            f"{method.name!r}",
        )
    elif code not in method.codes:
        selects = bool({-3, -4} & method.codes)
        complaints.add(
            "E26" if selects else "E25",
            f"code {code} at {cell} not understood by {method.name!r}; valid: {valid}",
        )
    elif code in (3, 4) and frame.clusters is None:
        complaints.add("E25", f"code {code} at {cell} needs cluster means; pass cluster=")


def correct_levels(row: Row, frame: Frame, groups: Groups, events: EventLog) -> None:
    """Take back cluster means and slopes of columns that are constant inside clusters."""
    if row.aggregated(frame.columns[row.target]):
        return
    log = partial(events.add, dep=row.target, meth=row.method.name)
    for j, (name, column) in enumerate(frame.columns.items()):
        code = int(row.codes[j])
        if code <= 0 or column.level == 0:
            continue
        if column.level == 2 and row.absorb:
            row.codes[j] = 0
            log(
                "lindep",
                f"{name!r} is not used for {row.target!r}: it is constant inside clusters, which "
                "have their own dummies",
                out=name,
            )
            continue
        if column.level == 2 and code in (3, 4) and code - 2 in row.method.codes:
            code = row.codes[j] = code - 2
            log(
                "mean_of_level2",
                f"{name!r} for {row.target!r}: its cluster mean is the column itself",
                out=name,
            )
        if column.level == 2 and code == 2 and 1 in row.method.codes:
            row.codes[j] = 1
            log(
                "slope_of_level2",
                f"{name!r} for {row.target!r}: constant inside clusters, no slope can be random",
                out=name,
            )
        if row.absorb and code == 3:
            row.codes[j] = 1
            log(
                "lindep",
                f"mean({name}) is not used for {row.target!r}: clusters have their own dummies",
                out=f"mean({name})",
            )


def report_weak_slopes(rows: Sequence[Row], frame: Frame, groups: Groups, events: EventLog) -> None:
    """Report slopes of columns that hardly vary inside clusters."""
    share: dict[str, float] = {}
    for row in rows:
        for j, (name, column) in enumerate(frame.columns.items()):
            if row.codes[j] not in (2, 4) or column.level != 1:
                continue
            if name not in share:
                low, high = groups.ranges(column.values, ~column.missing)
                seen = low <= high
                share[name] = float((low == high)[seen].mean()) if seen.any() else 0.0
            if share[name] > WEAK_SLOPE:
                events.add(
                    "slope_weakly_identified",
                    f"{name!r} for {row.target!r}: constant in {share[name]:.0%} of the clusters, "
                    "its random slope is hardly identified",
                    dep=row.target,
                    meth=row.method.name,
                    out=name,
                )


def apply_budget(row: Row, frame: Frame, J: int, events: EventLog) -> None:
    """Keep the number of level-2 terms within what the clusters support.

    More than J / 3: default cluster means are dropped. More than J - 2: warning W15.
    """
    columns = list(frame.columns.values())
    size = np.array([len(expansion(column)) for column in columns])
    second = np.array([column.level == 2 for column in columns])
    aggregated = row.aggregated(frame.columns[row.target])

    def terms() -> int:
        means = np.isin(row.codes, [3, 4]) | (aggregated & (row.codes > 0))
        return int(size[means | (second & (row.codes > 0))].sum())

    droppable = (row.codes == 3) & ~row.explicit
    if 3 * terms() > J and droppable.any() and 1 in row.method.codes:
        before = terms()
        row.codes[droppable] = 1
        events.add(
            "means_dropped",
            f"{row.target!r}: {before} level-2 terms for {J} clusters; the cluster means of "
            f"{some([c.name for c, out in zip(columns, droppable, strict=True) if out])} "
            "are not used",
            dep=row.target,
            meth=row.method.name,
        )
    if terms() > J - 2:
        warn(
            "W15",
            f"{row.target!r}: {terms()} level-2 terms (cluster means and level-2 columns) for "
            f"{J} clusters; use fewer",
        )


def check_dummies(
    row: Row, frame: Frame, groups: Groups, fit: np.ndarray, want: np.ndarray
) -> None:
    """Check that every cluster with cells to impute has an observed value.

    Raises
    ------
    ModelError
        E24, with the clusters.
    """
    assert frame.clusters is not None
    lacking = np.flatnonzero((groups.count(fit) == 0) & (groups.count(want) > 0))
    if len(lacking):
        labels = [frame.clusters.labels[k] for k in lacking]
        raise ModelError(
            "E24",
            f"{row.target!r} has no observed value in clusters {some(labels)}; dummies cannot be "
            "estimated there; use a random-effects method",
        )


def warn_unrestricted(row: Row) -> None:
    """Warn (W31) of a selection model without a column that is in the selection only."""
    if row.method.models_selection and not (row.codes == -3).any():
        warn(
            "W31",
            f"the selection model of {row.target!r} has no column that predicts selection "
            "only; its results hang on the normal distribution; give one the role selection",
        )


def warn_clustered(rows: Sequence[Row], frame: Frame, groups: Groups, moments: Moments) -> None:
    """Warn once (W14) of single-level methods for columns that differ between clusters."""
    found = []
    for row in rows:
        column = frame.columns[row.target]
        if row.method.needs_cluster or row.absorb or column.level != 1:
            continue
        if column.kind in {"nominal", "ordinal"}:
            continue
        fit = ~column.missing & moments.use
        y = moments.column(moments.basis.index((row.target, None)))
        sizes = groups.count(fit)
        n, J = sizes.sum(), (sizes > 0).sum()
        if J < 2 or n <= J:
            continue
        means = groups.means(y, fit)
        centre = y[fit].mean()
        between = float(sizes @ (means - centre) ** 2) / (J - 1)
        deviation = next(groups.deviations([y], fit))
        within = float(deviation @ deviation) / (n - J)
        n0 = (n - float(sizes @ sizes) / n) / (J - 1)
        scale = between + (n0 - 1) * within
        icc = (between - within) / scale if scale > 0 else 0.0
        if icc > HIGH_ICC:
            found.append(f"{icc:.2f} in {row.target!r} (method {row.method.name!r})")
    if found:
        warn(
            "W14",
            "single-level methods ignore the clusters, but there is an intraclass correlation of "
            f"{', '.join(found)}; use two-level methods",
        )
