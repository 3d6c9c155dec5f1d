"""Simulated clusters that do not differ."""

import numpy as np
import pandas as pd

from jaxmice.amputation import Sporadic, multilevel_ampute
from jaxmice.datasets.simulate import SimulatedData, _sizes


def make_icc_zero(J: int = 40, n_j: int = 25, *, seed: int) -> SimulatedData:
    r"""Simulate clustered data without any difference between clusters.

    They show whether a two-level method does harm where there is nothing to find.

    Parameters
    ----------
    J
        Number of clusters.
    n_j
        Rows per cluster, or one number for each of the J clusters.
    seed
        Seed of the random numbers.

    Returns
    -------
    SimulatedData
        Frames with the columns ``cluster``, ``y``, ``x`` and ``b`` (0/1), and the truth:
        ``Intercept``, ``x``, ``b``, ``var_intercept`` (0), ``residual``, ``icc`` (0).

    Raises
    ------
    DataError
        E55, for sizes out of range.

    Notes
    -----
    For row i of cluster j, with independent rows,

    .. math::

        y_{ij} = 1 + 0.5\, x_{ij} + 0.5\, b_{ij} + e_{ij}, \qquad
        x_{ij}, e_{ij} \sim N(0, 1), \quad b_{ij} \sim Bernoulli(1 / (1 + e^{-x_{ij}})).

    A quarter of the rows has no ``y``, more often where x is large; another 15 % have no
    ``b``, completely at random. ``x`` is complete.

    Examples
    --------
    >>> import jaxmice as jm
    >>> jm.datasets.make_icc_zero(J=10, n_j=5, seed=1).complete.shape
    (50, 4)
    """
    sizes = _sizes(J, n_j)
    rng = np.random.default_rng(seed)
    x, e = rng.normal(size=(2, int(sizes.sum())))
    b = (rng.random(x.size) < 1 / (1 + np.exp(-x))).astype(int)
    cluster = np.repeat(np.arange(J), sizes) + 1
    complete = pd.DataFrame({"cluster": cluster, "y": 1 + 0.5 * x + 0.5 * b + e, "x": x, "b": b})
    incomplete = multilevel_ampute(
        complete,
        "cluster",
        sporadic=[Sporadic("y", 0.25, weights={"x": 1.0}), Sporadic("b", 0.15)],
        seed=seed,
    ).amp
    truth = {
        "Intercept": 1.0,
        "x": 0.5,
        "b": 0.5,
        "var_intercept": 0.0,
        "residual": 1.0,
        "icc": 0.0,
    }
    return SimulatedData(complete, incomplete, truth)
