"""Multinomial and proportional odds regression against optimisers of their own."""

from collections.abc import Callable
from functools import partial

import jax
import numpy as np
import pytest
from scipy import optimize, special, stats
from statsmodels.discrete.discrete_model import MNLogit
from statsmodels.miscmodels.ordinal_model import OrderedModel

from jaxmice.samplers import multinomial, proportional_odds
from jaxmice.target import Target
from tests.samplers.rows import Rows, ragged
from tests.statistics import FALSE_ALARM_RATE, bonferroni, normal_pvalues

pytestmark = pytest.mark.usefixtures("double_precision")

odds = proportional_odds.draw

N = 10_000
SIZES, SEEN = (20, 20, 20), (18, 15, 0)
SLOPES = np.array([0.8, -0.5])


@partial(jax.jit, static_argnums=(2, 3))
def draw_many(keys: jax.Array, target: Target, draw: Callable, n_categories: int):
    return jax.vmap(lambda key: draw(key, target, n_categories))(keys)


def small_rows(**options) -> Rows:
    return ragged(SIZES, SEEN, 0, 3, seed=2, n_shared=(0, 2), **options)


def ordered(rows: Rows, cuts: tuple[float, ...], seed: int = 1) -> np.ndarray:
    latent = rows.F[1:3].T @ SLOPES + np.random.default_rng(seed).logistic(size=len(rows.cluster))
    return np.searchsorted(cuts, latent).astype(float)


def named(rows: Rows, seed: int = 1) -> np.ndarray:
    """Return one of three categories with slopes 0, SLOPES and -SLOPES."""
    eta = rows.F[1:3].T @ SLOPES
    gumbel = np.random.default_rng(seed).gumbel(size=(3, len(eta)))
    return np.argmax(np.stack([0 * eta, eta, 0.3 - eta]) + gumbel, axis=0).astype(float)


def augmented(rows: Rows, y: np.ndarray, categories: list[int]) -> tuple[np.ndarray, ...]:
    """Return rows, answers and weights with those of White, Daniel and Royston (2010)."""
    X = rows.X
    mean, deviation = X.mean(axis=0), X.std(axis=0)
    p = X.shape[1] - 1
    added, answers = [], []
    for i in range(1, p + 1):
        for answer in categories:
            for side in (-0.5, 0.5):
                row = mean.copy()
                row[i] = np.clip(row[i] + side * deviation[i], X[:, i].min(), X[:, i].max())
                added.append(row)
                answers.append(answer)
    weight = np.full(len(added), (p + 1) / (2 * p * len(categories)))
    design = np.concatenate([X[rows.seen], added])
    weights = np.concatenate([np.ones(int(rows.seen.sum())), weight])
    return design, np.concatenate([y[rows.seen], answers]).astype(int), weights


