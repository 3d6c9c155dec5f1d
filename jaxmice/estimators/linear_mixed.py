"""Linear mixed model with one grouping factor, fitted to many data sets at once.

``y = X beta + Z b + e`` with ``b ~ N(0, psi)`` by cluster and ``e ~ N(0, sigma2)``, by
maximum likelihood or REML. The rows are read once, to form sums by cluster; the fit
itself is one compiled program over all data sets. It depends on the number of
clusters only through a padded size, and on the number of rows not at all.
"""

from dataclasses import dataclass

import jax
import numpy as np
from numpy.typing import NDArray

from jaxmice.errors import AnalysisError
from jaxmice.estimators._mixed_sums import (
    Numbers,
    Prepared,
    moment_start,
    prepare,
)
from jaxmice.estimators._profiled import Point, Sums, factor_index, factor_jacobian, minimise

MAX_STEPS = 200
"""Evaluations of the deviance allowed."""
TOLERANCE = 1e-12
"""Newton decrement, in units of the deviance, at which a fit has converged."""
SINGULAR = 1e-4
"""Relative standard deviation in the flattest direction below which a fit is singular."""
MEMORY = 2**30
"""Bytes that one compiled call may need for its cluster matrices."""


@dataclass(frozen=True)
class LinearMixedFit:
    """Fits of one model to m data sets; the data sets are the first axis throughout.

    Attributes
    ----------
    beta, cov_beta
        Fixed effects (m, p) and their covariance (m, p, p).
    psi
        Covariance of the random effects (m, q, q).
    sigma2
        Residual variance (m,).
    loglik
        Log-likelihood, or the restricted one (m,).
    converged
        Whether the optimiser reached its tolerance (m,).
    singular
        Whether the covariance of the random effects has lost rank: in some direction
        their standard deviation, relative to the residual one and in units in which
        the columns of Z have variance 1, is below 1e-4 (m,).
    steps
        Evaluations of the deviance (m,).
    factor
        ``psi = sigma2 factor factor'`` (m, q, q).
    cov_factor
        Covariance of the free elements of ``working_factor`` followed by
        ``log sigma2``, (m, k+1, k+1); nan where the fit is singular.
    z_map
        ``factor = z_map @ working_factor`` with a lower triangular working factor.
    n, clusters
        Rows and clusters.
    """

    beta: Numbers
    cov_beta: Numbers
    psi: Numbers
    sigma2: Numbers
    loglik: Numbers
    converged: NDArray[np.bool_]
    singular: NDArray[np.bool_]
    steps: NDArray[np.integer]
    factor: Numbers
    cov_factor: Numbers
    z_map: Numbers
    n: int
    clusters: int

    def psi_jacobian(self) -> Numbers:
        """Return the derivative of psi with respect to what `cov_factor` describes.

        Shape (m, q, q, k + 1).
        """
        inner = self.sigma2[:, None, None, None] * factor_jacobian(self.z_map, self.factor)
        return np.concatenate([inner, self.psi[..., None]], axis=-1)


