"""Pooling of a long table of estimates, the bridge from other programs."""

import warnings
from collections.abc import Mapping
from typing import cast

import numpy as np
import pandas as pd

from jaxmice.errors import JaxMiceWarning, PoolError
from jaxmice.pooling.results import summary_frame
from jaxmice.pooling.scalar import Rule, ScalarPool, pool_scalar
from jaxmice.wording import warn_user

GROUPING = ("contrast", "y.level", "component")
"""Columns that, where present, tell quantities of the same term apart."""
ERRORS = ("robust.se", "std.error")
"""Columns of standard errors, the first one present wins."""


def pool_table(
    frame: pd.DataFrame,
    dfcom: float | str | Mapping[str, float] | None = None,
    rule: Rule = "rubin1987",
    *,
    conf_int: bool = True,
    level: float = 0.95,
    type: str = "tests",
    exponentiate: bool = False,
    style: str = "r",
) -> pd.DataFrame:
    """Pool a long table with one row per imputation and term.

    Parameters
    ----------
    frame
        Columns ``term, estimate, std.error``; optional ``robust.se`` (used in its place),
        ``df.residual``, and ``contrast``, ``y.level``, ``component``, which tell
        quantities of the same term apart.
    dfcom
        Complete-data degrees of freedom: a number, ``"inf"``, or a mapping from terms to
        numbers. ``None`` and ``"residual"``: the column ``df.residual``, infinite without it.
    rule
        See `pool_scalar`.
    conf_int, level, type, exponentiate, style
        See `PooledResults.summary`.

    Returns
    -------
    pandas.DataFrame
        The table of `PooledResults.summary`, after the grouping columns.

    Raises
    ------
    PoolError
        E64, when a column is missing or an estimate is.

    Warns
    -----
    JaxMiceWarning
        W27, when a term has one row only.
    """
    errors = next((name for name in ERRORS if name in frame), None)
    lacking = [name for name in ("term", "estimate") if name not in frame]
    if lacking or errors is None:
        raise PoolError(
            "E64",
            "the table needs columns term, estimate and std.error; it has "
            f"{', '.join(map(str, frame.columns))}",
        )
    keys = [*(name for name in GROUPING if name in frame), "term"]
    labels: dict[str, list[object]] = {key: [] for key in keys}
    parts: list[ScalarPool] = []
    for found, rows in frame.groupby(keys, sort=False, dropna=False, observed=True):
        label = cast(tuple[object, ...], found)
        values = np.stack([rows["estimate"].to_numpy(float), rows[errors].to_numpy(float)])
        if not np.isfinite(values).all():
            raise PoolError("E64", f"estimates or standard errors of {label} are missing")
        for key, value in zip(keys, label, strict=True):
            labels[key].append(value)
        with warnings.catch_warnings():
            # Pointed out once, below.
            warnings.simplefilter("ignore", JaxMiceWarning)
            complete = _dfcom(rows, str(label[-1]), dfcom)
            parts.append(pool_scalar(values[0], values[1] ** 2, complete, rule))
    single = [str(term) for term, part in zip(labels["term"], parts, strict=True) if part.m == 1]
    if single:
        warn_user(
            f"W27: m = 1 for {', '.join(single[:5])}, so the variance between imputations "
            "is unknown there"
        )
    fields = ("estimate", "ubar", "b", "t", "df", "riv", "lambda_", "fmi", "dfcom")
    pooled = ScalarPool(
        m=max((part.m for part in parts), default=0),
        **{name: np.array([float(getattr(part, name)) for part in parts]) for name in fields},
    )
    return summary_frame(
        labels,
        pooled,
        m=[part.m for part in parts],
        conf_int=conf_int,
        level=level,
        type=type,
        exponentiate=exponentiate,
        style=style,
    )


def _dfcom(rows: pd.DataFrame, term: str, dfcom: float | str | Mapping[str, float] | None) -> float:
    if dfcom is None or dfcom == "residual":
        return (
            float(np.min(rows["df.residual"].to_numpy(float))) if "df.residual" in rows else np.inf
        )
    if isinstance(dfcom, Mapping):
        if term not in dfcom:
            raise PoolError("E64", f"dfcom has no value for {term}")
        return float(dfcom[term])
    if isinstance(dfcom, str):
        if dfcom != "inf":
            raise PoolError(
                "E64", f"unknown dfcom {dfcom!r} for a table; use a number, 'inf' or 'residual'"
            )
        return np.inf
    return float(dfcom)
