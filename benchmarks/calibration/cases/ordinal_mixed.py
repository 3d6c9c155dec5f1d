"""Two-level cumulative probit regression of an ordered variable."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr
from jaxtyping import Array, Float, Int, Key

from benchmarks.calibration import two_level as tl
from benchmarks.calibration.case import Case, Made
from benchmarks.calibration.cases import _latent
from benchmarks.calibration.cases.linear_mixed import make_prior, marginal_effects, wrong_prior
from jaxmice.samplers import ordinal_mixed as om
from jaxmice.samplers.sums import make_sums

K, INNER = 4, (False, True, True, False)


def categories() -> om.Categories:
    """Return four categories that all count as seen, whatever the few rows show."""
    inner = jnp.array(INNER)
    return om.Categories(
        start=jnp.zeros(K),
        jump=0.9 * jnp.diag(inner.astype(float)),
        first=jnp.asarray(0),
        last=jnp.asarray(K - 1),
        inner=inner,
    )


def category(g: Float[Array, " n"], log_width: Float[Array, " k"]) -> Float[Array, " n"]:
    """Return the category of latent values."""
    upper = om.thresholds(log_width, categories())
    return jnp.sum(g[:, None] > upper[:-1], axis=1).astype(g.dtype)


class Ordinal(Case):
    """Four categories; the prior of the widths is the sampler's own."""

    name = "ordinal_mixed"
    methods = "2l.ordinal"
    twins = _latent.TWINS
    thin = 20

    def simulate(self, key: Key[Array, ""]) -> tuple[om.Parameters, Float[Array, " n"]]:
        """Draw effects, widths and all values."""
        key_effects, key_width, key_y = jax.random.split(key, 3)
        regression = _latent.draw_regression(key_effects)
        log_width = om.WIDTH_DEVIATION * jax.random.normal(key_width, (K,)) * jnp.array(INNER)
        g = _latent.predictor(regression) + jax.random.normal(key_y, tl.ROWS.cluster.shape)
        return om.Parameters(regression, log_width), category(g, log_width)

    def start(self, key: Key[Array, ""], y: Float[Array, " n"]) -> om.Parameters:
        """Return the sampler's own start."""
        del key
        return om.start(make_sums(tl.ROWS.target(y), by_cluster=False), categories())

    def run(
        self,
        key: Key[Array, ""],
        state: om.Parameters,
        y: Float[Array, " n"],
        n_steps: Int[Array, ""],
        made: Made,
    ) -> om.Parameters:
        """Take steps."""
        target = _latent.read_rows(y, made)
        sums = make_sums(target, by_cluster=False)
        key_run, key_twin = jax.random.split(key)
        prior = wrong_prior(make_prior(None), made)
        state = om.run(key_run, state, target, sums, prior, categories(), n_steps)
        b = marginal_effects(key_twin, state.regression, sums, made)
        return replace(state, regression=replace(state.regression, b=b))

    def impute(
        self, key: Key[Array, ""], state: om.Parameters, y: Float[Array, " n"]
    ) -> Float[Array, " n"]:
        """Draw the hidden values; the method would leave out categories that no row shows."""
        g = _latent.predictor(state.regression) + jax.random.normal(key, y.shape)
        return jnp.where(tl.ROWS.seen, y, category(g, state.log_width))

    def quantities(
        self, state: om.Parameters, y: Float[Array, " n"]
    ) -> dict[str, Float[Array, ""]]:
        """Return what is compared."""
        upper = om.thresholds(state.log_width, categories())
        edges = jnp.concatenate([jnp.array([-jnp.inf]), upper])
        eta, at = _latent.predictor(state.regression), y.astype(int)
        low, high = edges[at] - eta, edges[at + 1] - eta
        # From the tail on whose side the interval lies.
        flip = low > 0
        low, high = jnp.where(flip, -high, low), jnp.where(flip, -low, high)
        log_p = jnp.log(jnp.maximum(ndtr(high) - ndtr(low), 1e-300))
        regression = state.regression
        return {
            **tl.effect_quantities(regression.beta, regression.b, regression.root_psi),
            **tl.value_quantities(y),
            **_latent.likelihoods(log_p),
            "log width 1": state.log_width[1],
            "log width 2": state.log_width[2],
        }


CASES = (Ordinal(),)
