"""A7: a binary outcome missing not at random, in whole clusters and here and there.

Design of Munoz et al. (2023), see `benchmarks.acceptance.selection`, of which only the sign of
y is seen. Analysed in two stages: probit regressions by cluster, then their random-effects
meta-analysis by restricted maximum likelihood, all three coefficients random.

A setting of our own with large clusters shows what the normal approximations of the two-stage
method have to do with its bias.
"""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.acceptance.mixed import fit_probit
from benchmarks.acceptance.selection import (
    REPLICATIONS as REPLICATIONS,
    Method,
    Setting,
    Study,
    pages,
)

STUDY = Study(
    settings=[Setting(10, 1000, rho) for rho in (0.0, 0.3, 0.6, 0.9)],
    methods={
        "`2l.2stage.bin`, missing at random": Method("2l.2stage.bin", "none"),
        "`2l.heckman`": Method("2l.heckman"),
        "`2l.2stage.heckman`": Method("2l.2stage.heckman"),
        "the same, as published": Method(
            "2l.2stage.heckman", options={"systematic": "nonselected"}
        ),
    },
    published={
        "10x1000-0.0": ((-0.013, -0.017, -0.007), (0.906, 0.918, 0.934)),
        "10x1000-0.3": ((-0.051, -0.059, 0.007), (0.910, 0.900, 0.936)),
        "10x1000-0.6": ((-0.097, -0.095, 0.038), (0.892, 0.912, 0.944)),
        "10x1000-0.9": ((-0.080, -0.117, 0.082), (0.932, 0.930, 0.960)),
    },
    fit=fit_probit,
    binary=True,
    # More do not fit into the cache of a processor, which long chains want.
    side_by_side=40_000,
)


def run(replications: int, seed: int, only: Sequence[str] = (), parts: Path | None = None) -> str:
    """Return the page of the study."""
    return "\n".join(pages(STUDY, replications, seed, only, parts)) + "\n"
