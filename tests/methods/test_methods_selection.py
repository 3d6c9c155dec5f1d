"""Selection models as methods: `heckman` against one optimiser, and calibrated."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

import jaxmice as jm
from jaxmice.methods import REGISTRY
from jaxmice.target import Selection, Target
from tests.estimators.test_estimators_selection import objective
from tests.methods.visits import visits
from tests.samplers.rows import Rows, ragged
from tests.statistics import FALSE_ALARM_RATE

SELECTS, EXPLAINS = np.array([True, True, True]), np.array([True, True, False])
RHO, SIGMA = 0.6, 1.2


def flat_rows(sizes: tuple[int, ...]) -> Rows:
    """Return rows of an intercept, a predictor of both, and one of the selection only."""
    return ragged(sizes, sizes, 0, 3, seed=2, n_shared=(0, 2), block=64)


def simulate(key: jax.Array, rows: Rows, *, binary: bool) -> tuple[jax.Array, jax.Array]:
    """Return y, (n,), and where it is selected."""
    d, e = jax.random.normal(key, (2, len(rows.cluster)))
    s = jnp.asarray(rows.X @ [0.3, 0.5, 1.0]) + d
    sigma = 1 if binary else SIGMA
    y = jnp.asarray(rows.X @ [0.2, 0.7, 0.0]) + sigma * (RHO * d + (1 - RHO**2) ** 0.5 * e)
    return (y > 0).astype(float) if binary else y, s > 0


def target_of(rows: Rows, y: jax.Array, seen: jax.Array) -> Target:
    """Return the target as a visit sees it."""
    target, seen = rows.target(y), rows.arrange(seen).astype(bool)
    hidden = target.ry & ~seen
    marks = Selection(hidden, jnp.asarray(SELECTS), jnp.asarray(EXPLAINS))
    return replace(target, y=jnp.where(seen, target.y, 0), ry=seen, wy=hidden, selection=marks)


@pytest.mark.usefixtures("double_precision")
def test_heckman_draws_around_the_maximum() -> None:
    """Mean and covariance of the draws, whatever clusters the rows lie in: 2,000 draws."""
    rows = flat_rows((150, 90, 60))
    y, seen = map(np.asarray, simulate(jax.random.key(1), rows, binary=False))
    keys = jax.random.split(jax.random.key(2), 2000)
    draws = np.asarray(visits(REGISTRY["heckman"](), keys, target_of(rows, y, seen))[0])
    # In the order of `objective`; the third coefficient of y is not there.
    assert not draws[:, 2].any()
    draws = draws[:, [0, 1, 3, 4, 5, 7, 6]]
    minus_log_p = partial(objective, x=rows.X.T, y=y, seen=seen, binary=False)
    found = optimize.minimize(minus_log_p, np.zeros(7), options={"gtol": 1e-6})
    step = 1e-3 * np.eye(7)
    hessian = np.array(
        [
            [
                minus_log_p(found.x + u + v)
                - minus_log_p(found.x + u - v)
                - minus_log_p(found.x - u + v)
                + minus_log_p(found.x - u - v)
                for u in step
            ]
            for v in step
        ]
    )
    z = (draws - found.x) @ np.linalg.cholesky(hessian / 4e-6)
    assert stats.kstest(z.ravel(), "norm").pvalue > FALSE_ALARM_RATE
    assert np.cov(z.T) == pytest.approx(np.eye(7), abs=4.5 * (2 / 2000) ** 0.5)
    # The comparison can fail: a tenth less spread is seen.
    assert stats.kstest(0.9 * z.ravel(), "norm").pvalue < FALSE_ALARM_RATE
    # Three values cannot tell a mean, a slope and a variance apart: nothing is made up.
    few = seen & (np.cumsum(seen) <= 3)
    target = target_of(rows, y, few)
    drawn = visits(REGISTRY["heckman"](), keys, target)[1]
    assert np.isnan(drawn[:, np.asarray(target.wy)]).all()


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("binary", [False, True])
def test_heckman_is_calibrated_where_values_hide_themselves(binary: bool) -> None:
    """The mean of the hidden values lies at every rank among 19 imputations equally often.

    200 data sets of 600 rows; the rate of false alarms is that of one chi-squared test.
    Wrong twin: values missing at random given the predictors.
    """
    rows = flat_rows((600,))

    def ranks(name: str) -> np.ndarray:
        method = REGISTRY[name]()
        method = method.for_column("binary" if binary else "continuous", 0)

        @jax.jit
        def trial(key: jax.Array) -> jax.Array:
            key_y, key_draw = jax.random.split(key)
            y, seen = simulate(key_y, rows, binary=binary)
            target = target_of(rows, y, seen)
            drawn = visits(method, jax.random.split(key_draw, 19), target, 1)[1]
            truth = rows.arrange(y)
            mean, own = (jnp.sum(v * target.wy, axis=(-2, -1)) for v in (drawn, truth))
            # Shares of a binary variable can tie.
            return jnp.sum(mean < own) + jnp.sum(mean == own) // 2

        keys = jax.random.split(jax.random.key(3), 200)
        return np.bincount(jax.lax.map(trial, keys, batch_size=40), minlength=20)

    assert stats.chisquare(ranks("heckman")).pvalue > FALSE_ALARM_RATE
    at_random = ranks("logreg" if binary else "norm")
    assert stats.chisquare(at_random).pvalue < FALSE_ALARM_RATE


@pytest.fixture(scope="module")
def clustered() -> tuple[pd.DataFrame, np.ndarray]:
    """Return 13 clusters whose values hide themselves, the last one nearly all, and all values."""
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(13), [200] * 12 + [10])
    x, z, d, e = rng.normal(size=(4, len(g)))
    slope = 0.7 + 0.3 * rng.normal(size=13)
    y = 1 + slope[g] * x + SIGMA * (RHO * d + (1 - RHO**2) ** 0.5 * e)
    s = 0.3 + 0.5 * x + z + d
    s[g == 12] = np.where(np.arange(10) < 3, 1, -1)
    return pd.DataFrame({"g": g, "x": x, "z": z, "y": np.where(s > 0, y, np.nan)}), y


def test_2stage_heckman_finds_the_mean_of_hidden_values(
    clustered: tuple[pd.DataFrame, np.ndarray],
) -> None:
    """Within 4.5 deviations over imputations; values at random given the predictors are not.

    The last cluster has too few values: it is told, and its cells are imputed all the same.
    """
    data, y = clustered
    rows = (data["y"].isna() & (data["g"] < 12)).to_numpy()

    def impute(method: str, role: str, options: dict[str, str] | None) -> jm.ImputedData:
        roles = {"y": {"g": "cluster", "x": "random", "z": role}}
        own = {"y": options} if options else None
        return jm.mice(
            data, 10, {"y": method}, cluster="g", roles=roles, options=own, maxit=1, seed=1
        )

    def error(imp: jm.ImputedData) -> float:
        means = [imp.complete(i)["y"][rows].mean() for i in range(1, 11)]
        return float((np.mean(means) - y[rows].mean()) / np.std(means, ddof=1))

    options = {"method_est": "mm", "intercept": "fixed"}
    with pytest.warns(match="no_fit"):
        imp = impute("2l.2stage.heckman", "selection", options)
    assert abs(error(imp)) < 4.5
    assert imp.complete(1)["y"].notna().all()
    told = imp.logged_events.set_index("event").loc[["no_fit"]]
    assert told["dep"].tolist() == ["y"]
    assert "in 1 of 13 clusters, 12 (3 observed)" in told["message"].iloc[0]
    at_random = impute("2l.2stage.norm", "random", None)
    assert abs(error(at_random)) > 4.5
    assert "no_fit" not in set(at_random.logged_events["event"])
