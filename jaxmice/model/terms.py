"""From predictor codes to the columns of a design."""

from collections.abc import Mapping, Sequence

from jaxmice.frame import Column
from jaxmice.model.model import INTERCEPT, Term
from jaxmice.model.row import Row, expansion

Terms = tuple[tuple[Term, ...], tuple[Term, ...]]
"""Random and fixed terms."""


def build_terms(
    row: Row, columns: Mapping[str, Column], intercept: str | bool, group_center: bool
) -> Terms:
    """Expand one row of codes.

    Parameters
    ----------
    row
        Target, method and codes.
    columns
        All columns, in the order of the codes.
    intercept
        ``"random"``, ``"fixed"`` or False.
    group_center
        Columns of codes 3 and 4 enter as deviations from their cluster mean.

    Returns
    -------
    random, fixed
        Random: intercept, then columns of codes 2 and 4 in data order. Fixed: the
        intercept if it is not random, then the remaining columns in data order, then the
        cluster means.
    """
    aggregated = row.aggregated(columns[row.target])
    two_level = row.method.needs_cluster and not aggregated
    random: list[Term] = []
    fixed: list[Term] = []
    means: list[Term] = []
    if intercept and not row.absorb:
        (random if two_level and intercept == "random" else fixed).append(INTERCEPT)
    for (name, column), code in zip(columns.items(), row.codes, strict=True):
        if code in (0, -2) or (row.absorb and column.level == 0):
            continue
        for category in expansion(column):
            if aggregated and column.level == 1:
                means.append(Term(name, category, mean=True))
                continue
            with_mean = code in (3, 4)
            main = Term(name, category, centered=group_center and with_mean)
            (random if two_level and code in (2, 4) else fixed).append(main)
            if with_mean:
                means.append(Term(name, category, mean=True))
    return tuple(random), tuple(fixed + means)


def slope_terms(terms: Terms, named: Sequence[Sequence[str]]) -> tuple[tuple[Term, ...], ...]:
    """Return for every list of columns those of their terms that screening has left."""
    main = [term for term in (*terms[0], *terms[1]) if term.column is not None and not term.mean]
    return tuple(tuple(t for t in main if t.column in columns) for columns in named)


def codes_left(row: Row, columns: Mapping[str, Column], terms: Terms) -> None:
    """Bring the codes of a row in line with the terms that screening has left."""
    random, fixed = terms
    main = {term.column for term in random + fixed if not term.mean}
    mean = {term.column for term in fixed if term.mean}
    slope = {term.column for term in random}
    aggregated = row.aggregated(columns[row.target])
    for j, (name, column) in enumerate(columns.items()):
        if not row.uses(j) or column.level == 0:
            continue
        if name not in main and name not in mean:
            row.codes[j] = 0
        elif row.codes[j] > 0 and name in main and name not in mean and not aggregated:
            row.codes[j] = 2 if name in slope else 1
