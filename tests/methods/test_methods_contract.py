"""What every method declares, and the priors of the two-level methods."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxmice.errors import ModelError
from jaxmice.methods import REGISTRY, Method, register_method
from jaxmice.methods.two_level_pan import TwoLevelPan
from jaxmice.samplers.sums import make_sums
from jaxmice.target import Target
from tests.samplers.rows import ragged
from tests.statistics import FALSE_ALARM_RATE, bonferroni

pytestmark = pytest.mark.usefixtures("double_precision")

SIZES, SEEN = (7, 5, 3, 4, 1, 6, 0, 8), (5, 0, 2, 4, 1, 2, 0, 6)
"""A cluster without observed rows, one without rows, a single row."""


def impute(method: Method, key: jax.Array, target: Any) -> jax.Array:
    """Make a visit as the engine does."""
    key_init, key_step, key_impute = jax.random.split(key, 3)
    sums = method.read(target)
    n_steps, _ = method.schedule(first=True)
    state = method.step(key_step, method.init(key_init, sums), sums, jnp.asarray(min(n_steps, 20)))
    return method.impute(key_impute, state, target)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_declarations(name: str) -> None:
    method = REGISTRY[name]
    assert method.name == name
    assert method.summary
    assert method.source
    assert "Differences from R" in (method.__doc__ or "")
    assert "References" in (method.__doc__ or "")
    assert method.needs_cluster == (method.cluster_codes == {-2})
    with pytest.raises(ModelError, match="no option 'wrong'"):
        method.from_options(wrong=1)


def test_a_taken_name_is_refused() -> None:
    class Impostor(REGISTRY["norm"]):
        """Claims the name of another method."""

    with pytest.raises(ModelError, match="is taken"):
        register_method(Impostor)


def test_a_deleted_value_is_equally_likely_at_every_rank() -> None:
    """``norm``: exact at any size under its prior. 19 imputations, 20 ranks, chi-squared."""
    rows = ragged((9,), (8,), 0, 2, seed=3, n_shared=(0, 2), filled=(1, 0))
    method, gone = REGISTRY["norm"](), int(np.flatnonzero(~rows.seen)[0])
    place = np.argwhere(rows.place == gone)[0]
    n_trials = 4_000

    @jax.jit
    def ranks(keys: jax.Array) -> jax.Array:
        def trial(key: jax.Array) -> jax.Array:
            key_y, key_impute = jax.random.split(key)
            noise = jax.random.normal(key_y, rows.cluster.shape)
            y = jnp.asarray(rows.X @ [3.0, -2.0]) + 0.5 * noise
            keys = jax.random.split(key_impute, 19)
            drawn = jax.vmap(lambda key: impute(method, key, rows.target(y)))(keys)
            return jnp.sum(drawn[:, place[0], place[1]] < y[gone])

        return jax.vmap(trial)(keys)

    counts = np.bincount(ranks(jax.random.split(jax.random.key(6), n_trials)), minlength=20)
    assert stats.chisquare(counts).pvalue > FALSE_ALARM_RATE
    # Imputing without drawing the parameters is seen: normal, not t.
    s = np.sqrt(
        1 + rows.X[gone] @ np.linalg.inv(rows.X[rows.seen].T @ rows.X[rows.seen]) @ rows.X[gone]
    )
    narrow = np.diff(stats.norm.cdf(stats.norm.ppf(np.linspace(0, 1, 21)) / s))
    assert bonferroni([stats.chisquare(counts, n_trials * narrow).pvalue]) < FALSE_ALARM_RATE


def test_the_prior_of_pan_is_in_the_units_of_the_data() -> None:
    """``IG(1/2, 1/2)`` and ``IW(q, I)`` of raw units, where R has them."""
    rows = ragged(SIZES, SEEN, 2, 1)
    target = rows.target(np.zeros(len(rows.cluster)))
    T = np.array([[0.5, 0.2], [0.0, 3.0]])
    target = Target(**{**vars(target), "y_scale": jnp.asarray(4.0), "z_units": jnp.asarray(T)})
    sums = make_sums(target, by_cluster=False)
    prior = TwoLevelPan(prior="pan").make_prior(target, sums)

    assert float(prior.sigma2_df) == 1
    assert float(prior.sigma2_rate) == 1 / 16
    assert float(prior.psi_df) == 2
    # Psi in raw units is T^-1 Psi T^-T with scale I.
    np.testing.assert_allclose(prior.psi_scale, T @ T.T)
    assert prior.half_t is None


@pytest.mark.parametrize(("n_slopes", "n_clusters", "proper"), [(1, 5, False), (1, 6, True)])
def test_a_flat_prior_is_refused_where_its_posterior_is_improper(
    n_slopes: int, n_clusters: int, proper: bool
) -> None:
    """IW(J - q - 2, S) needs more than q - 1 degrees of freedom: J >= 2 q + 2."""
    method = REGISTRY["2l.norm"].from_options(prior="kr")
    if proper:
        method.check(n_slopes + 1, n_clusters, "target 'y'")
    else:
        with pytest.raises(ModelError, match=r"E16.*needs at least 6 clusters"):
            method.check(n_slopes + 1, n_clusters, "target 'y'")
