"""One slice update leaves its density unchanged."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxmice.random import slice_step, uniforms
from tests.statistics import FALSE_ALARM_RATE, bonferroni

pytestmark = pytest.mark.usefixtures("double_precision")

N = 20_000
LOWER, UPPER = -4.0, 6.0


def log_bimodal(x: jax.Array) -> jax.Array:
    """Return the log density of a mixture whose valley ends a slice."""
    return jnp.logaddexp(-2 * (x + 2) ** 2, -0.5 * (x - 2) ** 2 - 0.3)


def exact_draws(rng: np.random.Generator) -> np.ndarray:
    """Draw from the mixture, cut to the bounds, by inversion on a fine grid."""
    points = np.linspace(LOWER, UPPER, 200_001)
    mass = np.cumsum(np.exp(np.asarray(log_bimodal(jnp.asarray(points)))))
    return np.interp(rng.random(N), mass / mass[-1], points)


def exact_cdf() -> Callable[[np.ndarray], np.ndarray]:
    points = np.linspace(LOWER, UPPER, 200_001)
    mass = np.cumsum(np.exp(np.asarray(log_bimodal(jnp.asarray(points)))))
    return lambda x: np.interp(x, points, mass / mass[-1])


def after_one_step(start: np.ndarray, log_density: Callable, width: float) -> np.ndarray:
    def one(key: jax.Array, x: jax.Array) -> jax.Array:
        u = uniforms(key, jnp.asarray(0), (3,), x.dtype)
        at = jnp.asarray(1)
        return slice_step(key, at, u, x, log_density, jnp.asarray(width), LOWER, UPPER)

    keys = jax.random.split(jax.random.key(8), N)
    return np.asarray(jax.jit(jax.vmap(one))(keys, jnp.asarray(start)))


@pytest.fixture(scope="module")
def start() -> np.ndarray:
    with jax.enable_x64(True):
        return exact_draws(np.random.default_rng(1))


@pytest.mark.parametrize("width", [0.3, 3.0])
def test_a_step_keeps_the_law(start: np.ndarray, width: float) -> None:
    """Narrow first intervals are stepped out, wide ones shrunk; the bounds cut the law."""
    after = after_one_step(start, log_bimodal, width)
    cdf = exact_cdf()
    # Reversible: the pair (before, after) has the same law as (after, before), so a point
    # is as likely to move up as down inside every band.
    moved_up, moved_down = (start < 0) & (after > 0), (start > 0) & (after < 0)
    crossings = [int(np.sum(moved_up)), int(np.sum(moved_down))]
    pvalues = [
        stats.kstest(after, cdf).pvalue,
        stats.binomtest(crossings[0], sum(crossings)).pvalue if sum(crossings) else 1.0,
    ]
    assert np.all((after > LOWER) & (after < UPPER))
    assert np.mean(after == start) < 0.001
    assert bonferroni(pvalues) > FALSE_ALARM_RATE


def test_a_wrong_density_is_seen(start: np.ndarray) -> None:
    after = after_one_step(start, lambda x: log_bimodal(x) - 0.05 * x, 3.0)
    assert stats.kstest(after, exact_cdf()).pvalue < FALSE_ALARM_RATE


def test_a_step_ends_when_no_neighbour_is_better() -> None:
    """A density that is a spike at the current value returns it instead of going on."""
    x = jnp.asarray(1.0)
    key = jax.random.key(0)
    u = jnp.array([0.5, 0.5, 0.5])
    spike = slice_step(
        key, jnp.asarray(1), u, x, lambda at: jnp.where(at == x, 0.0, -jnp.inf), x, LOWER, UPPER
    )
    assert abs(float(spike) - 1.0) < 1e-12
