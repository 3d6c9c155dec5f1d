"""Random-effects meta-analysis in information form, against closed forms, grids, other code."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxmice.estimators import fit_linear_mixed
from jaxmice.estimators.meta_analysis import Information, Residual, fit, moments
from tests.statistics import FALSE_ALARM_RATE, bonferroni

pytestmark = pytest.mark.usefixtures("double_precision")


def of_estimates(estimates: np.ndarray, variances: np.ndarray) -> Information:
    """Return what estimates (J, d) with covariances (J, d, d) say."""
    root = np.moveaxis(np.linalg.cholesky(np.linalg.inv(variances)), 0, -1)
    K = np.swapaxes(root, 0, 1)
    d = estimates.shape[1]
    k = np.einsum("adj,jd->aj", K, estimates)
    parts = (root, K, k, np.zeros((d, d)), np.zeros(d))
    return Information(*(jnp.asarray(part) for part in parts))


def of_rows(
    Z: np.ndarray, X: np.ndarray, y: np.ndarray, sizes: np.ndarray
) -> tuple[Information, float]:
    """Return what rows, sorted by cluster, say at a residual variance of 1, and RSS outside Z."""
    q, p = Z.shape[1], X.shape[1]
    root, K, k = (
        np.zeros((q, q, len(sizes))),
        np.zeros((q, p, len(sizes))),
        np.zeros((q, len(sizes))),
    )
    S, s, rho = np.zeros((p, p)), np.zeros(p), 0.0
    for j, (end, size) in enumerate(zip(np.cumsum(sizes), sizes, strict=True)):
        rows = slice(end - size, end)
        basis, upper = np.linalg.qr(Z[rows])
        sign = np.sign(np.diagonal(upper))
        basis, upper, rank = basis * sign, upper * sign[:, None], min(size, q)
        root[:, :rank, j], K[:rank, :, j], k[:rank, j] = (
            upper.T,
            basis.T @ X[rows],
            basis.T @ y[rows],
        )
        left = np.eye(size) - basis @ basis.T
        S, s = S + X[rows].T @ left @ X[rows], s + X[rows].T @ left @ y[rows]
        rho += y[rows] @ left @ y[rows]
    parts = (root, K, k, S + 1e-10 * np.eye(p), s)
    return Information(*(jnp.asarray(part) for part in parts)), rho


def deviance(tau2: np.ndarray, t: np.ndarray, v: np.ndarray, *, reml: bool) -> np.ndarray:
    """Return the textbook's deviance of a univariate meta-analysis."""
    w = 1 / (v + tau2[:, None])
    centre = (w @ t) / w.sum(1)
    out = -np.log(w).sum(1) + (w * (t - centre[:, None]) ** 2).sum(1)
    return out + np.log(w.sum(1)) if reml else out


@pytest.mark.parametrize("reml", [True, False])
def test_the_likelihood_peaks_where_a_grid_says(reml: bool) -> None:
    """200 meta-analyses of 6 estimates, a third of them with no variance between."""
    rng = np.random.default_rng(1)
    v = rng.gamma(2, 0.5, (200, 6))
    t = rng.normal(size=v.shape) * np.sqrt(v + rng.choice([0, 0.5, 4], (200, 1)))
    stack = [of_estimates(a[:, None], b[:, None, None]) for a, b in zip(t, v, strict=True)]
    found = jax.jit(jax.vmap(partial(fit, reml=reml)))(
        jax.tree.map(lambda *a: jnp.stack(a), *stack)
    )
    tau = np.linspace(0, 8, 8001)
    for i in range(200):
        values = deviance(tau**2, t[i], v[i], reml=reml)
        best = tau[values.argmin()]
        at = deviance(np.ravel(found.root_psi[i]) ** 2, t[i], v[i], reml=reml)[0]
        assert at < values.min() + 1e-8
        assert abs(abs(float(found.root_psi[i, 0, 0])) - best) < 0.01 + 0.02 * (best == 0)


