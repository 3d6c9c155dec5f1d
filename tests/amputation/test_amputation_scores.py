import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

from jaxmice.amputation._scores import (
    SHAPES,
    inclusion,
    probabilities,
    sample_exactly,
    standardise,
    stepwise,
)
from jaxmice.errors import AmputeError
from tests.statistics import FALSE_ALARM_RATE


def test_mean_probability_is_the_share_in_every_group() -> None:
    rng = np.random.default_rng(1)
    h = rng.lognormal(0, 2, 3000) * rng.choice([-1, 1, 30], 3000)
    group = rng.integers(-1, 6, 3000)
    share = np.array([0, 0.001, 0.3, 0.5, 0.999, 1])

    p, shift = probabilities(h, group, share)

    means = [p[group == g].mean() for g in range(6)]
    np.testing.assert_allclose(means, share, atol=1e-12)
    np.testing.assert_allclose(p[group == 2], expit(h[group == 2] + shift[2]), rtol=1e-12)
    assert (p[group == -1] == 0).all()


def test_a_group_does_not_depend_on_the_others() -> None:
    h = np.random.default_rng(1).normal(0, 3, (5, 200))
    group = np.repeat(np.arange(5), 200)
    share = np.linspace(0.1, 0.9, 5)

    together, _ = probabilities(h.ravel(), group, share)

    for g in range(5):
        alone, _ = probabilities(h[g], np.zeros(200, int), share[g : g + 1])
        np.testing.assert_array_equal(together[group == g], alone)


def test_types_are_the_published_log_odds() -> None:
    s = np.array([-2.0, 0, 1])

    assert SHAPES["RIGHT"](s).tolist() == [-2, 0, 1]
    assert SHAPES["LEFT"](s).tolist() == [2, 0, -1]
    assert SHAPES["TAIL"](s).tolist() == [1.25, -0.75, 0.25]
    assert SHAPES["MID"](s).tolist() == [-1.25, 0.75, -0.25]


def test_standardising_is_within_groups() -> None:
    group = np.array([0, 0, 1, 1, 2, 2, -1])

    z, constant = standardise(np.array([1.0, 3, 10, 30, 5, 5, 9]), group, 4)

    assert z.tolist() == [-1, 1, -1, 1, 0, 0, 0]
    assert constant.tolist() == [False, False, True, False]


@pytest.mark.parametrize(("n", "share"), [(400, 0.3), (403, 0.37), (400, 0.7), (400, 0.9)])
def test_steps_have_the_odds_and_the_share(n: int, share: float) -> None:
    scores = np.random.default_rng(1).permutation(np.arange(n))

    p = stepwise(scores, share, np.array([1.0, 2, 3, 4]))

    assert p.mean() == pytest.approx(share, abs=1e-12)
    assert (p <= 1).all()
    levels = np.unique(p[p < 1])
    # what is left below 1 keeps its proportions
    np.testing.assert_allclose(levels / levels[0], np.arange(1, len(levels) + 1), rtol=1e-12)


def test_steps_of_groups_of_equal_size_are_the_published_ones() -> None:
    p = stepwise(np.arange(8.0), 0.25, np.array([1.0, 2, 3, 4]))

    assert p.tolist() == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4])


def test_ties_that_empty_a_step_are_refused() -> None:
    with pytest.raises(AmputeError, match="E39: scores have too few distinct values for 4"):
        stepwise(np.repeat([0.0, 1], 50), 0.3, np.ones(4))


def test_samples_have_their_size_and_their_inclusion_probabilities() -> None:
    rng = np.random.default_rng(1)
    p = np.array([0.02, 0.1, 0.3, 0.5, 0.9, 0.05, 0.6, 0.33])
    runs, k = 20_000, 3

    taken = np.array([sample_exactly(p, k, rng) for _ in range(runs)])

    assert (taken.sum(axis=1) == k).all()
    expected = inclusion(p, k)
    z = (taken.mean(axis=0) - expected) / np.sqrt(expected * (1 - expected) / runs + 1e-300)
    free = expected < 1
    assert taken[:, ~free].all()
    assert np.abs(z[free]).max() < stats.norm.isf(FALSE_ALARM_RATE / 2 / free.sum())


def test_inclusion_probabilities_above_one_are_shared_out() -> None:
    chance = inclusion(np.array([0.9, 0.1, 0.1, 0.1]), 2)

    np.testing.assert_allclose(chance, [1, 1 / 3, 1 / 3, 1 / 3])
    np.testing.assert_allclose(inclusion(np.array([0.2, 0.4]), 1), [1 / 3, 2 / 3])