def fit_linear_mixed(
    y: Numbers,
    x: Numbers,
    z: Numbers,
    codes: NDArray[np.integer],
    *,
    reml: bool = True,
    names: tuple[str, ...] = (),
) -> LinearMixedFit:
    """Fit a linear mixed model to m data sets in one compiled call.

    Parameters
    ----------
    y
        Outcomes (m, n).
    x
        Columns of the fixed effects: (n, p) when they are the same in all data sets,
        else (m, n, p).
    z
        Columns of the random effects: (n, q) or (m, n, q).
    codes
        Cluster of every row (n,), integers.
    reml
        Restricted maximum likelihood, or maximum likelihood.
    names
        Names of the columns of ``x``, for error messages.

    Raises
    ------
    AnalysisError
        The model has more parameters or random effects than the data support (E61),
        the outcome is a combination of predictors (E62), or columns of the fixed part
        depend on each other (E63).

    Notes
    -----
    Profiled deviance in the relative factor of the random-effects covariance: Bates,
    Maechler, Bolker and Walker 2015, sections 3.2 to 3.4, minimised by a trust-region
    Newton method with exact derivatives. Columns are centred and scaled internally;
    results are in the units given. Call it with JAX in 64 bits.
    """
    m, n = y.shape
    p, q = x.shape[-1], z.shape[-1]
    _check_size(n, int(np.count_nonzero(np.bincount(codes))), p, q)
    prepared = prepare(y, x, z, codes, names)
    start = moment_start(prepared)
    nu = float(n - p if reml else n)
    sums = _pad(prepared.sums)
    lanes = max(1, min(m, MEMORY // (8 * sums.zy.shape[-1] * q * (8 * q + 6 * (p + 1)))))
    parts = []
    for first in range(0, m, lanes):
        # The last part repeats its final data set: one shape, one program.
        pick = np.minimum(np.arange(first, first + lanes), m - 1)
        chosen = Sums(
            *(a if s is None else a[pick] for a, s in zip(sums, prepared.shared, strict=True))
        )
        result = minimise(
            chosen,
            start[pick],
            nu,
            reml=reml,
            shared=prepared.shared,
            max_steps=MAX_STEPS,
            tolerance=TOLERANCE,
        )
        parts.append(jax.device_get(result))
    point, done, steps = jax.tree.map(lambda *a: np.concatenate(a)[:m], *parts)
    return _back(prepared, point, done, steps, nu, reml)


def _check_size(n: int, clusters: int, p: int, q: int) -> None:
    if clusters < 2:
        raise AnalysisError(
            "E61", f"a mixed model needs at least 2 clusters with complete rows, found {clusters}"
        )
    if n <= p:
        raise AnalysisError(
            "E61", f"{p} fixed effects cannot be estimated from {n} complete rows; drop predictors"
        )
    if clusters * q >= n:
        raise AnalysisError(
            "E61",
            f"{clusters} clusters with {q} random effects each are not identified by {n} rows; "
            "use fewer random effects, or check the grouping column",
        )


def _pad(sums: Sums[Numbers]) -> Sums[Numbers]:
    """Add empty clusters up to a bucket size, so that programs are reused."""
    clusters = sums.zy.shape[-1]
    grain = max(8, 2 ** (max(clusters - 1, 1).bit_length() - 3))
    extra = -clusters % grain
    if not extra:
        return sums

    def grow(a: Numbers) -> Numbers:
        return np.concatenate([a, np.zeros((*a.shape[:-1], extra))], axis=-1)

    return sums._replace(zz=grow(sums.zz), zx=grow(sums.zx), zy=grow(sums.zy))


def _back(
    prepared: Prepared,
    point: Point[Numbers],
    done: NDArray[np.bool_],
    steps: NDArray[np.integer],
    nu: float,
    reml: bool,
) -> LinearMixedFit:
    """Return from working coordinates to the units of the data."""
    scale2 = prepared.scale**2
    working_sigma2 = point.rss / nu
    sigma2 = working_sigma2 * scale2
    x_map, z_map = prepared.x_map, prepared.z_map
    q = z_map.shape[0]
    rows, columns = factor_index(q)
    working = np.zeros((len(done), q, q))
    working[:, rows, columns] = point.theta
    factor = z_map @ working
    loglik = -0.5 * (point.value + nu * (1 + np.log(2 * np.pi / nu) + np.log(scale2)))
    if reml:
        loglik = loglik + np.linalg.slogdet(x_map)[1]
    beta = (prepared.offset + point.beta * prepared.scale[:, None]) @ x_map.T
    singular = np.linalg.svd(working, compute_uv=False)[:, -1] < SINGULAR
    return LinearMixedFit(
        beta=beta,
        cov_beta=sigma2[:, None, None] * (x_map @ point.inverse @ x_map.T),
        psi=sigma2[:, None, None] * (factor @ np.swapaxes(factor, 1, 2)),
        sigma2=sigma2,
        loglik=loglik,
        converged=done,
        singular=singular,
        steps=steps,
        factor=factor,
        cov_factor=_factor_covariance(point, nu, singular),
        z_map=z_map,
        n=prepared.n,
        clusters=prepared.clusters,
    )


def _factor_covariance(point: Point[Numbers], nu: float, singular: NDArray[np.bool_]) -> Numbers:
    """Invert the information on the factor and the log residual variance.

    The residual variance is profiled out of the deviance; given the factor it has
    variance ``2 / nu`` on the log scale, and it moves with the factor by ``slope``.
    """
    m, k = point.theta.shape
    out = np.full((m, k + 1, k + 1), np.nan)
    good = ~singular & np.isfinite(point.hessian).all(axis=(1, 2))
    good[good] &= np.linalg.eigvalsh(point.hessian[good])[:, 0] > 0
    inner = 2 * np.linalg.inv(point.hessian[good])
    cross = np.einsum("mkl,ml->mk", inner, point.slope[good])
    full = np.empty((len(inner), k + 1, k + 1))
    full[:, :k, :k] = inner
    full[:, :k, k] = full[:, k, :k] = cross
    full[:, k, k] = 2 / nu + np.einsum("mk,mk->m", cross, point.slope[good])
    out[good] = full
    return out
