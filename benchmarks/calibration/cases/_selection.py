"""What the selection models share: which rows and columns take part in what.

One fixed column is in the regression of s only, the other in that of y only.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from benchmarks.calibration import two_level as tl
from benchmarks.calibration.case import Made
from jaxmice.target import Selection, Target

SELECTS, EXPLAINS = np.array([True, True, True, False]), np.array([True, True, False, True])

FORGETS = "hidden rows are missing at random"
"""The mistake of `rows`."""

TWINS = (
    "psi misses a degree of freedom",
    "beta drops its prior",
    "effects from their marginal law",
    FORGETS,
)

SYSTEMATIC = tl.ROWS.cluster == tl.EMPTY
"""Rows of a cluster that shows no value whatever was selected."""


def rows(
    y: Float[Array, " n"], selected: Bool[Array, " n"], made: Made = lambda _: jnp.array(False)
) -> Target:
    """Return the target as it is seen, hidden rows not told if that mistake is made."""
    seen = tl.ROWS.arrange(selected).astype(bool)
    live = tl.ROWS.place >= 0
    return dataclasses.replace(
        tl.ROWS.target(y),
        y=jnp.where(seen, tl.ROWS.arrange(y), 0),
        ry=seen,
        wy=~seen & live,
        selection=Selection(
            hidden=~seen & live & ~tl.ROWS.arrange(SYSTEMATIC).astype(bool) & ~made(FORGETS),
            selects=jnp.asarray(SELECTS),
            explains=jnp.asarray(EXPLAINS),
        ),
    )
