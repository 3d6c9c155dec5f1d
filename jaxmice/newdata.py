"""Imputing rows that a model was not fitted to."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types as pdt

from jaxmice.combine.assemble import assemble
from jaxmice.engine.precision import resolve
from jaxmice.errors import DataError, JaxMiceWarning, RunError
from jaxmice.events import EventLog
from jaxmice.frame import Column
from jaxmice.imputed import ImputedData
from jaxmice.model import ImputationModel, setup
from jaxmice.run import Run
from jaxmice.wording import some

CODE = "E35"
"""New data that do not have the form of the data of the model."""


def impute_new(imp: ImputedData, newdata: pd.DataFrame, maxit: int = 1) -> ImputedData:
    """Impute new rows; see `ImputedData.impute_new`."""
    if imp._run is None:
        raise RunError("E71", "these imputations come from no run; impute the rows with mice()")
    if not isinstance(maxit, int | np.integer) or maxit < 1:
        raise DataError("E10", f"maxit must be 1 or more, got {maxit!r}")
    model = imp.model
    new = _checked(imp.data, model, newdata)
    run, n = imp._run[0], len(imp.data)
    if len(run.models) > 1:
        raise RunError("E71", "new rows cannot be imputed from replicate(); use mice()")
    if isinstance(run.init, pd.DataFrame):
        raise RunError("E71", "new rows have no starting values in init=; run mice() without it")
    if _by_holes(model) and not new.isna().any(axis=None):
        frame = new.set_axis(newdata.index)
        nowhere = np.zeros(frame.shape, bool)
        out = assemble(frame, [frame] * imp.m, where=nowhere, like=[model], info=imp.info)
        out.iteration = int(maxit)
        return out
    whole = pd.concat([imp.data, new], ignore_index=True)
    with warnings.catch_warnings():
        # What there is to say about the data was said when the model was made.
        warnings.simplefilter("ignore", JaxMiceWarning)
        extended = setup(whole, **_arguments(imp, new))
    session = run.session
    device, precision = resolve(session.device, session.precision)
    further = Run.begin(
        [extended],
        range(1, imp.m + 1),
        init="sample",
        # Other draws than those that the old rows were imputed with.
        seed=(session.seed + 1 + session.iteration) % 2**64,
        precision=precision,
        device=device,
        chunk_chains=None,
        events=EventLog(),
    )
    for name, (where, values) in imp._cells.items():
        further.begin_with(name, where, values)
    further.advance(int(maxit))
    everything = further.results()[0]
    rows = slice(n, None)
    completed = [frame.iloc[rows].set_axis(newdata.index) for frame in everything]
    out = assemble(
        new.set_axis(newdata.index),
        completed,
        where=everything.where[list(new)].to_numpy()[rows],
        like=[model],
        info=everything.info,
    )
    out.iteration = int(maxit)
    return out


def _by_holes(model: ImputationModel) -> bool:
    """Say whether missing cells are imputed, and no others."""
    where = model.arguments["where"]
    return isinstance(where, str) and where == "missing"


def _arguments(imp: ImputedData, new: pd.DataFrame) -> dict[str, Any]:
    """Return the arguments of `setup` for old and new rows together."""
    model = imp.model
    out = dict(model.arguments)
    if not isinstance(out["method"], str):
        # Defaults might come out differently with more rows; what was chosen stays.
        computed = {rule.target for rule in model.rules}
        chosen = {b: name for b, name in model.method.items() if name and b not in computed}
        given = out["method"] if isinstance(out["method"], Mapping) else {}
        kept = {b: name for b, name in given.items() if not name or name.startswith("~")}
        out["method"] = chosen | kept
    if not _by_holes(model):
        where = imp.where[list(imp.data)].to_numpy()
        out["where"] = np.concatenate([where, new.isna().to_numpy()])
    out["ignore"] = np.concatenate([model.ignore, np.ones(len(new), bool)])
    levels = {name: level for name, level in model.levels.items() if level and name in imp.data}
    return {**out, "levels": levels}


def _checked(old: pd.DataFrame, model: ImputationModel, newdata: Any) -> pd.DataFrame:
    """Return new rows with the columns and dtypes of the old ones."""
    if not isinstance(newdata, pd.DataFrame):
        message = f"newdata must be a pandas DataFrame, got {type(newdata).__name__}"
        raise DataError("E01", message)
    for what, names in (
        ("lacks", set(old) - set(newdata)),
        ("has besides", set(newdata) - set(old)),
    ):
        if names:
            raise DataError(CODE, f"newdata {what} the columns {some(sorted(names, key=str))}")
    columns = {name: _as_old(newdata[name], model.frame.columns[name]) for name in map(str, old)}
    return pd.DataFrame(columns)


def _as_old(series: pd.Series, column: Column) -> pd.Series:
    present = series.dropna()
    known: Any = column.categories or ((0, 1) if column.kind == "binary_numeric" else None)
    if known is not None and (unseen := [x for x in present.unique() if x not in known]):
        message = f"column {column.name!r}: {some(unseen)} was not seen in the old rows"
        raise DataError(CODE, message)
    numeric = pdt.is_numeric_dtype
    if numeric(column.dtype) != numeric(series.dtype) and len(present):
        if column.dtype.kind == "b" and present.map(lambda x: isinstance(x, bool | np.bool_)).all():
            return series.astype("boolean")
        message = f"column {column.name!r} is {column.dtype} in the old rows, {series.dtype} in "
        raise DataError(CODE, f"{message}newdata; convert it to {column.dtype}")
    plain_whole = isinstance(column.dtype, np.dtype) and column.dtype.kind in "iub"
    if plain_whole and len(present) < len(series):
        return series.astype("boolean" if column.dtype.kind == "b" else np.float64)
    return series.astype(column.dtype)
