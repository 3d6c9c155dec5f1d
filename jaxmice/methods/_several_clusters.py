"""The two-level normal regression with one or several cluster columns."""

from dataclasses import replace
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.linalg import Factor
from jaxmice.methods._fitted import expected_effects
from jaxmice.methods._matching import predictions
from jaxmice.methods._two_level import TwoLevelNormal
from jaxmice.random import normals
from jaxmice.samplers import linear_mixed as lm, linear_mixed_crossed as crossed
from jaxmice.samplers.sums import Sums
from jaxmice.target import Target

Drawn = lm.Parameters | crossed.Parameters
"""Parameters with one cluster column, or with several."""

Read = tuple[Any, Any]
"""Sums and their prior with one cluster column; else data and prior of the crossed model."""


class SeveralClusters(TwoLevelNormal):
    """Normal regression with the effects of one cluster column or of several."""

    several_clusters: ClassVar[bool] = True
    by_cluster: ClassVar[bool] = False

    def read(self, target: Target) -> Read:
        """Return the sums of the target and the prior on their scale."""
        sums, prior = super().read(target)
        if not target.factors:
            return sums, prior
        data = crossed.read(target, sums)
        pairs = zip(target.factors, data.further, strict=True)
        further = tuple(self._further_prior(*pair) for pair in pairs)
        return data, crossed.Prior(prior, further)

    def _further_prior(self, factor: Factor, sums: Sums) -> lm.Prior:
        """Return the prior of the covariance of a further factor; the rest is not read."""
        prior = crossed.half_t(sums, lm.HALF_T_SCALE)
        if self.prior == "hw":
            return prior
        scale = factor.units @ factor.units.T
        if self.prior == "pan_scaled":
            scale = jnp.eye(len(scale), dtype=scale.dtype)
        df = jnp.sum(sums.z_live).astype(scale.dtype)
        return replace(prior, half_t=None, psi_df=df, psi_scale=scale)

    def begin(self, sums: Read) -> Drawn:
        """Return no effects, and half of the residual deviation in every cluster column."""
        data = sums[0]
        return crossed.start(data) if isinstance(data, crossed.Data) else lm.start(data)

    def advance(
        self, key: Key[Array, ""], state: Drawn, sums: Read, n_steps: Int[Array, ""]
    ) -> Drawn:
        """Take Gibbs steps."""
        if isinstance(state, crossed.Parameters):
            return crossed.run(key, state, *sums, n_steps)
        return lm.run(key, state, *sums, n_steps)

    def draw(self, key: Key[Array, ""], state: Drawn, target: Target) -> Float[Array, "K B"]:
        """Draw rows given all parameters."""
        if not isinstance(state, crossed.Parameters):
            return self.draw_rows(key, state.beta, state.b, jnp.sqrt(state.sigma2), target)
        noise = normals(key, jnp.zeros((), int), target.y.shape, target.y.dtype)
        return self.fitted(state, target) + jnp.sqrt(state.first.sigma2) * noise

    def expected(self, state: Drawn, sums: Read) -> Drawn:
        """Return the parameters with the effects expected given their variances."""
        if isinstance(state, crossed.Parameters):
            return crossed.expected(state, *sums)
        beta, b = expected_effects(state.root_psi, state.sigma2, *sums)
        return replace(state, beta=beta, b=b)

    def fitted(self, state: Drawn, target: Target) -> Float[Array, "K B"]:
        """Return the expected value of all rows, given all effects."""
        if isinstance(state, crossed.Parameters):
            return crossed.fitted(state, target)
        return predictions(state.beta, state.b, target)