def normal_approximation(
    loss: Callable[[np.ndarray], float], start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the minimum of a function and the inverse of its numerical curvature."""
    at = optimize.minimize(loss, start, method="BFGS", options={"gtol": 1e-9}).x
    h, d = 1e-3, len(at)
    steps = h * np.eye(d)
    curvature = np.array(
        [
            [
                loss(at + a + b) - loss(at + a - b) - loss(at - a + b) + loss(at - a - b)
                for a in steps
            ]
            for b in steps
        ]
    ) / (4 * h * h)
    return at, np.linalg.inv(curvature)


@pytest.mark.parametrize("separated", [False, True])
def test_multinomial_draws_follow_the_normal_approximation(separated: bool) -> None:
    """Also where a predictor separates the categories, so that no maximum would exist."""
    rows = small_rows()
    y = np.digitize(rows.F[1], (-0.5, 0.5)).astype(float) if separated else named(rows)
    design, answer, weight = augmented(rows, y, [0, 1, 2])
    base = int(np.argmax(np.bincount(y[rows.seen].astype(int))))
    others = [c for c in range(3) if c != base]

    def loss(flat: np.ndarray) -> float:
        eta = np.zeros((len(answer), 3))
        eta[:, others] = design @ flat.reshape(2, 3).T
        log_p = special.log_softmax(eta, axis=1)
        return float(-weight @ log_p[np.arange(len(answer)), answer])

    mean, covariance = normal_approximation(loss, np.zeros(6))
    keys = jax.random.split(jax.random.key(4), N)
    after = draw_many(keys, rows.target(y), multinomial.draw, 3)
    draws = np.asarray(after.beta)[:, others].reshape(N, 6)

    assert np.all(np.asarray(after.beta)[:, base] == 0)
    assert bonferroni(normal_pvalues(draws, mean, covariance)) > FALSE_ALARM_RATE
    assert bonferroni(normal_pvalues(draws, mean, 1.1 * covariance)) < FALSE_ALARM_RATE


@pytest.mark.parametrize("separated", [False, True])
def test_proportional_odds_draws_follow_the_normal_approximation(separated: bool) -> None:
    """On the scale of the first cut and the log gaps."""
    rows = small_rows()
    cuts = (-0.6, 0.4, 1.5)
    y = np.digitize(rows.F[1], cuts).astype(float) if separated else ordered(rows, cuts)
    design, answer, weight = augmented(rows, y, [0, 1, 2, 3])

    def loss(free: np.ndarray) -> float:
        ends = np.cumsum([free[0], *np.exp(free[1:3])])
        ends = np.concatenate([[-np.inf], ends, [np.inf]])
        eta = design[:, 1:] @ free[3:]
        p = special.expit(ends[answer + 1] - eta) - special.expit(ends[answer] - eta)
        return float(-weight @ np.log(p))

    mean, covariance = normal_approximation(loss, np.zeros(5))
    keys = jax.random.split(jax.random.key(5), N)
    after = draw_many(keys, rows.target(y), proportional_odds.draw, 4)
    ends, beta = np.asarray(after.cuts), np.asarray(after.beta)
    draws = np.concatenate([ends[:, :1], np.log(np.diff(ends)), beta[:, 1:]], axis=1)

    assert np.all(beta[:, 0] == 0)
    assert bonferroni(normal_pvalues(draws, mean, covariance)) > FALSE_ALARM_RATE
    assert bonferroni(normal_pvalues(draws, mean, 1.1 * covariance)) < FALSE_ALARM_RATE


def test_two_ordered_categories_are_a_logistic_regression() -> None:
    rows = small_rows()
    y = ordered(rows, (0.2,))
    design, answer, weight = augmented(rows, y, [0, 1])

    def loss(flat: np.ndarray) -> float:
        eta = design @ flat
        return float(weight @ (np.logaddexp(0, eta) - answer * eta))

    mean, covariance = normal_approximation(loss, np.zeros(3))
    keys = jax.random.split(jax.random.key(7), N)
    after = draw_many(keys, rows.target(y), proportional_odds.draw, 2)
    draws = np.concatenate([-np.asarray(after.cuts), np.asarray(after.beta)[:, 1:]], 1)
    assert bonferroni(normal_pvalues(draws, mean, covariance)) > FALSE_ALARM_RATE


def test_large_samples_agree_with_maximum_likelihood() -> None:
    """With 6,000 rows the added ones weigh nothing: estimates and standard errors."""
    rows = ragged((6000,), (6000,), 0, 3, seed=3, n_shared=(0, 2), filled=(0, 0), block=64)
    keys = jax.random.split(jax.random.key(8), 2000)
    y = named(rows)
    draws = np.asarray(draw_many(keys, rows.target(y), multinomial.draw, 3).beta)
    fit = MNLogit(y, rows.X).fit(disp=False)
    contrast = (draws[:, 1:] - draws[:, :1]).reshape(2000, -1)
    estimate, covariance = np.asarray(fit.params).T.ravel(), np.asarray(fit.cov_params())
    assert bonferroni(normal_pvalues(contrast, estimate, covariance)) > FALSE_ALARM_RATE

    y = ordered(rows, (-0.6, 0.4, 1.5))
    after = draw_many(keys, rows.target(y), proportional_odds.draw, 4)
    fit = OrderedModel(y, rows.X[:, 1:], distr="logit").fit(method="bfgs", disp=False)
    ends = np.asarray(after.cuts)
    draws = np.concatenate(
        [np.asarray(after.beta)[:, 1:], ends[:, :1], np.log(np.diff(ends))], axis=1
    )
    estimate, covariance = np.asarray(fit.params), np.asarray(fit.cov_params())
    assert bonferroni(normal_pvalues(draws, estimate, covariance)) > FALSE_ALARM_RATE
    shifted = estimate + 0.2 * np.sqrt(np.diag(covariance))
    assert bonferroni(normal_pvalues(draws, shifted, covariance)) < FALSE_ALARM_RATE


def same_law(a: np.ndarray, b: np.ndarray) -> float:
    """Return a p-value for "the columns of two samples have the same distributions"."""
    pairs = zip(np.asarray(a).T, np.asarray(b).T, strict=True)
    return bonferroni([stats.ks_2samp(x, y).pvalue for x, y in pairs])


def test_categories_without_a_row_take_no_part() -> None:
    """The others are estimated as if it did not exist."""
    rows = small_rows()
    y = ordered(rows, (-0.6, 0.6))
    gap = rows.target(np.where(y == 0, 1.0, np.where(y == 1, 3, 4)))  # 0, 2 and 5 are empty
    keys = jax.random.split(jax.random.key(9), N)

    few = draw_many(keys, rows.target(y), proportional_odds.draw, 3)
    many = draw_many(keys, gap, proportional_odds.draw, 6)
    ends = np.asarray(many.cuts)
    assert np.all(ends[:, 0] == -np.inf)
    assert np.all(ends[:, 1] == ends[:, 2])
    assert np.all(ends[:, 4] == np.inf)
    assert same_law(few.cuts, ends[:, [1, 3]]) > FALSE_ALARM_RATE
    assert same_law(few.beta[:, 1:], many.beta[:, 1:]) > FALSE_ALARM_RATE

    few = draw_many(keys, rows.target(y), multinomial.draw, 3)
    many = draw_many(keys, gap, multinomial.draw, 6)
    np.testing.assert_array_equal(many.present[0], [False, True, False, True, True, False])
    before, after = np.asarray(few.beta), np.asarray(many.beta)
    assert np.all(after[:, [0, 2, 5]] == 0)
    free = np.flatnonzero(np.any(before[0] != 0, axis=1))
    for here, there in zip(free, np.array([1, 3, 4])[free], strict=True):
        assert same_law(before[:, here], after[:, there]) > FALSE_ALARM_RATE


@pytest.mark.parametrize("draw", [multinomial.draw, proportional_odds.draw])
@pytest.mark.parametrize("category", [0, 1, 2])
def test_a_single_category_stays_finite(draw: Callable, category: int) -> None:
    rows = small_rows(f_live=(True, True, False))
    y = np.full(len(rows.cluster), float(category))
    keys = jax.random.split(jax.random.key(10), 4)
    after = draw_many(keys, rows.target(y), draw, 3)
    assert np.all(np.isfinite(after.beta))
    assert not np.any(np.isnan(jax.tree.leaves(after)[0]))


@pytest.mark.parametrize(("draw", "n_categories"), [(multinomial.draw, 3), (odds, 4)])
def test_single_precision_has_the_same_law(draw: Callable, n_categories: int) -> None:
    rows = small_rows()
    y = named(rows) if n_categories == 3 else ordered(rows, (-0.6, 0.4, 1.5))
    keys, target = jax.random.split(jax.random.key(11), N), rows.target(y)
    single = jax.tree.map(
        lambda leaf: leaf.astype(np.float32) if leaf.dtype == np.float64 else leaf, target
    )
    double, drawn = (draw_many(keys, t, draw, n_categories).beta for t in (target, single))
    assert drawn.dtype == np.float32
    live = np.any(np.asarray(double) != 0, axis=0)
    double, drawn = np.asarray(double)[:, live], np.asarray(drawn)[:, live]
    # Half of a key each: the bits of a draw are much the same in both precisions.
    assert same_law(double[: N // 2], drawn[N // 2 :]) > FALSE_ALARM_RATE
    assert same_law(double[: N // 2], drawn[N // 2 :] + 0.1) < FALSE_ALARM_RATE
