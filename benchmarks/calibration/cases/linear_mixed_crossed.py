"""Normal regression with a nested and a crossed factor besides the clusters."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from benchmarks.calibration.case import Case, Made
from jaxmice.samplers import linear_mixed_crossed as crossed
from jaxmice.samplers.sums import make_sums
from jaxmice.target import Target
from tests.samplers import crossed_model as model

HIDDEN = (~model.ROWS.seen).nonzero()[0]


def target_of(y: Float[Array, " n"]) -> Target:
    """Return the target with both further factors."""
    return replace(model.ROWS.target(y), factors=model.FACTORS)


class Crossed(Case):
    """Areas crossed with the clusters, with a random slope; schools above them."""

    name = "linear_mixed_crossed"
    methods = "2l.pan, 2l.pmm with several cluster columns"
    start_from = staticmethod(crossed.start)
    kernel = staticmethod(crossed.run)
    twins = (
        "psi of a further factor misses a degree of freedom",
        "effects of a further factor from their marginal law",
        "sigma2 counts missing rows",
    )
    thin = 20

    def simulate(self, key: Key[Array, ""]) -> tuple[crossed.Parameters, Float[Array, " n"]]:
        """Draw parameters and all values."""
        key_sigma, key_model = jax.random.split(key)
        sigma2 = model.SIGMA2_RATE / jax.random.gamma(key_sigma, model.SIGMA2_SHAPE)
        return model.draw_model(key_model, sigma2)

    def start(self, key: Key[Array, ""], y: Float[Array, " n"]) -> crossed.Parameters:
        """Return the sampler's own start."""
        del key
        target = target_of(y)
        return self.start_from(crossed.read(target, make_sums(target, by_cluster=False)))

    def run(
        self,
        key: Key[Array, ""],
        state: crossed.Parameters,
        y: Float[Array, " n"],
        n_steps: Int[Array, ""],
        made: Made,
    ) -> crossed.Parameters:
        """Take steps."""
        target, prior = target_of(y), model.PRIOR
        sums = make_sums(target, by_cluster=False)
        more = jnp.where(made("sigma2 counts missing rows"), float(len(HIDDEN)), 0.0)
        data = crossed.read(target, replace(sums, n=sums.n.at[0].add(more)))
        first, *rest = prior.further
        fewer = made("psi of a further factor misses a degree of freedom")
        prior = replace(prior, further=(replace(first, psi_df=first.psi_df - fewer), *rest))
        key_run, key_twin = jax.random.split(key)
        state = self.kernel(key_run, state, data, prior, n_steps)
        area, *rest = state.further
        live = data.further[0].z_live[:, None] & data.further[0].cluster_live
        marginal = area.root_psi @ jax.random.normal(key_twin, area.u.shape)
        blind = made("effects of a further factor from their marginal law")
        u = jnp.where(blind, jnp.where(live, marginal, 0), area.u)
        return replace(state, further=(replace(area, u=u), *rest))

    def impute(
        self, key: Key[Array, ""], state: crossed.Parameters, y: Float[Array, " n"]
    ) -> Float[Array, " n"]:
        """Draw the hidden values."""
        first, u = state.first, tuple(effects.u for effects in state.further)
        noise = jnp.sqrt(first.sigma2) * jax.random.normal(key, y.shape)
        drawn = model.mean_of(first.beta, first.b, u) + noise
        return jnp.where(model.ROWS.seen, y, drawn)

    def quantities(
        self, state: crossed.Parameters, y: Float[Array, " n"]
    ) -> dict[str, Float[Array, ""]]:
        """Return what is compared."""
        first, u = state.first, tuple(effects.u for effects in state.further)
        e = (y - model.mean_of(first.beta, first.b, u)) / jnp.sqrt(first.sigma2)
        log_p = -(e**2) / 2 - jnp.log(first.sigma2) / 2
        return {
            **effect_quantities(state),
            **value_quantities(y, log_p),
            "log sigma2": jnp.log(first.sigma2),
            "squared residuals": jnp.sum(jnp.where(model.ROWS.seen, e**2, 0)),
        }


def effect_quantities(state: crossed.Parameters) -> dict[str, Float[Array, ""]]:
    """Return coefficients, covariances, and effects of groups with many and with no values."""
    first, (area, school) = state.first, state.further
    return {
        "intercept": first.beta[0],
        "slope": first.beta[1],
        "log det Psi": 2 * jnp.sum(jnp.log(jnp.diag(first.root_psi))),
        "log det Psi, area": 2 * jnp.sum(jnp.log(jnp.diag(area.root_psi))),
        "log det Psi, school": 2 * jnp.sum(jnp.log(jnp.diag(school.root_psi))),
        "effect, no row": first.b[0, 1],
        "effect, area": area.u[0, 0],
        "effect, area without a value": area.u[0, 4],
        "slope, area": area.u[2, 1],
        "effect, school": school.u[0, 1],
        "cluster and school": first.b[0, 0] * school.u[0, 0],
    }


def value_quantities(
    y: Float[Array, " n"], log_p: Float[Array, " n"]
) -> dict[str, Float[Array, ""]]:
    """Return imputations, and the log likelihoods of observed and imputed values."""
    return {
        "imputed": y[HIDDEN[0]],
        "imputed less observed": jnp.mean(y[HIDDEN]) - jnp.mean(y[model.ROWS.seen]),
        "log p(observed given all)": jnp.sum(jnp.where(model.ROWS.seen, log_p, 0)),
        "log p(imputed given all)": jnp.sum(jnp.where(model.ROWS.seen, 0, log_p)),
    }


CASES = (Crossed(),)
