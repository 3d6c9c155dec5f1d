"""Method ``2l.lmer``: two-level normal regression, sampled or drawn around a REML fit."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.errors import ModelError
from jaxmice.estimators.meta_analysis import Residual, fit
from jaxmice.methods._fitted import as_information, draw_effects, expected_effects, flat_prior
from jaxmice.methods._two_level import TwoLevelNormal
from jaxmice.random import log_gamma, normals, wishart_shapes
from jaxmice.samplers import linear_mixed as lm
from jaxmice.samplers.sums import Sums
from jaxmice.target import Target


class TwoLevelLmer(TwoLevelNormal):
    r"""Two-level normal model with one residual variance (``2l.lmer`` in R's ``mice``).

    .. math::

        y_{ij} = x_{ij}' \beta + z_{ij}' b_j + e_{ij}, \qquad
        b_j \sim N(0, \Psi), \qquad e_{ij} \sim N(0, \sigma^2)

    for row i of cluster j. Options: ``engine``, one of ``"gibbs"`` (draws from the
    posterior of the model under Huang and Wand's prior, with the options ``inner_iter``,
    ``burnin`` and ``restart``) and ``"reml"`` (draws around a restricted-likelihood fit
    made anew at every visit: approximate, no chain); ``draw``, for the latter, one of
    ``"proper"`` (:math:`\Psi` from an inverse Wishart distribution on cluster effects
    drawn at the fit) and ``"blup"`` (on their predictions, the published rule of R).

    Missing data
    ------------
    Sporadic and systematic. A cluster without any observed value draws its effects from
    :math:`N(0, \Psi)`.

    Differences from R
    ------------------
    R draws :math:`\Psi` from the cross products of predicted effects, which are shrunken:
    the variance of systematically missing clusters comes out too small by the
    reliability of the predictions (``engine="reml", draw="blup"`` repeats it). Codes 3
    and 4 are honoured, R reads them as 1 and 2. A cluster with a single observed row is
    no special case, and neither is a singular fit.

    References
    ----------
    Jolani S, Debray TPA, Koffijberg H, van Buuren S, Moons KGM (2015). Imputation of
    systematically missing predictors in an individual participant data meta-analysis.
    Statistics in Medicine 34, 1841-1863. Jolani S (2018). Hierarchical imputation of
    systematically and sporadically missing data. Biometrical Journal 60, 333-351.
    """

    name: ClassVar[str] = "2l.lmer"
    summary: ClassVar[str] = "two-level normal, one residual variance; sampled, or around a fit"
    source: ClassVar[str] = "Jolani et al. (2015); Jolani (2018)"
    priors: ClassVar[tuple[str, ...]] = ("hw",)
    restart_iter: ClassVar[int] = 200
    by_cluster: ClassVar[bool] = False

    engine: str = eqx.field(default="gibbs", static=True)
    """``"gibbs"``, or ``"reml"`` for draws around a fit."""

    draw: str = eqx.field(default="proper", static=True)
    """How the ``"reml"`` engine draws Psi: ``"proper"`` or ``"blup"``."""

    def __check_init__(self) -> None:
        """Refuse values that no visit could use."""
        for option, value, known in (
            ("engine", self.engine, ("gibbs", "reml")),
            ("draw", self.draw, ("proper", "blup")),
        ):
            if value not in known:
                offered = " or ".join(map(repr, known))
                raise ModelError("E51", f"{self.name}: {option} must be {offered}, got {value!r}")

    def check(self, n_random: int, n_observed_clusters: int, where: str) -> None:
        """Raise a `ModelError` where the inverse Wishart draw of a fit does not exist."""
        if self.engine == "reml" and n_observed_clusters < n_random:
            message = (
                f"{where}: engine 'reml' needs at least {n_random} clusters with observed "
                f"values for {n_random} random effects, found {n_observed_clusters}; "
                "use engine='gibbs'"
            )
            raise ModelError("E16", message)

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
        """Take Gibbs steps, or draw around the fit."""
        if self.engine == "gibbs":
            return lm.run(key, state, *sums, n_steps)
        return draw_around_fit(key, sums[0], proper=self.draw == "proper")

    def impute(
        self, key: Key[Array, ""], state: lm.Parameters, target: Target
    ) -> Float[Array, "K B"]:
        """Draw ``y = X beta + Z b + e``."""
        return self.draw_rows(key, state.beta, state.b, jnp.sqrt(state.sigma2), target)


def draw_around_fit(key: Key[Array, ""], sums: Sums, *, proper: bool) -> lm.Parameters:
    """Draw the parameters around the restricted-likelihood fit.

    Jolani et al. (2015), section 2.3, steps 1 to 6. The effects behind the draw of Psi are
    drawn at the fit, one Gibbs cycle; R takes their expectations.
    """
    q, rows = sums.z_live.shape[0], jnp.sum(sums.n)
    df = jnp.maximum(rows - jnp.sum(sums.x_live), 1)
    fitted = fit(as_information(sums), Residual(sums.rho, df))
    sigma2_hat, J = fitted.sigma2, jnp.sum(sums.cluster_live)
    root_hat = jnp.sqrt(sigma2_hat) * fitted.root_psi
    J_psi = J if proper else jnp.sum((sums.n > 0) & sums.cluster_live)
    shapes = jnp.concatenate([wishart_shapes(J_psi.astype(df.dtype), sums.z_live), (df / 2)[None]])
    gammas = jnp.exp(log_gamma(key, jnp.asarray(1 << 16), shapes))
    sigma2 = df * sigma2_hat / (2 * gammas[-1])

    prior = flat_prior(sums)
    beta_hat, b = expected_effects(root_hat, sigma2_hat, sums, prior)
    if proper:
        z = normals(key, jnp.asarray(0), b.T.shape, b.dtype).T
        b = lm.draw_b(z, beta_hat, root_hat, sigma2_hat, sums)[1]
    z_psi = normals(key, jnp.asarray(1), (q, q), b.dtype)
    root = lm.draw_root_psi(gammas[:-1], z_psi, b, root_hat, sums, prior)
    # beta is drawn at the estimated ratio of variances, the effects at the drawn one.
    beta, _ = draw_effects(key, 2, root_hat * jnp.sqrt(sigma2 / sigma2_hat), sigma2, sums)
    z = normals(key, jnp.asarray(3), b.T.shape, b.dtype).T
    return lm.Parameters(beta, lm.draw_b(z, beta, root, sigma2, sums)[1], root, sigma2)
