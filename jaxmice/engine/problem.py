"""A run as arrays: what the compiled visits read, and in which order they are made.

Every array of `Data` and `Spec` has a leading axis of replications: data sets of one
shape that are imputed side by side (one, outside simulation studies).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxmice.linalg import Factor, Layout
from jaxmice.methods import Method

if TYPE_CHECKING:
    from jaxmice.engine.passive import Between


class Data(eqx.Module):
    """What all chains share."""

    shared: Float[Array, "R c K B"]
    """Complete columns of the designs; the first is the intercept."""

    observed: Float[Array, "R t K B"]
    """Targets as observed, on the sampler's scale, zero where not observed."""

    seen: Bool[Array, "R t K B"]
    """Whether the target was observed."""

    where: Bool[Array, "R t K B"]
    """Whether an imputation is wanted."""

    used: Bool[Array, "R K B"]
    """Rows that are not ignored."""

    delta: Float[Array, "R d K B"]
    """Shift of the linear predictors of rows to impute, by target; d = 0 if there is none."""

    level2: Bool[Array, "R t"]
    """Targets that are constant in clusters."""

    layout: Layout
    """Where rows lie."""

    factors: tuple[Factor, ...] = ()
    """Further cluster columns."""


class SharedSlots(eqx.Module):
    """Which shared columns fill the slots of a design."""

    index: Int[Array, "R s"]
    live: Bool[Array, "R s"]


class ChainSlots(eqx.Module):
    """Which incomplete columns fill the slots of a design, and how."""

    source: Int[Array, "R s"]
    """Column among those that the chains carry."""

    category: Int[Array, "R s"]
    """Dummy of this category, -1 for the value itself."""

    mean: Bool[Array, "R s"]
    """The cluster mean instead of the value."""

    centered: Bool[Array, "R s"]
    """The deviation from the cluster mean instead of the value."""

    live: Bool[Array, "R s"]
    shift: Float[Array, "R s"]
    """Added to the column: centres a dummy, or undoes centring where there is no intercept."""


class SlopeSlots(eqx.Module):
    """Which columns have an effect that varies over the groups of a further factor."""

    shared: SharedSlots
    chain: ChainSlots
    units: Float[Array, "R q q"]
    """See `Factor.units`."""


class Spec(eqx.Module):
    """Everything about one visit that is an argument of its program, not a constant."""

    target: Int[Array, "R r"]
    """Rows of the targets in `Data.observed`: one, or the members of a block drawn together."""

    column: Int[Array, "R r"]
    """Columns that the chains carry for them, -1 for a complete (overimputed) one."""

    z_shared: SharedSlots
    z_chain: ChainSlots
    f_shared: SharedSlots
    f_chain: ChainSlots
    z_intercept: Bool[Array, " R"]
    f_intercept: Bool[Array, " R"]
    y_unit: Float[Array, "R r"]
    """Multiplies a target: undoes its scaling for a method that wants the values as they are."""

    y_shift: Float[Array, "R r"]
    """Added to a target then: undoes its centring, also where there is no intercept."""

    y_scale: Float[Array, "R r"]
    """Units of the user per unit of the sampler."""

    z_units: Float[Array, "R q q"]
    """See `Target.z_units`."""

    factors: tuple[int, ...] = eqx.field(default=(), static=True)
    """Which further cluster columns have random effects."""

    slopes: tuple[SlopeSlots, ...] = ()
    """For each of these its random slopes."""

    selects: Bool[Array, "R p"] | None = None
    explains: Bool[Array, "R p"] | None = None
    """See `Selection`; None for methods that do not model why values are missing."""

    bounds: Float[Array, "R 2"] | None = None
    """Draws outside are repeated, for a single target; coded as it is. None: there are none."""

    max_try: int = eqx.field(default=0, static=True)
    """How often at most."""

    @property
    def widths(self) -> tuple[int, int]:
        """Number of slots for columns with random and with fixed effects."""
        z = self.z_shared.index.shape[-1] + self.z_chain.source.shape[-1]
        return z, self.f_shared.index.shape[-1] + self.f_chain.source.shape[-1]


@dataclass(frozen=True)
class Step:
    """One visit of the visit sequence."""

    block: str
    targets: tuple[str, ...]
    """The target, or the members of a block that are drawn together."""

    number: int
    """How often the block was visited before in the same iteration."""

    method: Method
    spec: Spec
    uses_means: bool
    """Whether any slot needs cluster means of incomplete columns."""


@dataclass(frozen=True)
class Problem:
    """A run as arrays."""

    data: Data
    steps: Sequence[Step]
    targets: tuple[str, ...]
    """Names of the targets, in the order of `Data.observed`."""

    carried: tuple[int, ...]
    """For every column that the chains carry, its target index."""

    start: Float[Array, "R c K B"] | None
    """Starting values of the carried columns, or None: draws from the observed values."""

    leave_one_out: bool
    """Whether cluster means leave out the row itself."""

    cluster_labels: tuple[tuple[Any, ...], ...]
    """For every data set the ids of its clusters."""

    between: "Between | None" = None
    """Passive columns and post-processing, if there are any."""

    same_streams: bool = False
    """Whether all data sets draw with the random numbers of the first."""

    @property
    def reads_chains(self) -> bool:
        """Whether any visit reads a column that the chains carry."""
        return self.between is not None or any(
            step.spec.z_chain.source.shape[-1] + step.spec.f_chain.source.shape[-1] > 0
            for step in self.steps
        )

    @property
    def n_replications(self) -> int:
        """Number of data sets that are imputed side by side."""
        return jnp.shape(self.data.observed)[0]
