"""Bayesian linear regression under its improper prior, on rows and on clusters.

Ranks among its draws are exact for any fixed truth: beta and log sigma form a group, and
the prior is the one that is invariant under it. So no prior is drawn from.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from benchmarks.calibration import two_level as tl
from benchmarks.calibration.case import Case, Made
from jaxmice.methods.norm import Norm
from jaxmice.methods.two_level_only_norm import TwoLevelOnlyNorm
from jaxmice.samplers import linear
from jaxmice.target import Target
from tests.samplers.rows import Rows, ragged

BETA, SIGMA = (1.0, -0.5, 2.0), 0.8


class Linear(Case):
    """Of independent draws, a fixed truth."""

    name = "linear"
    methods = "norm, norm.nob, pmm"
    twins = ("sigma2 has a degree of freedom too many", "beta is not drawn")
    burnin, thin, n_steps = 1, 1, 0

    method = Norm()
    rows = ragged(tl.SIZES, tl.SEEN, 0, 3, seed=4, filled=(0, 0), n_shared=(0, 2))

    def __init__(self) -> None:
        """Lay out the units, which are rows or clusters."""
        rows, unit = self.rows, self.unit_of(self.rows)
        present, first = np.unique(unit, return_index=True)
        self.unit, self.first = np.searchsorted(present, unit), first
        share = (self.unit[None] == np.arange(len(present))[:, None]).astype(float)
        self.design = share @ rows.X / share.sum(axis=1, keepdims=True)
        self.seen = share @ rows.seen > 0
        self.hidden = np.flatnonzero(~self.seen)

    def unit_of(self, rows: Rows) -> np.ndarray:
        """Return the unit of every row."""
        return np.arange(len(rows.cluster))

    def target(self, y: Float[Array, " n"]) -> Target:
        """Return the rows of the units."""
        return self.rows.target(y[self.unit])

    def simulate(self, key: Key[Array, ""]) -> tuple[linear.Parameters, Float[Array, " n"]]:
        """Draw all values from one truth."""
        y = jnp.asarray(self.design) @ jnp.array(BETA)
        y = y + SIGMA * jax.random.normal(key, y.shape)
        blank = self.start(key, y)
        beta = jnp.array(BETA)
        return linear.Parameters(beta, beta, blank.b, blank.b, jnp.asarray(SIGMA**2)), y

    def start(self, key: Key[Array, ""], y: Float[Array, " n"]) -> linear.Parameters:
        """Return what no step reads."""
        return self.method.init(key, self.method.read(self.target(y)))

    def run(
        self,
        key: Key[Array, ""],
        state: linear.Parameters,
        y: Float[Array, " n"],
        n_steps: Int[Array, ""],
        made: Made,
    ) -> linear.Parameters:
        """Draw once."""
        sums = self.method.read(self.target(y))
        more = sums.n.at[0].add(made("sigma2 has a degree of freedom too many"))
        state = self.method.step(key, state, eqx.tree_at(lambda s: s.n, sums, more), n_steps)
        beta = jnp.where(made("beta is not drawn"), state.beta_hat, state.beta)
        return eqx.tree_at(lambda s: s.beta, state, beta)

    def impute(
        self, key: Key[Array, ""], state: linear.Parameters, y: Float[Array, " n"]
    ) -> Float[Array, " n"]:
        """Draw the hidden values as the method does."""
        drawn = tl.by_row(self.method.impute(key, state, self.target(y)), self.rows)
        return jnp.where(self.seen, y, drawn[self.first])

    def quantities(
        self, state: linear.Parameters, y: Float[Array, " n"]
    ) -> dict[str, Float[Array, ""]]:
        """Return what is compared; shifted and scaled with y, the order stays."""
        e = (y - jnp.asarray(self.design) @ state.beta) / jnp.sqrt(state.sigma2)
        squares = jnp.sum(jnp.where(self.seen, e**2, 0))
        deviation = jnp.log(state.sigma2) / 2
        return {
            **{f"beta {i}": state.beta[i] for i in range(len(BETA))},
            "log sigma2": jnp.log(state.sigma2),
            "imputed": y[self.hidden[0]],
            "another imputed": y[self.hidden[1]],
            "imputed less observed": jnp.mean(y[self.hidden]) - jnp.mean(y[self.seen]),
            "squared residuals": squares,
            "log p(observed given all)": -squares / 2 - jnp.sum(self.seen) * deviation,
        }


class OfClusters(Linear):
    """The same on clusters, one value for all rows of each."""

    name = "linear, of clusters"
    methods = "2lonly.norm, 2lonly.pmm"

    method = TwoLevelOnlyNorm()
    rows = ragged(
        (3, 1, 2, 4, 2, 1, 3, 2, 2, 1, 3, 2, 4, 1, 2),
        (3, 1, 2, 0, 2, 1, 1, 2, 0, 1, 3, 0, 4, 0, 2),
        0,
        3,
        seed=6,
        filled=(0, 0),
        n_shared=(0, 2),
    )

    def unit_of(self, rows: Rows) -> np.ndarray:
        """Return the cluster of every row."""
        return rows.cluster


CASES = (Linear(), OfClusters())
