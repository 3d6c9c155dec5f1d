"""Predictions of the pooled model."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxmice.errors import PoolError
from jaxmice.pooling.estimates import Stack
from jaxmice.pooling.scalar import pool_scalar

if TYPE_CHECKING:
    from jaxmice.pooling.results import PooledResults

Numbers = NDArray[np.float64]

INTERVALS = ("none", "confidence", "prediction")
INTERCEPTS = ("Intercept", "(Intercept)", "const")


def predict(
    pooled: "PooledResults", newdata: Any, interval: str = "none", level: float = 0.95
) -> pd.DataFrame:
    """See `PooledResults.predict`."""
    if interval not in INTERVALS:
        raise PoolError("E65", f"interval must be one of {INTERVALS}, got {interval!r}")
    stack = pooled.stack
    stack.need_errors()
    inverse = _inverse(stack.link)
    if interval == "prediction" and stack.link != "identity":
        raise PoolError("E65", f"prediction intervals are for linear models, not link {stack.link}")
    frames = _frames(newdata, stack.m)
    x = [_fixed(stack, frame) for frame in frames]
    means = np.stack([a @ b for a, b in zip(x, stack.params, strict=True)])
    within = np.stack(
        [np.einsum("nk,kl,nl->n", a, cov, a) for a, cov in zip(x, stack.cov, strict=True)]
    )
    # Coefficients have the same complete-data degrees of freedom unless the user says otherwise.
    parts = pool_scalar(means, within, float(pooled.pooled.dfcom.min()), pooled.rule)
    variance = parts.t.copy()
    if interval == "prediction":
        variance += np.mean([_spread(stack, frame) for frame in frames], axis=0)
    index = frames[0].index
    out = pd.DataFrame({"estimate": inverse(parts.estimate)}, index=index)
    out["std.error"], out["df"] = np.sqrt(variance), parts.df
    if interval != "none":
        half = parts.quantile(level) * np.sqrt(variance)
        prefix = "conf" if interval == "confidence" else "pred"
        out[f"{prefix}.low"] = inverse(parts.estimate - half)
        out[f"{prefix}.high"] = inverse(parts.estimate + half)
    return out


def _inverse(link: str) -> Any:
    from scipy import special

    inverses = {"identity": np.asarray, "log": np.exp, "logit": special.expit}
    inverses["probit"] = special.ndtr
    if link not in inverses:
        raise PoolError("E65", f"predictions for link {link} are not available")
    return inverses[link]


def _frames(newdata: Any, m: int) -> list[pd.DataFrame]:
    """Return one frame for each imputation."""
    if isinstance(newdata, pd.DataFrame):
        return [newdata] * m
    if hasattr(newdata, "complete"):
        if newdata.m != m:
            raise PoolError("E65", f"newdata has {newdata.m} imputations, the model {m}")
        return [newdata.complete(i) for i in range(1, m + 1)]
    raise PoolError("E65", f"newdata must be a DataFrame, got {type(newdata).__name__}")


def _fixed(stack: Stack, frame: pd.DataFrame) -> Numbers:
    if stack.design is not None:
        x = stack.design.fixed(frame)
    else:
        lacking = [t for t in stack.terms if t not in frame and t not in INTERCEPTS]
        if lacking:
            raise PoolError(
                "E65",
                "the formula of these fits is not known, so newdata must have a column for "
                f"every term; missing: {', '.join(lacking)}",
            )
        x = np.column_stack(
            [frame[t].to_numpy(float) if t in frame else np.ones(len(frame)) for t in stack.terms]
        )
    if not np.isfinite(x).all():
        rows = frame.index[~np.isfinite(x).all(axis=1)][:5].tolist()
        raise PoolError("E65", f"newdata has missing or infinite predictors, rows {rows}")
    return x


def _spread(stack: Stack, frame: pd.DataFrame) -> Numbers:
    """Return the variance of an outcome about its mean, in a cluster not seen before (n,)."""
    parts = stack.components
    if parts is None or "Residual~~Residual" not in parts.terms:
        raise PoolError("E65", "prediction intervals need a model with a residual variance")
    random = stack.design and stack.design.random
    z = random(frame) if random else None
    total = np.zeros(len(frame))
    for term, value in zip(parts.terms, parts.values.mean(axis=0), strict=True):
        name = term.split("|")[0]
        if name == "Residual~~Residual":
            total += value
        elif "~~" in name:
            a, b = name.split("~~")
            if z is None:
                raise PoolError("E65", "the random part of these fits is not known")
            total += value * (1 if a == b else 2) * z[a].to_numpy() * z[b].to_numpy()
    return total
