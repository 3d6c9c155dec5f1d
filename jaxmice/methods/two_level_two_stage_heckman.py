"""Method ``2l.2stage.heckman``: every cluster its own selection model."""

from dataclasses import replace
from functools import partial
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import block_diag
from jaxtyping import Array, Bool, Float, Int, Key

from jaxmice.errors import ModelError
from jaxmice.methods._fitted import (
    draw_effects,
    draw_root,
    estimate_root,
    expected_effects,
    flat_prior,
)
from jaxmice.methods._selection import TwoLevelSelected
from jaxmice.methods._two_level import all_random
from jaxmice.samplers import linear_mixed as lm, selection_two_stage as st
from jaxmice.samplers.sums import Sums
from jaxmice.target import Target

OPTIONS = {"method_est": ("reml", "mm"), "residual": ("conditional", "full")}

EFFECTS = 6
"""Counter of the draw of all parameters, after two for every covariance."""


class TwoLevelTwoStageHeckman(TwoLevelSelected):
    r"""Two-stage selection model, for values missing not at random.

    .. math::

        s_{ij} = x_{ij}' \alpha_j + d_{ij}, \qquad
        y_{ij} = x_{ij}' \beta_j + \sigma_j e_{ij}, \qquad
        \operatorname{cor}(d_{ij}, e_{ij}) = \rho_j

    for row i of cluster j, y observed where :math:`s_{ij} > 0`; d and e are standard normal.
    A binary y is 1 where its equation exceeds 0, with :math:`\sigma_j = 1`. First every
    cluster is fitted by maximum likelihood; its likelihood counts as a parabola, for two
    categories as one that has the right expectations given how clusters differ. Then
    :math:`\beta_j`, :math:`\alpha_j` and :math:`(\log \sigma_j, \operatorname{atanh} \rho_j)`
    are summarised by random-effects meta-analyses, whose covariances are drawn by a parametric
    bootstrap; then the parameters of every cluster are drawn, and its missing values given that
    they were not selected.

    Codes as for ``2l.heckman``: 1 or 2 for predictors of both equations; -3 for the selection
    only; -4 for y only. At least one predictor should have code -3.

    Options: ``method_est``: ``"reml"``, or ``"mm"`` for moments. ``systematic``:
    ``"marginal"`` draws the values of a cluster that has none from the distribution of y;
    ``"nonselected"``, as published, as if each of them had not been selected. ``residual``, for
    numbers: ``"conditional"`` draws from the distribution of a value that was not selected;
    ``"full"``, as published, adds a normal residual of variance :math:`\sigma_j^2` to its
    expectation, which is too much. ``2l.heckman`` needs no normal approximation and is to
    be preferred where clusters are small. In float32, so by default on a GPU, clusters of about ten
    rows can have likelihoods too flat for the digits there are: take ``precision="float64"``.

    Missing data
    ------------
    Sporadic and systematic. The parameters of a cluster that has fewer observed values than
    two more than the equation of y has coefficients, or whose likelihood has no maximum that
    can be found, are drawn from their distribution over clusters.

    Differences from R
    ------------------
    ``micemd`` fits a cluster whose selection model fails as if values were missing at random,
    ignores covariances between the estimates of different blocks, and has the faults that
    ``systematic="nonselected"`` and ``residual="full"`` bring back. Here a weak penalty keeps
    every fit finite, and is taken out again before clusters are summarised. With two categories
    and a parabola at the maximum, effects would be drawn towards zero: here it is found once
    more where the cluster's parameters are likely, and moved for skewness.

    References
    ----------
    Munoz J, Efthimiou O, Audigier V, de Jong VMT, Debray TPA (2023). Multiple imputation of
    incomplete multilevel data using Heckman selection models. arXiv 2301.05043, section 3.

    Lindley DV (1980). Approximate Bayesian methods. Trabajos de Estadistica 31, 223-245.
    """

    name: ClassVar[str] = "2l.2stage.heckman"
    summary: ClassVar[str] = "two-stage selection model, values missing not at random"
    source: ClassVar[str] = "Munoz et al. (2023)"
    exact: ClassVar[bool] = False

    method_est: str = eqx.field(default="reml", static=True)
    """The estimator to draw around: ``"reml"`` or ``"mm"``."""

    residual: str = eqx.field(default="conditional", static=True)
    """The law of a missing number around its expectation."""

    def __check_init__(self) -> None:
        """Refuse values that no visit could use."""
        for option, known in OPTIONS.items():
            value = getattr(self, option)
            if value not in known:
                offered = " or ".join(map(repr, known))
                message = f"{self.name}: {option} must be {offered}, got {value!r}"
                raise ModelError("E51", message)

    def read(self, target: Target) -> st.Summary:
        """Return what the clusters say about their parameters."""
        target = all_random(target)
        evidence = st.fit(target, binary=self.binary)
        sums = st.summarise(evidence, target, binary=self.binary)
        if not self.binary:
            return sums
        # What 0 and 1 say is skewed: no parabola at its maximum does for effects and means.
        roots = jax.vmap(partial(estimate_root, method_est=self.method_est))(sums.blocks)
        root, whole, prior = joined(roots, sums.whole)
        beta, _ = expected_effects(root, jnp.ones((), root.dtype), whole, prior)
        evidence = st.refit(evidence, beta, root, target)
        return st.summarise(evidence, target, binary=True)

    def unfitted(self, state: st.Parameters) -> Bool[Array, "*batch J"]:
        """Return clusters without a fit of their own."""
        return ~state.fitted

    def init(self, key: Key[Array, ""], sums: st.Summary) -> st.Parameters:
        """Return no effects, which the first step does not read."""
        del key
        beta = jnp.zeros(sums.whole.x_live.shape, sums.whole.k.dtype)
        b = jnp.zeros_like(sums.whole.k)
        return st.as_parameters(beta, b, jnp.zeros_like(sums.blocks.root[..., 0]), sums.fitted)

    def step(
        self, key: Key[Array, ""], state: st.Parameters, sums: st.Summary, n_steps: Int[Array, ""]
    ) -> st.Parameters:
        """Draw around the estimates."""
        del state, n_steps
        draw = partial(draw_root, method_est=self.method_est)
        roots = jax.vmap(draw, in_axes=(None, 0, 0))(key, 2 * jnp.arange(3), sums.blocks)
        root, whole, prior = joined(roots, sums.whole)
        beta, b = draw_effects(key, EFFECTS, root, jnp.ones((), root.dtype), whole, prior)
        return st.as_parameters(beta, b, roots, sums.fitted)

    def impute(
        self, key: Key[Array, ""], state: st.Parameters, target: Target
    ) -> Float[Array, "K B"]:
        """Draw every row, given whether it was selected where its cluster shows that."""
        target, full = all_random(target), self.residual == "full" and not self.binary
        known = self.knows_selection(target)
        y = st.draw_values(key, state, target, known, full=full) + target.delta
        return (y > 0).astype(y.dtype) if self.binary else y


def joined(roots: Float[Array, "3 w w"], whole: Sums) -> tuple[Float[Array, "Q Q"], Sums, lm.Prior]:
    """Return one factor of Psi, and sums with their penalty as a prior.

    As a ridge what holds the parameters would give way with Psi.
    """
    q = (whole.k.shape[0] - 2) // 2
    root = block_diag(roots[0, :q, :q], roots[1, :q, :q], roots[2, :2, :2])
    prior = replace(flat_prior(whole), beta_precision=whole.penalty)
    return root, replace(whole, penalty=jnp.zeros_like(whole.penalty)), prior
