"""Bayesian linear regression under its improper prior.

Ranks among its draws are exact for any fixed truth: beta and log sigma form a group, and
the prior is the one that is invariant under it. So no prior is drawn from.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from benchmarks.calibration import two_level as tl
from benchmarks.calibration.case import Case, Made
from jaxmice.methods.norm import Norm
from jaxmice.samplers import linear
from jaxmice.samplers.sums import make_sums
from tests.samplers.rows import ragged

BETA, SIGMA = (1.0, -0.5, 2.0), 0.8
ROWS = ragged(tl.SIZES, tl.SEEN, 0, 3, seed=4, filled=(0, 0), n_shared=(0, 2))
HIDDEN = (~ROWS.seen).nonzero()[0]


class Linear(Case):
    """Of independent draws, a fixed truth."""

    name = "linear"
    methods = "norm, norm.nob, pmm"
    twins = ("sigma2 has a degree of freedom too many", "beta is not drawn")
    burnin, thin, n_steps = 1, 1, 0

    def simulate(self, key: Key[Array, ""]) -> tuple[linear.Parameters, Float[Array, " n"]]:
        """Draw all values from one truth."""
        beta, none = jnp.array(BETA), jnp.zeros((0, len(ROWS.layout.cluster_live)))
        y = jnp.asarray(ROWS.X) @ beta + SIGMA * jax.random.normal(key, ROWS.cluster.shape)
        return linear.Parameters(beta, beta, none, none, jnp.asarray(SIGMA**2)), y

    def start(self, key: Key[Array, ""], y: Float[Array, " n"]) -> linear.Parameters:
        """Return what no step reads."""
        return Norm().init(key, make_sums(ROWS.target(y), by_cluster=False))

    def run(
        self,
        key: Key[Array, ""],
        state: linear.Parameters,
        y: Float[Array, " n"],
        n_steps: Int[Array, ""],
        made: Made,
    ) -> linear.Parameters:
        """Draw once."""
        sums = make_sums(ROWS.target(y), by_cluster=False)
        more = sums.n.at[0].add(made("sigma2 has a degree of freedom too many"))
        state = Norm().step(key, state, eqx.tree_at(lambda s: s.n, sums, more), n_steps)
        beta = jnp.where(made("beta is not drawn"), state.beta_hat, state.beta)
        return eqx.tree_at(lambda s: s.beta, state, beta)

    def impute(
        self, key: Key[Array, ""], state: linear.Parameters, y: Float[Array, " n"]
    ) -> Float[Array, " n"]:
        """Draw the hidden values as the method does."""
        return jnp.where(ROWS.seen, y, tl.by_row(Norm().impute(key, state, ROWS.target(y)), ROWS))

    def quantities(
        self, state: linear.Parameters, y: Float[Array, " n"]
    ) -> dict[str, Float[Array, ""]]:
        """Return what is compared; shifted and scaled with y, the order stays."""
        e = (y - jnp.asarray(ROWS.X) @ state.beta) / jnp.sqrt(state.sigma2)
        squares = jnp.sum(jnp.where(ROWS.seen, e**2, 0))
        return {
            **{f"beta {i}": state.beta[i] for i in range(len(BETA))},
            "log sigma2": jnp.log(state.sigma2),
            "imputed": y[HIDDEN[0]],
            "another imputed": y[HIDDEN[1]],
            "imputed less observed": jnp.mean(y[HIDDEN]) - jnp.mean(y[ROWS.seen]),
            "squared residuals": squares,
            "log p(observed given all)": -squares / 2
            - jnp.sum(ROWS.seen) / 2 * jnp.log(state.sigma2),
        }


CASES = (Linear(),)
