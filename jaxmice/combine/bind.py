"""Results of several runs, put together by imputations, rows or columns."""

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types as pdt

from jaxmice.combine.assemble import TRACES, assemble, imputed_cells, with_traces
from jaxmice.errors import DataError
from jaxmice.events import EventLog
from jaxmice.imputed import ImputedData
from jaxmice.model import ImputationModel
from jaxmice.wording import some, warn_user

CODE = "E48"
"""Objects that do not match."""


def ibind(first: ImputedData, *others: ImputedData) -> ImputedData:
    """Put imputations of the same data by the same model together.

    Parameters
    ----------
    first, *others
        Results; the imputations of each are numbered after those before. Traces of fewer
        iterations are filled up with NaN.

    Raises
    ------
    DataError
        E48: data, cells, model or the columns differ, or two hold the same draws.

    Examples
    --------
    >>> import jaxmice as jm
    >>> d = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
    >>> one, two = (jm.mice(d, m=2, cluster="school", method="2l.pan", seed=s) for s in (1, 2))
    >>> jm.ibind(one, two).m
    4
    """
    check_imputed("ibind", first, *others)
    return reduce(_ibind, others, first)


def check_imputed(caller: str, *parts: Any) -> None:
    """Refuse what is not imputed data (E48)."""
    for part in parts:
        if not isinstance(part, ImputedData):
            raise DataError(CODE, f"{caller}: takes imputed data, got {type(part).__name__}")


def _ibind(a: ImputedData, b: ImputedData) -> ImputedData:
    differing = {
        "data": not a.data.equals(b.data),
        "where": not np.array_equal(imputed_cells(a), imputed_cells(b)),
        "the columns that are imputed": set(a.variables) != set(b.variables),
        "blocks": a.model.blocks != b.model.blocks,
        "method": a.method != b.method,
        "predictor_matrix": not a.predictor_matrix.equals(b.predictor_matrix),
        "visit_sequence": a.visit_sequence != b.visit_sequence,
    }
    differing |= {
        name: repr(a.model.arguments.get(name)) != repr(b.model.arguments.get(name))
        for name in ("post", "passive", "formulas", "options")
    }
    if names := [name for name, differs in differing.items() if differs]:
        raise DataError(CODE, f"ibind: {some(names)} differ; run both with the same arguments")
    cells: dict[str, tuple[np.ndarray, Any]] = {}
    for name, (rows, mine) in a._cells.items():
        theirs = b._cells[name][1]
        if isinstance(mine, np.ndarray) and isinstance(theirs, np.ndarray):
            cells[name] = rows, np.concatenate([mine, theirs], axis=1)
        else:
            cells[name] = rows, [*_series(a, name), *_series(b, name)]
    if a.info.get("seed") == b.info.get("seed") and _share_draws(a, b):
        raise DataError(CODE, "ibind: both hold the same draws; run them with different seeds")
    order = [b.variables.index(name) for name in a.variables]
    length = max(a.iteration, b.iteration)
    traces = {
        key: np.concatenate(
            [_padded(getattr(a, name), length), _padded(getattr(b, name)[order], length)], axis=2
        )
        for key, name in TRACES.items()
    }
    events = EventLog([*a.events, *(event for event in b.events if event not in list(a.events))])
    return ImputedData(
        data=a.data,
        model=a.model,
        cells=cells,
        traces=traces,
        m=a.m + b.m,
        iteration=length,
        info=a.info,
        events=events,
    )


def _series(imp: ImputedData, name: str) -> list[pd.Series]:
    return [imp.imp[name][number] for number in range(1, imp.m + 1)]


def _share_draws(a: ImputedData, b: ImputedData) -> bool:
    """Whether an imputation of one is an imputation of the other."""

    def same(i: int, j: int) -> bool:
        return all(a.imp[name][i].equals(b.imp[name][j]) for name in a.variables)

    return bool(a.variables) and any(
        same(i, j) for i in range(1, a.m + 1) for j in range(1, b.m + 1)
    )


def _padded(trace: np.ndarray, length: int) -> np.ndarray:
    short = length - trace.shape[1]
    return np.pad(trace.astype(float), ((0, 0), (0, short), (0, 0)), constant_values=np.nan)


def rbind(a: ImputedData, b: ImputedData | pd.DataFrame) -> ImputedData:
    """Put the rows of two results, or of a result and a data frame, one below the other.

    Clusters of the same id are one cluster. Missing cells of a data frame stay missing.

    Parameters
    ----------
    a, b
        Results with the same columns and m, or a result and a frame.

    Raises
    ------
    DataError
        E48: columns, their kinds or m differ.

    Warns
    -----
    JaxMiceWarning
        W20: traces are dropped, since those of the rows together are not known.
    """
    check_imputed("rbind", a, *([] if isinstance(b, pd.DataFrame) else [b]))
    frame = b.data if isinstance(b, ImputedData) else b
    if set(frame.columns) != set(a.data.columns):
        odd = sorted(set(frame.columns) ^ set(a.data.columns), key=str)
        raise DataError(CODE, f"rbind: the columns {some(odd)} are not in both")
    _same_m("rbind", a, b)
    dtypes = {name: _common_dtype(name, a.data[name], frame[name]) for name in list(a.data)}

    def stack(upper: pd.DataFrame, lower: pd.DataFrame) -> pd.DataFrame:
        parts = [
            part.astype({name: dtype for name, dtype in dtypes.items() if dtype is not None})
            for part in (upper, lower[upper.columns])
        ]
        return pd.concat(parts)

    stacked = stack(a.data, frame)
    completed = [stack(x, y) for x, y in zip(a, _frames(b, a.m), strict=True)]
    _warn_dropped("rbind")
    both = _models(a, b)
    where = np.concatenate([imputed_cells(a), imputed_cells(b)])
    return assemble(stacked, completed, where=where, like=both, info=a.info)


