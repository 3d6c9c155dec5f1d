"""Two-level normal regression with one residual variance."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from benchmarks.calibration import two_level as tl
from benchmarks.calibration.case import Case, Made
from jaxmice.methods.two_level_pan import TwoLevelPan
from jaxmice.samplers import linear_mixed as lm
from jaxmice.samplers.sums import Sums, make_sums


def make_prior(half_t: Float[Array, " q"] | None) -> lm.Prior:
    """Return the prior that the cases draw from."""
    return lm.Prior(
        sigma2_df=jnp.asarray(tl.SIGMA2_DF),
        sigma2_rate=jnp.asarray(tl.SIGMA2_RATE),
        beta_precision=jnp.ones(tl.Q + tl.F),
        psi_df=jnp.asarray(float(tl.PSI_DF)),
        psi_scale=jnp.eye(tl.Q),
        half_t=half_t,
    )


def wrong_prior(prior: lm.Prior, made: Made) -> lm.Prior:
    """Return the prior with mistakes that every sampler of this family can make."""
    precision = jnp.where(made("beta drops its prior"), 0, prior.beta_precision)
    df = prior.psi_df - made("psi misses a degree of freedom")
    return eqx.tree_at(lambda p: (p.beta_precision, p.psi_df), prior, (precision, df))


def marginal_effects(
    key: Key[Array, ""], state: Any, sums: Sums, made: Made
) -> Float[Array, "q J"]:
    """Return the effects, drawn as if no row of their cluster were observed by mistake."""
    z = jax.random.normal(key, state.b.shape)
    marginal = jnp.where(sums.cluster_live, state.root_psi @ z, 0)
    return jnp.where(made("effects from their marginal law"), marginal, state.b)


class LinearMixed(Case):
    """Under an inverse-Wishart prior, or that of Huang and Wand."""

    methods = "2l.pan, 2l.lmer, 2l.glm.norm, 2l.pmm"
    half_t: tuple[float, float] | None

    def __init__(self, name: str, half_t: tuple[float, float] | None) -> None:
        """Choose the prior of Psi."""
        self.name, self.half_t = name, half_t
        self.in_suite = half_t is None
        self.thin = 120 if half_t else 10
        # The degrees of freedom of Huang and Wand are no argument.
        of_psi = () if half_t else ("psi misses a degree of freedom",)
        self.twins = (
            *of_psi,
            "beta drops its prior",
            "effects from their marginal law",
            "sigma2 counts missing rows",
        )

    def simulate(self, key: Key[Array, ""]) -> tuple[lm.Parameters, Float[Array, " n"]]:
        """Draw parameters and all values."""
        keys = jax.random.split(key, 6)
        beta = jax.random.normal(keys[0], (tl.Q + tl.F,))
        if self.half_t is None:
            root = tl.draw_root_psi(keys[1])
        else:
            root = tl.draw_half_t_root_psi(keys[5], keys[1], jnp.array(self.half_t))
        b, sigma2 = tl.draw_effects(keys[2], root), tl.draw_sigma2(keys[3])
        noise = jax.random.normal(keys[4], tl.ROWS.cluster.shape)
        y = tl.predictor(beta, b) + jnp.sqrt(sigma2) * noise
        return lm.Parameters(beta=beta, b=b, root_psi=root, sigma2=sigma2), y

    def start(self, key: Key[Array, ""], y: Float[Array, " n"]) -> lm.Parameters:
        """Return the sampler's own start."""
        del key
        return lm.start(make_sums(tl.ROWS.target(y), by_cluster=False))

    def run(
        self,
        key: Key[Array, ""],
        state: lm.Parameters,
        y: Float[Array, " n"],
        n_steps: Int[Array, ""],
        made: Made,
    ) -> lm.Parameters:
        """Take steps."""
        half_t = None if self.half_t is None else jnp.array(self.half_t)
        prior = wrong_prior(make_prior(half_t), made)
        sums = make_sums(tl.ROWS.target(y), by_cluster=False)
        n = jnp.where(made("sigma2 counts missing rows"), sums.n.at[0].add(tl.N_HIDDEN), sums.n)
        key_run, key_twin = jax.random.split(key)
        state = lm.run(key_run, state, eqx.tree_at(lambda s: s.n, sums, n), prior, n_steps)
        b = marginal_effects(key_twin, state, sums, made)
        return eqx.tree_at(lambda s: s.b, state, b)

    def impute(
        self, key: Key[Array, ""], state: lm.Parameters, y: Float[Array, " n"]
    ) -> Float[Array, " n"]:
        """Draw the hidden values as the method does."""
        return tl.keep_seen(y, TwoLevelPan().impute(key, state, tl.ROWS.target(y)))

    def quantities(
        self, state: lm.Parameters, y: Float[Array, " n"]
    ) -> dict[str, Float[Array, ""]]:
        """Return what is compared."""
        beta, b, root = state.beta, state.b, state.root_psi
        sigma = jnp.full(y.shape, jnp.sqrt(state.sigma2))
        return {
            **tl.effect_quantities(beta, b, root),
            **tl.value_quantities(y),
            **tl.normal_quantities(y, tl.predictor(beta, b), sigma),
            "log sigma2": jnp.log(state.sigma2),
            "log p(observed given parameters)": tl.marginal_log_density(y, beta, root, sigma**2),
        }


CASES = (
    LinearMixed("linear_mixed, inverse Wishart", None),
    LinearMixed("linear_mixed, Huang and Wand", (0.8, 0.5)),
)
