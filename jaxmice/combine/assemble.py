"""A result made of completed data sets, and what it says about itself."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types as pdt

from jaxmice.errors import DataError, JaxMiceWarning
from jaxmice.events import EventLog
from jaxmice.imputed import ImputedData
from jaxmice.model import ImputationModel, setup
from jaxmice.wording import some

TRACES = {
    "mean": "chain_mean",
    "variance": "chain_var",
    "between": "chain_between",
    "within": "chain_within",
}
"""Names of the traces, and of the attributes that show them."""

TOLERANCE = 1e-8
"""Relative difference of observed values that is rounding."""

READING = ("levels", "max_categories", "missing_cluster", "relabel_nested")
"""Arguments of `setup` that say how columns are read."""


def assemble(
    original: pd.DataFrame,
    completed: Sequence[pd.DataFrame],
    *,
    where: np.ndarray | None = None,
    like: Sequence[ImputationModel] = (),
    cluster: Any = None,
    info: dict[str, Any] | None = None,
) -> ImputedData:
    """Make a result, without traces, of completed data sets.

    Parameters
    ----------
    original, completed
        Frames of the same rows and columns.
    where
        (n, p) cells that were imputed. Missing cells that are filled count in any case.
    like
        Models that tell how columns are read and were imputed.
    cluster
        The cluster columns, if no model tells.
    info
        See `ImputedData`.

    Raises
    ------
    DataError
        E34: the data sets differ in a cell that was observed.
    """
    mask = np.zeros(original.shape, bool) if where is None else where.copy()
    cells = {}
    for j, name in enumerate(original):
        column = original[name]
        missing = column.isna().to_numpy()
        for number, frame in enumerate(completed, 1):
            mask[:, j] |= missing & frame[name].notna().to_numpy()
            odd = np.flatnonzero(~(agree(column, frame[name]) | mask[:, j]))
            if len(odd):
                labels = some(original.index[odd].tolist())
                message = f"column {name!r}, row {labels}: an observed value differs in imputation"
                raise DataError("E34", f"{message} {number}; pass where= if that is intended")
        if mask[:, j].any():
            rows = np.flatnonzero(mask[:, j])
            cells[str(name)] = rows, [frame[name].iloc[rows] for frame in completed]
    out = ImputedData(
        data=original,
        model=_describe(original, mask, like, cluster),
        cells=cells,
        traces={key: np.zeros((len(cells), 0, len(completed))) for key in TRACES},
        m=len(completed),
        iteration=0,
        info=info or {"versions": {}, "seed": None},
        events=EventLog(),
    )
    return out


def imputed_cells(part: ImputedData | pd.DataFrame) -> np.ndarray:
    """Return (n, p) whether a cell was imputed; never in a data frame."""
    if isinstance(part, ImputedData):
        return part.where[list(part.data)].to_numpy()
    return np.zeros(part.shape, bool)


def agree(a: pd.Series, b: pd.Series) -> np.ndarray:
    """Return where two columns have the same value, or none."""
    missing = a.isna().to_numpy() & b.isna().to_numpy()
    if pdt.is_numeric_dtype(a.dtype) and pdt.is_numeric_dtype(b.dtype):
        x, y = (s.to_numpy(np.float64, na_value=np.nan) for s in (a, b))
        with np.errstate(invalid="ignore"):
            return missing | (np.abs(x - y) <= TOLERANCE * np.maximum(1.0, np.abs(x)))
    x, y = (s.astype(object).to_numpy() for s in (a, b))
    present = ~(a.isna() | b.isna()).to_numpy()
    out = missing.copy()
    out[present] = x[present] == y[present]
    return out


def describe(
    data: pd.DataFrame, where: np.ndarray, reading: Mapping[str, Any], **shown: Any
) -> ImputationModel:
    """Return a model that nothing is imputed by, of data that were imputed.

    Parameters
    ----------
    data
        The data, n rows and p columns.
    where
        (n, p) cells that were imputed.
    reading
        Arguments of `setup` that say how columns are read.
    **shown
        What the model says of how they were imputed, such as ``method``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JaxMiceWarning)
        model = setup(data, "", where="none", deductive=False, screen="off", **reading)
    # Set-up fills columns of which a single value is known; here they are as they are.
    frame = replace(model.frame, data=data)
    return replace(model, frame=frame, where=where, events=EventLog(), **shown)


def reading_of(model: ImputationModel) -> dict[str, Any]:
    """Return the arguments of `setup` by which the columns of a model were read."""
    out = {name: model.arguments[name] for name in READING if name in model.arguments}
    clusters = model.frame.clusters
    return {**out, "cluster": [*clusters.names] if clusters else None}


def _describe(
    data: pd.DataFrame, where: np.ndarray, like: Sequence[ImputationModel], cluster: Any
) -> ImputationModel:
    """Return a model of data that were imputed by several models, or elsewhere."""
    reading: dict[str, Any] = {"cluster": cluster}
    for model in reversed(like):
        reading |= {name: value for name, value in reading_of(model).items() if value is not None}
    if reading.get("levels"):
        reading["levels"] = {k: v for k, v in reading["levels"].items() if k in data}
    model = describe(data, where, reading)
    blocks, method = dict(model.blocks), dict(model.method)
    matrix, visits = model.predictor_matrix, []
    for other in like:
        covered = {name for columns in other.blocks.values() for name in columns}
        for name in covered & set(blocks):
            del blocks[name], method[name]
        blocks, method = other.blocks | blocks, other.method | method
        visits += [block for block in other.visit_sequence if block in blocks]
        matrix = other.predictor_matrix.combine_first(matrix)
    return replace(
        model,
        blocks=blocks,
        method=method,
        predictor_matrix=matrix.reindex(list(blocks), columns=list(data)).fillna(0).astype(int),
        visit_sequence=tuple(visits),
    )


def with_traces(
    imp: ImputedData, traces: Mapping[str, np.ndarray], variables: Sequence[str], iteration: int
) -> ImputedData:
    """Return a result with the traces of some of its columns; NaN for the others."""
    if not traces:
        return imp
    full = {}
    for key, trace in traces.items():
        full[key] = np.full((len(imp.variables), iteration, imp.m), np.nan)
        for row, name in zip(trace, variables, strict=True):
            full[key][imp.variables.index(name)] = row
    return ImputedData(
        data=imp.data,
        model=imp.model,
        cells=imp._cells,
        traces=full,
        m=imp.m,
        iteration=iteration,
        info=imp.info,
        events=imp.events,
    )
