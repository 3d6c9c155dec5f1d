"""Scales on which estimates are nearly normal, and are therefore pooled."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Function = Callable[[Numbers], Numbers]

TRANSFORMS: dict[str, tuple[Function, Function, Function]] = {
    "identity": (lambda x: x, lambda z: z, lambda x: np.ones_like(x)),
    "log": (np.log, np.exp, lambda x: 1 / x),
    # Of variances and shares: finite at 0.
    "root": (np.sqrt, lambda z: np.maximum(z, 0.0) ** 2, lambda x: 1 / (2 * np.sqrt(x))),
    "logit": (
        lambda x: np.log(x / (1 - x)),
        lambda z: 1 / (1 + np.exp(-z)),
        lambda x: 1 / (x * (1 - x)),
    ),
    "fisher_z": (np.arctanh, np.tanh, lambda x: 1 / (1 - x**2)),
    # Of R squared: Fisher's z of the root, which keeps the sign of an adjusted one.
    "fisher_z_root": (
        lambda x: np.arctanh(np.sign(x) * np.sqrt(np.abs(x))),
        lambda z: np.sign(z) * np.tanh(z) ** 2,
        lambda x: 1 / (2 * np.sqrt(np.abs(x)) * (1 - np.abs(x))),
    ),
    "cloglog": (
        lambda x: np.log(-np.log(x)),
        lambda z: np.exp(-np.exp(z)),
        lambda x: 1 / (x * np.log(x)),
    ),
    "log_complement": (lambda x: np.log1p(-x), lambda z: -np.expm1(z), lambda x: -1 / (1 - x)),
}
"""By name: the transform, its inverse and its derivative."""

NEGLIGIBLE = 1e-4
"""A variance or share below this part of the mean is at the boundary, where logs fail."""
