"""What the two tests need to know about a sampler."""

import abc
from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Bool, Float, Int, Key

Made = Callable[[str], Bool[Array, ""]]
"""Whether the mistake of this name is to be made; traced, so that all share one program."""


class Case(abc.ABC):
    """A sampler with a model to draw from. Every function sees one replicate."""

    name: str
    """Name of the sampler's module, and what is special."""

    methods: str
    """The imputation methods that rest on it."""

    twins: tuple[str, ...]
    """Mistakes that `run` makes when it is told to."""

    burnin: int = 100
    """Steps before the first of the ranked draws."""

    n_draws: int = 31
    """Draws among which the truth is ranked. More find little more: simulations decide."""

    thin: int = 10
    """Steps between ranked draws."""

    n_steps: int = 3
    """Steps from an exact start; 0 where the prior is improper and the truth a constant."""

    in_suite: bool = False
    """Whether the test suite checks it too, with few simulations."""

    @abc.abstractmethod
    def simulate(self, key: Key[Array, ""]) -> tuple[Any, Any]:
        """Draw parameters from the prior, and all values, the hidden ones too."""

    @abc.abstractmethod
    def start(self, key: Key[Array, ""], y: Any) -> Any:
        """Return where the sampler starts by itself."""

    @abc.abstractmethod
    def run(
        self, key: Key[Array, ""], state: Any, y: Any, n_steps: Int[Array, ""], made: Made
    ) -> Any:
        """Take steps given the observed part of the values."""

    @abc.abstractmethod
    def impute(self, key: Key[Array, ""], state: Any, y: Any) -> Any:
        """Return the values with the hidden ones drawn anew."""

    @abc.abstractmethod
    def quantities(self, state: Any, y: Any) -> dict[str, Float[Array, ""]]:
        """Return what is compared, functions of the parameters and of all values."""
