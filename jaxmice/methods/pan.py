"""Method ``pan``: several incomplete numeric columns in one draw."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.errors import ModelError
from jaxmice.methods._two_level import TwoLevelGibbs
from jaxmice.samplers import covariance, joint_normal as jn, linear_mixed as lm
from jaxmice.target import JointTarget


class Pan(TwoLevelGibbs):
    r"""Multivariate two-level normal model of a block of columns (``pan`` in R).

    .. math::

        y_{ij} = B' x_{ij} + U_j' z_{ij} + e_{ij}, \qquad
        \mathrm{vec}\, U_j \sim N(0, \Psi), \qquad e_{ij} \sim N(0, \Sigma)

    for the vector of all columns of the block in row i of cluster j. The columns of the
    block inform each other within and between clusters; the others of the design are
    predictors. Options: ``inner_iter``, ``burnin``, ``restart`` and ``prior``, one of
    ``"hw"`` (Huang and Wand for both covariances, scaled to the data), ``"pan"`` (that of
    R's ``mitml``: :math:`\Sigma \sim IW(r, I)`, :math:`\Psi \sim IW(rq, I)` in the units
    of the data) and ``"pan_scaled"`` (the same in standardised units).

    Missing data
    ------------
    Any pattern in any row, sporadic and systematic. A row without any observed column of
    the block is imputed but not fitted.

    Differences from R
    ------------------
    The default prior has no units. Visits go on from the parameters of the visit before.
    Fixed effects are drawn with the random effects integrated out. Rows that are ignored
    are imputed, given what is observed in them.

    References
    ----------
    Schafer JL, Yucel RM (2002). Computational strategies for multivariate linear
    mixed-effects models with missing values. Journal of Computational and Graphical
    Statistics 11, 437-457, sections 2 and 3.
    """

    name: ClassVar[str] = "pan"
    summary: ClassVar[str] = "several numeric columns in one draw, two-level normal"
    source: ClassVar[str] = "Schafer and Yucel (2002), sections 2-3"
    kinds: ClassVar[frozenset[str]] = frozenset({"continuous", "integer", "binary_numeric"})
    priors: ClassVar[tuple[str, ...]] = ("hw", "pan", "pan_scaled")
    restart_iter: ClassVar[int] = 500
    joint: ClassVar[bool] = True

    prior: str = eqx.field(default="hw", static=True)
    """Name of the prior of the covariances."""

    def __check_init__(self) -> None:
        """Refuse a prior that the method does not have."""
        if isinstance(self.prior, str) and self.prior not in self.priors:
            offered = ", ".join(map(repr, self.priors))
            raise ModelError("E51", f"{self.name}: prior {self.prior!r} unknown; one of {offered}")

    def read(self, target: JointTarget) -> tuple[jn.Responses, jn.Prior]:
        """Return the responses with the sums of their predictors, and the prior."""
        fitted = jnp.any(target.ry, axis=0)
        responses = jn.make_responses(target.y, target.ry, fitted, target, by_cluster=False)
        return responses, self.make_prior(target, responses)

    def make_prior(self, target: JointTarget, responses: jn.Responses) -> jn.Prior:
        """Return the prior on the scale of the responses."""
        sums, r, dtype = responses.sums, target.y.shape[0], target.y.dtype
        d = r * sums.z_live.shape[0]
        penalty = jnp.broadcast_to(sums.penalty[:, None], (sums.x_live.shape[0], r))
        one, none = jnp.ones((), dtype), jnp.zeros_like(penalty)
        if self.prior == "hw":
            wide = jnp.full((max(d, r),), lm.HALF_T_SCALE, dtype)
            omega = covariance.simple_prior(0 * one, jnp.eye(r, dtype=dtype), wide[:r])
            psi = covariance.simple_prior(0 * one, jnp.eye(d, dtype=dtype), wide[:d])
            return jn.Prior(omega, psi, penalty, none)
        raw = self.prior == "pan"
        unit = jnp.diag(1 / target.y_scale**2) if raw else jnp.eye(r, dtype=dtype)
        effects = target.z_units @ target.z_units.T if raw else jnp.eye(d // r, dtype=dtype)
        n_random = r * jnp.sum(sums.z_live).astype(dtype)
        omega = covariance.simple_prior(r * one, unit)
        psi = covariance.simple_prior(n_random, jnp.kron(effects, unit))
        return jn.Prior(omega, psi, penalty, none)

    def init(self, key: Key[Array, ""], sums: tuple[jn.Responses, jn.Prior]) -> jn.Parameters:
        """Return no effects and moderate covariances."""
        del key
        return jn.start(sums[0], 1)

    def step(
        self,
        key: Key[Array, ""],
        state: jn.Parameters,
        sums: tuple[jn.Responses, jn.Prior],
        n_steps: Int[Array, ""],
    ) -> jn.Parameters:
        """Take Gibbs steps."""
        return jn.run(key, state, *sums, n_steps)

    def impute(
        self, key: Key[Array, ""], state: jn.Parameters, target: JointTarget
    ) -> Float[Array, "r K B"]:
        """Draw the cells to impute given the others of their row."""
        given = target.seen & ~target.wy
        return jn.impute(key, state, target.y, given, target)
