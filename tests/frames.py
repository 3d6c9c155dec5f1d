"""Small two-level data that share their shape, so that tests share compiled programs."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

CLUSTERS, SIZE = 12, 8

HOLES = {"y": (4, 0), "x": (5, 1), "z": (7, 2)}
"""Every so many rows, and the first one, in which a column is missing."""


def two_level(
    incomplete: Sequence[str] = ("y",), *, seed: int = 0, clusters: int = CLUSTERS, size: int = SIZE
) -> pd.DataFrame:
    """Return rows in clusters g: numbers w, x, y, z, of which some are incomplete."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(clusters), size)
    n = len(g)
    u = rng.normal(size=(3, clusters))[:, g]
    w = rng.normal(size=n)
    x = 0.5 * w + 0.6 * u[0] + rng.normal(size=n)
    y = x + 0.8 * u[1] + 0.7 * rng.normal(size=n)
    z = 0.5 * y + 0.4 * u[2] + rng.normal(size=n)
    data = pd.DataFrame({"g": g, "w": w, "x": x, "y": y, "z": z})
    for name in incomplete:
        step, first = HOLES[name]
        data.loc[first::step, name] = np.nan
    return data
