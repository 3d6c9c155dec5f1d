"""Generalised linear mixed model with one grouping factor, fitted to many data sets at once.

``g(E y) = X beta + Z b`` with ``b ~ N(0, psi)`` by cluster, for binary outcomes (logit) and
counts (log), by maximum likelihood. The random effects are integrated out by Laplace's
approximation, or a single one by adaptive Gauss-Hermite quadrature. The fit is one
compiled program over all data sets and clusters.
"""

from dataclasses import dataclass

import jax
import numpy as np
from numpy.typing import NDArray

from jaxmice.errors import AnalysisError
from jaxmice.estimators._laplace import Point, Rows, evaluate, minimise
from jaxmice.estimators._mixed_sums import Numbers, dependent_error, first_dependent, standardise
from jaxmice.estimators._profiled import factor_index, factor_jacobian
from jaxmice.linalg.layout import Blocks, plan_blocks

FAMILIES = ("binomial", "poisson")
"""Families, with the logit and the logarithm as links."""
MAX_STEPS = 100
"""Evaluations of the deviance allowed."""
TOLERANCE = 1e-10
"""Newton decrement, in units of the deviance, at which a fit has converged."""
SINGULAR = 1e-4
"""Standard deviation in the flattest direction below which a fit is singular."""
UNBOUNDED = 100.0
"""Standard error, per standard deviation of a column, of an effect without bound."""
MEMORY = 2**30
"""Bytes that one compiled call may need for its rows."""


@dataclass(frozen=True)
class GeneralisedMixedFit:
    """Fits of one model to m data sets; the data sets are the first axis throughout.

    Attributes
    ----------
    beta, cov_beta
        Fixed effects (m, p), on the scale of the link, and their covariance (m, p, p): the
        block of the inverse of half the Hessian of the deviance over all parameters.
    psi
        Covariance of the random effects (m, q, q).
    loglik
        Log-likelihood, as approximated (m,).
    converged
        Whether the optimiser reached its tolerance (m,).
    singular
        Whether psi has lost rank: in some direction the standard deviation, in units in
        which the columns of Z have variance 1, is below 1e-4 (m,).
    steps
        Evaluations of the deviance (m,).
    psi_jacobian
        Derivative of psi with respect to the k free elements of a working factor
        (m, q, q, k).
    cov_factor
        Covariance of these elements (m, k, k); nan where the fit is singular.
    n, clusters
        Rows and clusters.
    """

    beta: Numbers
    cov_beta: Numbers
    psi: Numbers
    loglik: Numbers
    converged: NDArray[np.bool_]
    singular: NDArray[np.bool_]
    steps: NDArray[np.integer]
    psi_jacobian: Numbers
    cov_factor: Numbers
    n: int
    clusters: int


