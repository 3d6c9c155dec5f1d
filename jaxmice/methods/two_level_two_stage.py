"""Methods ``2l.2stage.norm`` and ``2l.2stage.pmm``: every cluster its own regression."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.special import digamma, polygamma
from jaxtyping import Array, Float, Int, Key

from jaxmice.errors import ModelError
from jaxmice.linalg import eliminate, solve_lower_transposed, to_rows
from jaxmice.methods._fitted import draw_effects, draw_root, expected_effects, weighted
from jaxmice.methods._matching import Effects, Matching, predictions
from jaxmice.methods._two_level import TwoLevelNormal, all_random
from jaxmice.samplers import linear_mixed as lm, meta_analysis as ma
from jaxmice.samplers.sums import Sums
from jaxmice.target import Target

VARIANCE_HALF_T = 1.0
"""Scale of the half-t prior of the standard deviation of log residual variances."""

DRAWS = (16, 18, 20)
"""Counters of the draws around estimates: effects, Psi, and what belongs to variances."""


class TwoLevelTwoStageNorm(TwoLevelNormal):
    r"""Two-level normal model of meta-analyses (``2l.2stage.norm`` in R's ``micemd``).

    .. math::

        y_{ij} = x_{ij}' (\beta + b_j) + e_{ij}, \qquad b_j \sim N(0, \Psi), \qquad
        e_{ij} \sim N(0, \sigma_j^2), \qquad \log \sigma_j^2 \sim N(\lambda, \tau^2)

    for row i of cluster j: every predictor that varies inside clusters has a coefficient
    of its own in every cluster, whatever its code. A predictor that is constant inside
    clusters, a cluster mean for example, keeps one coefficient for all. Option
    ``method_est``: ``"gibbs"`` draws from the posterior of this model (under Huang and
    Wand's priors of :math:`\Psi` and :math:`\tau`; with the options ``inner_iter``,
    ``burnin`` and ``restart``); ``"reml"`` and ``"mm"`` (moments) summarise every cluster
    first, then estimate :math:`\lambda, \tau^2` and :math:`\Psi` from the summaries, and
    draw them by a parametric bootstrap: approximate, no chain.

    Missing data
    ------------
    Sporadic and systematic. No cluster is too small to be used: a cluster with fewer rows
    than coefficients tells what it can about them.

    Differences from R
    ------------------
    R sets clusters with few rows aside, multiplies the precision of every cluster by the
    number of clusters (it takes the cross products of all rows), uses 2 / (df - 4) for the
    variance of a log variance, whose bias it ignores, and with ``"mm"``, its default, draws
    no :math:`\Psi`. Here the variance is trigamma(df / 2) and the bias is removed.

    References
    ----------
    Resche-Rigon M, White IR (2018). Multiple imputation by chained equations for
    systematically and sporadically missing multilevel data. Statistical Methods in
    Medical Research 27, 1634-1649. Jackson D, White IR, Riley RD (2013). A matrix-based
    method of moments for fitting the multivariate random effects model for meta-analysis
    and meta-regression. Biometrical Journal 55, 231-245.
    """

    name: ClassVar[str] = "2l.2stage.norm"
    summary: ClassVar[str] = "two-level normal, all slopes random, a residual variance per cluster"
    source: ClassVar[str] = "Resche-Rigon and White (2018)"
    priors: ClassVar[tuple[str, ...]] = ("hw",)
    restart_iter: ClassVar[int] = 200
    by_cluster: ClassVar[bool] = True

    method_est: str = eqx.field(default="gibbs", static=True)
    """``"gibbs"``, or the estimator to draw around: ``"reml"`` or ``"mm"``."""

    def __check_init__(self) -> None:
        """Refuse values that no visit could use."""
        if self.method_est not in ("gibbs", "reml", "mm"):
            message = f"method_est must be 'gibbs', 'reml' or 'mm', got {self.method_est!r}"
            raise ModelError("E51", f"{self.name}: {message}")

    def read(self, target: Target) -> tuple[Sums, lm.Prior]:
        """Return the sums of the target with all slopes random, and the prior."""
        return super().read(all_random(target))

    def init(self, key: Key[Array, ""], sums: tuple[Sums, lm.Prior]) -> ma.Parameters:
        """Return no effects, variances near those that the clusters show."""
        del key
        return ma.start(sums[0])

    def step(
        self,
        key: Key[Array, ""],
        state: ma.Parameters,
        sums: tuple[Sums, lm.Prior],
        n_steps: Int[Array, ""],
    ) -> ma.Parameters:
        """Take Gibbs steps, or draw around the estimates."""
        if self.method_est == "gibbs":
            zero = jnp.zeros((), sums[0].k.dtype)
            prior = ma.VariancePrior(zero, zero, zero + VARIANCE_HALF_T)
            return ma.run(key, state, *sums, prior, n_steps)
        return draw_around_estimates(key, sums[0], self.method_est)

    def impute(
        self, key: Key[Array, ""], state: ma.Parameters, target: Target
    ) -> Float[Array, "K B"]:
        """Draw ``y = X (beta + b) + e`` with the variance of each cluster."""
        sigma = to_rows(jnp.exp(state.log_sigma2 / 2)[None], target.layout)[0]
        return self.draw_rows(key, state.beta, state.b, sigma, all_random(target))


class State(eqx.Module):
    """Drawn parameters, and the coefficients expected given the drawn variances."""

    drawn: ma.Parameters
    hat: Effects


class TwoLevelTwoStagePmm(Matching, TwoLevelTwoStageNorm):
    r"""Predictive mean matching on a meta-analysis (``2l.2stage.pmm`` in R's ``micemd``).

    The model and the options of ``2l.2stage.norm``; a missing value is taken from one of
    the ``donors`` observed rows, of any cluster, with the nearest predictions. Options
    ``donors`` (5), ``matchtype`` (2, a draw on both sides, as in R) and ``ties`` as for
    ``2l.pmm``.

    Missing data
    ------------
    Sporadic and systematic.

    Differences from R
    ------------------
    R finds wrong donors unless rows are sorted by cluster; besides those of
    ``2l.2stage.norm``.

    References
    ----------
    Resche-Rigon M, White IR (2018). Multiple imputation by chained equations for
    systematically and sporadically missing multilevel data. Statistical Methods in
    Medical Research 27, 1634-1649.
    """

    name: ClassVar[str] = "2l.2stage.pmm"
    summary: ClassVar[str] = "predictive mean matching, all slopes random"

    matchtype: int = eqx.field(default=2, static=True)
    """Which predictions are compared."""

    def init(self, key: Key[Array, ""], sums: tuple[Sums, lm.Prior]) -> State:  # type: ignore[override]
        """Return no effects, variances near those that the clusters show."""
        start = super().init(key, sums)
        return State(start, (start.beta, start.b))

    def step(  # type: ignore[override]
        self,
        key: Key[Array, ""],
        state: State,
        sums: tuple[Sums, lm.Prior],
        n_steps: Int[Array, ""],
    ) -> State:
        """Draw the parameters, then find the expectations."""
        drawn = super().step(key, state.drawn, sums, n_steps)
        hat = expected_effects(drawn.root_psi, jnp.exp(drawn.log_sigma2), *sums)
        return State(drawn, hat)

    def impute(  # type: ignore[override]
        self, key: Key[Array, ""], state: State, target: Target
    ) -> Float[Array, "K B"]:
        """Give every row the observed value of a donor."""
        target = all_random(target)
        drawn = predictions(state.drawn.beta, state.drawn.b, target)
        return self.match(key, predictions(*state.hat, target), drawn, target)


def draw_around_estimates(key: Key[Array, ""], sums: Sums, method_est: str) -> ma.Parameters:
    """Draw the parameters around the estimates of the two stages.

    Resche-Rigon and White (2018), section 3, with summaries in information form, so that
    no cluster is left out, and variances drawn by a parametric bootstrap.
    """
    effects, psi, variances = DRAWS
    summary = summarise_variances(sums)
    one = jnp.ones((), sums.k.dtype)
    root_tau = draw_root(key, variances, summary, method_est)
    centre, shift = draw_effects(key, variances + 2, root_tau, one, summary)
    log_sigma2 = jnp.where(sums.cluster_live, centre[0] + shift[0], 0)
    clusters = weighted(sums, jnp.exp(log_sigma2))
    root = draw_root(key, psi, clusters, method_est)
    beta, b = draw_effects(key, effects, root, one, clusters)
    return ma.Parameters(beta, b, root, log_sigma2, centre[0], root_tau[0, 0] ** 2)


def summarise_variances(sums: Sums) -> Sums:
    """Return what the clusters say about their log variances, as sums of unit variance.

    With f degrees of freedom the logarithm of the variance of a cluster has mean
    ``log sigma2 + digamma(f / 2) - log(f / 2)`` and variance ``trigamma(f / 2)``.
    """
    q = sums.z_live.shape[0]
    used = jnp.diagonal(sums.root).T > 0
    df = jnp.maximum(sums.n - jnp.sum(used, axis=0), 0)
    # What columns that are constant inside clusters leave over without a random intercept.
    told = sums.x_live[q:] & (sums.x_square[q:] > 0)
    gram = jnp.sum(sums.S, axis=-1) + jnp.diag(jnp.where(told, sums.penalty[q:], 1))
    gram = gram + jnp.diag(jnp.full(len(gram), jnp.finfo(gram.dtype).tiny ** 0.5))
    lower, half = eliminate(gram, jnp.sum(sums.s, axis=-1)[:, None], loop=True)
    beta_f = solve_lower_transposed(lower, half, loop=True)[:, 0]
    beta = jnp.concatenate([jnp.zeros((q,), gram.dtype), beta_f])
    rss = sums.rho + lm.outside(beta, sums)
    seen = (df >= 1) & (rss > 0)
    half = jnp.where(seen, df, 1) / 2
    value = jnp.log(jnp.where(seen, rss, 1) / (2 * half)) - digamma(half) + jnp.log(half)
    root = jnp.where(seen, 1 / jnp.sqrt(polygamma(1, half)), 0)
    dtype, live = root.dtype, jnp.ones((1,), bool)
    nothing = jnp.zeros((0,), dtype)
    return Sums(
        root=root[None, None],
        K=root[None, None],
        k=(root * value)[None],
        S=nothing[:, None] * nothing,
        s=nothing,
        rho=jnp.zeros((), dtype),
        n=seen.astype(dtype),
        x_square=jnp.ones((1,), dtype),
        penalty=jnp.zeros((1,), dtype),
        z_live=live,
        x_live=live,
        cluster_live=sums.cluster_live,
    )
