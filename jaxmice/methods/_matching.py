"""Predictive mean matching: what its methods share."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxmice.errors import ModelError
from jaxmice.linalg import to_blocks
from jaxmice.random import draw_donors
from jaxmice.target import Target

Effects = tuple[Float[Array, " p"], Float[Array, "q J"]]
"""Fixed effects of X = [Z, F] and the effects of all clusters."""


class Matching(eqx.Module):
    """The options of predictive mean matching, and the choice of donors."""

    kinds: ClassVar[frozenset[str]] = frozenset(
        {"continuous", "integer", "binary_numeric", "binary", "ordinal"}
    )
    donor_based: ClassVar[bool] = True

    donors: int = eqx.field(default=5, static=True)
    """Size of the donor pool."""

    matchtype: int = eqx.field(default=1, static=True)
    """Which predictions are compared."""

    ties: str = eqx.field(default="ball", static=True)
    """What happens to donors with equal predictions."""

    def __check_init__(self) -> None:
        """Refuse values that no visit could use."""
        name = getattr(self, "name", "")
        donors, kind = self.donors, self.matchtype
        if not isinstance(donors, int) or isinstance(donors, bool) or donors < 1:
            raise ModelError("E51", f"{name}: donors must be a positive integer, got {donors!r}")
        if kind not in (0, 1, 2):
            raise ModelError("E51", f"{name}: matchtype must be 0, 1 or 2, got {kind!r}")
        if self.ties not in ("ball", "exact_k"):
            message = f"{name}: ties must be 'ball' or 'exact_k', got {self.ties!r}"
            raise ModelError("E51", message)

    def match(
        self,
        key: Key[Array, ""],
        hat: Float[Array, "K B"],
        drawn: Float[Array, "K B"],
        target: Target,
    ) -> Float[Array, "K B"]:
        """Give every row the observed value of a donor.

        Parameters
        ----------
        key
            Key, consumed.
        hat, drawn
            Predictions of all rows by expected and by drawn coefficients.
        target
            The rows.
        """
        donor, recipient = ((hat, hat), (hat, drawn), (drawn, drawn))[self.matchtype]
        value = draw_donors(
            key,
            jnp.ravel(target.y),
            jnp.ravel(donor),
            jnp.ravel(recipient),
            jnp.ravel(target.ry),
            self.donors,
            exact_k=self.ties == "exact_k",
        )
        return value.reshape(target.y.shape)


def predictions(
    beta: Float[Array, " p"], b: Float[Array, "q J"], target: Target
) -> Float[Array, "K B"]:
    """Return the predictions of all rows by a two-level regression."""
    q = b.shape[0]
    return target.linear_predictor(to_blocks(b + beta[:q, None], target.layout), beta[q:])
