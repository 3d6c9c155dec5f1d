"""Linear mixed models whose variances have fallen below rounding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmice.samplers import linear_mixed as lm
from jaxmice.samplers.sums import make_sums
from tests.samplers.rows import ragged

pytestmark = pytest.mark.usefixtures("double_precision")


@jax.jit
def step_of_any_size(root: jax.Array, sigma2: jax.Array, scale: jax.Array) -> lm.Parameters:
    rows = ragged((6, 7, 8, 5), (6, 7, 8, 0), 2, 3, seed=2)
    y = jnp.asarray(np.random.default_rng(0).normal(size=len(rows.cluster)))
    target = rows.target(y * scale)
    sums = make_sums(target, by_cluster=False)
    q, p, J = len(sums.z_live), len(sums.x_live), len(sums.cluster_live)
    zero = jnp.zeros(())
    prior = lm.Prior(zero, zero, jnp.zeros(p), zero, jnp.zeros((q, q)), jnp.full(q, 2.5))
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
