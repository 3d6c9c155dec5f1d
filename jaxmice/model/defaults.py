"""Default methods: by kind for single-level data, by a decision table for clustered data."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxmice.errors import ModelError
from jaxmice.frame import Column, Frame
from jaxmice.model.groups import Groups
from jaxmice.model.moments import Moments

SINGLE_LEVEL = ("pmm", "logreg", "polyreg", "polr")
"""Methods for numbers, binary, nominal and ordinal columns."""

_TWO_STAGE = {
    # kind: few or many clusters with few values each; few, many with many values each
    "continuous": ("2l.glm.norm", "2l.glm.norm", "2l.2stage.norm", "2l.2stage.norm"),
    "binary": ("2l.glm.bin", "2l.jomo", "2l.2stage.bin", "2l.jomo"),
    "integer": ("2l.glm.pois", "2l.glm.pois", "2l.2stage.pois", "2l.2stage.pois"),
}


@dataclass(frozen=True)
class Choice:
    """A default method and why it was chosen."""

    method: str
    branch: str
    reason: str
    I: int = 0  # noqa: E741  (the published rule calls it I)
    s: float = float("nan")


def single_level_default(column: Column, methods: Sequence[str] | None) -> str:
    """Return the default method for a column by its kind."""
    methods = SINGLE_LEVEL if methods is None else methods
    if isinstance(methods, str) or len(methods) != len(SINGLE_LEVEL):
        raise ModelError(
            "E21",
            "default_method needs four names, for numbers, binary, nominal and ordinal columns; "
            f"got {methods!r}",
        )
    return methods[{"binary": 1, "nominal": 2, "ordinal": 3}.get(column.kind, 0)]


def two_level_defaults(
    frame: Frame,
    groups: Groups,
    targets: Sequence[str],
    ignore: np.ndarray,
    predictors: Sequence[str],
    *,
    i_small: int = 7,
    ni_small: int = 100,
    prop_small: float = 0.4,
    family: str = "gibbs",
) -> dict[str, Choice]:
    """Choose a method for every target in clustered data.

    Parameters
    ----------
    targets
        Columns that are imputed.
    ignore
        (n,) rows without influence.
    predictors
        Columns that can predict; the residuals of the heterogeneity test come from them.
    i_small, ni_small, prop_small
        Few clusters: at most `i_small` show a value. Small clusters: a share of more than
        `prop_small` of those shows at most `ni_small` values.
    family
        ``"gibbs"`` for exact samplers, ``"micemd"`` for the published rule.

    Source: Audigier V et al. (2018), Multiple imputation for multilevel data with continuous
    and binary variables, Statistical Science 33(2), section 6.
    """
    if family not in {"gibbs", "micemd"}:
        raise ModelError("E21", f"family must be 'gibbs' or 'micemd', got {family!r}")
    columns = frame.columns
    numbers = [
        name
        for name in targets
        if family == "gibbs" and columns[name].level == 1 and _as_continuous(columns[name])
    ]
    residuals = _residuals(frame, groups, numbers, ignore, predictors)
    out: dict[str, Choice] = {}
    for name in targets:
        column = columns[name]
        counts = groups.count(~column.missing & ~ignore)
        observed = int((counts > 0).sum())
        small = float((counts[counts > 0] <= ni_small).mean()) if observed else float("nan")
        few, tiny = observed <= i_small, small > prop_small
        branch = f"{'few' if few else 'many'} clusters, {'small' if tiny else 'large'}"
        if column.level == 2:
            method, branch, reason = _level_two(column, groups.J)
        elif column.kind in {"nominal", "ordinal"}:
            method, branch = f"2l.{column.kind}", f"{column.kind}, level 1"
            reason = f"{column.kind} column that varies inside clusters"
        elif family == "micemd":
            kind = "binary" if column.kind == "binary_numeric" else column.kind
            if kind == "integer" and (column.values[~column.missing] < 0).any():
                kind = "continuous"  # whole numbers, but no counts
            place = (0 if few else 1) + (0 if tiny else 2)
            method = _TWO_STAGE[kind][place]
            reason = (
                f"{observed} clusters show a value; {small:.0%} of them at most {ni_small} values"
            )
        elif name in residuals:
            method, branch, reason = _number(column, ignore, groups, residuals[name])
            if method == "2l.norm" and frame.clusters and frame.clusters.further:
                method, reason = "2l.pan", f"{reason}, but there are several cluster columns"
        elif column.kind == "integer":
            method, branch, reason = "2l.pois", "count", "small whole numbers from 0 on"
        else:
            method, branch, reason = "2l.bin", "binary, level 1", "two categories"
        out[name] = Choice(method, branch, reason, observed, small)
    return out


def _level_two(column: Column, J: int) -> tuple[str, str, str]:
    branch = "level 2"
    if column.kind in {"continuous", "integer"}:
        method = "2lonly.pmm" if J >= 30 else "2lonly.norm"
        return method, branch, f"number that is constant inside each of {J} clusters"
    method = f"2lonly.{column.kind}" if column.kind in {"nominal", "ordinal"} else "2lonly.bin"
    return method, branch, f"{column.kind}, constant inside clusters"


def _as_continuous(column: Column) -> bool:
    """Say whether a column is imputed as a number on a continuous scale."""
    if column.kind == "continuous":
        return True
    if column.kind != "integer":
        return False
    seen = column.values[~column.missing]
    return not (len(seen) and seen.min() >= 0 and seen.mean() <= 20 and len(np.unique(seen)) <= 50)


def _number(
    column: Column, ignore: np.ndarray, groups: Groups, residual: np.ndarray
) -> tuple[str, str, str]:
    """Choose between the normal methods and predictive mean matching."""
    fit = ~column.missing & ~ignore
    seen = column.values[fit]
    if len(seen):
        inside = next(groups.deviations([residual], fit))
        spread = inside.std()
        skew = float((inside**3).mean() / spread**3) if spread else 0.0
        piled = max((seen == seen.min()).mean(), (seen == seen.max()).mean())
        if abs(skew) > 2:
            return "2l.pmm", "skewed", f"skewness inside clusters is {skew:.1f}"
        if piled > 0.05:
            return "2l.pmm", "bounded", f"{piled:.0%} of the values lie at one end"
    p, J = heterogeneity(residual, fit, groups)
    if p < 0.01:
        reason = f"residual variances differ between {J} clusters (p = {p:.2g})"
        return "2l.norm", "heterogeneous", reason
    if J < 10:
        reason = f"only {J} clusters with 10 or more values, too few to compare their variances"
    else:
        reason = f"no evidence that residual variances differ (p = {p:.2g}, {J} clusters)"
    return "2l.pan", "homogeneous", reason


def heterogeneity(residual: np.ndarray, rows: np.ndarray, groups: Groups) -> tuple[float, int]:
    """Test whether residual variances differ between clusters.

    With f_j degrees of freedom and variance s_j^2 inside cluster j, the sum of squares of
    d_j = sqrt(f_j / 2) (ln s_j^2 - L), L the f-weighted mean of ln s_j^2, is compared with
    a chi-square distribution.

    Parameters
    ----------
    residual
        (n,) residuals.
    rows
        (n,) rows that count.
    groups
        The clusters; those with at least 10 rows are compared.

    Returns
    -------
    p : float
        1 with fewer than 10 clusters to compare.
    clusters : int
        How many were compared.

    Source: Bartlett MS and Kendall DG (1946), The statistical analysis of
    variance-heterogeneity and the logarithmic transformation, Supplement to the Journal of
    the Royal Statistical Society 8(1).
    """
    from scipy.special import chdtrc

    f = groups.count(rows) - 1
    deviation = next(groups.deviations([residual], rows))
    squares = np.bincount(
        groups.codes[rows & groups.member], deviation * deviation, minlength=groups.J
    )
    # A cluster without any variation says nothing on the logarithmic scale.
    used = (f >= 9) & (squares > 1e-14 * squares.sum())
    if used.sum() < 10:
        return 1.0, int(used.sum())
    f, log = f[used], np.log(squares[used] / f[used])
    d = np.sqrt(f / 2) * (log - np.average(log, weights=f))
    return float(chdtrc(len(f) - 1, d @ d)), len(f)


def _residuals(
    frame: Frame,
    groups: Groups,
    targets: Sequence[str],
    ignore: np.ndarray,
    predictors: Sequence[str],
) -> dict[str, np.ndarray]:
    """Return (n,) residuals of every target on the fixed predictors, standardised."""
    if not targets:
        return {}
    moments = Moments(frame, groups, ~ignore)
    fits = [~frame.columns[name].missing & ~ignore for name in targets]
    names = ["", *(name for name, _ in moments.basis)]
    weights = np.zeros((len(names), len(targets)))
    for t, gram in enumerate(moments.grams(fits)):
        y = names.index(targets[t])
        x = [k for k, name in enumerate(names) if k != y and (not name or name in predictors)]
        inverse = np.linalg.pinv(gram[np.ix_(x, x)], rcond=1e-10, hermitian=True)
        slope = inverse @ gram[x, y]
        # What is left of a column that others determine is rounding error.
        if gram[y, y] - gram[x, y] @ slope > 1e-8 * gram[y, y]:
            weights[x, t] = -slope
        weights[y, t] = 1
    out = np.empty((frame.n, len(targets)))
    for rows, design in moments.pieces():
        out[rows] = design @ weights
    return {name: out[:, t] for t, name in enumerate(targets)}
