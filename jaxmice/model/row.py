"""One row of the model under construction: a target, its method and its predictor codes."""

from dataclasses import dataclass

import numpy as np

from jaxmice.frame import Column, Frame
from jaxmice.methods import Method


@dataclass
class Row:
    """How one target of one block is imputed.

    Parameters
    ----------
    block, target
        Block and column; the first column of level 1 where several are drawn together.
    targets
        The column, or all that are drawn together.
    method
        Class of the method.
    codes
        (p,) predictor codes in column order; the set-up corrects them in place.
    explicit
        (p,) True for codes that the user wrote.
    """

    block: str
    target: str
    targets: tuple[str, ...]
    method: type[Method]
    codes: np.ndarray
    explicit: np.ndarray
    absorb: bool = False

    def uses(self, j: int) -> bool:
        """Say whether a column is a predictor: neither code 0 nor that of a cluster."""
        return self.codes[j] not in (0, -2)

    def with_code(self, code: int, frame: Frame) -> frozenset[str]:
        """Return the columns that have a code."""
        return frozenset(n for n, own in zip(frame.columns, self.codes, strict=True) if own == code)

    def factors(self, frame: Frame) -> tuple[int, ...]:
        """Return the places of the further cluster columns that the row names."""
        further = frame.clusters.further if frame.clusters else ()
        names = list(frame.columns)
        marked = [self.codes[names.index(clusters.name)] == -2 for clusters in further]
        return tuple(v for v, used in enumerate(marked) if used)

    def aggregated(self, column: Column) -> bool:
        """Say whether the method works on one row per cluster, given the target's column."""
        return column.level == 2 and 1 not in self.method.levels


def expansion(column: Column) -> list[int | None]:
    """Return the dummies of a column by category code; ``[None]`` for one that has none.

    The first used category is the reference.
    """
    if column.kind in {"nominal", "ordinal"}:
        return list(range(1, len(column.categories)))
    return [None]
