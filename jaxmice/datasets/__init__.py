"""Example data: a small classic set, and simulators whose true values are known."""

from jaxmice.datasets.hiv import make_hiv
from jaxmice.datasets.icc_zero import make_icc_zero
from jaxmice.datasets.impact import make_impact
from jaxmice.datasets.obesity import make_obesity
from jaxmice.datasets.popmis import load_popmis
from jaxmice.datasets.simulate import SimulatedData, make_popular

__all__ = [
    "SimulatedData",
    "load_popmis",
    "make_hiv",
    "make_icc_zero",
    "make_impact",
    "make_obesity",
    "make_popular",
]
