"""From data frames and a formula to the arrays of a mixed model."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxmice.analysis.formula import CODE, MixedFormula
from jaxmice.errors import AnalysisError, PoolError
from jaxmice.formula import QUOTED
from jaxmice.pooling import Design

if TYPE_CHECKING:
    from formulaic import Formula

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class MixedDesign:
    """Arrays of a mixed model for m data sets with n usable rows.

    Attributes
    ----------
    y
        Outcomes (m, n).
    x, z
        Columns of fixed and random effects, (n, p) and (n, q) when they are the same in
        all data sets, else (m, n, p) and (m, n, q).
    codes
        Cluster of every row (n,).
    terms, labels
        Names of the columns of x and of z.
    dropped
        Rows left out because a value is missing.
    between
        Whether each column of x is constant within clusters (p,).
    maker
        Makes the same columns from other rows.
    """

    y: Numbers
    x: Numbers
    z: Numbers
    codes: NDArray[np.integer]
    terms: tuple[str, ...]
    labels: tuple[str, ...]
    dropped: int
    between: NDArray[np.bool_]
    maker: Design


class Filled:
    """Columns of m completed data sets, without building the m frames.

    Parameters
    ----------
    data
        The data with holes, n rows.
    cells
        For each imputed column the positions of its imputed cells (k,) and a frame with
        their values, one column for each imputation.
    m
        Number of imputations.
    """

    def __init__(
        self,
        data: pd.DataFrame,
        cells: dict[str, tuple[NDArray[np.intp], pd.DataFrame]],
        m: int,
    ) -> None:
        self.data, self.cells, self.m = data, cells, m

    @classmethod
    def from_imputed(cls, imp: Any, names: Sequence[str]) -> "Filled":
        """Take the columns that are needed from imputed data."""
        # Number 0 has the cells that follow from other rows filled in.
        data = imp.complete(0).loc[:, list(names)]
        filled = [name for name in names if name in imp.imp]
        cells = {
            name: (np.flatnonzero(imp.where[name].to_numpy(dtype=bool)), imp.imp[name])
            for name in filled
        }
        return cls(data, {k: v for k, v in cells.items() if len(v[0])}, int(imp.m))

    def keep(self) -> NDArray[np.bool_]:
        """Return the rows without a missing value in any data set (n,)."""
        missing = self.data.isna().to_numpy()
        for name, (rows, values) in self.cells.items():
            column = self.data.columns.get_loc(name)
            missing[rows, column] = values.isna().to_numpy().any(axis=1)
        return ~np.asarray(missing.any(axis=1))

    def numbers(self, name: str, rows: NDArray[np.intp]) -> Numbers | None:
        """Return a numeric column in all data sets (m, n), None if it is not numeric."""
        series = self.data[name]
        if not pd.api.types.is_numeric_dtype(series.dtype):
            return None
        values = np.broadcast_to(
            series.to_numpy(dtype=np.float64, na_value=np.nan), (self.m, len(series))
        )
        if name in self.cells:
            at, cells = self.cells[name]
            values = values.copy()
            values[:, at] = cells.to_numpy(dtype=np.float64, na_value=np.nan).T
        return values[:, rows]

    def stacked(self, names: Sequence[str], rows: NDArray[np.intp]) -> pd.DataFrame:
        """Return columns of all data sets, one data set below the other."""
        columns = {}
        for name in names:
            values = self.numbers(name, rows)
            if values is not None and self.data[name].dtype.kind in "iuf":
                columns[name] = values.ravel()
                continue
            parts = []
            for i in range(self.m):
                part = self.data[name]
                if name in self.cells:
                    at, cells = self.cells[name]
                    filled = part.array.copy()
                    filled[at] = cells.iloc[:, i].array
                    part = pd.Series(filled, index=part.index, dtype=part.dtype)
                parts.append(part.iloc[rows])
            columns[name] = pd.concat(parts, ignore_index=True)
        return pd.DataFrame(columns)


def build_design(formula: MixedFormula, filled: Filled, *, binary: bool = False) -> MixedDesign:
    """Evaluate a formula once for all data sets.

    Columns that no imputed variable enters are built once; otherwise all data sets are
    evaluated as one stack, so that centring or spline knots inside a formula are the
    same in all of them.

    Parameters
    ----------
    formula
        With a random part.
    filled
        Columns named by `variables`.
    binary
        Whether an outcome of two categories counts as 0 and 1.

    Raises
    ------
    AnalysisError
        E58, when the formula cannot be evaluated; E61 when no complete row is left; E67
        for a binary outcome with other than two categories.
    """
    rows = np.flatnonzero(filled.keep())
    dropped = len(filled.data) - len(rows)
    if not len(rows):
        raise AnalysisError("E61", f"no row is complete in the columns of {formula.text!r}")
    x, fixed = _columns(formula.fixed, formula, filled, rows)
    z, random = _columns(formula.random, formula, filled, rows)
    codes = pd.factorize(filled.data[formula.cluster].iloc[rows])[0]
    return MixedDesign(
        y=_outcome(formula, filled, rows, binary),
        x=x,
        z=z,
        codes=codes,
        terms=_names(fixed),
        labels=_names(random),
        dropped=dropped,
        between=_constant_within(x[0] if x.ndim == 3 else x, codes),
        maker=Design(partial(numbers_again, fixed), partial(again, random)),
    )


def again(spec: Any, frame: pd.DataFrame) -> pd.DataFrame:
    """Evaluate a part of a formula for other rows as it was for those of the fit.

    Parameters
    ----------
    spec
        What formulaic remembers of the first time, such as means and categories.
    frame
        The rows.

    Raises
    ------
    PoolError
        E65, when a column is missing, or a category is new.
    """
    from formulaic.errors import DataMismatchWarning

    try:
        with warnings.catch_warnings():
            # A new category would count as the first one.
            warnings.simplefilter("error", DataMismatchWarning)
            # Without any column of its own a part is constant, but has as many rows.
            matrix = spec.get_model_matrix(frame, output="pandas", na_action="ignore")
    except Exception as error:
        raise PoolError(
            "E65", f"the formula cannot be evaluated on new data: {_reason(error)}"
        ) from error
    return pd.DataFrame(matrix).astype(float)


def numbers_again(spec: Any, frame: pd.DataFrame) -> Numbers:
    """Return what `again` does as an array."""
    return again(spec, frame).to_numpy()


def _reason(error: Exception) -> str:
    """Return what formulaic says, in one line, without what it advises."""
    found = re.search(r"categories outside .*?: (\{.*?\})", str(error))
    return f"unknown categories {found[1]}" if found else str(error).split("\n")[0]


def _names(spec: Any) -> tuple[str, ...]:
    return tuple(str(name) for name in spec.column_names)


def variables(formula: MixedFormula, known: Sequence[str]) -> list[str]:
    """Return the columns a formula uses.

    Parameters
    ----------
    formula
        Parsed.
    known
        Columns of the data.

    Raises
    ------
    AnalysisError
        E58, when a column does not exist.
    """
    needed: list[str] = []
    for part in (formula.outcome, formula.fixed, formula.random):
        if part and part not in known:
            needed += _used(part, formula.text, known)
        elif part:
            needed.append(part)
    needed.append(formula.cluster)
    unknown = [name for name in dict.fromkeys(needed) if name and name not in known]
    calls = re.findall(r"(?<![\w.])([^\W\d]\w*)\(", formula.text)
    called = [name for name in unknown if name in calls]
    if called:
        raise AnalysisError(
            CODE,
            f"formula {formula.text!r} calls {called[0]}(), which is no function here; compute it "
            "as a column first, a cluster mean for example by imp.assign(x_mean=lambda data: "
            "data.groupby('school')['x'].transform('mean'))",
        )
    if unknown:
        raise AnalysisError(
            CODE,
            f"formula {formula.text!r} uses columns that the data do not have: "
            f"{', '.join(unknown)}; available: {', '.join(map(str, known[:20]))}",
        )
    return [name for name in dict.fromkeys(needed) if name]


def _used(part: str, text: str, known: Sequence[str]) -> list[str]:
    """Return the columns of a part of a formula."""
    # Formulaic takes a quoted name apart at its dots, so it reads a stand-in.
    quoted = re.findall(r"`([^`]+)`", part)
    for number, name in enumerate(quoted):
        part = part.replace(f"`{name}`", f"quoted_name_{number}_")
    needed = {str(name) for name in _compile(part, text).required_variables}
    needed = {name for name in needed if not name.startswith("quoted_name_")}
    # Names inside transforms that remember something, such as center(x), are not reported.
    words = set(re.findall(r"[^\W\d][\w.]*", part))
    return sorted(needed | {name for name in quoted if name in known} | (words & set(known)))


def with_quotes(formula: MixedFormula, known: Sequence[str]) -> MixedFormula:
    """Return the formula with quotes around column names that have dots, as in R."""
    dotted = sorted((name for name in known if "." in str(name)), key=len, reverse=True)
    if not dotted:
        return formula
    names = "|".join(map(re.escape, dotted))
    pattern = re.compile(rf"{QUOTED}|(?<![\w.])({names})(?![\w.(])")

    def quote(part: str) -> str:
        return pattern.sub(lambda found: f"`{found[1]}`" if found[1] else found[0], part)

    parts = {name: quote(getattr(formula, name)) for name in ("outcome", "fixed", "random")}
    return replace(formula, **parts)


def zero_one(column: pd.Series) -> pd.Series:
    """Return an outcome of two categories as 0 and 1, the second being 1; numbers as they are.

    Parameters
    ----------
    column
        Categories in their order, or text in alphabetical order.

    Raises
    ------
    AnalysisError
        E67, for other than two categories.
    """
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column
    found = pd.Categorical(column)
    if len(found.categories) != 2:
        raise AnalysisError(
            "E67",
            f"outcome {column.name!r} has {len(found.categories)} categories, the family binomial "
            "needs two; recode it, or remove unused categories",
        )
    codes = np.where(found.codes < 0, np.nan, found.codes)
    return pd.Series(codes, index=column.index, name=column.name)


def _outcome(
    formula: MixedFormula, filled: Filled, rows: NDArray[np.intp], binary: bool
) -> Numbers:
    name = formula.outcome.strip("`")
    values = filled.numbers(name, rows) if name in filled.data else None
    if values is None and binary and name in filled.data:
        column = zero_one(filled.stacked([name], rows)[name])
        values = column.to_numpy(dtype=np.float64).reshape(filled.m, len(rows))
    if values is None:
        values, spec = _columns(f"0 + ({formula.outcome})", formula, filled, rows)
        names = _names(spec)
        if len(names) > 1:
            raise AnalysisError(
                CODE,
                f"outcome {formula.outcome!r} is not one number per row; it gives the columns "
                f"{', '.join(names[:5])}",
            )
        values = values[..., 0]
    return np.broadcast_to(values, (filled.m, len(rows)))


def _columns(
    part: str, formula: MixedFormula, filled: Filled, rows: NDArray[np.intp]
) -> tuple[Numbers, Any]:
    """Evaluate one part of the formula: (n, k), or (m, n, k) if imputed columns enter.

    The second value is what formulaic remembers for other rows.
    """
    compiled = _compile(part, formula.text)
    needed = _used(part, formula.text, list(filled.data.columns))
    varies = any(name in filled.cells for name in needed)
    frame = filled.stacked(needed, rows) if varies else filled.data[needed].iloc[rows]
    if not needed:
        # A frame without columns would have no rows for the constant.
        frame = filled.data[[formula.cluster]].iloc[rows]
    try:
        # Infinite values are reported below, by the name of their column.
        with np.errstate(all="ignore"):
            matrix = compiled.get_model_matrix(frame, output="numpy", na_action="ignore")
    except Exception as error:
        raise AnalysisError(
            CODE, f"formula {formula.text!r} cannot be evaluated: {error}"
        ) from error
    values = np.asarray(matrix, dtype=np.float64)
    spec = cast(Any, matrix).model_spec
    names = _names(spec)
    finite = np.isfinite(values)
    if not finite.all():
        worst = int(np.argmin(finite.all(axis=0)))
        raise AnalysisError(
            CODE,
            f"formula {formula.text!r}: {names[worst]} is not finite in "
            f"{int((~finite[:, worst]).sum())} rows, perhaps the logarithm of zero",
        )
    if varies:
        values = values.reshape(filled.m, len(rows), len(names))
    return values, spec


@lru_cache(maxsize=256)
def _compile(part: str, text: str) -> "Formula":
    from formulaic import Formula

    try:
        return cast(Any, Formula)(part)
    except Exception as error:
        raise AnalysisError(
            CODE, f"formula {text!r} cannot be read at {part!r}: {error}"
        ) from error


def _constant_within(x: Numbers, codes: NDArray[np.integer]) -> NDArray[np.bool_]:
    order = np.argsort(codes, kind="stable")
    ordered, first = x[order], codes[order]
    starts = np.flatnonzero(np.r_[True, first[1:] != first[:-1]])
    low = np.minimum.reduceat(ordered, starts, axis=0)
    high = np.maximum.reduceat(ordered, starts, axis=0)
    return (low == high).all(axis=0)
