"""Method ``2l.jomo``: one column of any kind by latent normals, every cluster its own law."""

import dataclasses
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.methods._two_level import TwoLevelGibbs, all_random
from jaxmice.methods.jomo import Jomo
from jaxmice.samplers import joint_latent as jl
from jaxmice.target import JointTarget, Target


class TwoLevelJomo(TwoLevelGibbs):
    r"""Two-level latent normal regression of a column of any kind (``2l.jomo`` in R's ``micemd``).

    .. math::

        Y_{ij} = (B + U_j)' x_{ij} + e_{ij}, \qquad \mathrm{vec}\, U_j \sim N(0, \Psi),
        \qquad e_{ij} \sim N(0, \Omega_j)

    for row i of cluster j. Y is a number, with :math:`\Omega_j` from a common inverse-gamma
    distribution, or the K - 1 latent normals of K categories, ordered or not, with variances
    one and covariances one half. Every predictor that varies inside clusters has a
    coefficient of its own in every cluster, whatever its code: so the regression of a
    column on the others differs between clusters as their joint covariance does. Codes 3
    and 4 let it differ between and within clusters. Options: ``inner_iter``, ``burnin`` and
    ``restart``; priors are those of ``jomo``.

    Missing data
    ------------
    Sporadic and systematic. A cluster without any observed value draws its effects and its
    variance from their distributions over clusters.

    Differences from R
    ------------------
    The other columns, complete at every visit, are conditioned on; R models them anew
    together with the target, gives them random effects in the place of cluster means, and
    imputes every cluster by the covariance of one of them. Chains go on from visit to visit.

    References
    ----------
    Carpenter JR, Kenward MG (2013). Multiple Imputation and its Application. Wiley,
    chapters 5 and 9. Yucel RM (2011). Random covariances and mixed-effects models for
    imputing multivariate multilevel continuous data. Statistical Modelling 11, 351-370.
    Use one column at a time: Audigier V et al. (2018). Multiple imputation for multilevel
    data with continuous and binary variables. Statistical Science 33, 160-183.
    """

    name: ClassVar[str] = "2l.jomo"
    summary: ClassVar[str] = "latent normals for one column of any kind, all predictors random"
    source: ClassVar[str] = "Carpenter and Kenward (2013), chapter 9; Yucel (2011)"
    kinds: ClassVar[frozenset[str]] = Jomo.kinds
    restart_iter: ClassVar[int] = 200
    set_by_column: ClassVar[frozenset[str]] = frozenset({"n_categories"})

    n_categories: int = eqx.field(default=0, static=True)
    """Number of categories, 0 for a number."""

    def for_column(self, kind: str, n_categories: int) -> "TwoLevelJomo":
        """Return the method as it imputes a column; 0 and 1 as numbers are categories too."""
        sizes = Jomo().for_columns((kind,), (n_categories,), (1,)).n_categories
        return dataclasses.replace(self, n_categories=sizes[0])

    @property
    def block(self) -> Jomo:
        """The joint method for a block of this column alone."""
        own = "common" if self.n_categories else "random"
        return Jomo(covariance=own, n_categories=(self.n_categories,), column_levels=(1,))

    def read(self, target: Target) -> tuple[jl.Data, jl.Prior]:
        """Return the data, with a random slope for all that varies, and the prior."""
        return self.block.read(as_block(target))

    def init(self, key: Key[Array, ""], sums: tuple[jl.Data, jl.Prior]) -> jl.State:
        """Return no effects, moderate covariances."""
        return self.block.init(key, sums)

    def step(
        self,
        key: Key[Array, ""],
        state: jl.State,
        sums: tuple[jl.Data, jl.Prior],
        n_steps: Int[Array, ""],
    ) -> jl.State:
        """Take Gibbs steps."""
        return self.block.step(key, state, sums, n_steps)

    def impute(self, key: Key[Array, ""], state: jl.State, target: Target) -> Float[Array, "K B"]:
        """Draw numbers, or latent normals whose category is read."""
        return self.block.impute(key, state, as_block(target))[0]


def as_block(target: Target) -> JointTarget:
    """Return a column, every predictor that varies random, as a block of its own."""
    target = all_random(target)
    fields: dict[str, Any] = {
        f.name: getattr(target, f.name, None) for f in dataclasses.fields(JointTarget)
    }
    for name in ("y", "ry", "wy", "delta", "y_scale"):
        fields[name] = fields[name][None]
    return JointTarget(**fields | {"seen": target.ry[None], "level2": jnp.zeros((1,), bool)})
