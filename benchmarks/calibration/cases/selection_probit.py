"""Two-level probit selection model."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Bool, Float, Int, Key

from benchmarks.calibration import two_level as tl
from benchmarks.calibration.case import Case, Made
from benchmarks.calibration.cases import linear_mixed
from benchmarks.calibration.cases._selection import EXPLAINS, SELECTS, SYSTEMATIC, rows
from jaxmice.samplers import selection_probit as sp

Q = 2 * tl.Q + 2
OF_Y, OF_S = np.r_[: tl.Q, Q - 1], np.r_[tl.Q : 2 * tl.Q]
"""Where the effects of y with atanh rho, and those of s, are among all; one more is unused."""

Values = tuple[Float[Array, " n"], Bool[Array, " n"]]


class SelectionProbit(Case):
    """Under inverse-Wishart priors."""

    name = "selection_probit"
    methods = "2l.heckman"
    twins = (
        "psi misses a degree of freedom",
        "beta drops its prior",
        "effects from their marginal law",
        "hidden rows are missing at random",
    )
    thin = 20
    n_draws = 31

    def simulate(self, key: Key[Array, ""]) -> tuple[sp.Parameters, Values]:
        """Draw parameters, all values and which are selected."""
        keys = jax.random.split(key, 6)
        live = np.r_[EXPLAINS[: tl.Q], SELECTS[: tl.Q], False, True]
        live = np.r_[live, EXPLAINS[tl.Q :], SELECTS[tl.Q :]]
        beta = jax.random.normal(keys[0], live.shape) * live
        root = jnp.eye(Q)
        root = root.at[np.ix_(OF_Y, OF_Y)].set(tl.draw_root_psi(keys[1], tl.PSI_DF + 1, tl.Q + 1))
        root = root.at[np.ix_(OF_S, OF_S)].set(tl.draw_root_psi(keys[2]))
        b = tl.draw_effects(keys[3], root).at[Q - 2].set(0)
        state = sp.Parameters(beta, b, root)
        d, e = jax.random.normal(keys[4], (2, *tl.ROWS.cluster.shape))
        mean_s, mean_y, rho = parts(state)
        y = mean_y + rho * d + jnp.sqrt(1 - rho**2) * e > 0
        return state, (y.astype(d.dtype), (mean_s + d > 0) & ~SYSTEMATIC)

    def start(self, key: Key[Array, ""], y: Values) -> sp.Parameters:
        """Return the sampler's own start."""
        del key
        return sp.start(sp.read(rows(*y)))

    def run(
        self,
        key: Key[Array, ""],
        state: sp.Parameters,
        y: Values,
        n_steps: Int[Array, ""],
        made: Made,
    ) -> sp.Parameters:
        """Take steps."""
        target = rows(*y)
        selection = target.selection
        assert selection is not None
        hidden = selection.hidden & ~made("hidden rows are missing at random")
        target = dataclasses.replace(
            target, selection=dataclasses.replace(selection, hidden=hidden)
        )
        data, priors = sp.read(target), make_priors(made)
        key_run, key_twin = jax.random.split(key)
        after = sp.run(key_run, state, data, priors, n_steps)
        b = linear_mixed.marginal_effects(key_twin, after, data.parabolas, made)
        return eqx.tree_at(lambda s: s.b, after, b.at[Q - 2].set(0))

    def impute(self, key: Key[Array, ""], state: sp.Parameters, y: Values) -> Values:
        """Draw the values that are not selected, as the method does."""
        values, selected = y
        known = tl.ROWS.arrange(~SYSTEMATIC).astype(bool)
        drawn = tl.by_row(sp.draw_values(key, state, rows(*y), known))
        return jnp.where(selected, values, (drawn > 0).astype(values.dtype)), selected

    def quantities(self, state: sp.Parameters, y: Values) -> dict[str, Float[Array, ""]]:
        """Return what is compared."""
        values, selected = y
        mean_s, mean_y, rho = parts(state)
        beta, b, root = state.beta, state.b, state.root_psi
        fixed_y, fixed_s = beta[Q : Q + tl.F], beta[Q + tl.F :]
        of_y = tl.effect_quantities(
            jnp.concatenate([beta[OF_Y[:-1]], fixed_y]), b[OF_Y], root[np.ix_(OF_Y, OF_Y)]
        )
        of_s = tl.effect_quantities(
            jnp.concatenate([beta[OF_S], fixed_s]), b[OF_S], root[np.ix_(OF_S, OF_S)]
        )
        log_p = log_ndtr((2 * values - 1) * mean_y)
        return {
            **{f"s: {name}": value for name, value in of_s.items()},
            **{f"y: {name}": value for name, value in of_y.items()},
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


def make_priors(made: Made) -> sp.Priors:
    """Return the priors that values are drawn from."""
    of_s = linear_mixed.make_prior(None)
    of_y = dataclasses.replace(of_s, psi_df=of_s.psi_df + 1, psi_scale=jnp.eye(tl.Q + 1))
    of_y = linear_mixed.wrong_prior(of_y, made)
    precision = jnp.where(made("beta drops its prior"), 0, jnp.ones(Q + 2 * tl.F))
    return sp.Priors(precision, of_y, of_s)


CASES = (SelectionProbit(),)
