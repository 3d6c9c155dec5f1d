"""Data coded for looking at them."""

import warnings
from typing import Any

import numpy as np

from jaxmice.errors import DataError, JaxMiceWarning
from jaxmice.events import EventLog
from jaxmice.frame import Column, Frame, encode
from jaxmice.wording import near


def look(data: Any, cluster: str | None = None) -> Frame:
    """Code `data` without the warnings and events, which are about models of the data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JaxMiceWarning)
        return encode(data, cluster=cluster, events=EventLog())


def column_of(frame: Frame, name: str) -> Column:
    """Return a column by name.

    Raises
    ------
    DataError
        E12, with the nearest names.
    """
    if name not in frame.columns:
        raise DataError("E12", f"column {name!r} not found; {near(name, frame.columns)}")
    return frame.columns[name]


def clusters_of(frame: Frame) -> tuple[np.ndarray, int]:
    """Return the (n,) cluster codes and the number of clusters of data that have them."""
    if frame.clusters is None:
        raise DataError("E12", "the name of the cluster column is needed")
    return frame.clusters.codes, frame.clusters.J