def _common_dtype(name: Any, a: pd.Series, b: pd.Series) -> Any:
    """Return the dtype of two columns together; None if they agree or are numbers."""
    first, second = a.dtype, b.dtype
    if first == second or (pdt.is_numeric_dtype(first) and pdt.is_numeric_dtype(second)):
        return None
    if isinstance(first, pd.CategoricalDtype) and isinstance(second, pd.CategoricalDtype):
        new = second.categories.difference(first.categories, sort=False)
        if first.ordered == second.ordered and not (first.ordered and len(new)):
            return pd.CategoricalDtype(first.categories.append(new), first.ordered)
    raise DataError(CODE, f"rbind: column {name!r} is {first} in one and {second} in the other")


def cbind(
    a: ImputedData, b: ImputedData | pd.DataFrame | pd.Series, *, on_duplicate: str = "error"
) -> ImputedData:
    """Put the columns of two results, or of a result and a data frame, side by side.

    Parameters
    ----------
    a, b
        Results with the same rows and m, or a result and a frame or a named Series; columns of
        these are neither imputed nor predictors.
    on_duplicate
        For columns that are in both: ``"error"``, or ``"suffix"``: those of `b` get ``_y``.

    Raises
    ------
    DataError
        E48: rows or m differ, or columns are in both.

    Warns
    -----
    JaxMiceWarning
        W20: traces are dropped, as the numbers of iterations differ.
    """
    if isinstance(b, pd.Series):
        if not isinstance(b.name, str):
            raise DataError(CODE, "cbind: the Series has no name; give it one by .rename('name')")
        b = b.to_frame()
    if not isinstance(b, ImputedData | pd.DataFrame):
        found = type(b).__name__
        raise DataError(CODE, f"cbind: b must be a result, a frame or a Series, got {found}")
    frame = b.data if isinstance(b, ImputedData) else b
    if on_duplicate not in ("error", "suffix"):
        raise DataError(CODE, f"cbind: on_duplicate is 'error' or 'suffix', not {on_duplicate!r}")
    if not frame.index.equals(a.data.index):
        raise DataError(CODE, "cbind: the rows differ; both need the same index")
    _same_m("cbind", a, b)
    twice = [name for name in frame if name in a.data]
    if twice and on_duplicate == "error":
        message = f"cbind: the columns {some(twice)} are in both; rename them or drop one, or "
        raise DataError(CODE, message + "pass on_duplicate='suffix'")
    names = {str(name): f"{name}_y" for name in twice}

    def beside(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([left, right.rename(columns=names)], axis=1)

    completed = [beside(x, y) for x, y in zip(a, _frames(b, a.m), strict=True)]
    where = np.concatenate([imputed_cells(a), imputed_cells(b)], axis=1)
    models = [a.model]
    traces = {key: getattr(a, name) for key, name in TRACES.items()}
    variables = list(a.variables)
    if isinstance(b, ImputedData):
        models.append(_renamed(b.model, names))
        variables += [names.get(name, name) for name in b.variables]
        if a.iteration == b.iteration:
            traces = {
                key: np.concatenate([traces[key], getattr(b, name)]) for key, name in TRACES.items()
            }
        else:
            _warn_dropped("cbind")
            traces = {}
    out = assemble(beside(a.data, frame), completed, where=where, like=models, info=a.info)
    return with_traces(out, traces, variables, a.iteration)


def _renamed(model: ImputationModel, names: Mapping[str, str]) -> ImputationModel:
    def new(name: str) -> str:
        return names.get(name, name)

    return replace(
        model,
        blocks={new(k): tuple(map(new, columns)) for k, columns in model.blocks.items()},
        method={new(k): method for k, method in model.method.items()},
        predictor_matrix=model.predictor_matrix.rename(index=names, columns=names),
        visit_sequence=tuple(map(new, model.visit_sequence)),
        arguments={},
    )


def _same_m(caller: str, a: ImputedData, b: Any) -> None:
    if isinstance(b, ImputedData) and a.m != b.m:
        raise DataError(CODE, f"{caller}: m differs, {a.m} and {b.m}; use select() on the larger")


def _frames(b: ImputedData | pd.DataFrame, m: int) -> list[pd.DataFrame]:
    return list(b) if isinstance(b, ImputedData) else [b] * m


def _models(*parts: Any) -> list[ImputationModel]:
    return [part.model for part in parts if isinstance(part, ImputedData)]


def _warn_dropped(caller: str) -> None:
    warn_user(f"W20: {caller}: traces are dropped; look at those of the parts")
