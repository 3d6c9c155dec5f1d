"""Method ``heckman``: a selection model."""

import dataclasses
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxmice.estimators import selection as se
from jaxmice.linalg import Layout, eliminate, solve_lower_transposed
from jaxmice.methods._selection import Selected
from jaxmice.random import normals
from jaxmice.samplers import selection_mixed as sm, selection_two_stage as st
from jaxmice.target import Target


class Posterior(NamedTuple):
    """A normal approximation to the posterior of theta, in canonical form."""

    precision: Float[Array, "D D"]
    linear: Float[Array, " D"]
    """Precision times mean."""

    live: Bool[Array, " D"]
    """Parameters that the model has; the others are zero."""


class Heckman(Selected):
    r"""Selection model, for values missing not at random.

    .. math::

        s_i = x_i' \alpha + d_i, \qquad y_i = x_i' \beta + \sigma e_i, \qquad
        \operatorname{cor}(d_i, e_i) = \rho

    for row i, y observed where :math:`s_i > 0`; d and e are standard normal. A binary y is 1
    where its equation exceeds 0, with :math:`\sigma = 1`. The parameters
    :math:`(\beta, \alpha, \log \sigma, \operatorname{atanh} \rho)` are drawn from the normal
    approximation around the maximum of their likelihood, which a weak penalty keeps finite: a
    normal prior of deviation 1.5 for :math:`\operatorname{atanh} \rho`, and of 32 for the others,
    with numbers in units of their standard deviation. A missing value is drawn given that it was
    not selected, from the extended skew-normal distribution that follows.

    Codes: 1 for predictors of both equations; -3 for the selection only; -4 for y only. At least
    one predictor should have code -3: without it the data tell selection from y by the shape of
    distributions only. Clusters are ignored; see ``2l.heckman`` for a model of them.

    Missing data
    ------------
    Without two rows more than the equation of y has coefficients, or where no maximum can be
    found, there is no fit, and the run stops.

    Differences from R
    ------------------
    Not in ``mice``. The package ``miceMNAR`` of the authors below has names of its own, one for
    each kind of column.

    References
    ----------
    Heckman JJ (1979). Sample selection bias as a specification error. Econometrica 47, 153-161.
    Use for imputation: Galimard JE, Chevret S, Curis E, Resche-Rigon M (2018). Heckman imputation
    models for binary or continuous MNAR outcomes and MAR predictors. BMC Medical Research
    Methodology 18, 90.
    """

    name: ClassVar[str] = "heckman"
    summary: ClassVar[str] = "selection model, values missing not at random"
    source: ClassVar[str] = "Heckman (1979); Galimard et al. (2018)"
    codes: ClassVar[frozenset[int]] = frozenset({1, -3, -4})
    exact: ClassVar[bool] = False
    regularised: ClassVar[bool] = False
    bad_draws: ClassVar[str] = (
        "the selection model has no fit: too few observed values, or a likelihood without a "
        "maximum that can be found; use fewer predictors, and one of the selection only (code -3)"
    )

    def read(self, target: Target) -> Posterior:
        """Return the approximation around the maximum; numbers that are none without a fit."""
        rows = st.rows_of(one_cluster(target))
        live, precision = se.weak_prior(rows, binary=self.binary)
        evidence = se.fit(rows, binary=self.binary)
        information = evidence.information[..., 0] + jnp.diag(precision)
        linear = jnp.where(evidence.fitted[0], evidence.linear[:, 0], jnp.nan)
        return Posterior(information, linear, live)

    def init(self, key: Key[Array, ""], sums: Posterior) -> Float[Array, " D"]:
        """Return zeros, which the first step does not read."""
        del key
        return jnp.zeros_like(sums.linear)

    def step(
        self,
        key: Key[Array, ""],
        state: Float[Array, " D"],
        sums: Posterior,
        n_steps: Int[Array, ""],
    ) -> Float[Array, " D"]:
        """Draw the parameters, in the order of `jaxmice.estimators.selection`."""
        del n_steps
        lower, half = eliminate(sums.precision, sums.linear[:, None])
        z = normals(key, jnp.zeros((), int), state.shape, state.dtype)
        return jnp.where(sums.live, solve_lower_transposed(lower, half + z[:, None])[:, 0], 0)

    def impute(
        self, key: Key[Array, ""], state: Float[Array, " D"], target: Target
    ) -> Float[Array, "K B"]:
        """Draw every row without a value given that it was not selected."""
        target = one_cluster(target)
        beta, alpha = jnp.split(state[:-2, None], 2)
        means = sm.combine(target, alpha), sm.combine(target, beta)
        sigma, atanh_rho = jnp.exp(state[-2:-1, None]), state[-1:, None]
        gamma, xi = sigma * jnp.tanh(atanh_rho), (sigma / jnp.cosh(atanh_rho)) ** 2
        known = jnp.ones((1, 1), bool)
        y = sm.draw_selected(key, means, gamma, xi, target, known) + target.delta
        # Where there was no fit, a category is no number either.
        return jnp.heaviside(y, 0) if self.binary else y


def one_cluster(target: Target) -> Target:
    """Return the target with all rows in one cluster."""
    layout, one = target.layout, jnp.ones((1,), bool)
    everything = Layout(layout.row_live, jnp.zeros_like(layout.block_cluster), one)
    return dataclasses.replace(target, layout=everything)
