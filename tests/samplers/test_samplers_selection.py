"""Draws of values that were not selected, against their law in closed form."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxmice.linalg import Layout
from jaxmice.methods import REGISTRY
from jaxmice.samplers import latent, selection_mixed as sm, selection_two_stage as st
from jaxmice.target import Selection, Target
from tests.statistics import FALSE_ALARM_RATE, adjusted_pvalue

pytestmark = pytest.mark.usefixtures("double_precision")

N = 4000
SIGMA, RHO = 1.3, 0.9
LIBRARY = {"cholesky", "eigh", "lu", "geqrf", "householder_product", "svd", "triangular_solve"}
PREDICTORS = (-40.0, -1.0, 0.0, 1.0, 40.0)
"""Linear predictors of the selection, one a cluster; the last one has no value at all."""


def target() -> Target:
    """Return clusters with an intercept; the first row of all but the last is selected."""
    J = len(PREDICTORS)
    seen = (jnp.arange(N) == 0) & (jnp.arange(J) < J - 1)[:, None]
    zero, live = jnp.zeros((J, N)), jnp.ones((J, N), bool)
    true, none = jnp.array(True), jnp.zeros((0, J, N))
    return Target(
        y=zero,
        ry=seen,
        wy=~seen,
        used=live,
        z_shared=jnp.ones((1, J, N)),
        z_chain=none,
        f_shared=none,
        f_chain=none,
        delta=zero,
        z_live=jnp.ones(1, bool),
        f_live=jnp.zeros(0, bool),
        z_intercept=true,
        f_intercept=~true,
        y_scale=jnp.ones(()),
        z_units=jnp.eye(1),
        layout=Layout(live, jnp.arange(J), jnp.ones(J, bool)),
        selection=Selection(~seen, jnp.ones(1, bool), jnp.ones(1, bool)),
    )


def law(a: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return the distribution of y / SIGMA where s = a + d is below zero.

    Beyond the range of a bivariate probability d is -a, up to a term of 1 / a.
    """
    t = np.linspace(-7, 7, 561)
    if a == -40:
        return stats.norm.cdf
    both = stats.multivariate_normal([0, 0], [[1, RHO], [RHO, 1]])
    values = both.cdf(np.stack([t, np.full_like(t, -a)], axis=1)) / stats.norm.cdf(-a)
    return lambda y: np.interp(y, t, values)


def draw(**options: str) -> np.ndarray:
    """Return draws / SIGMA of the two-stage method given its parameters, (J, N - 1)."""
    J = len(PREDICTORS)
    none, root = jnp.zeros(1), jnp.zeros((1, 1))
    state = st.Parameters(
        selection=latent.Regression(none, jnp.array([PREDICTORS]), root),
        outcome=latent.Regression(none, jnp.zeros((1, J)), root),
        gamma=jnp.full((J,), RHO * SIGMA),
        xi=jnp.full((J,), SIGMA**2 * (1 - RHO**2)),
        fitted=jnp.ones((J,), bool),
    )
    method = REGISTRY["2l.2stage.heckman"].from_options(**options)
    return np.asarray(method.impute(jax.random.key(3), state, target()))[:, 1:] / SIGMA


def test_values_follow_their_law_and_the_published_draws_do_not() -> None:
    laws = {str(a): law(a) for a in PREDICTORS[:-1]}

    def pvalues(draws: np.ndarray) -> list[float]:
        return [
            adjusted_pvalue({name: drawn}, {name: laws[name]})
            for name, drawn in zip(laws, draws, strict=False)
        ]

    right, wrong = draw(), draw(residual="full")
    assert min(pvalues(right)) * len(laws) > FALSE_ALARM_RATE
    # Far below, all rows are hidden and both are the law of y.
    assert max(pvalues(wrong)[1:]) < 1e-9
    # The shortcut has the right expectation and the whole variance.
    ratio = np.exp(stats.norm.logpdf(0) - stats.norm.logcdf(0))
    assert wrong[2].mean() == pytest.approx(-RHO * ratio, abs=4.5 / N**0.5)
    assert wrong[2].var() == pytest.approx(1, abs=4.5 * (2 / N) ** 0.5)
    assert right[2].var() == pytest.approx(1 - RHO**2 * ratio**2, abs=4.5 * (2 / N) ** 0.5)


def test_a_cluster_without_values_is_drawn_as_its_option_says() -> None:
    marginal, nonselected = draw()[-1], draw(systematic="nonselected")[-1]
    assert adjusted_pvalue({"y": marginal}, {"y": stats.norm.cdf}) > FALSE_ALARM_RATE
    # With a predictor of 40 what is left varies by the residual alone, around -40.
    assert np.isfinite(nonselected).all()
    far = stats.norm(-RHO * (40 + 1 / 40), (1 - RHO**2) ** 0.5)
    assert adjusted_pvalue({"y": nonselected}, {"y": far.cdf}) > FALSE_ALARM_RATE
    shortcut = draw(systematic="nonselected", residual="full")[-1]
    assert shortcut.mean() == pytest.approx(far.mean(), abs=4.5 / N**0.5)


def test_two_categories_have_their_probability() -> None:
    a, m, rows = 0.7, 0.4, target()
    means = jnp.full(rows.y.shape, a), jnp.full(rows.y.shape, m)
    scalars = jnp.full((1, 1), RHO), jnp.full((1, 1), 1 - RHO**2)
    drawn = sm.draw_selected(jax.random.key(1), means, *scalars, rows, jnp.array([[True]]))
    share = np.asarray(drawn > 0)[:, 1:].mean()
    both = stats.multivariate_normal([0, 0], [[1, -RHO], [-RHO, 1]]).cdf([m, -a])
    expected = both / stats.norm.cdf(-a)
    error = (expected * (1 - expected) / (len(PREDICTORS) * (N - 1))) ** 0.5
    assert share == pytest.approx(expected, abs=4.5 * error)


@pytest.mark.parametrize("option", ["method_est", "residual", "systematic"])
def test_values_that_an_option_does_not_have_are_refused(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} must be"):
        REGISTRY["2l.2stage.heckman"].from_options(**{option: "other"})


def library_calls(jaxpr: Any) -> list[str]:
    """Return the factorisations that are left to the library, those inside of loops too."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name in LIBRARY:
            found.append(equation.primitive.name)
        for inner in jax.tree.leaves(list(equation.params.values())):
            if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                found += library_calls(getattr(inner, "jaxpr", inner))
    return found


@pytest.mark.parametrize("kind", ["continuous", "binary"])
def test_two_library_calls_never_wait_for_each_other(kind: str) -> None:
    """Two at once, each over a large batch, wait forever on a machine with two processors."""
    method = REGISTRY["2l.2stage.heckman"]().for_column(kind, 2)
    fit = jax.make_jaxpr(partial(st.fit, binary=method.binary))(target())
    read = jax.make_jaxpr(method.read)(target())

    of_one_fit = ["eigh", "eigh"]  # the search, then what it found
    assert library_calls(fit.jaxpr) == of_one_fit
    # Between two fits there is a single matrix of every block, that one needs the other for.
    between = ["eigh"] if method.binary else []
    assert library_calls(read.jaxpr) == of_one_fit + between + of_one_fit * method.binary
