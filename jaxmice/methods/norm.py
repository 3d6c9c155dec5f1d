"""Method ``norm``: Bayesian linear regression."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.linalg import to_blocks
from jaxmice.methods._base import Method
from jaxmice.random import normals
from jaxmice.samplers import linear
from jaxmice.samplers.sums import Sums, make_sums
from jaxmice.target import Target


class Norm(Method):
    r"""Bayesian linear regression (``norm`` in R's ``mice``).

    :math:`y = x'\beta + e` with :math:`e \sim N(0, \sigma^2)` and
    :math:`p(\beta, \sigma^2) \propto 1 / \sigma^2`. Clusters are ignored, or, with code
    1 on the cluster column, every cluster has an intercept of its own (one dummy per
    cluster, absorbed).

    Differences from R
    ------------------
    A ridge of 1e-8 (float64) of the diagonal is always there; R adds one of 1e-5 only
    when inversion fails. An integer cluster id is never used as a number.

    References
    ----------
    Rubin DB (1987). Multiple Imputation for Nonresponse in Surveys. Wiley, pages 166-167.
    """

    name: ClassVar[str] = "norm"
    summary: ClassVar[str] = "Bayesian linear regression"
    source: ClassVar[str] = "Rubin (1987), pages 166-167"
    kinds: ClassVar[frozenset[str]] = frozenset({"continuous", "integer", "binary_numeric"})
    codes: ClassVar[frozenset[int]] = frozenset({1, 3})
    cluster_codes: ClassVar[frozenset[int]] = frozenset({1})

    def read(self, target: Target) -> Sums:
        """Return the sums of the target."""
        return make_sums(target, by_cluster=False)

    def init(self, key: Key[Array, ""], sums: Sums) -> linear.Parameters:
        """Return zeros, which the first step does not read."""
        del key
        beta, b = jnp.zeros_like(sums.s), jnp.zeros_like(sums.k)
        return linear.Parameters(beta, beta, b, b, jnp.ones((), sums.s.dtype))

    def step(
        self, key: Key[Array, ""], state: linear.Parameters, sums: Sums, n_steps: Int[Array, ""]
    ) -> linear.Parameters:
        """Draw the parameters from their posterior."""
        del state, n_steps
        return linear.draw(key, sums)

    def impute(
        self, key: Key[Array, ""], state: linear.Parameters, target: Target
    ) -> Float[Array, "K B"]:
        """Draw ``y = X beta + e``."""
        noise = normals(key, jnp.zeros((), int), target.y.shape, target.y.dtype)
        return predictions(state.b, state.beta, target) + jnp.sqrt(state.sigma2) * noise


def predictions(
    b: Float[Array, "q J"], beta: Float[Array, " f"], target: Target
) -> Float[Array, "K B"]:
    """Return the fitted values of all rows."""
    effects = to_blocks(b, target.layout)
    return target.linear_predictor(effects, beta)
