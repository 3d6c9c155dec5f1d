"""Draws for cells that were observed: held out, or replicated."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxmice.engine.precision import resolve
from jaxmice.errors import DataError, RunError
from jaxmice.events import EventLog
from jaxmice.frame import Frame
from jaxmice.model import ImputationModel
from jaxmice.model.passive import dependent_cells
from jaxmice.run import Run
from jaxmice.wording import near, some

if TYPE_CHECKING:
    from jaxmice.imputed import ImputedData

Masks = Mapping[str, np.ndarray]
"""For every column the (n,) cells that are meant."""


def drawn_columns(imp: "ImputedData", columns: Sequence[str] | str | None) -> list[str]:
    """Return the columns asked for, or all that have an order; they must be drawn by a method.

    Raises
    ------
    DataError
        E12: a column that no method draws; E06: unordered categories.
    """
    model = imp.model
    known = [name for visit in model.visits for name in visit.targets if name in imp.imp]
    if columns is None:
        return [name for name in dict.fromkeys(known) if model.kinds[name] != "nominal"]
    names = [columns] if isinstance(columns, str) else list(columns)
    for name in names:
        if name not in known:
            raise DataError("E12", f"{name!r} is not drawn by a method; {near(name, known)}")
        if model.kinds[name] == "nominal":
            raise DataError("E06", f"{name!r} has unordered categories, which have no intervals")
    return names


def observed_cells(model: ImputationModel, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the observed cells of columns, in rows that take part."""
    clusters = model.frame.clusters
    part = True if clusters is None else clusters.codes >= 0
    return {name: ~model.frame.columns[name].missing & part for name in names}


def replicated(model: ImputationModel, cells: Masks) -> ImputationModel:
    """Return the model that draws observed cells too, from a fit to all of them."""
    return replace(model, where=_with_cells(model, cells))


def held_out(model: ImputationModel, cells: Masks) -> ImputationModel:
    """Return the model of data in which some observed cells are missing.

    Raises
    ------
    DataError
        E24: a cluster would be left without a value, under a method that needs one there.
    """
    _check_clusters(model, cells)
    masks = dependent_cells(model.rules, model.frame, model.ignore, cells)
    columns = dict(model.frame.columns)
    for name, mask in masks.items():
        column = columns[name]
        columns[name] = replace(
            column,
            values=np.where(mask, np.nan, column.values),
            missing=column.missing | mask,
        )
    frame = Frame(model.frame.data, columns, model.frame.clusters)
    return replace(model, frame=frame, where=_with_cells(model, masks))


def _with_cells(model: ImputationModel, cells: Masks) -> np.ndarray:
    where, names = model.where.copy(), list(model.frame.columns)
    for name, mask in cells.items():
        where[:, names.index(name)] |= mask
    return where


def _check_clusters(model: ImputationModel, cells: Masks) -> None:
    clusters = model.frame.clusters
    for visit in model.visits:
        if clusters is None or not (visit.absorb or type(visit.method).own_cluster_only):
            continue
        for name in cells.keys() & set(visit.targets):
            seen = ~model.frame.columns[name].missing & (clusters.codes >= 0)
            before = np.bincount(clusters.codes[seen], minlength=clusters.J)
            after = np.bincount(clusters.codes[seen & ~cells[name]], minlength=clusters.J)
            if emptied := [clusters.labels[j] for j in np.flatnonzero((after == 0) & (before > 0))]:
                raise DataError(
                    "E24",
                    f"holding out cells of {name!r} leaves no value in clusters {some(emptied)}, "
                    f"and method {type(visit.method).name!r} needs one there; choose other cells",
                )


def draws(
    imp: "ImputedData", models: Sequence[ImputationModel], n: int, seed: int | None
) -> list[dict[str, tuple[np.ndarray, Any]]]:
    """Impute data sets n times as `imp` was; by data set rows (k,) and values (k, n).

    Values are coded as in `jaxmice.frame.Column`.

    Raises
    ------
    RunError
        E71: no iteration was run, or the new run was interrupted.
    """
    if imp.iteration == 0:
        raise RunError("E71", "no iteration was run (maxit=0); continue the run first")
    device, precision = resolve(None, imp.info.get("precision"))
    run = Run.begin(
        models,
        range(1, n + 1),
        init="sample",
        seed=imp.info.get("seed", 0) if seed is None else seed,
        precision=precision,
        device=device,
        chunk_chains=None,
        events=EventLog(),
    )
    run.advance(imp.iteration)
    if run.session.iteration < imp.iteration:
        raise RunError("E71", "the run was interrupted; nothing can be said from a part of it")
    return [result._cells for result in run.results()]
