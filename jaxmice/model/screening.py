"""Predictors that cannot or must not be used, found before the run on the observed data.

Source of the rules: van Buuren S and Groothuis-Oudshoorn K (2011), mice: multivariate
imputation by chained equations in R, Journal of Statistical Software 45(3), section 4.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from jaxmice.errors import ModelError
from jaxmice.events import EventLog
from jaxmice.frame import Frame
from jaxmice.model.groups import Groups
from jaxmice.model.model import Term
from jaxmice.model.moments import Moments
from jaxmice.model.row import Row
from jaxmice.model.terms import Terms

LEAST_CLUSTERS = 3
"""Observed clusters below which nothing but the prior tells a variance between them."""

MAX_PAIR_COR = 0.999
MAX_TARGET_COR = 0.99
PIVOT = 1e-8
"""Smallest share of its variance that a column must add: a relative tolerance of 1e-4 for
the diagonal of a QR decomposition."""


def screen_pairs(
    rows: Sequence[Row], moments: Moments, keep_near_perfect: bool, events: EventLog
) -> None:
    """Take out duplicate predictors, and those that determine the target.

    Events ``collinear``, ``perfect_prediction`` and ``deterministic_pair``; the codes of
    the rows are changed in place. A column that is computed keeps what it is computed from.
    """
    rows = [row for row in rows if row.method.needs_observed]
    r = np.abs(moments.correlations())
    columns = moments.frame.columns
    order = {name: k for k, name in enumerate(moments.names)}
    observed = np.array([int((~columns[name].missing & moments.use).sum()) for name in order])
    place = {name: j for j, name in enumerate(columns)}
    for row in rows:
        used = [k for name, k in order.items() if row.uses(place[name])]
        log = partial(events.add, dep=row.target, meth=row.method.name)
        kept: list[int] = []
        duplicated = bool((r[np.ix_(used, used)] >= MAX_PAIR_COR).sum() > len(used))
        for k in sorted(used, key=lambda k: (-observed[k], k)) if duplicated else used:
            twin = next((other for other in kept if r[k, other] >= MAX_PAIR_COR), None)
            if twin is None:
                kept.append(k)
                continue
            name = moments.names[k]
            row.codes[place[name]] = 0
            log(
                "collinear",
                f"{name!r} is not used for {row.target!r}: it repeats {moments.names[twin]!r} "
                f"(|r| = {r[k, twin]:.5f})",
                out=name,
            )
        if row.target not in order:
            continue
        for k in sorted(kept):
            name, strength = moments.names[k], r[k, order[row.target]]
            if strength >= MAX_PAIR_COR:
                log(
                    "deterministic_pair",
                    f"{row.target!r} and {name!r} determine each other (|r| = {strength:.5f}); "
                    "compute one from the other after imputation",
                    out=name,
                )
            if strength >= MAX_TARGET_COR and not keep_near_perfect:
                row.codes[place[name]] = 0
                log(
                    "perfect_prediction",
                    f"{name!r} is not used for {row.target!r}: it predicts it almost perfectly "
                    f"(|r| = {strength:.5f}); keep_near_perfect=True keeps it",
                    out=name,
                )


def screen_terms(
    row: Row, terms: Terms, products: np.ndarray, frame: Frame, events: EventLog
) -> Terms:
    """Take out terms that are linear combinations of others (event ``lindep``).

    The intercept and random terms are the last to go, cluster means the first.

    Parameters
    ----------
    products
        Centred cross products of `slopes` of the terms over the rows that are fitted.
    """
    if not row.method.needs_observed:
        return terms
    random, fixed = terms
    live = slopes(terms)
    # Nothing is known of a column without any value: it is computed in the run.
    dropped = [
        live[k] for k in _aliased(products) if not frame.columns[str(live[k].column)].missing.all()
    ]
    for term in dropped:
        log_aliased(row, term, frame, events)
    return (
        tuple(term for term in random if term not in dropped),
        tuple(term for term in fixed if term not in dropped),
    )


def slopes(terms: Terms) -> list[Term]:
    """Return all terms but the intercept, random ones first."""
    return [term for part in terms for term in part if term.column is not None]


def log_aliased(row: Row, term: Term, frame: Frame, events: EventLog) -> None:
    """Report a term that other terms determine."""
    label = term.label(frame.columns[str(term.column)].categories)
    source = "the cluster dummies and the other" if row.absorb else "the other"
    events.add(
        "lindep",
        f"{label} is not used for {row.target!r}: it follows from {source} predictors "
        "where the target is observed",
        dep=row.target,
        meth=row.method.name,
        out=label,
    )


def centred_products(live: Sequence[Term], gram: np.ndarray, moments: Moments) -> np.ndarray:
    """Return the cross products of terms after taking out the intercept.

    Parameters
    ----------
    gram
        Cross products of intercept, basis and cluster means, see `Moments.grams`.
    """
    position = {key: k for k, key in enumerate(moments.basis)}
    K = len(moments.basis)
    pick = np.zeros((len(gram), len(live)))
    for i, term in enumerate(live):
        k = position[str(term.column), term.category]
        pick[1 + k + (K if term.mean else 0), i] = 1
        if term.centered:
            pick[1 + K + k, i] = -1
    centre = gram[0] @ pick
    return pick.T @ gram @ pick - np.outer(centre, centre) / max(gram[0, 0], 1)


def within_products(
    live: Sequence[Term], fit: np.ndarray, moments: Moments, groups: Groups
) -> np.ndarray:
    """Return the cross products of deviations from the cluster means over the rows `fit`."""
    position = {key: k for k, key in enumerate(moments.basis)}
    columns = (moments.column(position[str(term.column), term.category]) for term in live)
    design = np.empty((int(fit.sum()), len(live)))
    for i, deviation in enumerate(groups.deviations(columns, fit)):
        design[:, i] = deviation
    return design.T @ design


def _aliased(products: np.ndarray) -> list[int]:
    """Return the columns that earlier ones determine, from centred cross products."""
    k = len(products)
    diagonal = np.diag(products).copy()
    # Columns have unit variance over all rows; this one has none where the target is seen.
    constant = diagonal <= 1e-14 * max(float(diagonal.max(initial=0)), 1.0)
    scale = np.where(constant, 0.0, 1 / np.sqrt(np.where(constant, 1.0, diagonal)))
    rest = products * np.outer(scale, scale)
    if not constant.any() and k:
        try:
            if (np.diag(np.linalg.cholesky(rest)) ** 2).min() >= PIVOT:
                return []
        except np.linalg.LinAlgError:
            pass
    out = []
    for i in range(k):
        pivot = rest[i, i]
        if constant[i] or pivot < PIVOT:
            out.append(i)
        else:
            rest = rest - np.outer(rest[i], rest[i]) / pivot
    return out


def check_size(
    row: Row,
    terms: Terms,
    fit: np.ndarray,
    frame: Frame,
    groups: Groups | None,
    events: EventLog,
) -> None:
    """Compare the number of parameters with the number of rows, or of clusters as rows.

    Event ``df_small``, for clusters already where fewer than ten are left over.

    Raises
    ------
    ModelError
        E16 if there are more parameters than rows and the method does not shrink them.
    """
    if not row.method.needs_observed:
        return
    k, n, spare, unit = len(terms[0]) + len(terms[1]), int(fit.sum()), 1, "rows"
    if groups is not None and row.absorb:
        k += groups.J
    if groups is not None and row.aggregated(frame.columns[row.target]):
        n, spare, unit = int((groups.count(fit) > 0).sum()), 10, "clusters"
    if n - k < 0 and not row.method.regularised:
        raise ModelError(
            "E16",
            f"target {row.target!r}: {k} predictors (with dummies and means), {n} observed {unit}; "
            f"use fewer predictors, method {row.method.name!r} does not shrink them",
        )
    if n - k < spare:
        events.add(
            "df_small",
            f"{row.target!r} has {n} observed {unit} for {k} predictors",
            dep=row.target,
            meth=row.method.name,
        )


def check_separation(row: Row, moments: Moments, fit: np.ndarray, events: EventLog) -> None:
    """Report predictors that split a binary target perfectly (event ``separation``)."""
    columns = moments.frame.columns
    if columns[row.target].kind not in {"binary", "binary_numeric"}:
        return
    # What the column decides of a method for numbers is that 0 and 1 are no numbers to it.
    as_number = "continuous" in row.method.kinds and not row.method.set_by_column
    if row.method.donor_based or as_number or not row.codes.any():
        return
    ones = fit & (columns[row.target].values == 1)
    zeros = fit & (columns[row.target].values == 0)
    place = {name: j for j, name in enumerate(columns)}
    for k, (name, category) in enumerate(moments.basis):
        if row.codes[place[name]] <= 0:
            continue
        x, seen = moments.column(k), ~columns[name].missing
        low, high = x[zeros & seen], x[ones & seen]
        if not len(low) or not len(high):
            continue
        if low.max() < high.min() or high.max() < low.min():
            label = Term(name, category).label(columns[name].categories)
            events.add(
                "separation",
                f"{label} splits {row.target!r} perfectly; its effect rests on the prior",
                dep=row.target,
                meth=row.method.name,
                out=label,
            )


def check_clusters(row: Row, counts: np.ndarray, events: EventLog) -> None:
    """Report a target whose values hardly say how clusters differ (event ``few_clusters``).

    Parameters
    ----------
    counts
        Observed values of every cluster. Few clusters in the data are told elsewhere (W08).
    """
    shown = int((counts > 0).sum())
    if (LEAST_CLUSTERS <= shown and counts.max() > 1) or len(counts) < LEAST_CLUSTERS:
        return
    place = f"{shown} of {len(counts)} clusters"
    found = f"in {place} only" if shown < LEAST_CLUSTERS else "once in a cluster at most"
    events.add(
        "few_clusters",
        f"{row.target!r} is observed {found}: how clusters differ rests on the prior; compare "
        "with a method for a single level",
        dep=row.target,
        meth=row.method.name,
    )
