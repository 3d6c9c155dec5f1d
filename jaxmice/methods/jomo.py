"""Method ``jomo``: numbers and categories of both levels in one draw."""

import dataclasses
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxmice.errors import ModelError
from jaxmice.linalg import cluster_sums, counting_rows, to_rows
from jaxmice.methods._two_level import TwoLevelGibbs
from jaxmice.samplers import covariance, joint_latent as jl, joint_normal as jn, linear_mixed as lm
from jaxmice.samplers.latent import INTERCEPT_SCALE, SLOPE_SCALE
from jaxmice.samplers.sums import ridge_of
from jaxmice.target import JointTarget

NUMBERS = ("continuous", "integer")


class Jomo(TwoLevelGibbs):
    r"""Joint model of a block of columns of any kind and level (``jomo`` in R).

    .. math::

        Y_{ij} = B' x_{ij} + U_j' z_{ij} + e_{ij}, \quad e_{ij} \sim N(0, \Omega_j), \qquad
        W_j = B_2' \bar x_j + v_j, \quad (v_j, \mathrm{vec}\, U_j) \sim N(0, \Psi)

    with the columns of level 1 in Y and those that are constant in clusters in W. A
    column of K categories, ordered or not, is K - 1 latent normals: the category whose
    latent normal is largest, the first where all are negative. Options: ``inner_iter``,
    ``burnin``, ``restart`` and ``covariance``, ``"common"`` (one :math:`\Omega`) or
    ``"random"`` (one for every cluster, from a common distribution).

    Missing data
    ------------
    Any pattern at both levels, sporadic and systematic. A cluster without any observed
    cell draws its effects and its covariance from their distributions over clusters.

    Differences from R
    ------------------
    Latent normals have, given those of the columns before, variances one and covariances
    one half within a column; in R they have them whatever the other columns. So every
    draw is exact and no covariance is proposed and rejected. Latent normals are not kept
    in an interval. With ``"random"`` every cluster is imputed by its own covariance.
    Effects of level-2 columns are drawn given those of level 1. Columns are standardised
    under priors without units.

    References
    ----------
    Carpenter JR, Kenward MG (2013). Multiple Imputation and its Application. Wiley,
    chapters 5 and 9. Quartagno M, Carpenter JR (2019). Multiple imputation for discrete
    data: evaluation of the joint latent normal model. Biometrical Journal 61, 1003-1019.
    Yucel RM (2011). Random covariances and mixed-effects models for imputing multivariate
    multilevel continuous data. Statistical Modelling 11, 351-370.
    """

    name: ClassVar[str] = "jomo"
    summary: ClassVar[str] = "columns of any kind and level in one draw, latent normals"
    source: ClassVar[str] = "Carpenter and Kenward (2013), chapter 9; Yucel (2011)"
    kinds: ClassVar[frozenset[str]] = frozenset(
        {"continuous", "integer", "binary_numeric", "binary", "nominal", "ordinal"}
    )
    levels: ClassVar[frozenset[int]] = frozenset({1, 2})
    restart_iter: ClassVar[int] = 1000
    joint: ClassVar[bool] = True
    set_by_column: ClassVar[frozenset[str]] = frozenset({"n_categories", "column_levels"})

    covariance: str = eqx.field(default="common", static=True)
    """Whether clusters share their residual covariance."""

    n_categories: tuple[int, ...] = eqx.field(default=(), static=True)
    """Number of categories of every column of the block, 0 for a number."""

    column_levels: tuple[int, ...] = eqx.field(default=(), static=True)
    """Level of every column of the block."""

    def __check_init__(self) -> None:
        """Refuse an unknown covariance."""
        if self.covariance not in ("common", "random"):
            message = f"jomo: covariance must be 'common' or 'random', got {self.covariance!r}"
            raise ModelError("E51", message)

    def for_columns(
        self, kinds: tuple[str, ...], n_categories: tuple[int, ...], levels: tuple[int, ...]
    ) -> "Jomo":
        """Return the method as it imputes the columns of a block.

        Raises
        ------
        ModelError
            E51: no column of level 1.
        """
        if 1 not in levels:
            message = "jomo: no column of the block varies within clusters; use a 2lonly method"
            raise ModelError("E51", message)
        sizes = tuple(
            0 if kind in NUMBERS else max(size, 2)
            for kind, size in zip(kinds, n_categories, strict=True)
        )
        return dataclasses.replace(self, n_categories=sizes, column_levels=levels)

    @property
    def members(self) -> tuple[jl.Members, jl.Members]:
        """The columns of level 1 and of level 2."""
        return jl.split_members(self.n_categories, self.column_levels)

    def read(self, target: JointTarget) -> tuple[jl.Data, jl.Prior]:
        """Return the data of both levels, and the prior."""
        first, second = self.members
        random = self.covariance == "random"
        fitted = jnp.any(target.ry[jnp.asarray(first.column)], axis=0)
        rows = jn.make_responses(
            target.y[first.column], target.seen[first.column], fitted, target, by_cluster=random
        )
        w, given = by_cluster(target.y, target.ry, target)
        n_used = cluster_sums(target.used[None].astype(w.dtype), target.layout)
        x2 = jnp.where(n_used > 0, cluster_means(target), 0)
        data = jl.Data(rows, w[second.column], given[second.column], x2)
        return data, self.make_prior(target, data)

    def make_prior(self, target: JointTarget, data: jl.Data) -> jl.Prior:
        """Return the prior on the scale of the standardised columns."""
        first, second = self.members
        sums, dtype = data.rows.sums, data.w.dtype
        n_effects = first.dimension * sums.z_live.shape[0]
        one = jnp.ones((), dtype)
        precision = one / SLOPE_SCALE**2

        def wide(groups: covariance.Groups, f: int) -> covariance.Prior:
            eye, none = jnp.eye(f, dtype=dtype), jnp.zeros((groups.n + f, groups.n), dtype)
            half_t = jnp.full((f,), lm.HALF_T_SCALE, dtype)
            return covariance.Prior(
                0 * one, eye, none[: groups.n], none[groups.n :], precision, half_t
            )

        f = first.dimension - first.groups.n
        omega = wide(first.groups, f)
        psi = wide(second.groups, second.dimension - second.groups.n + n_effects)
        ridge, proper = coefficient_priors(target, sums.penalty, first)
        square = ridge_of(dtype) * jnp.sum(data.x2**2, axis=1)
        ridge2, proper2 = coefficient_priors(target, jnp.where(sums.penalty > 0, square, 0), second)
        spread = None
        if self.covariance == "random":
            eye = jnp.eye(f, dtype=dtype)
            # Mean degrees of freedom 20 beyond the least; S of mean one.
            spread = jl.SpreadPrior(2 * one, 0.1 * one, (f + 1) * one, (f + 1) * eye, precision)
        return jl.Prior(jn.Prior(omega, psi, ridge, proper), ridge2, proper2, spread)

    def init(self, key: Key[Array, ""], sums: tuple[jl.Data, jl.Prior]) -> jl.State:
        """Return no effects, moderate covariances."""
        del key
        return jl.start(sums[0], *self.members, sums[1])

    def step(
        self,
        key: Key[Array, ""],
        state: jl.State,
        sums: tuple[jl.Data, jl.Prior],
        n_steps: Int[Array, ""],
    ) -> jl.State:
        """Take Gibbs steps."""
        data, prior = sums
        return jl.run(key, state, data, *self.members, prior, n_steps)

    def impute(
        self, key: Key[Array, ""], state: jl.State, target: JointTarget
    ) -> Float[Array, "r K B"]:
        """Draw latent normals and numbers to impute given the others; read categories."""
        first, second = self.members
        given = (target.seen & ~target.wy)[first.column]
        given2 = by_cluster(target.y, target.ry & ~target.wy, target)[1][second.column]
        delta2 = by_cluster(target.delta, target.wy, target)[0][second.column]
        delta, x2 = target.delta[first.column], cluster_means(target)
        y, w = jl.impute(key, state, given, given2, x2, target, delta, delta2)
        spread_out = jnp.broadcast_to(to_rows(w, target.layout), (w.shape[0], *y.shape[1:]))
        values: list[Array] = [y[0]] * len(self.n_categories)
        for members, drawn in ((first, y), (second, spread_out)):
            begin = 0
            for at, size in zip(members.at, members.sizes, strict=True):
                end = begin + max(size - 1, 1)
                values[at] = jl.decode(drawn[begin:end]) if size else drawn[begin]
                begin = end
        return jnp.stack(values)


