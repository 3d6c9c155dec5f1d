"""What the two-level methods for categories share."""

from typing import ClassVar

from jaxtyping import Array, Float, Int, Key

from jaxmice.methods._two_level import TwoLevelGibbs
from jaxmice.random import normals
from jaxmice.samplers import latent, linear_mixed as lm
from jaxmice.samplers.sums import Sums, inside_clusters, make_sums
from jaxmice.target import Target

Read = tuple[Target, Sums, lm.Prior]


class TwoLevelCategories(TwoLevelGibbs):
    """Gibbs sampling of a two-level probit regression, carried from visit to visit."""

    restart_iter: ClassVar[int] = 100
    standardised: ClassVar[bool] = False
    integral: ClassVar[bool] = True

    def read(self, target: Target) -> Read:
        """Return the target, the sums of its design and the prior.

        The latent variables are drawn row by row, so the rows are read in every step.
        """
        target = inside_clusters(target)
        return target, make_sums(target, by_cluster=False), latent.make_prior(target)


def draw_latent(
    key: Key[Array, ""], counter: Int[Array, ""], regression: latent.Regression, target: Target
) -> Float[Array, "K B"]:
    """Draw the latent variable of every row, whatever its category, with the shift asked for."""
    noise = normals(key, counter, target.y.shape, target.y.dtype)
    return latent.predictor(regression, target) + target.delta + noise
