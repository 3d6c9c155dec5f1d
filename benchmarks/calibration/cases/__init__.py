"""One file per sampler: how its parameters and data come about, and how it is run."""

import importlib
import pkgutil

import jax

from benchmarks.calibration.case import Case


def find_cases(*, double: bool = True) -> dict[str, Case]:
    """Return every case by name; a file without a leading underscore is found by itself."""
    found = {}
    for file in pkgutil.iter_modules(__path__):
        if not file.name.startswith("_"):
            # What a module makes when it is imported is to be of the precision of the checks.
            with jax.enable_x64(double):
                module = importlib.import_module(f"{__name__}.{file.name}")
            found |= {case.name: case for case in module.CASES}
    return found
