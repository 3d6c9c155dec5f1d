"""Two-level probit regression of a binary variable."""

from dataclasses import replace

import jax
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float, Int, Key

from benchmarks.calibration import two_level as tl
from benchmarks.calibration.case import Case, Made
from benchmarks.calibration.cases import _latent
from benchmarks.calibration.cases.linear_mixed import make_prior, marginal_effects, wrong_prior
from jaxmice.methods.two_level_bin import TwoLevelBin
from jaxmice.samplers import latent, probit_mixed
from jaxmice.samplers.sums import make_sums


class Probit(Case):
    """Under an inverse-Wishart prior."""

    name = "probit_mixed"
    methods = "2l.bin, 2l.binary, 2l.glm.bin, 2l.2stage.bin"
    twins = _latent.TWINS
    in_suite = True

    def simulate(self, key: Key[Array, ""]) -> tuple[latent.Regression, Float[Array, " n"]]:
        """Draw effects and all values."""
        key_effects, key_y = jax.random.split(key)
        regression = _latent.draw_regression(key_effects)
        g = _latent.predictor(regression) + jax.random.normal(key_y, tl.ROWS.cluster.shape)
        return regression, (g > 0).astype(g.dtype)

    def start(self, key: Key[Array, ""], y: Float[Array, " n"]) -> latent.Regression:
        """Return the sampler's own start."""
        del key
        return latent.start(make_sums(tl.ROWS.target(y), by_cluster=False))

    def run(
        self,
        key: Key[Array, ""],
        state: latent.Regression,
        y: Float[Array, " n"],
        n_steps: Int[Array, ""],
        made: Made,
    ) -> latent.Regression:
        """Take steps."""
        target = _latent.read_rows(y, made)
        sums = make_sums(target, by_cluster=False)
        key_run, key_twin = jax.random.split(key)
        prior = wrong_prior(make_prior(None), made)
        state = probit_mixed.run(key_run, state, target, sums, prior, n_steps)
        return replace(state, b=marginal_effects(key_twin, state, sums, made))

    def impute(
        self, key: Key[Array, ""], state: latent.Regression, y: Float[Array, " n"]
    ) -> Float[Array, " n"]:
        """Draw the hidden values as the method does."""
        return tl.keep_seen(y, TwoLevelBin().impute(key, state, tl.ROWS.target(y)))

    def quantities(
        self, state: latent.Regression, y: Float[Array, " n"]
    ) -> dict[str, Float[Array, ""]]:
        """Return what is compared."""
        log_p = log_ndtr((2 * y - 1) * _latent.predictor(state))
        return {
            **tl.effect_quantities(state.beta, state.b, state.root_psi),
            **tl.value_quantities(y),
            **_latent.likelihoods(log_p),
        }


CASES = (Probit(),)
