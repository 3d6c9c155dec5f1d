"""Two-level normal regression with a residual variance of its own in every cluster."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from benchmarks.calibration import two_level as tl
from benchmarks.calibration.case import Case, Made
from benchmarks.calibration.cases.linear_mixed import make_prior, marginal_effects, wrong_prior
from jaxmice.methods.two_level_norm import TwoLevelNorm
from jaxmice.samplers import linear_mixed_by_cluster as lmc
from jaxmice.samplers.sums import make_sums

# theta = 1 / (2 a), log theta ~ N(-1, 0.5^2); s0 ~ Gamma(8, 8).
LOG_A_MEAN, LOG_A_SD, S0 = float(1 - jnp.log(2)), 0.5, 8.0


def draw_precision(keys: Key[Array, "3"], J: int) -> tuple[Array, Array, Array]:
    """Draw log a, s0 and the residual precision of every cluster from their prior."""
    log_a = LOG_A_MEAN + LOG_A_SD * jax.random.normal(keys[0])
    a, s0 = jnp.exp(log_a), jax.random.gamma(keys[1], S0) / S0
    return log_a, s0, jax.random.gamma(keys[2], a, (J,)) / (a * s0)


def make_spread(made: Made) -> lmc.SpreadPrior:
    """Return the prior of a and s0."""
    shape = S0 + made("s0 has one too many")
    values = (1.0, 0.0, LOG_A_MEAN, LOG_A_SD**-2, shape, S0)
    return lmc.SpreadPrior(*(jnp.asarray(value, float) for value in values))


class ByCluster(Case):
    """With the prior of the spread of variances."""

    name = "linear_mixed_by_cluster"
    methods = "2l.norm"
    twins = (
        "psi misses a degree of freedom",
        "beta drops its prior",
        "effects from their marginal law",
        "s0 has one too many",
    )
    thin = 20
    burnin = 200
    in_suite = True

    def simulate(self, key: Key[Array, ""]) -> tuple[lmc.Parameters, Float[Array, " n"]]:
        """Draw parameters and all values."""
        keys = jax.random.split(key, 7)
        beta = jax.random.normal(keys[0], (tl.Q + tl.F,))
        root = tl.draw_root_psi(keys[1])
        b = tl.draw_effects(keys[2], root)
        log_a, s0, precision = draw_precision(keys[3:6], b.shape[1])
        noise = jax.random.normal(keys[6], tl.ROWS.cluster.shape)
        y = tl.predictor(beta, b) + precision[tl.ROWS.cluster] ** -0.5 * noise
        return lmc.Parameters(
            beta=beta, b=b, root_psi=root, precision=precision, log_a=log_a, s0=s0
        ), y

    def start(self, key: Key[Array, ""], y: Float[Array, " n"]) -> lmc.Parameters:
        """Return the sampler's own start."""
        del key
        return lmc.start(make_sums(tl.ROWS.target(y), by_cluster=True))

    def run(
        self,
        key: Key[Array, ""],
        state: lmc.Parameters,
        y: Float[Array, " n"],
        n_steps: Int[Array, ""],
        made: Made,
    ) -> lmc.Parameters:
        """Take steps."""
        spread = make_spread(made)
        sums = make_sums(tl.ROWS.target(y), by_cluster=True)
        key_run, key_twin = jax.random.split(key)
        prior = wrong_prior(make_prior(None), made)
        state = lmc.run(key_run, state, sums, prior, spread, n_steps)
        b = marginal_effects(key_twin, state, sums, made)
        return eqx.tree_at(lambda s: s.b, state, b)

    def impute(
        self, key: Key[Array, ""], state: lmc.Parameters, y: Float[Array, " n"]
    ) -> Float[Array, " n"]:
        """Draw the hidden values as the method does."""
        return tl.keep_seen(y, TwoLevelNorm().impute(key, state, tl.ROWS.target(y)))

    def quantities(
        self, state: lmc.Parameters, y: Float[Array, " n"]
    ) -> dict[str, Float[Array, ""]]:
        """Return what is compared."""
        beta, b, root = state.beta, state.b, state.root_psi
        sigma = state.precision[tl.ROWS.cluster] ** -0.5
        return {
            **tl.effect_quantities(beta, b, root),
            **tl.value_quantities(y),
            **tl.normal_quantities(y, tl.predictor(beta, b), sigma),
            "log a": state.log_a,
            "log s0": jnp.log(state.s0),
            "log precision, single row": jnp.log(state.precision[tl.SINGLE]),
            "log precision, no row": jnp.log(state.precision[tl.EMPTY]),
            "log p(observed given parameters)": tl.marginal_log_density(y, beta, root, sigma**2),
        }


CASES = (ByCluster(),)
