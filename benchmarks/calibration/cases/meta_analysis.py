"""Two-level normal regression with log-normal residual variances, one per cluster."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from benchmarks.calibration import two_level as tl
from benchmarks.calibration.case import Case, Made
from benchmarks.calibration.cases.linear_mixed import make_prior, marginal_effects, wrong_prior
from jaxmice.samplers import meta_analysis as ma
from jaxmice.samplers.sums import make_sums

CENTRE_SD, HALF_T = 0.5, 0.4


class MetaAnalysis(Case):
    """Mean of the log variances normal, their deviation half-t."""

    name = "meta_analysis"
    methods = "2l.2stage.norm, 2l.2stage.pmm"
    twins = (
        "psi misses a degree of freedom",
        "beta drops its prior",
        "effects from their marginal law",
        "the centre drops its prior",
    )
    thin = 100
    burnin = 200

    def simulate(self, key: Key[Array, ""]) -> tuple[ma.Parameters, Float[Array, " n"]]:
        """Draw parameters and all values."""
        keys = jax.random.split(key, 7)
        beta = jax.random.normal(keys[0], (tl.Q + tl.F,))
        root = tl.draw_root_psi(keys[1])
        b = tl.draw_effects(keys[2], root)
        centre = CENTRE_SD * jax.random.normal(keys[3])
        deviation = HALF_T * jax.random.t(keys[4], 2.0)
        log_sigma2 = centre + deviation * jax.random.normal(keys[5], (b.shape[1],))
        noise = jax.random.normal(keys[6], tl.ROWS.cluster.shape)
        y = tl.predictor(beta, b) + jnp.exp(log_sigma2[tl.ROWS.cluster] / 2) * noise
        return ma.Parameters(beta, b, root, log_sigma2, centre, deviation**2), y

    def start(self, key: Key[Array, ""], y: Float[Array, " n"]) -> ma.Parameters:
        """Return the sampler's own start."""
        del key
        return ma.start(make_sums(tl.ROWS.target(y), by_cluster=True))

    def run(
        self,
        key: Key[Array, ""],
        state: ma.Parameters,
        y: Float[Array, " n"],
        n_steps: Int[Array, ""],
        made: Made,
    ) -> ma.Parameters:
        """Take steps."""
        precision = jnp.where(made("the centre drops its prior"), 0.0, CENTRE_SD**-2)
        variances = ma.VariancePrior(jnp.asarray(0.0), precision, jnp.asarray(HALF_T))
        sums = make_sums(tl.ROWS.target(y), by_cluster=True)
        key_run, key_twin = jax.random.split(key)
        prior = wrong_prior(make_prior(None), made)
        state = ma.run(key_run, state, sums, prior, variances, n_steps)
        return replace(state, b=marginal_effects(key_twin, state, sums, made))

    def impute(
        self, key: Key[Array, ""], state: ma.Parameters, y: Float[Array, " n"]
    ) -> Float[Array, " n"]:
        """Draw the hidden values."""
        sigma = jnp.exp(state.log_sigma2[tl.ROWS.cluster] / 2)
        drawn = tl.predictor(state.beta, state.b) + sigma * jax.random.normal(key, y.shape)
        return jnp.where(tl.ROWS.seen, y, drawn)

    def quantities(
        self, state: ma.Parameters, y: Float[Array, " n"]
    ) -> dict[str, Float[Array, ""]]:
        """Return what is compared."""
        beta, b = state.beta, state.b
        sigma = jnp.exp(state.log_sigma2[tl.ROWS.cluster] / 2)
        return {
            **tl.effect_quantities(beta, b, state.root_psi),
            **tl.value_quantities(y),
            **tl.normal_quantities(y, tl.predictor(beta, b), sigma),
            "centre": state.centre,
            "log spread": jnp.log(state.spread),
            "log variance, single row": state.log_sigma2[tl.SINGLE],
            "log variance, no row": state.log_sigma2[tl.EMPTY],
        }


CASES = (MetaAnalysis(),)
