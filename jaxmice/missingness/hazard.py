"""The cumulative hazard, as a predictor where the outcome is a survival time."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from jaxmice.errors import DataError


def nelson_aalen(time: ArrayLike, event: ArrayLike) -> pd.Series:
    """Estimate the cumulative hazard of every row at its own time (Nelson-Aalen).

    To impute covariates of a survival model, use the event indicator and this column as
    predictors instead of the time.

    Parameters
    ----------
    time
        (n,) times of event or censoring.
    event
        (n,) 1 or True for an event, 0 or False for censoring.

    Returns
    -------
    pandas.Series
        (n,) sum over event times up to the row's own of events / rows at risk; the index
        is that of `time` if it has one.

    Raises
    ------
    DataError
        E57: unequal lengths, missing or infinite times, or an `event` other than 0 and 1.

    References
    ----------
    White, I. R., & Royston, P. (2009). Imputing missing covariate values for the Cox
    model. Statistics in Medicine, 28(15), 1982-1998.

    Examples
    --------
    >>> import jaxmice as jm
    >>> jm.nelson_aalen([1, 2, 2, 3], [1, 1, 0, 1]).round(3).tolist()
    [0.25, 0.583, 0.583, 1.583]
    """
    index = time.index if isinstance(time, pd.Series) else None
    times, events = np.asarray(time, np.float64), np.asarray(event, np.float64)
    if times.ndim != 1 or times.shape != events.shape or not times.size:
        raise DataError(
            "E57", f"time and event must be equally long, got {times.shape} and {events.shape}"
        )
    if not np.isfinite(times).all() or not np.isin(events, (0, 1)).all():
        raise DataError(
            "E57", "time must be finite and event 0 or 1; drop rows in which one is missing"
        )
    _, place, count = np.unique(times, return_inverse=True, return_counts=True)
    at_risk = len(times) - np.cumsum(count) + count
    hazard = np.cumsum(np.bincount(place, events) / at_risk)
    return pd.Series(hazard[place], index=index, name="nelson_aalen")
