"""Method ``norm.boot``: linear regression, its parameters from a bootstrap sample."""

from dataclasses import replace
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.methods.norm import Norm
from jaxmice.random import resample, uniforms
from jaxmice.samplers import linear
from jaxmice.samplers.sums import make_sums
from jaxmice.target import Target


class NormBoot(Norm):
    r"""Linear regression with parameters of a bootstrap sample (``norm.boot`` in R's ``mice``).

    Draws :math:`x'\hat\beta + e` with :math:`e \sim N(0, \hat\sigma^2)`, both estimated
    from as many rows as are observed, drawn from them with replacement.

    Differences from R
    ------------------
    The degrees of freedom are rows less coefficients; R counts the intercept twice.

    References
    ----------
    van Buuren S (2018). Flexible Imputation of Missing Data, 2nd edition, section 3.2.
    """

    name: ClassVar[str] = "norm.boot"
    summary: ClassVar[str] = "linear regression, parameters from a bootstrap sample"
    source: ClassVar[str] = "van Buuren (2018), section 3.2"
    cluster_codes: ClassVar[frozenset[int]] = frozenset()
    exact: ClassVar[bool] = False

    def read(self, target: Target) -> Target:  # type: ignore[override]
        """Return the target: every draw has sums of its own."""
        return target

    def init(self, key: Key[Array, ""], sums: Target) -> linear.Parameters:  # type: ignore[override]
        """Return zeros, which the first step does not read."""
        return super().init(key, make_sums(sums, by_cluster=False))

    def step(  # type: ignore[override]
        self, key: Key[Array, ""], state: linear.Parameters, sums: Target, n_steps: Int[Array, ""]
    ) -> linear.Parameters:
        """Return the estimates from a bootstrap sample."""
        del state, n_steps
        root = jnp.sqrt(times_drawn(key, sums))
        weighted = replace(
            sums,
            y=sums.y * root,
            f_shared=sums.f_shared * root,
            f_chain=sums.f_chain * root,
        )
        return linear.estimate(make_sums(weighted, by_cluster=False))


def times_drawn(key: Key[Array, ""], target: Target) -> Float[Array, "K B"]:
    """Return how often each observed row is in a sample of their number with replacement."""
    observed = jnp.ravel(target.ry)
    u = uniforms(key, jnp.zeros((), int), observed.shape, target.y.dtype)
    drawn = resample(u, jnp.arange(observed.size), observed)
    times = jnp.zeros(observed.shape, target.y.dtype).at[drawn].add(observed)
    return times.reshape(target.y.shape)
