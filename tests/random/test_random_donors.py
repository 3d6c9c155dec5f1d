"""Predictive mean matching: which donors, and each equally often."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxmice.random import draw_donors, resample
from tests.statistics import FALSE_ALARM_RATE, bonferroni

pytestmark = pytest.mark.usefixtures("double_precision")

N_DRAWS = 4_000
POOL = 3

DONOR = np.array([0.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.5, 4.0, 7.0, 0.9, 2.4])
"""Predictions as donors; the last two rows may not give."""

RECIPIENT = np.array([-9.0, 1.0, 2.2, 3.2, 99.0, 5.5, 0.4, 2.0, 1.0, 6.9, 3.0])
IS_DONOR = np.arange(len(DONOR)) < 9
VALUES = np.arange(len(DONOR)) + 100.0


def draw_many(n_donors: int, *, exact_k: bool, is_donor: np.ndarray = IS_DONOR) -> np.ndarray:
    """Return draws (N_DRAWS, rows) of donors' positions."""

    def one(key: jax.Array) -> jax.Array:
        values, donor, recipient = map(jnp.asarray, (VALUES, DONOR, RECIPIENT))
        may_give = jnp.asarray(is_donor)
        return draw_donors(key, values, donor, recipient, may_give, n_donors, exact_k=exact_k)

    keys = jax.random.split(jax.random.key(4), N_DRAWS)
    return np.asarray(jax.jit(jax.vmap(one))(keys)).astype(int) - 100


def ball(recipient: float, is_donor: np.ndarray, k: int) -> list[int]:
    """Return the donors that are as near as the k-th nearest."""
    distance = np.where(is_donor, np.abs(DONOR - recipient), np.inf)
    radius = np.sort(distance)[min(k, int(is_donor.sum())) - 1]
    return np.flatnonzero(distance <= radius * (1 + 1e-12)).tolist()


def test_the_pool_is_the_ball_and_its_donors_equally_likely() -> None:
    drawn = draw_many(POOL, exact_k=False)
    pvalues = []
    for row, recipient in enumerate(RECIPIENT):
        pool = ball(recipient, IS_DONOR, POOL)
        counts = [int(np.sum(drawn[:, row] == donor)) for donor in pool]
        assert sum(counts) == N_DRAWS
        pvalues.append(stats.chisquare(counts).pvalue)
    assert len(ball(1.0, IS_DONOR, POOL)) == 4  # a block of equal predictions is not cut
    assert bonferroni(pvalues) > FALSE_ALARM_RATE


def test_recipients_draw_independently_of_each_other() -> None:
    """Two recipients with one prediction share a donor as often as chance has it."""
    drawn = draw_many(POOL, exact_k=False)
    same = int(np.sum(drawn[:, 1] == drawn[:, 8]))
    assert stats.binomtest(same, N_DRAWS, 1 / 4).pvalue > FALSE_ALARM_RATE


def test_exactly_k_share_their_donors() -> None:
    """As in R: of four equal donors three are picked for all recipients of one call."""
    drawn = draw_many(POOL, exact_k=True)
    pair = drawn[:, [1, 8]]
    assert np.all(np.isin(pair, [1, 2, 3, 4]))
    # Given the three, both draw one of them.
    same = int(np.sum(pair[:, 0] == pair[:, 1]))
    counts = [int(np.sum(pair[:, 0] == donor)) for donor in (1, 2, 3, 4)]
    far = [int(np.sum(drawn[:, 4] == donor)) for donor in (6, 7, 8)]
    assert sum(far) == N_DRAWS
    pvalues = [
        stats.binomtest(same, N_DRAWS, 1 / 3).pvalue,
        stats.chisquare(counts).pvalue,
        stats.chisquare(far).pvalue,
    ]
    assert bonferroni(pvalues) > FALSE_ALARM_RATE
    # The ball rule would give 1/4, which this test must tell from 1/3.
    assert stats.binomtest(same, N_DRAWS, 1 / 4).pvalue < FALSE_ALARM_RATE


@pytest.mark.parametrize("exact_k", [False, True])
def test_one_donor_is_the_nearest_neighbour(exact_k: bool) -> None:
    drawn = draw_many(1, exact_k=exact_k)
    for row, recipient in enumerate(RECIPIENT):
        nearest = np.min(np.abs(DONOR[IS_DONOR] - recipient))
        np.testing.assert_allclose(np.abs(DONOR[drawn[:, row]] - recipient), nearest, atol=1e-12)
        assert np.all(IS_DONOR[drawn[:, row]])


@pytest.mark.parametrize("exact_k", [False, True])
def test_fewer_donors_than_asked_all_serve(exact_k: bool) -> None:
    is_donor = np.isin(np.arange(len(DONOR)), [2, 7])
    drawn = draw_many(5, exact_k=exact_k, is_donor=is_donor)
    pvalues = [
        stats.binomtest(int(np.sum(drawn[:, row] == 2)), N_DRAWS).pvalue
        for row in range(len(DONOR))
    ]
    assert np.all(np.isin(drawn, [2, 7]))
    assert bonferroni(pvalues) > FALSE_ALARM_RATE


def test_equal_predictions_make_all_donors_equally_likely() -> None:
    def one(key: jax.Array) -> jax.Array:
        flat = jnp.full(len(VALUES), 0.3)
        return draw_donors(key, jnp.asarray(VALUES), flat, flat, jnp.asarray(IS_DONOR), POOL)

    keys = jax.random.split(jax.random.key(6), N_DRAWS)
    drawn = np.asarray(jax.jit(jax.vmap(one))(keys)).astype(int) - 100
    counts = np.bincount(drawn[:, 0], minlength=len(VALUES))
    assert np.all(counts[~IS_DONOR] == 0)
    assert stats.chisquare(counts[IS_DONOR]).pvalue > FALSE_ALARM_RATE


def test_any_donor_is_equally_likely() -> None:
    """And a uniform next to one stays inside."""
    may_give = np.array([False, True, False, True, True, False])
    u = jax.random.uniform(jax.random.key(3), (N_DRAWS,))
    drawn = resample(u, jnp.arange(6.0), jnp.asarray(may_give))
    counts = [int(np.sum(np.asarray(drawn) == k)) for k in (1, 3, 4)]
    assert sum(counts) == N_DRAWS
    assert stats.chisquare(counts).pvalue > FALSE_ALARM_RATE
    edge = resample(jnp.array([1e-16, 1 - 2.0**-53]), jnp.arange(6.0), jnp.asarray(may_give))
    np.testing.assert_array_equal(edge, [1, 4])
