"""Bayesian linear regression under ``p(beta, sigma2)`` proportional to ``1 / sigma2``.

Rubin (1987), Multiple Imputation for Nonresponse in Surveys, pages 166-167. With a column
in Z the regression also has one intercept per cluster, absorbed instead of written out as
dummies: exactly the regression on dummies, for any number of clusters.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxmice.linalg import eliminate, solve_lower_transposed
from jaxmice.random import log_gamma, normals
from jaxmice.samplers.sums import Sums


class Parameters(eqx.Module):
    """The estimate and one draw of the parameters, for one chain."""

    beta_hat: Float[Array, " f"]
    """Least squares (with a minute ridge)."""

    beta: Float[Array, " f"]
    """Drawn coefficients."""

    b_hat: Float[Array, "q J"]
    """Least squares of the intercepts of the clusters, where they are absorbed."""

    b: Float[Array, "q J"]
    """Drawn intercepts of the clusters."""

    sigma2: Float[Array, ""]
    """Drawn residual variance."""


def draw(key: Key[Array, ""], sums: Sums) -> Parameters:
    """Draw sigma2 from its marginal posterior, then the coefficients given it."""
    fit = _least_squares(sums)
    q, f = sums.z_live.shape[0], sums.s.shape[0]
    J = sums.cluster_live.shape[0]
    z = normals(key, jnp.asarray(0), (f + J * q,), sums.s.dtype)
    sigma2 = fit.rss / 2 / jnp.exp(log_gamma(key, jnp.asarray(1), (fit.df / 2)[None])[0])
    noise = jnp.sqrt(sigma2) * solve_lower_transposed(fit.lower, z[:f, None], loop=True)[:, 0]
    beta = fit.beta + noise
    z_b = jnp.sqrt(sigma2) * z[f:].reshape(J, q).T
    return Parameters(
        beta_hat=fit.beta,
        beta=jnp.where(sums.x_live[q:], beta, 0),
        b_hat=_intercepts(fit.beta, jnp.zeros_like(z_b), sums),
        b=_intercepts(beta, z_b, sums),
        sigma2=sigma2,
    )


def estimate(sums: Sums) -> Parameters:
    """Return the estimates in place of draws: least squares and ``RSS / (n - p)``."""
    fit = _least_squares(sums)
    b = _intercepts(fit.beta, jnp.zeros_like(sums.k), sums)
    return Parameters(fit.beta, fit.beta, b, b, fit.rss / fit.df)


class _Fit(NamedTuple):
    """Least squares: coefficients, factor of their precision, and what is left over."""

    beta: Float[Array, " f"]
    lower: Float[Array, "f f"]
    rss: Float[Array, ""]
    df: Float[Array, ""]


def _least_squares(sums: Sums) -> _Fit:
    q = sums.z_live.shape[0]
    f_live = sums.x_live[q:]
    told = f_live & (sums.x_square[q:] > 0)
    gram = sums.S + jnp.diag(jnp.where(told, sums.penalty[q:], 1))
    lower, half = eliminate(gram, sums.s[:, None], loop=True)
    absorbed = jnp.sum((sums.n > 0) & sums.cluster_live) if q else 0
    beta = solve_lower_transposed(lower, half, loop=True)[:, 0]
    # The least of the penalised criterion counts the ridge, which is no residual.
    ridge = jnp.sum(sums.penalty[q:] * beta**2)
    return _Fit(
        beta=beta,
        lower=lower,
        rss=jnp.maximum(sums.rho - jnp.sum(half**2) - ridge, 0),
        df=jnp.maximum(jnp.sum(sums.n) - jnp.sum(f_live) - absorbed, 1),
    )


def _intercepts(
    beta: Float[Array, " f"], noise: Float[Array, "q J"], sums: Sums
) -> Float[Array, "q J"]:
    """Return the intercepts of the clusters given the other coefficients."""
    q = noise.shape[0]
    if q == 0:
        return noise
    root = sums.root[0, 0]
    fitted = jnp.einsum("kaj,a->kj", sums.K[:, q:], beta)
    return (sums.k - fitted + noise) / jnp.where(root > 0, root, 1)
