"""Linear mixed models whose residual variance is small, down to rounding."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmice.samplers import linear_mixed as lm, linear_mixed_by_cluster as lmc
from jaxmice.samplers.sums import Sums, centred, make_sums
from tests.samplers.rows import ragged

pytestmark = pytest.mark.usefixtures("double_precision")


def half_t_prior(sums: Sums) -> lm.Prior:
    """Return the default prior."""
    q, zero = len(sums.z_live), jnp.zeros(())
    none = jnp.zeros(len(sums.x_live))
    return lm.Prior(zero, zero, none, zero, jnp.zeros((q, q)), jnp.full(q, 2.5))


@jax.jit
def step_of_any_size(root: jax.Array, sigma2: jax.Array, scale: jax.Array) -> lm.Parameters:
    rows = ragged((6, 7, 8, 5), (6, 7, 8, 0), 2, 3, seed=2)
    y = jnp.asarray(np.random.default_rng(0).normal(size=len(rows.cluster)))
    target = rows.target(y * scale)
    sums = make_sums(target, by_cluster=False)
    q, p, J = len(sums.z_live), len(sums.x_live), len(sums.cluster_live)
    prior = half_t_prior(sums)
    noise = lm.Noise(
        beta=jnp.ones(p),
        psi=jnp.eye(q),
        b=jnp.ones((q, J)),
        spare=jnp.zeros(2),
        gammas=lm.gamma_shapes(sums, prior),
    )
    before = lm.Parameters(jnp.zeros(p), jnp.zeros((q, J)), root, sigma2)
    return lm.step(noise, before, sums, prior)


@pytest.mark.parametrize("correlated", [False, True])
def test_a_step_from_the_smallest_variances_is_finite(correlated: bool) -> None:
    """Psi also singular; and a perfect fit leaves a variance from which to return."""
    shape = np.array([[1, 0], [1, 1e-10]]) if correlated else np.eye(2)
    for sigma2 in (1, 1e-17, 1e-25, 1e-100):
        for size in (1, 1e-9, 1e-17, 1e-100, 0):
            for scale in (1, 0):
                after = step_of_any_size(*map(jnp.asarray, (size * shape, float(sigma2), scale)))
                finite = [bool(np.all(np.isfinite(leaf))) for leaf in jax.tree.leaves(after)]
                assert all(finite), (sigma2, size, scale, finite)
                assert after.sigma2 > 0


@pytest.mark.parametrize("by_cluster", [False, True])
def test_rows_that_are_fitted_exactly_leave_effects_and_variances_small(by_cluster: bool) -> None:
    """A sum score: four random coefficients, none of which varies, and no residual."""
    sizes = (20,) * 20
    rows = ragged(sizes, sizes, 4, 0, n_shared=(4, 0), filled=(0, 0), block=20)
    beta = np.array([0.3, 1.0, -2.0, 1.0])
    sums = centred(make_sums(rows.target(jnp.asarray(beta @ rows.Z)), by_cluster=by_cluster))
    prior, n_steps = half_t_prior(sums), jnp.asarray(1500)

    def last(key: jax.Array) -> lm.Parameters | lmc.Parameters:
        if by_cluster:
            spread = lmc.weak_spread(sums.k.dtype)
            return lmc.run(key, lmc.start(sums), sums, prior, spread, n_steps)
        return lm.run(key, lm.start(sums), sums, prior, n_steps)

    drawn = jax.jit(jax.vmap(last))(jax.random.split(jax.random.key(1), 8))
    np.testing.assert_allclose(drawn.beta, np.broadcast_to(beta, drawn.beta.shape), atol=1e-5)
    assert float(jnp.max(jnp.abs(drawn.b))) < 1e-5
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(drawn))


def test_a_ridge_does_not_pull_the_mean_of_effects_that_vary_much() -> None:
    """Effects known all but exactly: their mean is the estimate, whatever the rows hold.

    With the ridge of single precision one in units of the rows would halve it.
    """
    sizes = (500,) * 6
    rows = ragged(sizes, sizes, 2, 0, n_shared=(2, 0), filled=(0, 0), block=500)
    slopes = np.array([[0.0, 1, 2, 3, 4, 5], [9, 4, 6, 7, 1, 3]])
    y = np.sum(slopes[:, rows.cluster] * rows.Z, axis=0)
    sums = make_sums(rows.target(jnp.asarray(y)), by_cluster=False)
    sums = dataclasses.replace(sums, penalty=1e-5 * sums.x_square)
    sigma2, zero = jnp.asarray(1e-3), jnp.zeros(2)
    beta = lm.draw_beta(zero, 3 * jnp.eye(2), sigma2, sums, half_t_prior(sums))
    np.testing.assert_allclose(beta, slopes.mean(axis=1), rtol=1e-3)
    # The twin, in units of the rows, is seen.
    held = jnp.asarray(sums.penalty / sigma2)
    twin = dataclasses.replace(half_t_prior(sums), beta_precision=held)
    pulled = lm.draw_beta(zero, 3 * jnp.eye(2), sigma2, sums, twin)
    assert np.all(pulled < 0.3 * slopes.mean(axis=1))


def test_variances_start_from_what_fixed_effects_leave() -> None:
    """A predictor that explains nearly all: from the variance of y the chain would stay high."""
    sizes = (40,) * 20
    rows = ragged(sizes, sizes, 1, 2, n_shared=(1, 2), filled=(0, 0), block=40)
    noise = np.random.default_rng(1).normal(size=len(rows.cluster))
    y = 2 * rows.F[0] + 0.01 * noise
    plain = make_sums(rows.target(jnp.asarray(y)), by_cluster=True)
    assert 0.5e-4 < lmc.start(centred(plain)).s0 < 2e-4
    assert lmc.start(plain).s0 > 1
