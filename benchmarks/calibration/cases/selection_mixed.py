"""Two-level normal selection model with variances by cluster."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float, Int, Key

from benchmarks.calibration import two_level as tl
from benchmarks.calibration.case import Case, Made
from benchmarks.calibration.cases import linear_mixed, linear_mixed_by_cluster as by_cluster
from benchmarks.calibration.cases._selection import EXPLAINS, SELECTS, SYSTEMATIC, TWINS, rows
from jaxmice.samplers import latent, linear_mixed_by_cluster as lmc, selection_mixed as sm


class SelectionMixed(Case):
    """Under inverse-Wishart priors."""

    name = "selection_mixed"
    methods = "2l.heckman"
    twins = TWINS
    thin = 20
    burnin = 200

    def simulate(self, key: Key[Array, ""]) -> tuple[sm.Parameters, Any]:
        """Draw parameters, all values and which are selected."""
        keys = jax.random.split(key, 10)
        shape = tl.ROWS.cluster.shape
        root = tl.draw_root_psi(keys[0])
        alpha = jax.random.normal(keys[1], (tl.Q + tl.F,)) * SELECTS
        a = tl.draw_effects(keys[2], root)
        selection = latent.Regression(beta=alpha, b=a, root_psi=root)
        root = tl.draw_root_psi(keys[3], df=tl.PSI_DF + 1, q=tl.Q + 1)
        beta = jax.random.normal(keys[4], (tl.Q + 1 + tl.F,)) * np.insert(EXPLAINS, tl.Q, True)
        b = tl.draw_effects(keys[5], root)
        log_a, s0, precision = by_cluster.draw_precision(keys[6:9], b.shape[1])
        outcome = lmc.Parameters(
            beta=beta, b=b, root_psi=root, precision=precision, log_a=log_a, s0=s0
        )
        state = sm.Parameters(selection, outcome)
        d, e = jax.random.normal(keys[9], (2, *shape))
        mean_s, mean_y, gamma, xi = parts(state)
        y = mean_y + gamma * d + jnp.sqrt(xi) * e
        selected = (mean_s + d > 0) & ~SYSTEMATIC
        return state, (y, selected)

    def start(self, key: Key[Array, ""], y: Any) -> sm.Parameters:
        """Return the sampler's own start."""
        del key
        return sm.start(sm.read(rows(*y)))

    def run(
        self, key: Key[Array, ""], state: sm.Parameters, y: Any, n_steps: Int[Array, ""], made: Made
    ) -> sm.Parameters:
        """Take steps."""
        data = sm.read(rows(*y, made))
        key_run, key_twin = jax.random.split(key)
        state = sm.run(key_run, state, data, make_priors(made), n_steps)
        sums = sm.no_sums(data)[1]
        b = linear_mixed.marginal_effects(key_twin, state.outcome, sums, made)
        return eqx.tree_at(lambda s: s.outcome.b, state, b)

    def impute(self, key: Key[Array, ""], state: sm.Parameters, y: Any) -> Any:
        """Draw the values that are not selected, as the method does."""
        values, selected = y
        target = rows(*y)
        drawn = sm.draw_values(key, state, target, tl.ROWS.arrange(~SYSTEMATIC).astype(bool))
        return jnp.where(selected, values, tl.by_row(drawn)), selected

    def quantities(self, state: sm.Parameters, y: Any) -> dict[str, Float[Array, ""]]:
        """Return what is compared."""
        values, selected = y
        mean_s, mean_y, gamma, xi = parts(state)
        total = jnp.sqrt(xi + gamma**2)
        e = (values - mean_y) / total
        # Given y, s has mean rho e and variance 1 - rho^2.
        rho = gamma / total
        log_p = log_ndtr((mean_s + rho * e) / jnp.sqrt(1 - rho**2)) - e**2 / 2 - jnp.log(total)
        first, second = state.selection, state.outcome
        of_s = tl.effect_quantities(first.beta, first.b, first.root_psi)
        of_y = tl.effect_quantities(second.beta, second.b, second.root_psi)
        return {
            **{f"s: {name}": value for name, value in of_s.items()},
            **{f"y: {name}": value for name, value in of_y.items()},
            **tl.value_quantities(values),
            "fixed slope of y": second.beta[-1],
            "gamma, half observed": gamma[np.flatnonzero(tl.ROWS.cluster == tl.HALF)[0]],
            "gamma, no row": gamma[np.flatnonzero(SYSTEMATIC)[0]],
            "product of covariances": second.beta[tl.Q] * second.b[tl.Q, tl.FULL],
            "log p(observed given effects)": jnp.sum(jnp.where(selected, log_p, 0)),
            "log p(hidden given effects)": jnp.sum(
                jnp.where(selected | SYSTEMATIC, 0, log_ndtr(-mean_s))
            ),
            "hidden values": jnp.sum(jnp.where(selected | SYSTEMATIC, 0, values)),
            "log precision": jnp.log(second.precision[tl.HALF]),
        }


def parts(state: sm.Parameters) -> tuple[Array, Array, Array, Array]:
    """Return the linear predictors of s and y, gamma and xi, for every row."""
    mean_s = tl.predictor(state.selection.beta, state.selection.b)
    outcome = state.outcome
    beta = jnp.delete(outcome.beta, tl.Q, assume_unique_indices=True)
    mean_y = tl.predictor(beta, outcome.b[: tl.Q])
    gamma = sm.covariance(state)[tl.ROWS.cluster]
    return mean_s, mean_y, gamma, 1 / outcome.precision[tl.ROWS.cluster]


def make_priors(made: Made) -> sm.Priors:
    """Return the priors that values are drawn from."""
    prior = linear_mixed.make_prior(None)
    wide = dataclasses.replace(
        prior,
        beta_precision=jnp.ones(tl.Q + 1 + tl.F),
        psi_df=prior.psi_df + 1,
        psi_scale=jnp.eye(tl.Q + 1),
    )
    wrong = linear_mixed.wrong_prior(wide, made)
    return sm.Priors(prior, wrong, by_cluster.make_spread(made))


CASES = (SelectionMixed(),)
