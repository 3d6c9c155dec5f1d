"""Example data: a small classic set, and simulators whose true values are known."""

from jaxmice.datasets.popmis import load_popmis
from jaxmice.datasets.simulate import SimulatedData, make_popular

__all__ = ["SimulatedData", "load_popmis", "make_popular"]
