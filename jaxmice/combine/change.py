"""Results with fewer rows, fewer imputations or more columns."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types as pdt

from jaxmice.combine.assemble import TRACES, agree, assemble, imputed_cells, with_traces
from jaxmice.errors import DataError
from jaxmice.events import EventLog
from jaxmice.frame import in_row_order
from jaxmice.imputed import ImputedData


def filter_rows(imp: ImputedData, rows: Any) -> ImputedData:
    """Keep some rows; see `ImputedData.filter`."""
    try:
        mask = imp.data.eval(rows) if isinstance(rows, str) else rows
    except Exception as error:  # whatever pandas raises of a condition
        raise DataError("E54", f"filter: {rows!r} cannot be read: {error}") from error
    mask = in_row_order(mask, imp.data.index, "E54", "filter: the condition")
    mask = pd.Series(np.asarray(mask)).fillna(False)
    if len(mask) != len(imp.data) or not pdt.is_bool_dtype(mask.infer_objects().dtype):
        message = f"filter needs a condition in columns or {len(imp.data)} booleans, got {rows!r}"
        raise DataError("E54", message)
    keep = mask.to_numpy(bool)
    completed = [frame.loc[keep] for frame in imp]
    where = imputed_cells(imp)[keep]
    out = assemble(imp.data.loc[keep], completed, where=where, like=[imp.model], info=imp.info)
    out.events.add("traces_dropped", "rows were taken out: the traces were of all rows")
    return out


def select(imp: ImputedData, numbers: Any) -> ImputedData:
    """Keep some imputations; see `ImputedData.select`."""
    chosen = [numbers] if isinstance(numbers, int | np.integer) else list(numbers)
    if not chosen or any(isinstance(i, bool) or i not in range(1, imp.m + 1) for i in chosen):
        raise DataError("E54", f"select takes numbers from 1 to {imp.m}, got {numbers!r}")
    place = [int(number) - 1 for number in chosen]
    cells = {
        name: (rows, values[:, place] if isinstance(values, np.ndarray) else _take(values, place))
        for name, (rows, values) in imp._cells.items()
    }
    return ImputedData(
        data=imp.data,
        model=imp.model,
        cells=cells,
        traces={key: getattr(imp, name)[..., place] for key, name in TRACES.items()},
        m=len(place),
        iteration=imp.iteration,
        info=imp.info,
        events=EventLog(list(imp.events)),
    )


def _take(values: Sequence[Any], place: Sequence[int]) -> list[Any]:
    return [values[i] for i in place]


def assign(imp: ImputedData, columns: Mapping[str, Any]) -> ImputedData:
    """Add columns computed in every completed data set; see `ImputedData.assign`."""
    original = imp.data.assign(**columns)
    completed = [frame.assign(**columns) for frame in imp]
    where = np.zeros(original.shape, bool)
    for j, name in enumerate(original):
        if name not in columns:
            where[:, j] = imputed_cells(imp)[:, list(imp.data).index(name)]
            continue
        # What differs from the original somewhere depends on imputed cells.
        for frame in completed:
            where[:, j] |= ~agree(original[name], frame[name])
    out = assemble(original, completed, where=where, like=[imp.model], info=imp.info)
    traces = {key: getattr(imp, name) for key, name in TRACES.items()}
    return with_traces(out, traces, imp.variables, imp.iteration)
