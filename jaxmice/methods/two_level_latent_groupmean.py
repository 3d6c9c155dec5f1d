"""Method ``2l.latentgroupmean``: the latent cluster mean of another column."""

from dataclasses import replace
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.linalg import cluster_sums, counting_rows, to_rows
from jaxmice.methods._level_two import to_all_rows
from jaxmice.methods._two_level import TwoLevelNormal
from jaxmice.methods.two_level_groupmean import check_single, in_units, predictor
from jaxmice.samplers import linear_mixed as lm
from jaxmice.samplers.sums import Sums
from jaxmice.target import Target


class TwoLevelLatentGroupmean(TwoLevelNormal):
    r"""A latent cluster mean (``2l.latentgroupmean.mcmc`` in R's ``miceadds``).

    The column with code 2, x, is seen as a measurement of its cluster mean:

    .. math::

        x_{ij} = \lambda_j + e_{ij}, \qquad \lambda_j = \bar c_j' \gamma + u_j, \qquad
        u_j \sim N(0, \psi), \qquad e_{ij} \sim N(0, \sigma^2)

    with the cluster means :math:`\bar c_j` of columns with code 1. The imputed column gets
    a draw of :math:`\lambda_j`; with ``eap=True`` its expectation given the drawn
    parameters. It need not have any observed value. Options besides: ``inner_iter``,
    ``burnin``, ``restart`` and ``prior`` (``"hw"``).

    As a predictor of y this draw, which has not seen y, understates the relation of y with
    the latent mean; it is meant for analyses in which x is the outcome.

    Differences from R
    ------------------
    The prior of the variances has no units (R: inverse gamma with 0.001). Visits go on from
    the parameters of the visit before.

    References
    ----------
    Lüdtke O, Marsh HW, Robitzsch A, Trautwein U, Asparouhov T, Muthén B (2008). The
    multilevel latent covariate model. Psychological Methods 13, 203-229.
    """

    name: ClassVar[str] = "2l.latentgroupmean"
    summary: ClassVar[str] = "latent cluster mean of the predictor with code 2"
    source: ClassVar[str] = "Lüdtke et al. (2008)"
    codes: ClassVar[frozenset[int]] = frozenset({1, 2})
    levels: ClassVar[frozenset[int]] = frozenset({1, 2})
    needs_observed: ClassVar[bool] = False
    standardised: ClassVar[bool] = False
    priors: ClassVar[tuple[str, ...]] = ("hw",)
    restart_iter: ClassVar[int] = 1000
    by_cluster: ClassVar[bool] = False

    eap: bool = eqx.field(default=False, static=True)
    """Impute the expectation instead of a draw."""

    def check(self, n_random: int, n_observed_clusters: int, where: str) -> None:
        """Raise a `ModelError` unless there is exactly one column of code 2."""
        del n_observed_clusters
        check_single(n_random, where, self.name)

    def read(self, target: Target) -> tuple[Sums, lm.Prior]:
        """Return the sums of the measured column and the prior on their scale."""
        return super().read(measured(target))

    def init(self, key: Key[Array, ""], sums: tuple[Sums, lm.Prior]) -> lm.Parameters:
        """Return no effects, and half of the residual deviation between clusters."""
        del key
        return lm.start(sums[0])

    def step(
        self,
        key: Key[Array, ""],
        state: lm.Parameters,
        sums: tuple[Sums, lm.Prior],
        n_steps: Int[Array, ""],
    ) -> lm.Parameters:
        """Take Gibbs steps."""
        return lm.run(key, state, *sums, n_steps)

    def impute(
        self, key: Key[Array, ""], state: lm.Parameters, target: Target
    ) -> Float[Array, "K B"]:
        """Give every row the latent mean of its cluster."""
        del key
        model, b = measured(target), state.b
        if self.eap:
            b = expected(state, super().read(model)[0])
        columns = jnp.concatenate([model.f_shared, model.f_chain])
        fixed = jnp.einsum("fkb,f->kb", columns, state.beta[1:])
        n = cluster_sums(model.z_shared, target.layout)
        mean = cluster_sums(fixed[None], target.layout) / jnp.maximum(n, 1)
        return to_all_rows(in_units((state.beta[0] + mean + b)[0], target), target)


def measured(target: Target) -> Target:
    """Return the two-level model of the column with code 2: an intercept and cluster means."""
    layout, dtype = target.layout, target.y.dtype
    rows = layout.row_live.astype(dtype)
    counting = counting_rows(target.used, layout).astype(dtype)
    n = jnp.maximum(cluster_sums(counting[None], layout), 1)

    def means(columns: Float[Array, "f K B"]) -> Float[Array, "f K B"]:
        return to_rows(cluster_sums(columns * counting, layout) / n, layout) * rows

    return replace(
        target,
        y=predictor(target)[0] * target.used,
        ry=target.used,
        z_shared=rows[None],
        z_chain=target.z_chain[:0],
        f_shared=means(target.f_shared),
        f_chain=means(target.f_chain),
        z_live=jnp.ones(1, bool),
        z_intercept=jnp.ones((), bool),
        f_intercept=jnp.zeros((), bool),
        z_units=jnp.eye(1, dtype=dtype),
        factors=(),
    )


def expected(state: lm.Parameters, sums: Sums) -> Float[Array, "1 J"]:
    """Return the expected effects of the clusters given all other parameters."""
    psi, root = state.root_psi[0, 0] ** 2, sums.root[0]
    rest = sums.k - lm.fitted(state.beta, sums)
    return psi * root * rest / (psi * root**2 + state.sigma2)