def fit_generalised_mixed(
    y: Numbers,
    x: Numbers,
    z: Numbers,
    codes: NDArray[np.integer],
    family: str,
    *,
    nodes: int = 1,
    names: tuple[str, ...] = (),
) -> GeneralisedMixedFit:
    """Fit a generalised linear mixed model to m data sets in one compiled call.

    Parameters
    ----------
    y
        Outcomes (m, n): 0 and 1 for ``"binomial"``, whole numbers from 0 for ``"poisson"``.
    x
        Columns of the fixed effects: (n, p) when they are the same in all data sets,
        else (m, n, p).
    z
        Columns of the random effects: (n, q) or (m, n, q).
    codes
        Cluster of every row (n,), integers from 0 without gaps.
    family
        ``"binomial"`` (logit) or ``"poisson"`` (logarithm).
    nodes
        1 for Laplace's approximation; more, with one random effect only, for adaptive
        Gauss-Hermite quadrature with so many points.
    names
        Names of the columns of ``x``, for error messages.

    Raises
    ------
    AnalysisError
        Quadrature with several random effects (E59), fewer than two clusters or more fixed
        effects than rows (E61), columns of the fixed part depend on each other (E63),
        outcomes outside the family (E67), or an effect without bound (E68).

    Notes
    -----
    Factor and fixed effects are optimised together, over Laplace's approximation (Tierney
    and Kadane 1986) or adaptive quadrature (Pinheiro and Bates 1995), by a trust-region
    Newton method with exact derivatives. Columns are centred and scaled internally;
    results are in the units given. Call it with JAX in 64 bits.

    References
    ----------
    Pinheiro and Bates 1995, Journal of Computational and Graphical Statistics 4, 12-35.

    Tierney and Kadane 1986, Journal of the American Statistical Association 81, 82-86.
    """
    _check(y, x, z, codes, family, nodes)
    x_map, z_map = standardise(x), standardise(z)
    wx, wz = x @ x_map, z @ z_map
    bad = first_dependent(np.swapaxes(wx, -1, -2) @ wx)
    if bad is not None:
        raise dependent_error(*bad, names)
    clusters = int(codes.max()) + 1
    blocks = plan_blocks([codes], [clusters])[0]
    rows = Rows[Numbers](blocks.to_blocks(y), _in_blocks(wx, blocks), _in_blocks(wz, blocks))
    shared = Rows[int | None](0, 0 if x.ndim == 3 else None, 0 if z.ndim == 3 else None)
    m, q = len(y), z.shape[-1]
    lanes = max(1, min(m, MEMORY // (8 * blocks.row.size * (40 + 12 * q * q + 30 * (nodes - 1)))))
    parts = []
    for first in range(0, m, lanes):
        # The last part repeats its final data set: one shape, one program.
        pick = np.minimum(np.arange(first, first + lanes), m - 1)
        chosen = Rows(*(a if s is None else a[pick] for a, s in zip(rows, shared, strict=True)))
        result = minimise(
            chosen,
            blocks.device_layout(),
            family=family,
            nodes=nodes,
            shared=shared,
            max_steps=MAX_STEPS,
            tolerance=TOLERANCE,
        )
        parts.append(jax.device_get(result))
    point, done, steps = jax.tree.map(lambda *a: np.concatenate(a)[:m], *parts)
    return _back(point, done, steps, x_map, z_map, y.shape[1], clusters, names)


def evaluate_generalised_mixed(
    y: Numbers,
    x: Numbers,
    z: Numbers,
    codes: NDArray[np.integer],
    family: str,
    beta: Numbers,
    psi: Numbers,
    *,
    nodes: int = 1,
) -> tuple[Numbers, Numbers]:
    """Return what a generalised linear mixed model with given parameters says of m data sets.

    Parameters
    ----------
    y, x, z, codes, family, nodes
        As for `fit_generalised_mixed`.
    beta, psi
        Fixed effects (p,) and covariance of the random effects (q, q), which may be singular.

    Returns
    -------
    loglik, modes
        Log-likelihood of each data set (m,), approximated as in the fit, and the most
        probable random effects of its clusters (m, q, J).
    """
    blocks = plan_blocks([codes], [int(codes.max()) + 1])[0]
    rows = Rows[Numbers](blocks.to_blocks(y), _in_blocks(x, blocks), _in_blocks(z, blocks))
    shared = Rows[int | None](0, 0 if x.ndim == 3 else None, 0 if z.ndim == 3 else None)
    variances, vectors = np.linalg.eigh(psi)
    # The triangle of this root is the Cholesky factor, and exists without full rank too.
    factor = np.linalg.qr((vectors * np.sqrt(np.maximum(variances, 0))).T)[1].T
    i, j = factor_index(len(psi))
    theta = np.concatenate([factor[i, j], beta])
    layout = blocks.device_layout()
    found = evaluate(theta, rows, layout, family=family, nodes=nodes, shared=shared)
    value, modes = jax.device_get(found)
    return -0.5 * value, np.einsum("ab,mbj->maj", factor, modes)


def _in_blocks(columns: Numbers, blocks: Blocks) -> Numbers:
    return blocks.to_blocks(np.swapaxes(columns, -1, -2))


def _check(
    y: Numbers, x: Numbers, z: Numbers, codes: NDArray[np.integer], family: str, nodes: int
) -> None:
    n, p, q = y.shape[1], x.shape[-1], z.shape[-1]
    if nodes > 1 and q > 1:
        raise AnalysisError(
            "E59",
            f"quadrature with {nodes} points needs a single random effect, got {q}; "
            "use quadrature=1 (Laplace's approximation)",
        )
    clusters = int(np.count_nonzero(np.bincount(codes)))
    if clusters < 2:
        raise AnalysisError(
            "E61", f"a mixed model needs at least 2 clusters with complete rows, found {clusters}"
        )
    if n <= p:
        raise AnalysisError(
            "E61", f"{p} fixed effects cannot be estimated from {n} complete rows; drop predictors"
        )
    allowed = (y == 0) | (y == 1) if family == "binomial" else (y >= 0) & (y == np.floor(y))
    if not allowed.all():
        wanted = "0 or 1" if family == "binomial" else "whole numbers from 0"
        found = ", ".join(f"{value:g}" for value in np.unique(y[~allowed])[:5])
        raise AnalysisError(
            "E67",
            f"outcomes of the family {family} must be {wanted}, found {found}; recode the outcome, "
            "or impute it by a method that keeps its values",
        )
    constant = np.flatnonzero(np.ptp(y, axis=1) == 0)
    if constant.size:
        raise AnalysisError(
            "E67", f"the outcome is the same in all rows of data sets {(constant + 1).tolist()[:5]}"
        )


def _back(
    point: Point,
    done: NDArray[np.bool_],
    steps: NDArray[np.integer],
    x_map: Numbers,
    z_map: Numbers,
    n: int,
    clusters: int,
    names: tuple[str, ...],
) -> GeneralisedMixedFit:
    """Return from working coordinates to the units of the data."""
    q = z_map.shape[0]
    i, j = factor_index(q)
    k = len(i)
    theta = np.asarray(point.theta)
    working = np.zeros((len(theta), q, q))
    working[:, i, j] = theta[:, :k]
    factor = z_map @ working
    singular = np.linalg.svd(working, compute_uv=False)[:, -1] < SINGULAR
    cov = _covariance(np.asarray(point.hessian), k)
    _check_bounds(cov[:, k:, k:], x_map, names)
    cov_factor = cov[:, :k, :k].copy()
    cov_factor[singular] = np.nan
    return GeneralisedMixedFit(
        beta=theta[:, k:] @ x_map.T,
        cov_beta=x_map @ cov[:, k:, k:] @ x_map.T,
        psi=factor @ np.swapaxes(factor, 1, 2),
        loglik=-0.5 * np.asarray(point.value),
        converged=done,
        singular=singular,
        steps=steps,
        psi_jacobian=factor_jacobian(z_map, factor),
        cov_factor=cov_factor,
        n=n,
        clusters=clusters,
    )


def _covariance(hessian: Numbers, k: int) -> Numbers:
    """Invert half the Hessian, (m, d, d); the first k parameters may be redundant.

    At a covariance without full rank the deviance does not change when the factor is
    turned, whatever the fixed effects: directions without curvature carry nothing.
    """
    upper = hessian[:, :k, :k]
    inner = np.linalg.pinv(upper, rcond=1e-9, hermitian=True)
    cross = hessian[:, k:, :k]
    carried = cross @ inner
    outer = np.linalg.inv(hessian[:, k:, k:] - carried @ np.swapaxes(cross, 1, 2))
    mixed = -outer @ carried
    full = np.empty_like(hessian)
    full[:, k:, k:], full[:, k:, :k] = outer, mixed
    full[:, :k, k:] = np.swapaxes(mixed, 1, 2)
    full[:, :k, :k] = inner - np.swapaxes(carried, 1, 2) @ mixed
    return 2 * full


def _check_bounds(cov: Numbers, x_map: Numbers, names: tuple[str, ...]) -> None:
    """Complain about effects that grow without bound: the data tell nothing of their size."""
    with np.errstate(invalid="ignore"):
        lost = ~(np.sqrt(np.diagonal(cov, axis1=1, axis2=2)) < UNBOUNDED)
    if lost.any():
        where = (np.flatnonzero(lost.any(axis=1)) + 1).tolist()
        found = np.flatnonzero(lost.any(axis=0))
        terms = ", ".join(names[c] if names else f"number {c}" for c in found)
        raise AnalysisError(
            "E68",
            f"no finite estimate for {terms} in data sets {where}: the predictors separate the "
            "outcomes, as a category in which all are alike does; merge categories or leave the "
            "predictor out",
        )
