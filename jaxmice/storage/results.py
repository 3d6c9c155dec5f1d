"""Results on disk."""

from importlib.metadata import version
from typing import Any

from jaxmice.combine.assemble import TRACES, describe, imputed_cells, reading_of
from jaxmice.events import EventLog
from jaxmice.imputed import ImputedData
from jaxmice.storage import archive
from jaxmice.storage.runs import Checkpoint, restore
from jaxmice.storage.values import Packer, unpack


def save(imp: ImputedData, path: Any) -> None:
    """Write a result to a file; `load` gives it back, and a run can be continued then.

    Parameters
    ----------
    imp
        The result.
    path
        File to write; by custom it ends in ``.jaxmice``.

    Raises
    ------
    DataError
        E70: the file cannot be written. E72: the model holds a function.

    Examples
    --------
    >>> import jaxmice as jm, tempfile
    >>> d = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
    >>> imp = jm.mice(d, m=2, cluster="school", method="2l.pan", seed=1)
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     imp.save(file.name)
    ...     again = jm.load(file.name)
    >>> again.complete(2).equals(imp.complete(2))
    True
    """
    run = imp._run[0] if imp._run else None
    if run is not None and len(run.models) == 1:
        Checkpoint(run, path, imp.iteration)
        return
    packer = Packer()
    model = imp.model
    cells = {
        name: (rows, [imp.imp[name][i].reset_index(drop=True) for i in range(1, imp.m + 1)])
        for name, (rows, _) in imp._cells.items()
    }
    shown = {
        "blocks": model.blocks,
        "method": model.method,
        "predictor_matrix": model.predictor_matrix,
        "visit_sequence": model.visit_sequence,
    }
    content = {
        "data": imp._base,
        "original": imp.data,
        "where": imputed_cells(imp),
        "reading": reading_of(model),
        "shown": shown,
        "cells": cells,
        "traces": {key: getattr(imp, name) for key, name in TRACES.items()},
        "m": imp.m,
        "iteration": imp.iteration,
        "info": imp.info,
        "events": list(imp.events),
    }
    packed = {"kind": "result", "version": version("jaxmice"), "content": packer.pack(content)}
    archive.write(path, packed, packer.arrays)


def load(path: Any) -> ImputedData:
    """Read a result that `save` wrote, or how far a run with a checkpoint has come.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    DataError
        E70: not such a file, damaged, or of a version that made another model.
    """
    content, arrays = archive.read(path)
    if content["kind"] == "run":
        run = restore(path, content, arrays)
        if run.session.iteration == 0:
            run.advance(0)  # written before there were starting values
        return run.results()[0]
    saved = unpack(content["content"], arrays)
    model = describe(saved["data"], saved["where"], saved["reading"], **saved["shown"])
    return ImputedData(
        data=saved["original"],
        model=model,
        cells=saved["cells"],
        traces=saved["traces"],
        m=saved["m"],
        iteration=saved["iteration"],
        info=saved["info"],
        events=EventLog(saved["events"]),
    )
