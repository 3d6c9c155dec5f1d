"""Columns that others determine exactly, such as a body mass index."""

from collections.abc import Callable, Sequence
from itertools import combinations, permutations

import numpy as np

from jaxmice.frame import Column

LEAST = 20
"""Complete rows that must agree before a relation is believed."""

MANY = 12
"""Columns among which relations are looked for; the search grows with their third power."""

TOLERANCE = 1e-6

_FORMS: tuple[tuple[str, Callable[[np.ndarray, np.ndarray], np.ndarray], bool], ...] = (
    # text, computation, whether the order of the two matters
    ("{a} + {b}", lambda a, b: a + b, False),
    ("{a} * {b}", lambda a, b: a * b, False),
    ("{a} - {b}", lambda a, b: a - b, True),
    ("{a} / {b}", lambda a, b: a / b, True),
    ("{a} / {b}**2", lambda a, b: a / b**2, True),
)


def find_relations(columns: Sequence[Column], quote: Callable[[str], str]) -> dict[str, str]:
    """Return expressions for incomplete columns that all complete rows agree with.

    Sums, products, differences, ratios and ratios with a square of two columns, and squares
    of one. A column is the result of one relation only, and never an ingredient of its own.
    """
    numbers = [c for c in columns if c.kind in {"continuous", "integer", "binary_numeric"}]
    numbers = [c for c in numbers if c.level != 0 and len(np.unique(c.values[~c.missing])) > 1]
    found: dict[str, str] = {}
    behind: set[str] = set()
    if len(numbers) > MANY:
        return found
    # A derived column lacks whatever one of its ingredients lacks: the emptiest come first.
    for result in sorted(numbers, key=lambda c: -int(c.missing.sum())):
        if not result.missing.any() or result.kind == "binary_numeric" or result.name in behind:
            continue
        others = [c for c in numbers if c.name != result.name and c.name not in found]
        if relation := _relation(result, others, quote):
            found[result.name], ingredients = relation
            behind |= ingredients
    return found


def _relation(
    result: Column, others: Sequence[Column], quote: Callable[[str], str]
) -> tuple[str, set[str]] | None:
    for a in others:
        if a.kind != "binary_numeric" and _agrees(result, (a,), lambda a: a**2):
            return f"{quote(a.name)}**2", {a.name}
    for text, compute, ordered in _FORMS:
        for a, b in (permutations if ordered else combinations)(others, 2):
            if _agrees(result, (a, b), compute):
                return text.format(a=quote(a.name), b=quote(b.name)), {a.name, b.name}
    return None


def _agrees(result: Column, parts: Sequence[Column], compute: Callable[..., np.ndarray]) -> bool:
    rows = ~result.missing
    for part in parts:
        rows = rows & ~part.missing
    places = np.flatnonzero(rows)
    if len(places) < LEAST:
        return False
    # A few rows rule out nearly every wrong relation.
    for some in (places[:LEAST], places):
        wanted = result.values[some]
        with np.errstate(all="ignore"):
            given = compute(*(part.values[some] for part in parts))
            near = np.abs(given - wanted) <= TOLERANCE * np.abs(wanted) + 1e-12
        if not near.all() or np.ptp(wanted) == 0:
            return False
    return True
