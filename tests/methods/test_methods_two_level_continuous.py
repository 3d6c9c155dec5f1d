"""Methods around a fit, two-stage methods and matching: what is theirs and no kernel's."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxmice.errors import ModelError
from jaxmice.methods import REGISTRY, Method
from jaxmice.methods._two_level import all_random
from jaxmice.methods.two_level_lmer import TwoLevelLmer, draw_around_fit
from jaxmice.methods.two_level_pmm import TwoLevelPmm
from jaxmice.methods.two_level_two_stage import (
    TwoLevelTwoStageNorm,
    summarise_variances,
)
from jaxmice.samplers.sums import make_sums
from jaxmice.target import Target
from tests.samplers.rows import Rows, ragged
from tests.statistics import FALSE_ALARM_RATE, bonferroni

pytestmark = pytest.mark.usefixtures("double_precision")

SIZES, SEEN = (7, 5, 3, 4, 1, 6, 0, 8), (5, 0, 2, 4, 1, 2, 0, 6)


def visit(method: Method, key: jax.Array, target: Target, n_steps: int = 100) -> Any:
    """Return the parameters that a visit draws."""
    sums = method.read(target)
    return method.step(key, method.init(key, sums), sums, jnp.asarray(n_steps))


def test_published_draw_shrinks_the_variance_between_clusters_and_ours_restores_it() -> None:
    """Balanced one-way layout, variances 0.1 and 0.9, five rows observed.

    With B = tau2 / (tau2 + sigma2 / n) = 0.36, the published rule of ``2l.lmer`` draws a
    variance of expectation ``J B tau2 / (J - 2)``, up to a few per cent since B and tau2 are
    estimates; with drawn effects B is gone. Monte Carlo error is 2 %.
    """
    J, n, n_sets, tau2, sigma2 = 200, 5, 600, 0.1, 0.9
    rows = ragged((n,) * J, (n,) * J, 1, 0, n_shared=(1, 0), block=n, filled=(0, 0))

    @jax.jit
    def drawn(keys: jax.Array) -> dict[str, jax.Array]:
        def one(key: jax.Array) -> dict[str, jax.Array]:
            key_u, key_e, key_draw = jax.random.split(key, 3)
            u = jnp.sqrt(tau2) * jax.random.normal(key_u, (J,))
            e = jnp.sqrt(sigma2) * jax.random.normal(key_e, rows.cluster.shape)
            sums = make_sums(rows.target(u[rows.cluster] + e), by_cluster=False)
            out = {}
            for rule in ("blup", "proper"):
                after = draw_around_fit(key_draw, sums, proper=rule == "proper")
                out[rule] = after.root_psi[0, 0] ** 2
            return out | {"sigma2": after.sigma2, "beta": after.beta[0]}

        return jax.vmap(one)(keys)

    found = drawn(jax.random.split(jax.random.key(1), n_sets))
    B = tau2 / (tau2 + sigma2 / n)
    mean = {name: float(values.mean()) for name, values in found.items()}
    assert mean["blup"] == pytest.approx(B * tau2 * J / (J - 2), rel=0.12)
    assert mean["proper"] == pytest.approx(tau2 * J / (J - 2), rel=0.08)
    assert mean["sigma2"] == pytest.approx(sigma2, rel=0.01)
    # Estimate and draw each add the variance of a mean.
    assert np.var(found["beta"]) == pytest.approx(2 * (tau2 + sigma2 / n) / J, rel=0.25)


def test_log_variances_are_summarised_without_bias() -> None:
    """4 to 50 degrees of freedom, clusters too small left to the others.

    A t-test of the mean and a chi-square test of the variance for each size. Leaving the
    bias in, as R does, is seen.
    """
    df = np.array([4, 5, 8, 20, 50])
    sizes = (*(df + 2), 2, 1, 0)
    rows = ragged(sizes, sizes, 2, 0, n_shared=(2, 0), filled=(1, 0))
    sigma2 = 0.5 + np.arange(len(sizes))
    n_sets = 4_000

    @jax.jit
    def summaries(keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
            noise = jax.random.normal(key, rows.cluster.shape)
            y = jnp.asarray(rows.X @ [3.0, 1.0]) + jnp.asarray(sigma2**0.5)[rows.cluster] * noise
            found = summarise_variances(make_sums(rows.target(y), by_cluster=True))
            return found.root[0, 0], found.k[0]

        return jax.vmap(one)(keys)

    root, k = map(np.asarray, summaries(jax.random.split(jax.random.key(3), n_sets)))
    root, k = root[:, :-1], k[:, :-1]
    np.testing.assert_array_equal(root[:, len(df) :], 0)
    np.testing.assert_allclose(
        root[:, : len(df)] ** -2, special.polygamma(1, df / 2)[None] + 0 * k[:, : len(df)]
    )
    value, truth = k[:, : len(df)] / root[:, : len(df)], np.log(sigma2[: len(df)])
    assert bonferroni([stats.ttest_1samp(value, truth).pvalue]) > FALSE_ALARM_RATE
    # The fourth moment of a log gamma gives the error of its variance.
    variance, fourth = special.polygamma(1, df / 2), special.polygamma(3, df / 2)
    error = np.sqrt((fourth + 2 * variance**2) / n_sets)
    z = (value.var(axis=0) - variance) / error
    assert bonferroni([2 * stats.norm.sf(abs(z))]) > FALSE_ALARM_RATE
    biased = value + special.digamma(df / 2) - np.log(df / 2)
    assert np.all(stats.ttest_1samp(biased, truth).pvalue < FALSE_ALARM_RATE)


@cache
def drawn_psi() -> dict[str, np.ndarray]:
    """Return variances of a random slope and of log variances: 24 data sets, 16 chains."""
    J, n = 50, 12
    rows = ragged((n,) * J, (n,) * J, 1, 1, seed=2, n_shared=(1, 1), block=n, filled=(0, 0))
    truth = np.array([0.5, 0.3])

    def program(key: jax.Array, method: Method) -> jax.Array:
        key_b, key_e, key_x, key_chain = jax.random.split(key, 4)
        b = jnp.sqrt(truth)[:, None] * jax.random.normal(key_b, (2, J))
        sigma = jnp.exp(0.3 * jax.random.normal(key_x, (J,)))[rows.cluster]
        y = jnp.sum(jnp.asarray(rows.X).T * b[:, rows.cluster], axis=0)
        target = rows.target(y + sigma * jax.random.normal(key_e, rows.cluster.shape))

        def chain(key: jax.Array) -> jax.Array:
            after = visit(method, key, target)
            psi = after.root_psi @ after.root_psi.T
            return jnp.stack([psi[0, 0], psi[1, 1], after.spread])

        return jax.vmap(chain)(jax.random.split(key_chain, 16))

    keys = jax.random.split(jax.random.key(4), 24)
    out = {}
    for est in ("gibbs", "reml", "mm"):
        method = TwoLevelTwoStageNorm(method_est=est)
        out[est] = np.asarray(jax.jit(jax.vmap(lambda key, m=method: program(key, m)))(keys))
    return out


@pytest.mark.parametrize("est", ["reml", "mm"])
def test_two_stage_estimators_agree_with_the_posterior_and_are_drawn(est: str) -> None:
    """R leaves the covariance at its moment estimate; here it spreads like the posterior.

    The slope has code 1 and is random all the same. Means over data sets within 15 %, spreads
    within a third.
    """
    ours, exact = drawn_psi()[est], drawn_psi()["gibbs"]
    truth = np.array([0.5, 0.3, 4 * 0.09])
    np.testing.assert_allclose(ours.mean(axis=(0, 1)), truth, rtol=0.15)
    np.testing.assert_allclose(ours.mean(axis=(0, 1)), exact.mean(axis=(0, 1)), rtol=0.15)
    spread = ours.std(axis=1).mean(axis=0) / exact.std(axis=1).mean(axis=0)
    assert np.all((spread > 0.67) & (spread < 1.5)), spread


def test_all_slopes_are_random_that_vary_inside_clusters() -> None:
    rows = ragged(SIZES, SEEN, 1, 4, seed=5, n_shared=(1, 2), f_live=(True, True, True, False))
    rows.F[1] = rows.cluster  # constant inside clusters
    target = rows.target(np.zeros(len(rows.cluster)))
    found = jax.jit(all_random)(target)
    # Z shared, F shared, F by chain; then F as it was.
    np.testing.assert_array_equal(found.z_live, [True, True, False, True, False])
    np.testing.assert_array_equal(found.f_live, [False, True, False, False])
    np.testing.assert_array_equal(found.z_shared[1], target.f_shared[0])
    np.testing.assert_array_equal(found.f_shared[1], target.f_shared[1])
    for columns in (found.z_shared[2], found.f_shared[0], found.f_chain):
        assert np.all(columns == 0)


@pytest.mark.parametrize(
    "method",
    [
        *(TwoLevelTwoStageNorm(method_est=est) for est in ("reml", "mm")),
        TwoLevelLmer(engine="reml"),
    ],
)
def test_estimators_take_every_kind_of_cluster(method: Method) -> None:
    """Empty, systematically missing, single rows, an unused column, in single precision."""
    with jax.enable_x64(False):
        rows = ragged(SIZES, SEEN, 1, 2, seed=5, n_shared=(1, 1), f_live=(True, False))
        y = np.random.default_rng(1).normal(size=len(rows.cluster)).astype(np.float32)
        target = jax.tree.map(
            lambda a: a.astype(np.float32) if a.dtype == np.float64 else a, rows.target(y)
        )
        after = jax.jit(lambda key, target: visit(method, key, target))(jax.random.key(1), target)
        for leaf in jax.tree.leaves(after):
            assert leaf.dtype == np.float32
            assert np.all(np.isfinite(leaf))


@pytest.fixture(scope="module")
def many_rows() -> Rows:
    return ragged((6, 5, 9, 3, 1, 4), (4, 0, 5, 2, 1, 2), 2, 1, seed=4)


def test_the_nearest_donor_is_taken(many_rows: Rows) -> None:
    """One donor and no draw of the parameters, by hand."""
    y = np.random.default_rng(1).normal(size=len(many_rows.cluster))
    method, target = TwoLevelPmm(donors=1, matchtype=0), many_rows.target(y)
    state = jax.jit(lambda key: visit(method, key, target))(jax.random.key(1))
    values = many_rows.table(method.impute(jax.random.key(2), state, target))
    beta, b = state.hat.beta, state.hat.b
    fitted = many_rows.X @ beta + np.sum(many_rows.Z.T * np.asarray(b).T[many_rows.cluster], axis=1)
    donors = np.flatnonzero(many_rows.seen)
    nearest = donors[np.abs(fitted[:, None] - fitted[donors]).argmin(axis=1)]
    np.testing.assert_array_equal(values, y[nearest])


def test_donors_with_equal_predictions_are_equally_likely(many_rows: Rows) -> None:
    """All predictions equal, donors of every cluster uniform."""
    n = len(many_rows.cluster)
    y = np.arange(1.0, n + 1)
    method, target = TwoLevelPmm(), many_rows.target(y)
    nothing = jnp.zeros(target.y.shape)
    keys = jax.random.split(jax.random.key(5), 2_000)
    drawn = jax.jit(jax.vmap(lambda key: method.match(key, nothing, nothing, target)))(keys)
    taken = many_rows.table(drawn)[:, ~many_rows.seen].astype(int).ravel()
    counts = np.bincount(taken, minlength=n + 1)[1:]
    assert np.all(counts[~many_rows.seen] == 0)
    assert stats.chisquare(counts[many_rows.seen]).pvalue > FALSE_ALARM_RATE


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("2l.lmer", {"engine": "ml"}, "engine must be 'gibbs' or 'reml'"),
        ("2l.glm.norm", {"draw": "eb"}, "draw must be 'proper' or 'blup'"),
        ("2l.pmm", {"donors": 0}, "donors must be a positive integer"),
        ("2l.pmm", {"matchtype": 3}, "matchtype must be 0, 1 or 2"),
        ("2l.2stage.pmm", {"ties": "random"}, "ties must be 'ball' or 'exact_k'"),
        ("2l.2stage.norm", {"method_est": "ml"}, "method_est must be"),
        ("2l.2stage.pmm", {"burnin": 0}, "burnin must be a positive integer"),
    ],
)
def test_options_are_checked(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        REGISTRY[name].from_options(**options)


def test_a_fit_needs_as_many_clusters_as_random_effects() -> None:
    TwoLevelLmer().check(3, 2, "target 'y'")
    with pytest.raises(ModelError, match=r"E16.*at least 3 clusters"):
        TwoLevelLmer(engine="reml").check(3, 2, "target 'y'")
