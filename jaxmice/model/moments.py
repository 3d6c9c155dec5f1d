"""Means, correlations and cross products of the observed data, in pieces of rows.

Everything is on standardised columns, so that no threshold depends on a unit. Missing
cells count as the mean, which is 0.
"""

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from jaxmice.frame import Frame
from jaxmice.model.groups import Groups
from jaxmice.model.row import expansion

CHUNK = 1 << 15
"""Rows that are held as a design at one time."""

MIN_PAIRS = 6
"""Fewer rows than this give large correlations by chance; they count as 0."""


class Moments:
    """Standardised columns of a frame.

    Parameters
    ----------
    frame
        The data.
    groups
        The clusters, if there are any.
    use
        (n,) rows that have influence.
    """

    def __init__(self, frame: Frame, groups: Groups | None, use: np.ndarray) -> None:
        self.frame = frame
        self.groups = groups
        self.use = use
        self.names = [name for name, column in frame.columns.items() if column.kind != "id"]
        self._scaled = [self._scale(frame.columns[name].values) for name in self.names]
        self.basis: list[tuple[str, int | None]] = [
            (name, category) for name in self.names for category in expansion(frame.columns[name])
        ]
        """Columns of the design after the intercept: a column, or the dummy of a category."""
        self._basis_scaled = [self._scale_basis(name, category) for name, category in self.basis]

    def _scale(self, values: np.ndarray) -> tuple[float, float]:
        """Return mean and inverse standard deviation; 0 for a constant."""
        seen = values[self.use & ~np.isnan(values)]
        if not len(seen):
            return 0.0, 0.0
        # Squares of very small or large numbers leave the range of doubles.
        size = float(np.abs(seen).max())
        mean = float(seen.mean())
        sd = size * float(((seen - mean) / size).std()) if size else 0.0
        return mean, 1 / sd if sd > 1e-12 * size else 0.0

    def _scale_basis(self, name: str, category: int | None) -> tuple[float, float]:
        if category is None:
            return self._scaled[self.names.index(name)]
        column = self.frame.columns[name]
        return self._scale(np.where(column.missing, np.nan, column.values == category))

    def column(self, k: int, rows: slice = slice(None)) -> np.ndarray:
        """Return one standardised column of the basis, missing cells 0."""
        name, category = self.basis[k]
        mean, inverse = self._basis_scaled[k]
        column = self.frame.columns[name]
        values = column.values[rows]
        if category is not None:
            values = (values == category).astype(float)
        return np.where(column.missing[rows], 0.0, (values - mean) * inverse)

    def means(self, columns: Collection[str]) -> list[np.ndarray]:
        """Return for every column of the basis its (J,) cluster means; zeros if not asked for."""
        if self.groups is None:
            return [np.zeros(1)] * len(self.basis)
        return [
            self.groups.means(self.column(k), self.use)
            if name in columns
            else np.zeros(self.groups.J)
            for k, (name, _) in enumerate(self.basis)
        ]

    def pieces(self, means: list[np.ndarray] | None = None) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield rows and their design: intercept, the basis, and its cluster means."""
        K = len(self.basis)
        width = 1 + K * (1 if means is None else 2)
        for start in range(0, self.frame.n, CHUNK):
            rows = slice(start, min(start + CHUNK, self.frame.n))
            design = np.ones((rows.stop - rows.start, width))
            for k in range(K):
                design[:, 1 + k] = self.column(k, rows)
            if means is not None and self.groups is not None:
                codes = self.groups.codes[rows]
                for k, table in enumerate(means):
                    design[:, 1 + K + k] = np.where(codes >= 0, table[codes], 0.0)
            yield rows, design

    def grams(
        self, fits: Sequence[np.ndarray], means: list[np.ndarray] | None = None
    ) -> list[np.ndarray]:
        """Return the cross products of the design over each of several sets of rows (n,)."""
        out: list[np.ndarray] = []
        for rows, design in self.pieces(means):
            used = design[self.use[rows]]
            whole = used.T @ used
            if not out:
                out = [np.zeros_like(whole) for _ in fits]
            for total, fit in zip(out, fits, strict=True):
                inside = fit[rows]
                outside = self.use[rows] & ~inside
                if outside.sum() < inside.sum():
                    # Cheaper by what is left out; most targets are mostly observed.
                    rest = design[outside]
                    total += whole - rest.T @ rest
                else:
                    kept = design[inside]
                    total += kept.T @ kept
        return out

    def correlations(self) -> np.ndarray:
        """Return (c, c) correlations of `names` over pairwise complete rows.

        Categories count by their codes. Pairs with too few rows, or without variation,
        count as uncorrelated.
        """
        c = len(self.names)
        n, x, xx, xy = (np.zeros((c, c)) for _ in range(4))
        for start in range(0, self.frame.n, CHUNK):
            rows = np.flatnonzero(self.use[start : start + CHUNK]) + start
            seen = np.empty((len(rows), c))
            z = np.empty((len(rows), c))
            for k, name in enumerate(self.names):
                column = self.frame.columns[name]
                mean, inverse = self._scaled[k]
                seen[:, k] = ~column.missing[rows]
                z[:, k] = np.where(
                    column.missing[rows], 0.0, (column.values[rows] - mean) * inverse
                )
            n += seen.T @ seen
            x += z.T @ seen
            xx += (z * z).T @ seen
            xy += z.T @ z
        pairs = np.maximum(n, 1)
        variance = xx - x * x / pairs
        known = (n >= MIN_PAIRS) & (variance > 1e-12 * pairs)
        known &= known.T
        scale = np.sqrt(np.where(known, variance * variance.T, 1.0))
        return np.where(known, (xy - x * x.T / pairs) / scale, 0.0)
