"""Two-level multinomial probit regression of an unordered variable."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from benchmarks.calibration import two_level as tl
from benchmarks.calibration.case import Case, Made
from benchmarks.calibration.cases import _latent
from benchmarks.calibration.cases.linear_mixed import make_prior, marginal_effects, wrong_prior
from jaxmice.samplers import latent, nominal_mixed as nm
from jaxmice.samplers.sums import make_sums

C = 2


def categories() -> nm.Categories:
    """Return three categories that all count as seen, whatever the few rows show."""
    return nm.Categories(reference=jnp.asarray(0), seen=jnp.ones(C, bool))


def draw_values(
    key: Key[Array, ""], regressions: latent.Regression
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Return the category of every row and the largest of its latent values, the winner."""
    eta = jax.vmap(_latent.predictor)(regressions)
    g = jnp.concatenate([jnp.zeros_like(eta[:1]), eta + jax.random.normal(key, eta.shape)])
    return jnp.argmax(g, axis=0).astype(g.dtype), jnp.max(g, axis=0)


class Nominal(Case):
    """Three categories."""

    name = "nominal_mixed"
    methods = "2l.nominal"
    twins = _latent.TWINS
    thin = 20

    def simulate(self, key: Key[Array, ""]) -> tuple[nm.Parameters, Float[Array, " n"]]:
        """Draw effects and all values."""
        key_effects, key_y = jax.random.split(key)
        regressions = jax.vmap(_latent.draw_regression)(jax.random.split(key_effects, C))
        y, winner = draw_values(key_y, regressions)
        winner = jnp.where(tl.ROWS.target(y).ry, tl.ROWS.arrange(winner), 0)
        return nm.Parameters(regressions, winner), y

    def start(self, key: Key[Array, ""], y: Float[Array, " n"]) -> nm.Parameters:
        """Return the sampler's own start."""
        del key
        target = tl.ROWS.target(y)
        return nm.start(target, make_sums(target, by_cluster=False), C + 1)

    def run(
        self,
        key: Key[Array, ""],
        state: nm.Parameters,
        y: Float[Array, " n"],
        n_steps: Int[Array, ""],
        made: Made,
    ) -> nm.Parameters:
        """Take steps."""
        target = _latent.read_rows(y, made)
        sums = make_sums(target, by_cluster=False)
        key_run, key_twin = jax.random.split(key)
        prior = wrong_prior(make_prior(None), made)
        state = nm.run(key_run, state, target, sums, prior, categories(), n_steps)
        keys = jax.random.split(key_twin, C)
        b = jax.vmap(lambda key, one: marginal_effects(key, one, sums, made))(
            keys, state.regressions
        )
        return replace(state, regressions=replace(state.regressions, b=b))

    def impute(
        self, key: Key[Array, ""], state: nm.Parameters, y: Float[Array, " n"]
    ) -> Float[Array, " n"]:
        """Draw the hidden values; the method would leave out categories that no row shows."""
        return jnp.where(tl.ROWS.seen, y, draw_values(key, state.regressions)[0])

    def quantities(
        self, state: nm.Parameters, y: Float[Array, " n"]
    ) -> dict[str, Float[Array, ""]]:
        """Return what is compared; category by category where the likelihood is an integral."""
        out = tl.value_quantities((y == 2).astype(state.winner.dtype))
        rows = jnp.asarray(tl.ROWS.seen)
        for k in range(C):
            one = jax.tree.map(lambda leaf, k=k: leaf[k], state.regressions)
            eta = _latent.predictor(one)
            own = tl.effect_quantities(one.beta, one.b, one.root_psi)
            own["fit"] = jnp.sum(jnp.where(rows & (y == k + 1), eta, 0))
            out |= {f"{name}, category {k + 1}": value for name, value in own.items()}
        return {**out, "winners": jnp.sum(state.winner)}


CASES = (Nominal(),)
