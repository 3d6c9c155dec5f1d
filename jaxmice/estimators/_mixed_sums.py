"""Rows to sums by cluster, in coordinates in which the fit is well conditioned."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jaxmice.errors import AnalysisError
from jaxmice.estimators._profiled import Sums, factor_index

Numbers = NDArray[np.float64]

DEPENDENT = 1e-10
"""Smallest eigenvalue of the scaled cross products of independent columns."""
START_FLOOR = 0.01
"""Smallest variance to start from, as a fraction of the largest."""


@dataclass(frozen=True)
class Prepared:
    """Sums in working coordinates and the way back.

    The working columns are ``x @ x_map`` and ``z @ z_map``; the working outcome is
    ``(y - x @ x_map @ offset) / scale``.
    """

    sums: Sums[Numbers]
    shared: Sums[int | None]
    x_map: Numbers
    z_map: Numbers
    offset: Numbers
    scale: Numbers
    n: int
    clusters: int


def standardise(columns: Numbers) -> Numbers:
    """Return the map that centres and scales columns, (k, k).

    Columns are centred only where a constant column can take up their means. One map
    serves all data sets, so that the column spaces stay as they are.

    Parameters
    ----------
    columns
        (n, k) or (m, n, k).
    """
    k = columns.shape[-1]
    rows = columns.reshape(-1, k)
    spread = np.ptp(rows, axis=0)
    constant = np.flatnonzero((spread == 0) & (rows[0] != 0))
    change = np.eye(k)
    if constant.size:
        centre = rows.mean(axis=0)
        level = rows[0, constant[0]]
        moving = spread > 0
        change[constant[0], moving] = -centre[moving] / level
        scale = np.where(moving, rows.std(axis=0), np.abs(centre))
    else:
        scale = np.sqrt(np.mean(rows**2, axis=0))
    return change / np.where(scale > 0, scale, 1.0)


def dependent_columns(products: Numbers) -> list[int]:
    """Return the columns that are combinations of the columns before them.

    Parameters
    ----------
    products
        Cross products of the columns, (k, k).
    """
    root = np.sqrt(np.maximum(np.diagonal(products), 1e-300))
    work = products / np.outer(root, root)
    found = []
    for i in range(work.shape[0]):
        # A pivot is the share of the column that the columns before it leave over.
        if not work[i, i] > DEPENDENT:
            found.append(i)
            continue
        row = work[i] / work[i, i]
        work = work - np.outer(work[:, i], row)
    return found


def prepare(
    y: Numbers,
    x: Numbers,
    z: Numbers,
    codes: NDArray[np.integer],
    names: tuple[str, ...] = (),
) -> Prepared:
    """Centre, scale and reduce rows to sums by cluster.

    Parameters
    ----------
    y
        Outcomes (m, n).
    x
        Fixed-effect columns, (n, p) common to all data sets or (m, n, p).
    z
        Random-effect columns, (n, q) or (m, n, q).
    codes
        Cluster of every row (n,), 0 and up.
    names
        Names of the columns of ``x``, for error messages.
    """
    order = np.argsort(codes, kind="stable")
    sorted_codes = codes[order]
    if np.any(codes[1:] < codes[:-1]):
        y, x, z = y[:, order], np.take(x, order, axis=-2), np.take(z, order, axis=-2)
    starts = np.flatnonzero(np.r_[True, sorted_codes[1:] != sorted_codes[:-1]])
    n = y.shape[1]

    x_map, z_map = standardise(x), standardise(z)
    wx, wz = x @ x_map, z @ z_map
    xx = np.swapaxes(wx, -1, -2) @ wx
    bad = first_dependent(xx)
    if bad is not None:
        raise dependent_error(*bad, names)
    xy = _transposed_times(wx, y)
    offset = np.asarray(np.linalg.solve(xx, xy[..., None])[..., 0], dtype=np.float64)
    residual = y - (np.matmul(wx, offset[..., None])[..., 0] if wx.ndim == 3 else offset @ wx.T)
    scale = np.asarray(np.sqrt(np.mean(residual**2, axis=1)), dtype=np.float64)
    reference = np.sqrt(np.mean((y - y.mean(axis=1, keepdims=True)) ** 2, axis=1))
    if not np.all(scale > 1e-10 * reference):
        raise AnalysisError(
            "E62",
            "the outcome is an exact combination of the predictors, so that no residual "
            "variance is left; remove the predictor that contains the outcome",
        )
    residual /= scale[:, None]

    sums = Sums[Numbers](
        zz=_cluster_sums(wz, wz, starts),
        zx=_cluster_sums(wz, wx, starts),
        zy=_cluster_sums(wz, residual[..., None], starts)[..., 0, :],
        xx=xx,
        xy=_transposed_times(wx, residual),
        yy=np.sum(residual**2, axis=1),
    )
    x_axis = 0 if x.ndim == 3 else None
    z_axis = 0 if z.ndim == 3 else None
    both = 0 if x_axis == 0 or z_axis == 0 else None
    shared = Sums[int | None](zz=z_axis, zx=both, zy=0, xx=x_axis, xy=0, yy=0)
    return Prepared(sums, shared, x_map, z_map, offset, scale, n, len(starts))


def dependent_error(columns: list[int], lane: int | None, names: tuple[str, ...]) -> AnalysisError:
    """Return the complaint that columns of the fixed part depend on each other.

    Parameters
    ----------
    columns, lane
        As `first_dependent` returns them.
    names
        Names of all columns, if they have any.
    """
    labels = [names[i] if names else f"number {i}" for i in columns]
    where = "" if lane is None else f" in data set {lane + 1}"
    return AnalysisError(
        "E63",
        f"predictors depend on others before them{where}: {', '.join(labels)} "
        "(constant, doubled, or a sum of others); remove them from the formula",
    )


def moment_start(prepared: Prepared) -> Numbers:
    """Return a factor from the second moments of the residuals, (m, k).

    The covariance matrix and residual variance whose implied covariances of all pairs
    of rows in a cluster fit the products of residuals best, by least squares; made
    positive definite.
    """
    sums = prepared.sums
    q = sums.zx.shape[-3]
    rows, columns = factor_index(q)
    zz = sums.zz if sums.zz.ndim == 4 else sums.zz[None]
    flat = zz.reshape(zz.shape[0], q * q, -1)
    fourth = (flat @ np.swapaxes(flat, 1, 2)).reshape(-1, q, q, q, q)
    # Symmetric directions: unit matrices of the elements of psi.
    unit = np.zeros((len(rows), q, q))
    unit[np.arange(len(rows)), rows, columns] = 1
    unit[np.arange(len(rows)), columns, rows] = 1
    left = np.einsum("mabcd,lbc,kda->mkl", fourth, unit, unit, optimize=True)
    total = np.einsum("mab,kab->mk", zz.sum(axis=-1), unit)
    outer = np.einsum("maj,mbj->mab", sums.zy, sums.zy)
    right = np.einsum("mab,kab->mk", outer, unit)
    k = len(rows)
    system = np.empty((zz.shape[0], k + 1, k + 1))
    system[:, :k, :k] = left
    system[:, :k, k] = system[:, k, :k] = total
    system[:, k, k] = prepared.n
    known = np.concatenate([right, sums.yy[:, None]], axis=1)
    system = system + 1e-8 * np.eye(k + 1) * np.trace(system, axis1=1, axis2=2)[:, None, None] / k
    found = np.linalg.solve(system, known[..., None])[..., 0]
    psi = np.einsum("mk,kab->mab", found[:, :k], unit)
    sigma2 = np.clip(found[:, k], 0.05, 1.0)
    values, vectors = np.linalg.eigh(psi / sigma2[:, None, None])
    floor = np.maximum(START_FLOOR * values[:, -1:], START_FLOOR)
    values = np.maximum(values, floor)
    psi = np.einsum("mab,mb,mcb->mac", vectors, values, vectors)
    return np.linalg.cholesky(psi)[:, rows, columns]


def first_dependent(xx: Numbers) -> tuple[list[int], int | None] | None:
    """Return columns that depend on others, and in which data set if not in all.

    Parameters
    ----------
    xx
        Cross products of the columns, (p, p) or (m, p, p).
    """
    stack = xx if xx.ndim == 3 else xx[None]
    root = np.sqrt(np.maximum(np.diagonal(stack, axis1=1, axis2=2), 1e-300))
    least = np.linalg.eigvalsh(stack / (root[:, :, None] * root[:, None]))[:, 0]
    for lane in np.flatnonzero(~(least > DEPENDENT)):
        columns = dependent_columns(stack[lane])
        return columns or [stack.shape[-1] - 1], int(lane) if xx.ndim == 3 else None
    return None


def _transposed_times(x: Numbers, y: Numbers) -> Numbers:
    return np.einsum("mnp,mn->mp", x, y) if x.ndim == 3 else y @ x


def _cluster_sums(a: Numbers, b: Numbers, starts: NDArray[np.integer]) -> Numbers:
    """Sum the products of columns by cluster: ``(..., q, p, J)``."""
    q, p = a.shape[-1], b.shape[-1]
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    out = np.empty((*lead, q, p, len(starts)))
    for i in range(q):
        for k in range(p):
            product = a[..., i] * b[..., k]
            out[..., i, k, :] = np.add.reduceat(product, starts, axis=-1)
    return out
