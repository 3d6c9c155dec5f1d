"""Random streams: replicate r is the same whatever the number of replicates drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxmice.errors import AmputeError
from jaxmice.wording import is_whole


@dataclass(frozen=True)
class Streams:
    """Streams by replicate and purpose, all from one seed."""

    seed: int

    @classmethod
    def of(cls, seed: Any) -> "Streams":
        """Check a seed; None stands for one from the operating system."""
        if seed is None:
            return cls(int(np.random.SeedSequence().generate_state(1)[0]))
        if not is_whole(seed):
            raise AmputeError("E57", f"seed must be None or an integer from 0, got {seed!r}")
        return cls(int(seed))

    def generator(self, replicate: int, *purpose: int) -> np.random.Generator:
        """Return the generator of one replicate for one purpose."""
        return np.random.default_rng(
            np.random.SeedSequence(self.seed, spawn_key=(replicate, *purpose))
        )

    def uniforms(self, replicates: Sequence[int], *purpose: int, n: int) -> np.ndarray:
        """Draw (R, n) uniforms."""
        return np.stack([self.generator(r, *purpose).random(n) for r in replicates])

    def normals(self, replicates: Sequence[int], *purpose: int, n: int) -> np.ndarray:
        """Draw (R, n) standard normals."""
        return np.stack([self.generator(r, *purpose).standard_normal(n) for r in replicates])
