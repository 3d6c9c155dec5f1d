"""Runs on disk: written while they go on, taken up again after they broke off."""

import time
import warnings
from importlib.metadata import version
from typing import Any

import numpy as np

from jaxmice.engine.precision import resolve
from jaxmice.engine.streams import settings
from jaxmice.errors import DataError, JaxMiceWarning
from jaxmice.events import EventLog
from jaxmice.files import CODE
from jaxmice.imputed import ImputedData
from jaxmice.model import ImputationModel, setup
from jaxmice.run import Run
from jaxmice.storage import archive
from jaxmice.storage.values import Packer, unpack
from jaxmice.wording import warn_user

SHARE = 10
"""Writing takes at most one part in so many of the time."""


class Checkpoint:
    """Writes a run to a file, again and again.

    Parameters
    ----------
    run
        The run, of one data set.
    path
        File to write.
    planned
        Iterations after which the run will be done.
    """

    def __init__(self, run: Run, path: Any, planned: int) -> None:
        self.run, self.path, self.planned = run, path, planned
        self.packer = Packer()
        self.fixed = _fixed(run, self.packer)
        self.written, self.cost = time.monotonic(), 0.0
        self.write()

    def __call__(self) -> None:
        """Write the run as it is, unless it was written a short while ago."""
        if time.monotonic() - self.written >= SHARE * self.cost:
            self.write()

    def write(self) -> None:
        """Write the run as it is."""
        began = time.monotonic()
        packer = Packer()
        packer.arrays = list(self.packer.arrays)
        session = self.run.session
        content = {
            "planned": self.planned,
            "session": packer.pack(session.dump()),
            "events": packer.pack(list(session.events)),
        }
        archive.write(self.path, self.fixed | content, packer.arrays)
        self.written = time.monotonic()
        self.cost = self.written - began


def _fixed(run: Run, packer: Packer) -> dict[str, Any]:
    """Return what does not change in a run."""
    (model,) = run.models
    arguments = {
        name: packer.pack(value, f"the argument {name}=") for name, value in model.arguments.items()
    }
    session = run.session
    return {
        "kind": "run",
        "version": version("jaxmice"),
        "random": settings(),
        "data": packer.pack(model.original, "the data"),
        "arguments": arguments,
        "outcome": packer.pack(_outcome(model)),
        "init": packer.pack(run.init, "the argument init="),
        "seed": session.seed,
        "precision": session.precision,
        "seconds": run.seconds,
    }


def _outcome(model: ImputationModel) -> dict[str, Any]:
    """Return by what it shows that a model was made anew as it was."""
    return {
        "method": model.method,
        "predictor_matrix": model.predictor_matrix.to_numpy(),
        "visit_sequence": model.visit_sequence,
        "where": np.packbits(model.where),
    }


def restore(path: Any, content: dict[str, Any], arrays: list[np.ndarray]) -> Run:
    """Make a run again from what was written.

    Raises
    ------
    DataError
        E70: this version makes another model of the same data and arguments.

    Warns
    -----
    JaxMiceWarning
        W19: random numbers are made in another way than they were.
    """
    arguments = {name: unpack(value, arrays) for name, value in content["arguments"].items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JaxMiceWarning)
        model = setup(unpack(content["data"], arrays), **arguments)
    before, now = unpack(content["outcome"], arrays), _outcome(model)
    if differing := [name for name in now if not np.array_equal(before.get(name), now[name])]:
        message = f"{str(path)!r} is of version {content['version']}, which made another model of "
        raise DataError(CODE, f"{message}the same data: {', '.join(differing)} differ")
    if content["random"] != settings():
        message = "W19: random numbers are made in another way than when this was written; what "
        warn_user(f"{message}follows will not be as it would have been")
    device, precision = resolve(None, content["precision"])
    saved = unpack(content["session"], arrays)
    run = Run.begin(
        [model],
        saved["chains"].tolist(),
        init=unpack(content["init"], arrays),
        seed=content["seed"],
        precision=precision,
        device=device,
        chunk_chains=None,
        events=EventLog(unpack(content["events"], arrays)),
    )
    run.seconds.update(content["seconds"])
    run.session.restore(saved)
    return run


def resume(path: Any, *, progress: Any = False) -> ImputedData:
    """Finish a run that was broken off.

    The result is that of an unbroken run, to the last bit on the same machine with
    the same versions. The file is kept up to date.

    Parameters
    ----------
    path
        File that ``mice(..., checkpoint=path)`` wrote.
    progress
        As for `mice`.

    Raises
    ------
    DataError
        E70: not such a file, damaged, or of a version that made another model.

    Examples
    --------
    >>> import jaxmice as jm, tempfile
    >>> d = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     imp = jm.mice(d, m=2, cluster="school", method="2l.pan", maxit=2, seed=1,
    ...                   checkpoint=file.name)
    ...     jm.resume(file.name).complete(2).equals(imp.complete(2))
    True
    """
    content, arrays = archive.read(path)
    if content["kind"] != "run":
        message = f"{str(path)!r} holds a combined or changed result, not a run; use load()"
        raise DataError(CODE, message)
    run = restore(path, content, arrays)
    left = content["planned"] - run.session.iteration
    if left > 0:
        log = run.session.events
        log.events = [event for event in log if event.event != "interrupted"]
        checkpoint = Checkpoint(run, path, content["planned"])
        run.advance(left, progress, checkpoint)
        checkpoint.write()
    imp = run.results()[0]
    imp.warn()
    return imp
