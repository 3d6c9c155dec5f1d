"""What methods for values missing not at random by a selection model share."""

import dataclasses
from typing import ClassVar, Self

import equinox as eqx
from jaxtyping import Array, Bool

from jaxmice.errors import ModelError
from jaxmice.linalg import cluster_sums, to_rows
from jaxmice.methods._base import Method
from jaxmice.target import Target

SYSTEMATIC = ("marginal", "nonselected")


class Selected(Method):
    """A selection model of a number or of two categories."""

    kinds: ClassVar[frozenset[str]] = frozenset(
        {"continuous", "integer", "binary", "binary_numeric"}
    )
    models_selection: ClassVar[bool] = True
    set_by_column: ClassVar[frozenset[str]] = frozenset({"binary"})

    binary: bool = eqx.field(default=False, static=True)
    """Whether the column has two categories."""

    @property
    def runs_plainly(self) -> bool:
        """Whether kernels that are faster to compile are no slower to run."""
        return True

    def for_column(self, kind: str, n_categories: int) -> Self:
        """Return the method for a number or for two categories."""
        del n_categories
        return dataclasses.replace(self, binary=kind in ("binary", "binary_numeric"))


class TwoLevelSelected(Selected):
    """A selection model whose coefficients vary over clusters."""

    codes: ClassVar[frozenset[int]] = frozenset({1, 2, -3, -4})
    cluster_codes: ClassVar[frozenset[int]] = frozenset({-2})
    needs_cluster: ClassVar[bool] = True

    systematic: str = eqx.field(default="marginal", static=True)
    """How the values of a cluster without any observed one are drawn."""

    def __check_init__(self) -> None:
        """Refuse values that no visit could use."""
        if self.systematic not in SYSTEMATIC:
            offered = " or ".join(map(repr, SYSTEMATIC))
            message = f"{self.name}: systematic must be {offered}, got {self.systematic!r}"
            raise ModelError("E51", message)

    def knows_selection(self, target: Target) -> Bool[Array, "K 1"]:
        """Return for every block whether missing values count as not selected."""
        return has_value(target) | (self.systematic == "nonselected")


def has_value(target: Target) -> Bool[Array, "K 1"]:
    """Return for every block whether its cluster has a row to fit on."""
    count = cluster_sums(target.ry[None].astype(target.y.dtype), target.layout)
    return to_rows(count > 0, target.layout)[0]
