"""Parameters drawn around a fit, for the engines that run no chain."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxmice.estimators.meta_analysis import Information, fit, moments
from jaxmice.linalg import contract, eliminate
from jaxmice.random import normals
from jaxmice.samplers import linear_mixed as lm
from jaxmice.samplers.sums import Sums


def flat_prior(sums: Sums) -> lm.Prior:
    """Return a prior that is flat in beta; the rest of it is not read by `draw_effects`."""
    zero, q = jnp.zeros((), sums.k.dtype), sums.z_live.shape[0]
    return lm.Prior(zero, zero, jnp.zeros(sums.x_live.shape, zero.dtype), zero, jnp.zeros((q, q)))


def weighted(sums: Sums, sigma2: Float[Array, " J"]) -> Sums:
    """Return sums by cluster as sums of rows divided by their standard deviation."""
    sigma = jnp.sqrt(sigma2)
    n = jnp.sum(sums.n)
    return eqx.tree_at(
        lambda s: (s.root, s.K, s.k, s.S, s.s, s.rho, s.penalty),
        sums,
        (
            sums.root / sigma,
            sums.K / sigma,
            sums.k / sigma,
            sums.S @ (1 / sigma2),
            sums.s @ (1 / sigma2),
            jnp.sum(sums.rho / sigma2),
            sums.penalty * jnp.sum(sums.n / sigma2) / jnp.maximum(n, 1),
        ),
    )


def as_information(sums: Sums) -> Information:
    """Return what sums over rows of unit variance say about the coefficients."""
    q = sums.z_live.shape[0]
    p = sums.x_live.shape[0]
    S = jnp.diag(jnp.where(sums.x_live, sums.penalty, 1)).at[q:, q:].add(sums.S)
    return Information(sums.root, sums.K, sums.k, S, jnp.zeros((p,), S.dtype).at[q:].set(sums.s))


def draw_effects(
    key: Key[Array, ""],
    counter: int | Int[Array, ""],
    root: Float[Array, "q q"],
    sigma2: Float[Array, ""],
    sums: Sums,
    prior: lm.Prior | None = None,
) -> tuple[Float[Array, " p"], Float[Array, "q J"]]:
    """Draw the coefficients of all clusters given the variances; one counter is used.

    Without a prior all values of the fixed effects are as likely.
    """
    z_beta, z_b = _noise(key, counter, sums)
    beta = lm.draw_beta(z_beta, root, sigma2, sums, prior or flat_prior(sums))
    return beta, lm.draw_b(z_b, beta, root, sigma2, sums)[1]


def expected_effects(
    root: Float[Array, "q q"], sigma2: Float[Array, "*J"], sums: Sums, prior: lm.Prior
) -> tuple[Float[Array, " p"], Float[Array, "q J"]]:
    """Return the expectations of the coefficients of all clusters given the variances."""
    beta = lm.draw_beta(jnp.zeros(sums.x_live.shape, sums.k.dtype), root, sigma2, sums, prior)
    return beta, lm.draw_b(jnp.zeros_like(sums.k), beta, root, sigma2, sums)[1]


def estimate_root(sums: Sums, method_est: str) -> Float[Array, "q q"]:
    """Return a factor of the estimate of Psi from sums of unit variance."""
    return _estimate(as_information(sums), method_est)


def draw_root(
    key: Key[Array, ""], counter: int | Int[Array, ""], sums: Sums, method_est: str
) -> Float[Array, "q q"]:
    """Return a factor of Psi re-estimated from data that its estimate generates.

    A parametric bootstrap: sums of unit variance are simulated at the estimate and
    estimated again. Two counters are used.
    """
    information = as_information(sums)
    z_beta, z_b = _noise(key, counter, sums)
    z = normals(key, jnp.asarray(counter + 1), z_b.T.shape, z_b.dtype).T
    # Neither estimate reads beta, so that the simulated one may be zero.
    tolerance = 64 * float(jnp.finfo(z.dtype).eps)
    outside = eliminate(information.S, information.S[:, :0], tolerance)[0]
    seen = jnp.any(information.root != 0, axis=0)

    def estimate(root: Array, simulate: Array) -> tuple[Array, None]:
        V = lm.projected_root(root, sums)
        k = z_b + contract(jnp.swapaxes(V, 0, 1), z[:, None])[:, 0]
        k = jnp.where(simulate, jnp.where(seen, k, 0), information.k)
        s = jnp.where(simulate, outside @ z_beta, information.s)
        return _estimate(information._replace(k=k, s=s), method_est), None

    # Twice the same, to compile it once.
    root = jnp.zeros_like(information.root[..., 0])
    return jax.lax.scan(estimate, root, jnp.array([False, True]))[0]


def _estimate(information: Information, method_est: str) -> Float[Array, "q q"]:
    """Return a lower factor of Psi."""
    if method_est == "reml":
        return fit(information).root_psi
    psi = moments(information)
    return eliminate(psi, psi[:, :0], 64 * float(jnp.finfo(psi.dtype).eps))[0]


def _noise(
    key: Key[Array, ""], counter: int | Int[Array, ""], sums: Sums
) -> tuple[Float[Array, " p"], Float[Array, "q J"]]:
    """Draw normals for beta and for the clusters, at places that empty clusters do not move."""
    (q, J), p = sums.k.shape, sums.x_live.shape[0]
    z = normals(key, jnp.asarray(counter), (p + q * J,), sums.k.dtype)
    return z[:p], z[p:].reshape(J, q).T
