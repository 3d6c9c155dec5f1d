"""Two-level probit selection model."""

import dataclasses
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Bool, Float, Int, Key

from benchmarks.calibration import two_level as tl
from benchmarks.calibration.case import Case, Made
from benchmarks.calibration.cases import linear_mixed
from benchmarks.calibration.cases._selection import EXPLAINS, SELECTS, SYSTEMATIC, TWINS, rows
from jaxmice.samplers import linear_mixed as lm, selection_probit as sp
from jaxmice.samplers.sums import Sums

Q = 2 * tl.Q + 2
OF_Y, OF_S, LIVE = np.r_[: tl.Q], np.r_[tl.Q : 2 * tl.Q], np.r_[: Q - 2, Q - 1]
"""Where the effects of y, of s and, with atanh rho, all that are used are."""

HALF_T = 0.5
"""Scale of the half-t priors of the deviations."""

STRETCHES = "a stretch forgets the prior of Psi"

Values = tuple[Float[Array, " n"], Bool[Array, " n"], Sums]
"""All values, which are selected, and the parabolas of the clusters, which draws do not change."""


class SelectionProbit(Case):
    """Under the priors of Huang and Wand, with which deviations are stretched."""

    name = "selection_probit"
    methods = "2l.heckman"
    # The degrees of freedom of Huang and Wand are no argument.
    twins = (*(twin for twin in TWINS if "degree of freedom" not in twin), STRETCHES)
    thin = 20

    def simulate(self, key: Key[Array, ""]) -> tuple[sp.Parameters, Values]:
        """Draw parameters, all values and which are selected."""
        keys = jax.random.split(key, 5)
        live = np.r_[EXPLAINS[: tl.Q], SELECTS[: tl.Q], False, True]
        live = np.r_[live, EXPLAINS[tl.Q :], SELECTS[tl.Q :]]
        beta = jax.random.normal(keys[0], live.shape) * live
        used = tl.draw_half_t_root_psi(keys[4], keys[1], jnp.full(Q - 1, HALF_T))
        root = jnp.eye(Q).at[np.ix_(LIVE, LIVE)].set(used)
        b = tl.draw_effects(keys[2], root).at[Q - 2].set(0)
        state = sp.Parameters(beta, b, root)
        d, e = jax.random.normal(keys[3], (2, *tl.ROWS.cluster.shape))
        mean_s, mean_y, rho = parts(state)
        y = (mean_y + rho * d + jnp.sqrt(1 - rho**2) * e > 0).astype(d.dtype)
        selected = (mean_s + d > 0) & ~SYSTEMATIC
        return state, (y, selected, sp.read(rows(y, selected)).parabolas)

    def start(self, key: Key[Array, ""], y: Values) -> sp.Parameters:
        """Return the sampler's own start."""
        del key
        return sp.start(sp.Data(rows(*y[:2]), y[2]))

    def run(
        self,
        key: Key[Array, ""],
        state: sp.Parameters,
        y: Values,
        n_steps: Int[Array, ""],
        made: Made,
    ) -> sp.Parameters:
        """Take steps."""
        data, prior = sp.Data(rows(*y[:2], made), y[2]), make_prior(made)
        key_run, key_twin, key_stretch = jax.random.split(key, 3)
        after = sp.run(key_run, state, data, prior, n_steps)
        wide = dataclasses.replace(prior, half_t=1e3 * prior.half_t)
        z = jax.random.normal(key_stretch, (len(after.beta) + Q,))
        value = sp.log_likelihood(after.beta, after.b, data.target)
        angle, bar = jnp.asarray(1.0), jnp.log(jax.random.uniform(key_twin))
        wrong, _ = sp.move_together(z, angle, bar, after, value, data, wide)
        after = jax.tree.map(partial(jnp.where, made(STRETCHES)), wrong, after)
        b = linear_mixed.marginal_effects(key_twin, after, data.parabolas, made)
        return eqx.tree_at(lambda s: s.b, after, b.at[Q - 2].set(0))

    def impute(self, key: Key[Array, ""], state: sp.Parameters, y: Values) -> Values:
        """Draw the values that are not selected, as the method does."""
        values, selected, parabolas = y
        known = tl.ROWS.arrange(~SYSTEMATIC).astype(bool)
        drawn = tl.by_row(sp.draw_values(key, state, rows(values, selected), known))
        drawn = (drawn > 0).astype(values.dtype)
        return jnp.where(selected, values, drawn), selected, parabolas

    def quantities(self, state: sp.Parameters, y: Values) -> dict[str, Float[Array, ""]]:
        """Return what is compared."""
        values, selected, _ = y
        mean_s, mean_y, rho = parts(state)
        beta, b, root = state.beta, state.b, state.root_psi
        fixed_y, fixed_s = beta[Q : Q + tl.F], beta[Q + tl.F :]
        psi = root @ root.T

        def of(at: np.ndarray, fixed: Array) -> dict[str, Array]:
            own = jnp.linalg.cholesky(psi[np.ix_(at, at)])
            return tl.effect_quantities(jnp.concatenate([beta[at], fixed]), b[at], own)

        log_p = log_ndtr((2 * values - 1) * mean_y)
        return {
            **{f"s: {name}": value for name, value in of(OF_S, fixed_s).items()},
            **{f"y: {name}": value for name, value in of(OF_Y, fixed_y).items()},
            "correlation of s and y": psi[0, tl.Q] / jnp.sqrt(psi[0, 0] * psi[tl.Q, tl.Q]),
            "log variance of atanh rho": jnp.log(psi[-1, -1]),
            **tl.value_quantities(values),
            "fixed slope of y": fixed_y[-1],
            "mean of atanh rho": beta[Q - 1],
            "rho, half observed": rho[np.flatnonzero(tl.ROWS.cluster == tl.HALF)[0]],
            "rho, no row": rho[np.flatnonzero(SYSTEMATIC)[0]],
            "product of correlations": beta[Q - 1] * b[Q - 1, tl.FULL],
            "log p(observed given effects)": jnp.sum(jnp.where(selected, log_p, 0)),
            "log p(hidden given effects)": jnp.sum(
                jnp.where(selected | SYSTEMATIC, 0, log_ndtr(-mean_s))
            ),
            "hidden values": jnp.sum(jnp.where(selected | SYSTEMATIC, 0, values)),
        }


def parts(state: sp.Parameters) -> tuple[Array, Array, Array]:
    """Return the linear predictors of s and y, and rho, for every row."""
    beta, b = state.beta, state.b
    mean_y = tl.predictor(jnp.concatenate([beta[: tl.Q], beta[Q : Q + tl.F]]), b[: tl.Q])
    mean_s = tl.predictor(jnp.concatenate([beta[OF_S], beta[Q + tl.F :]]), b[OF_S])
    return mean_s, mean_y, jnp.tanh(beta[Q - 1] + b[Q - 1])[tl.ROWS.cluster]


def make_prior(made: Made) -> lm.Prior:
    """Return the prior that values are drawn from."""
    prior = dataclasses.replace(
        linear_mixed.make_prior(None),
        beta_precision=jnp.ones(Q + 2 * tl.F),
        psi_scale=jnp.zeros((Q, Q)),
        half_t=jnp.full(Q, HALF_T),
    )
    return linear_mixed.wrong_prior(prior, made)


CASES = (SelectionProbit(),)