def slopes(seed: int, psi: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return a random slope and a fixed one in 40 clusters of 1 to 8 rows."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, 40)
    codes = np.repeat(np.arange(40), sizes)
    x = rng.normal(size=(len(codes), 2))
    Z, X = np.c_[np.ones(len(x)), x[:, 0]], np.c_[np.ones(len(x)), x]
    b = rng.multivariate_normal(np.zeros(2), psi, 40)
    y = X @ [1, 2, 3] + np.sum(Z * b[codes], axis=1) + 1.5 * rng.normal(size=len(x))
    return Z, X, y, sizes, codes


def test_rows_give_the_fit_of_the_mixed_model() -> None:
    """Ten data sets, restricted likelihood; those of rank one and zero among them."""
    compiled = jax.jit(lambda one, residual: fit(one, residual))
    for seed in range(10):
        psi = np.array([[1, 0.5], [0.5, 0.5]]) * (seed % 3)
        Z, X, y, sizes, codes = slopes(seed, psi)
        information, rho = of_rows(Z, X, y, sizes)
        ours = compiled(information, Residual(jnp.asarray(rho), jnp.asarray(len(y) - 3.0)))
        other = fit_linear_mixed(y[None], X, Z, codes)
        found = ours.sigma2 * ours.root_psi @ ours.root_psi.T
        np.testing.assert_allclose(found, other.psi[0], atol=2e-4)
        np.testing.assert_allclose(ours.sigma2, other.sigma2[0], rtol=1e-4)


def test_one_coefficient_gives_dersimonian_and_laird() -> None:
    rng = np.random.default_rng(2)
    compiled = jax.jit(moments)
    for scale in (0, 1, 3):
        v = rng.gamma(2, 0.5, 9)
        t = 5 + rng.normal(size=9) * np.sqrt(v + scale)
        w = 1 / v
        centre = w @ t / w.sum()
        tau2 = (w @ (t - centre) ** 2 - 8) / (w.sum() - w @ w / w.sum())
        found = compiled(of_estimates(t[:, None], v[:, None, None]))
        np.testing.assert_allclose(found, max(tau2, 0), rtol=1e-9)


def test_moments_are_unbiased() -> None:
    """With clusters that have no estimate of their own, a fixed column, an unused one.

    A t-test for each of the three elements of Psi, which is large enough for negative
    eigenvalues never to be cut off. Taking the estimate of beta for beta is seen.
    """
    psi = np.array([[40.0, 10.0], [10.0, 30.0]])
    Z, X, _, sizes, codes = slopes(3, psi)
    rng = np.random.default_rng(3)
    n, J = 4_000, len(sizes)
    b = rng.multivariate_normal(np.zeros(2), psi, (n, J))
    y = X @ [1, 2, 3] + np.sum(Z * b[:, codes], axis=2) + rng.normal(size=(n, len(X)))
    first, _ = of_rows(Z, X, y[0], sizes)
    # k and s are linear in y.
    unit = [of_rows(Z, X, row, sizes)[0] for row in np.eye(len(X))]
    k = jnp.einsum("ny,yaj->naj", y, jnp.stack([one.k for one in unit]))
    s = jnp.einsum("ny,ya->na", y, jnp.stack([one.s for one in unit]))
    total = first.S + jnp.einsum("iaj,ibj->ab", first.K, first.K)
    beta = jnp.linalg.solve(total, (s + jnp.einsum("iaj,nij->na", first.K, k)).T).T
    wide = first._replace(
        root=jnp.pad(first.root, ((0, 1), (0, 1), (0, 0))),
        K=jnp.pad(first.K, ((0, 1), (0, 0), (0, 0))),
    )

    def estimate(k: jax.Array, s: jax.Array, beta: jax.Array, known: jax.Array) -> jax.Array:
        sure = known * 1e9
        one = wide._replace(
            k=jnp.pad(k, ((0, 1), (0, 0))), S=wide.S + sure * jnp.eye(3), s=s + sure * beta
        )
        return moments(one)

    def pvalue(found: np.ndarray) -> float:
        pairs = [(0, 0), (0, 1), (1, 1)]
        return bonferroni([stats.ttest_1samp(found[:, i, j], psi[i, j]).pvalue for i, j in pairs])

    compiled = jax.jit(jax.vmap(estimate, in_axes=(0, 0, 0, None)))
    found = np.asarray(compiled(k, s, beta, jnp.asarray(0.0)))
    np.testing.assert_allclose(found[:, 2], 0, atol=1e-9)
    assert np.all(np.linalg.eigvalsh(found[:, :2, :2]) > 0)
    assert pvalue(found) > FALSE_ALARM_RATE
    assert pvalue(np.asarray(compiled(k, s, beta, jnp.asarray(1.0)))) < FALSE_ALARM_RATE


def test_single_precision_is_enough() -> None:
    Z, X, y, sizes, _ = slopes(4, np.array([[1, 0.2], [0.2, 0.5]]))
    information, rho = of_rows(Z, X, y, sizes)
    residual = Residual(jnp.asarray(rho), jnp.asarray(len(y) - 3.0))
    exact, short = (
        jax.jit(fit)(*jax.tree.map(lambda a, t=dtype: a.astype(t), (information, residual)))
        for dtype in (jnp.float64, jnp.float32)
    )
    assert short.root_psi.dtype == jnp.float32
    np.testing.assert_allclose(
        short.root_psi @ short.root_psi.T, exact.root_psi @ exact.root_psi.T, rtol=0.02, atol=1e-3
    )
    np.testing.assert_allclose(short.sigma2, exact.sigma2, rtol=1e-3)