def by_cluster(
    values: Float[Array, "r K B"], cells: Bool[Array, "r K B"], target: JointTarget
) -> tuple[Float[Array, "r J"], Bool[Array, "r J"]]:
    """Return the value of some cells of every cluster, alike in it, and whether it has any."""
    weight = cells.astype(values.dtype)
    count = cluster_sums(weight, target.layout)
    total = cluster_sums(values * weight, target.layout)
    return total / jnp.maximum(count, 1), count > 0


def cluster_means(target: JointTarget) -> Float[Array, "p J"]:
    """Return the means of the columns of X in every cluster, over the rows in use if it has any."""
    parts = (target.z_shared, target.z_chain, target.f_shared, target.f_chain)
    live = counting_rows(target.used, target.layout)
    count = cluster_sums(live[None].astype(target.y.dtype), target.layout)
    sums = [cluster_sums(part * live, target.layout) for part in parts]
    return jnp.concatenate(sums) / jnp.maximum(count, 1)


def coefficient_priors(
    target: JointTarget, penalty: Float[Array, " p"], members: jl.Members
) -> tuple[Float[Array, "p r"], Float[Array, "p r"]]:
    """Return the ridge of coefficients of numbers and the precision of those of latent normals."""
    q, p = target.z_live.shape[0], penalty.shape[0]
    place = jnp.arange(p)
    intercept = ((place == 0) & target.z_intercept & (q > 0)) | ((place == q) & target.f_intercept)
    latent = jnp.arange(members.dimension) < members.groups.n
    proper = jnp.where(intercept, 1 / INTERCEPT_SCALE**2, 1 / SLOPE_SCALE**2).astype(penalty.dtype)
    ridge = jnp.where(latent, 0, penalty[:, None])
    return ridge, jnp.where(latent, proper[:, None], jnp.zeros_like(ridge))
