"""Two-level regression of counts: Poisson, and negative binomial."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Float, Int, Key

from benchmarks.calibration import two_level as tl
from benchmarks.calibration.case import Case, Made
from benchmarks.calibration.cases import _latent
from benchmarks.calibration.cases.linear_mixed import make_prior, marginal_effects, wrong_prior
from jaxmice.methods.two_level_negbin import TwoLevelNegbin
from jaxmice.methods.two_level_pois import TwoLevelPois
from jaxmice.samplers import linear_mixed as lm, poisson_mixed as pm

BETA_SD = 0.5


def prior_of_counts() -> lm.Prior:
    """Return the prior that the cases draw from."""
    prior = make_prior(None)
    return eqx.tree_at(lambda p: p.beta_precision, prior, prior.beta_precision / BETA_SD**2)


def log_p(
    y: Float[Array, " n"], log_mean: Float[Array, " n"], log_size: Float[Array, ""] | None
) -> Float[Array, " n"]:
    """Return the log probability of every count."""
    if log_size is None:
        return y * log_mean - jnp.exp(log_mean) - gammaln(y + 1)
    size = jnp.exp(log_size)
    choose = gammaln(y + size) - gammaln(size) - gammaln(y + 1)
    return choose + y * (log_mean - log_size) - (y + size) * jnp.log1p(jnp.exp(log_mean - log_size))


class Counts(Case):
    """The prior of the size is the sampler's own."""

    twins = _latent.TWINS

    def __init__(self, name: str, methods: str, *, overdispersed: bool) -> None:
        """Choose the distribution."""
        self.name, self.methods, self.overdispersed = name, methods, overdispersed
        self.method = TwoLevelNegbin() if overdispersed else TwoLevelPois()
        self.thin = 40 if overdispersed else 20

    def simulate(self, key: Key[Array, ""]) -> tuple[pm.Parameters, Float[Array, " n"]]:
        """Draw parameters and all counts."""
        keys = jax.random.split(key, 4)
        regression = _latent.draw_regression(keys[0])
        beta, log_size = BETA_SD * regression.beta, None
        log_mean = tl.predictor(beta, regression.b)
        rate = jnp.exp(log_mean)
        if self.overdispersed:
            log_size = pm.LOG_SIZE_MEAN + pm.LOG_SIZE_SD * jax.random.normal(keys[1])
            # Beyond three and a half deviations lie the bounds of the sampler.
            log_size = jnp.clip(log_size, *pm.LOG_SIZE)
            size = jnp.exp(log_size)
            rate = rate * jnp.exp(jax.random.loggamma(keys[2], size, rate.shape) - log_size)
        y = jax.random.poisson(jax.random.key(jax.random.bits(keys[3])), rate).astype(rate.dtype)
        settled = jnp.ones((), bool)
        return pm.Parameters(beta, regression.b, regression.root_psi, log_size, settled), y

    def start(self, key: Key[Array, ""], y: Float[Array, " n"]) -> pm.Parameters:
        """Return the sampler's own start."""
        del key
        counts = pm.read(tl.ROWS.target(y), overdispersed=self.overdispersed)
        return pm.start(counts, overdispersed=self.overdispersed)

    def run(
        self,
        key: Key[Array, ""],
        state: pm.Parameters,
        y: Float[Array, " n"],
        n_steps: Int[Array, ""],
        made: Made,
    ) -> pm.Parameters:
        """Take steps."""
        counts = pm.read(_latent.read_rows(y, made), overdispersed=self.overdispersed)
        key_run, key_twin = jax.random.split(key)
        state = pm.run(key_run, state, counts, wrong_prior(prior_of_counts(), made), n_steps)
        return replace(state, b=marginal_effects(key_twin, state, counts.sums, made))

    def impute(
        self, key: Key[Array, ""], state: pm.Parameters, y: Float[Array, " n"]
    ) -> Float[Array, " n"]:
        """Draw the hidden values as the method does."""
        return tl.keep_seen(y, self.method.impute(key, state, tl.ROWS.target(y)))

    def quantities(
        self, state: pm.Parameters, y: Float[Array, " n"]
    ) -> dict[str, Float[Array, ""]]:
        """Return what is compared."""
        beta, b = state.beta, state.b
        size = {} if state.log_size is None else {"log size": state.log_size}
        return {
            **tl.effect_quantities(beta, b, state.root_psi),
            **tl.value_quantities(y),
            **_latent.likelihoods(log_p(y, tl.predictor(beta, b), state.log_size)),
            **size,
        }


CASES = (
    Counts("poisson_mixed", "2l.pois, 2l.glm.pois, 2l.2stage.pois", overdispersed=False),
    Counts("poisson_mixed, negative binomial", "2l.negbin", overdispersed=True),
)
