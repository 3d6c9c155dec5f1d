"""What two-level methods share: the options of a chain that is carried from visit to visit.

And what the normal ones share besides: priors, the run of inner steps.
"""

from dataclasses import replace
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from jaxmice.errors import ModelError
from jaxmice.linalg import cluster_sums, to_blocks, to_rows
from jaxmice.methods._base import Method
from jaxmice.random import normals
from jaxmice.samplers import linear_mixed as lm
from jaxmice.samplers.sums import Sums, centred, make_sums
from jaxmice.target import Selection, Target

BURNIN = 100
"""Gibbs steps of the first visit unless asked otherwise."""


class TwoLevelGibbs(Method):
    """Gibbs sampling of a two-level regression, carried from visit to visit."""

    codes: ClassVar[frozenset[int]] = frozenset({1, 2, 3, 4})
    cluster_codes: ClassVar[frozenset[int]] = frozenset({-2})
    needs_cluster: ClassVar[bool] = True
    restart_iter: ClassVar[int]

    inner_iter: int | None = None
    """Gibbs steps per visit after the first; by default 10, with ``restart`` those of R."""

    burnin: int | None = BURNIN
    """Gibbs steps of the first visit; with ``restart`` unread."""

    restart: bool = eqx.field(default=False, static=True)
    """Start anew at every visit, as R does, instead of where the last one stopped."""

    def __check_init__(self) -> None:
        """Refuse values that no visit could use."""
        for option, value in (("inner_iter", self.inner_iter), ("burnin", self.burnin)):
            if isinstance(value, (bool, float, str)) or (isinstance(value, int) and value < 1):
                message = f"{self.name}: {option} must be a positive integer, got {value!r}"
                raise ModelError("E51", message)
            if isinstance(value, int) and value > lm.MOST_STEPS:
                message = f"{self.name}: {option} is {value}, at most {lm.MOST_STEPS} in one visit"
                raise ModelError("E51", f"{message}; raise maxit")

    def schedule(self, *, first: bool) -> tuple[int, bool]:
        """Return the inner iterations of a visit and whether it starts afresh."""
        if self.restart:
            return self.inner_iter or self.restart_iter, True
        return (self.burnin or BURNIN if first else self.inner_iter or 10), first


class TwoLevelNormal(TwoLevelGibbs):
    """Two-level normal regression."""

    kinds: ClassVar[frozenset[str]] = frozenset({"continuous", "integer", "binary_numeric"})
    priors: ClassVar[tuple[str, ...]]
    by_cluster: ClassVar[bool]

    prior: str = eqx.field(default="hw", static=True)
    """Name of the prior of the variances."""

    def __check_init__(self) -> None:
        """Refuse a prior that the method does not have."""
        if isinstance(self.prior, str) and self.prior not in self.priors:
            offered = ", ".join(map(repr, self.priors))
            raise ModelError("E51", f"{self.name}: prior {self.prior!r} unknown; one of {offered}")

    def make_prior(self, target: Target, sums: Sums) -> lm.Prior:
        """Return the prior on the scale of the sums."""
        dtype, q = sums.k.dtype, sums.z_live.shape[0]
        n_random = jnp.sum(sums.z_live).astype(dtype)
        zero, flat = jnp.zeros((), dtype), jnp.zeros(sums.x_live.shape, dtype)
        eye = jnp.eye(q, dtype=dtype)
        match self.prior:
            case "hw":
                scale = jnp.full((q,), lm.HALF_T_SCALE, dtype)
                return lm.Prior(zero, zero, flat, zero, 0 * eye, half_t=scale)
            case "pan":
                units = target.z_units @ target.z_units.T
                return lm.Prior(zero + 1, 1 / target.y_scale**2, flat, n_random, units)
            case "pan_scaled":
                return lm.Prior(zero + 1, zero + 1, flat, n_random, eye)
            case _:
                return lm.Prior(zero, zero, flat, -n_random - 1, 0 * eye)

    def read(self, target: Target) -> tuple[Sums, lm.Prior]:
        """Return the sums of the target and the prior on their scale."""
        sums = centred(make_sums(target, by_cluster=self.by_cluster))
        return sums, self.make_prior(target, sums)

    def draw_rows(
        self,
        key: Key[Array, ""],
        beta: Float[Array, " p"],
        b: Float[Array, "q J"],
        sigma: Float[Array, "K 1"] | Float[Array, ""],
        target: Target,
    ) -> Float[Array, "K B"]:
        """Draw rows given all parameters."""
        q = b.shape[0]
        effects = to_blocks(b + beta[:q, None], target.layout)
        noise = normals(key, jnp.zeros((), int), target.y.shape, target.y.dtype)
        return target.linear_predictor(effects, beta[q:]) + sigma * noise


def all_random(target: Target) -> Target:
    """Return the target with a random slope for every column that varies inside clusters.

    Columns that do not vary keep a fixed effect. Which do can differ between data sets
    and chains, so every column of F is in both places and live in one of them.
    """
    fixed = jnp.concatenate([target.f_shared, target.f_chain])
    n = jnp.maximum(
        cluster_sums(target.layout.row_live[None].astype(target.y.dtype), target.layout), 1
    )
    mean = to_rows(cluster_sums(fixed, target.layout) / n, target.layout)
    inside = jnp.sum(jnp.where(target.layout.row_live, (fixed - mean) ** 2, 0), axis=(1, 2))
    total = jnp.sum(fixed**2, axis=(1, 2))
    varies = target.f_live & (inside > 1e3 * jnp.finfo(target.y.dtype).eps * total)
    fs = target.f_shared.shape[0]
    into, out = varies[:, None, None], ~varies[:, None, None]
    q = target.z_live.shape[0] + len(varies)
    return replace(
        target,
        z_shared=jnp.concatenate([target.z_shared, target.f_shared * into[:fs]]),
        z_chain=jnp.concatenate([target.z_chain, target.f_chain * into[fs:]]),
        f_shared=target.f_shared * out[:fs],
        f_chain=target.f_chain * out[fs:],
        z_live=_among(target, target.z_live, varies),
        f_live=target.f_live & ~varies,
        z_units=jnp.eye(q, dtype=target.y.dtype),
        selection=_both_places(target),
    )


def _both_places(target: Target) -> Selection | None:
    """Return the marks of columns after every column of F was put into Z as well."""
    selection, q = target.selection, target.z_live.shape[0]
    if selection is None:
        return None
    selects, explains = (
        jnp.concatenate([_among(target, marks[:q], marks[q:]), marks[q:]])
        for marks in (selection.selects, selection.explains)
    )
    return Selection(selection.hidden, selects, explains)


def _among(target: Target, z: Bool[Array, " q"], f: Bool[Array, " f"]) -> Bool[Array, " n"]:
    """Return marks of Z and F in the order Z shared, F shared, Z by chain, F by chain."""
    qs, fs = target.z_shared.shape[0], target.f_shared.shape[0]
    return jnp.concatenate([z[:qs], f[:fs], z[qs:], f[fs:]])
