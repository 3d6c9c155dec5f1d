"""Methods for level-2 columns: a single-level method on the table of clusters."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxmice.errors import ModelError
from jaxmice.methods import REGISTRY
from jaxmice.methods._level_two import to_clusters
from tests.methods.visits import visit, visits
from tests.samplers.rows import Rows, ragged
from tests.statistics import FALSE_ALARM_RATE

pytestmark = pytest.mark.usefixtures("double_precision")

J = 12
SIZES = (3, 5, 1, 4, 6, 2, 3, 8, 1, 2, 4, 3)
EMPTY = (2, 7, 11)
"""Clusters without any observed row."""

SINGLE = {
    "2lonly.norm": "norm",
    "2lonly.pmm": "pmm",
    "2lonly.bin": "logreg",
    "2lonly.nominal": "polyreg",
    "2lonly.ordinal": "polr",
}


def outcome(kind: str) -> np.ndarray:
    """Return (J,) a value for every cluster."""
    number = np.random.default_rng(2).normal(size=J).round(2)
    if kind in ("2lonly.norm", "2lonly.pmm"):
        return number
    return np.digitize(number, (0.0,) if kind == "2lonly.bin" else (-0.5, 0.5)).astype(float)


def clustered(repeat: int = 1) -> Rows:
    """Return rows of clusters, every row several times, with one empty cluster to fill up."""
    seen = tuple(0 if j in EMPTY else size for j, size in enumerate(SIZES))
    rows = ragged(SIZES, seen, 0, 3, seed=4, n_shared=(0, 2))
    return replace(
        rows,
        cluster=np.repeat(rows.cluster, repeat),
        F=np.repeat(rows.F, repeat, axis=1),
        seen=np.repeat(rows.seen, repeat),
    )


def table(rows: Rows) -> Rows:
    """Return one row per cluster, with the means of the predictors, padded like its layout."""
    means = np.stack([rows.F[:, rows.cluster == j].mean(axis=1) for j in range(J)], axis=1)
    return Rows(
        cluster=np.zeros(J, int),
        n_clusters=1,
        Z=np.zeros((0, J)),
        F=means,
        seen=~np.isin(np.arange(J), EMPTY),
        f_intercept=True,
        n_shared=(0, 2),
        filled=(1, 0),
        block=J + 2,
    )


@pytest.mark.parametrize("name", SINGLE)
def test_rows_of_clusters_are_imputed_like_the_table_of_clusters(name: str) -> None:
    """The same values, and for all rows of a cluster, each of which is there twice."""
    y, key = outcome(name), jax.random.key(3)
    method, single = REGISTRY[name](), REGISTRY[SINGLE[name]]()
    method, single = (m.for_column("nominal", 3) for m in (method, single))
    expected = table(clustered()).table(visit(single, key, table(clustered()).target(y))[1])
    rows = clustered(repeat=2)
    drawn = rows.table(visit(method, key, rows.target(y[rows.cluster]))[1])
    np.testing.assert_allclose(drawn, expected[rows.cluster], rtol=1e-7)
    assert len(np.unique(expected[list(EMPTY)])) > (name == "2lonly.norm")


def test_a_random_column_counts_as_a_fixed_one() -> None:
    seen = tuple(0 if j in EMPTY else size for j, size in enumerate(SIZES))
    rows = ragged(SIZES, seen, 2, 1, seed=4)
    target = to_clusters(rows.target(outcome("2lonly.norm")[rows.cluster]))
    assert target.z_live.shape == (0,)
    assert bool(target.f_intercept)
    X = np.concatenate([target.f_shared, target.f_chain])[:, 0, :J]
    # Shared columns come first: Z[0], F[0], then Z[1].
    means = [rows.X[rows.cluster == j].mean(axis=0) for j in range(J)]
    np.testing.assert_allclose(X, np.array(means).T[[0, 2, 1]], atol=1e-12)


def test_a_deleted_cluster_is_equally_likely_at_every_rank() -> None:
    """Exact at any size under the prior of ``norm``. 19 imputations, 20 ranks, chi-squared.

    Wrong twin: ``norm`` on the rows, where a cluster counts as often as it has rows.
    """
    rows = ragged((6,) * 7, (6,) * 6 + (0,), 0, 2, seed=3, n_shared=(0, 2))
    between = np.random.default_rng(5).normal(size=7)
    rows = replace(rows, F=np.stack([np.ones(42), between[rows.cluster]]))
    gone = np.argwhere(rows.place == np.flatnonzero(rows.cluster == 6)[0])[0]
    n_trials = 2_000

    def counts(name: str) -> np.ndarray:
        method = REGISTRY[name]()

        def trial(key: jax.Array) -> jax.Array:
            key_y, key_impute = jax.random.split(key)
            noise = 0.5 * jax.random.normal(key_y, (7,))
            y = (3 - 2 * jnp.asarray(between) + noise)[rows.cluster]
            keys = jax.random.split(key_impute, 19)
            drawn = jax.vmap(lambda key: visit(method, key, rows.target(y))[1])(keys)
            return jnp.sum(drawn[:, gone[0], gone[1]] < y[rows.cluster == 6][0])

        ranks = jax.jit(jax.vmap(trial))(jax.random.split(jax.random.key(6), n_trials))
        return np.bincount(ranks, minlength=20)

    assert stats.chisquare(counts("2lonly.norm")).pvalue > FALSE_ALARM_RATE
    assert stats.chisquare(counts("norm")).pvalue < FALSE_ALARM_RATE


def test_a_shift_moves_the_linear_predictor_of_clusters() -> None:
    rows, y = clustered(), outcome("2lonly.bin")
    target = rows.target(y[rows.cluster])
    for shift, value in ((40.0, 1.0), (-40.0, 0.0)):
        moved = replace(target, delta=jnp.where(target.wy, shift, 0))
        for name in ("2lonly.bin", "2lonly.ordinal"):
            drawn = rows.table(visit(REGISTRY[name](), jax.random.key(1), moved)[1])
            assert np.all(drawn[~rows.seen] == value)


def test_the_mean_of_the_cluster() -> None:
    rows = ragged((4, 3, 2), (3, 2, 0), 0, 1, seed=1, n_shared=(0, 1))
    y = np.arange(9.0)
    drawn = rows.table(visit(REGISTRY["2lonly.mean"](), jax.random.key(1), rows.target(y))[1])
    for j in (0, 1):
        np.testing.assert_allclose(
            drawn[rows.cluster == j], y[rows.seen & (rows.cluster == j)].mean()
        )


def test_the_mode_of_the_cluster_and_ties_at_random() -> None:
    """Observed a, a, c, c: a or c, each half of the time, never the b between them."""
    cluster = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1])
    y = np.array([0, 0, 2, 2, 1, 1, 1, 1, 0, 0.0])
    rows = Rows(
        cluster=cluster,
        n_clusters=2,
        Z=np.zeros((0, 10)),
        F=np.ones((1, 10)),
        seen=np.array([1, 1, 1, 1, 0, 0, 1, 1, 1, 0], bool),
        n_shared=(0, 1),
    )
    method = REGISTRY["2lonly.mean"]().for_column("nominal", 3)
    keys = jax.random.split(jax.random.key(2), 4000)
    drawn = rows.table(visits(method, keys, rows.target(y))[1])
    np.testing.assert_array_equal(drawn[:, 4], drawn[:, 5])
    assert np.all(drawn[:, 9] == 1)
    assert set(np.unique(drawn[:, 4])) == {0.0, 2.0}
    assert stats.binomtest(int(np.sum(drawn[:, 4] == 2)), 4000).pvalue > FALSE_ALARM_RATE


def test_two_observed_clusters_are_too_few() -> None:
    method = REGISTRY["2lonly.norm"]()
    with pytest.raises(ModelError, match=r"E16.*target 'w': 2 clusters show a value"):
        method.check(0, 2, "target 'w'")
    method.check(0, 3, "target 'w'")


@pytest.mark.parametrize("name", SINGLE)
def test_three_clusters_in_single_precision(name: str) -> None:
    rows = ragged((4, 3, 2), (4, 3, 0), 0, 2, seed=1, n_shared=(0, 2))
    single = jax.tree.map(
        lambda leaf: leaf.astype(np.float32) if leaf.dtype == np.float64 else leaf,
        rows.target((np.array([0.0, 1, 0]))[rows.cluster]),
    )
    drawn = visit(REGISTRY[name]().for_column("binary", 2), jax.random.key(1), single)[1]
    assert drawn.dtype == np.float32
    assert np.all(np.isfinite(rows.table(drawn)))


def latent_case() -> tuple[Rows, np.ndarray]:
    """Return rows with an intercept and a measured column in Z, and the latent means."""
    rng = np.random.default_rng(8)
    n_clusters, size = 300, 4
    cluster = np.repeat(np.arange(n_clusters), size)
    covariate, u = rng.normal(size=n_clusters), 0.6 * rng.normal(size=n_clusters)
    latent = 0.5 * covariate + u
    x = latent[cluster] + 0.8 * rng.normal(size=len(cluster))
    n = len(cluster)
    return Rows(
        cluster=cluster,
        n_clusters=n_clusters,
        Z=np.stack([np.ones(n), x]),
        F=covariate[cluster][None],
        seen=np.zeros(n, bool),
        z_intercept=True,
        n_shared=(1, 1),
    ), latent


def test_latent_cluster_means_follow_their_conditional_distribution() -> None:
    """E2 with x in place of y; and the true means lie at every rank equally often."""
    rows, latent = latent_case()
    target = rows.target(np.zeros(len(rows.cluster)))
    keys = jax.random.split(jax.random.key(4), 19)
    state, drawn = visits(REGISTRY["2l.latentgroupmean"](), keys, target, 60)
    _, expected = visits(REGISTRY["2l.latentgroupmean"](eap=True), keys, target, 60)
    first = np.arange(300) * 4
    drawn, expected = rows.table(drawn)[:, first], rows.table(expected)[:, first]

    mean = rows.Z[1].reshape(300, 4).mean(axis=1)
    psi = np.asarray(state.root_psi)[:, 0, 0, None] ** 2
    sigma2, beta = np.asarray(state.sigma2)[:, None], np.asarray(state.beta)
    linear = beta[:, :1] + beta[:, 1:] * rows.F[0][first]
    share = 4 * psi / (4 * psi + sigma2)
    np.testing.assert_allclose(expected, linear + share * (mean - linear), rtol=1e-6)
    # The effects were drawn under the variances of the step before: near, not the same.
    z = (drawn - expected) / np.sqrt(psi * sigma2 / (4 * psi + sigma2))
    assert abs(z.std() - 1) < 0.05
    assert abs(z.mean()) < 0.05

    for values, right in ((drawn, True), (expected, False)):
        counts = np.bincount(np.sum(values < latent, axis=0), minlength=20)
        assert (stats.chisquare(counts).pvalue > FALSE_ALARM_RATE) == right


@pytest.mark.parametrize("name", ["2l.groupmean", "2l.latentgroupmean"])
def test_one_column_is_averaged(name: str) -> None:
    with pytest.raises(ModelError, match=r"E25.*exactly one predictor of code 2.*found 3"):
        REGISTRY[name]().check(4, 10, "target 'mean_x'")
    REGISTRY[name]().check(2, 10, "target 'mean_x'")


def test_the_group_mean_is_in_the_units_of_the_user() -> None:
    rows, _ = latent_case()
    units = jnp.array([[0.5, 30.0], [0.0, 4.0]])  # x = 30 + 4 times the sampler's x
    target = replace(rows.target(np.zeros(len(rows.cluster))), z_units=units)
    drawn = rows.table(visit(REGISTRY["2l.groupmean"](), jax.random.key(1), target)[1])
    mean = rows.Z[1].reshape(300, 4).mean(axis=1)
    np.testing.assert_allclose(drawn, (30 + 4 * mean)[rows.cluster])
    # Ignored rows do not count, but in a cluster that has no other.
    used = (np.arange(1200) % 4 != 1) & (np.arange(1200) >= 8)
    target = replace(target, used=rows.arrange(used).astype(bool))
    drawn = rows.table(visit(REGISTRY["2l.groupmean"](), jax.random.key(1), target)[1])
    some = rows.Z[1].reshape(300, 4)[:, [0, 2, 3]].mean(axis=1)
    mean = np.where(np.arange(300) < 2, mean, some)
    np.testing.assert_allclose(drawn, (30 + 4 * mean)[rows.cluster])
