"""What a visit imputes, with its predictors, as one chain sees it."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxmice.linalg import Factor, Layout, to_rows

WRITTEN_OUT = 16
"""Columns of a linear predictor that are added one by one, which fuses with what reads it.

Products by a library cost four times as much, and copies of the columns; more columns take
long to compile.
"""


class Selection(eqx.Module):
    """What is known of why values are missing."""

    hidden: Bool[Array, "K B"]
    """Rows of the fit whose value is missing."""

    selects: Bool[Array, " p"]
    """Columns of X that predict whether the value is missing."""

    explains: Bool[Array, " p"]
    """Columns of X that predict the value."""


class Target(eqx.Module):
    """One incomplete variable with its predictors, as one chain sees it.

    No row and no column is ever dropped: rows are marked by ``ry`` and ``wy``, and a
    column that does not predict is zero, so every target of a run can have the same
    shape. Columns that are complete are kept apart from those that other visits
    impute: sums over the former are computed once for all chains.

    The fixed design is X = [Z, F]: every column with a random effect also has a fixed
    one. Order of columns: Z shared, Z by chain, F shared, F by chain.
    """

    y: Float[Array, "K B"]
    """The variable as observed, on the sampler's scale; zero where not observed."""

    ry: Bool[Array, "K B"]
    """Rows to fit on: ``y`` was observed and the row is not ignored."""

    wy: Bool[Array, "K B"]
    """Rows to impute."""

    used: Bool[Array, "K B"]
    """Rows that are not ignored: the only ones that statistics may be of."""

    z_shared: Float[Array, "qs K B"]
    """Columns with a random effect that all chains share."""

    z_chain: Float[Array, "qc K B"]
    """Columns with a random effect that differ between chains."""

    f_shared: Float[Array, "fs K B"]
    """Columns with a fixed effect only, shared."""

    f_chain: Float[Array, "fc K B"]
    """Columns with a fixed effect only, by chain."""

    delta: Float[Array, "K B"]
    """Shift of the linear predictor of rows to impute, for categories and counts."""

    z_live: Bool[Array, " q"]
    """Columns of Z that predict."""

    f_live: Bool[Array, " f"]
    """Columns of F that predict."""

    z_intercept: Bool[Array, ""]
    """Whether the first column of Z is a random intercept."""

    f_intercept: Bool[Array, ""]
    """Whether the first column of F is an intercept."""

    y_scale: Float[Array, ""]
    """Units of the user per unit of ``y``."""

    z_units: Float[Array, "q q"]
    """Matrix T: effects in the user's units b give effects ``T b`` on the sampler's scale."""

    layout: Layout
    """Where the rows of every cluster lie."""

    factors: tuple[Factor, ...] = ()
    """Further groupings of the rows whose effects are random, besides the clusters."""

    selection: Selection | None = None
    """What a method reads that models why values are missing (`models_selection`)."""

    f_mean: Float[Array, "f J"] | None = None
    """Means in clusters that columns of F are less than they were, see `sums.inside_clusters`."""

    def linear_predictor(
        self, random: Float[Array, "q K"], fixed: Float[Array, " f"]
    ) -> Float[Array, "K B"]:
        """Return ``Z c_j + F beta`` for all rows, ``c_j`` given for every block."""
        qs, fs = self.z_shared.shape[0], self.f_shared.shape[0]
        total = jnp.zeros_like(self.y)
        if self.f_mean is not None:
            total = total + to_rows((fixed @ self.f_mean)[None], self.layout)[0]
        for columns, weights in ((self.z_shared, random[:qs]), (self.z_chain, random[qs:])):
            for column, weight in zip(columns, weights, strict=True):
                total = total + column * weight[:, None]
        for columns, weights in ((self.f_shared, fixed[:fs]), (self.f_chain, fixed[fs:])):
            if columns.shape[0] > WRITTEN_OUT:
                total = total + jnp.einsum("f,fkb->kb", weights, columns)
                continue
            for column, weight in zip(columns, weights, strict=True):
                total = total + column * weight
        return total


class JointTarget(eqx.Module):
    """Several incomplete variables that one method draws together, with their predictors.

    The r members share one design; no member is in it. Otherwise as `Target`.
    """

    y: Float[Array, "r K B"]
    """The members as observed, on the sampler's scale; zero where not observed."""

    ry: Bool[Array, "r K B"]
    """Cells to fit on."""

    seen: Bool[Array, "r K B"]
    """Observed cells, those of ignored rows included."""

    wy: Bool[Array, "r K B"]
    """Cells to impute."""

    used: Bool[Array, "K B"]
    """Rows that are not ignored: the only ones that statistics may be of."""

    delta: Float[Array, "r K B"]
    """Shift of the linear predictor of cells to impute, for categories and counts."""

    level2: Bool[Array, " r"]
    """Members that are constant in clusters."""

    y_scale: Float[Array, " r"]
    """Units of the user per unit of a member."""

    z_shared: Float[Array, "qs K B"]
    z_chain: Float[Array, "qc K B"]
    f_shared: Float[Array, "fs K B"]
    f_chain: Float[Array, "fc K B"]
    z_live: Bool[Array, " q"]
    f_live: Bool[Array, " f"]
    z_intercept: Bool[Array, ""]
    f_intercept: Bool[Array, ""]

    z_units: Float[Array, "q q"]
    """Matrix T: effects per unit of the user's predictors b give effects ``T b`` on ours."""

    layout: Layout
    """Where the rows of every cluster lie."""
