"""Whether a column of which a selection model says so predicts being observed, and no more."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import stats

from jaxmice.frame import Frame
from jaxmice.model.groups import Groups
from jaxmice.model.quickpred import numbers

NORMAL_975 = float(stats.norm.ppf(0.975))


def describe_restriction(
    frame: Frame, groups: Groups, target: str, name: str, others: Sequence[str]
) -> Iterator[str]:
    """Say how a column goes with a target being observed, and with its observed values.

    Partial correlations inside clusters given other columns, with 95% intervals by Fisher's
    transformation (1924, Metron 3, 329-332); one line for a number, one for every category
    but the first. Clusters without an observed value do not count.
    """
    columns = frame.columns
    if columns[name].level == 2:
        yield (
            f"{name} and {target}: {name} is constant in clusters, so it tells being observed from "
            "the value only between clusters, beside their random effects, which is weak"
        )
        return
    seen = ~columns[target].missing
    rows = groups.member & np.append(groups.count(seen) > 0, False)[groups.codes]
    for column in (name, *others):
        rows &= ~columns[column].missing
    given = [part for other in others for part in numbers(columns[other])]
    parts, labels = numbers(columns[name]), columns[name].categories
    several = len(parts) > 1
    for k, part in list(enumerate(parts))[several:]:
        being = _partial(part, seen.astype(float), given, rows, groups)
        value = _partial(part, columns[target].values, given, rows & seen, groups)
        told = f"{name} = {labels[k]}" if several else name
        yield (
            f"{told} and {target}: correlation {being} with being observed, {value} with what is "
            "observed, inside clusters, given the other predictors. The model learns from the "
            f"first; that {name} says nothing else about missing values is an assumption"
        )


def _partial(
    a: np.ndarray, b: np.ndarray, given: list[np.ndarray], rows: np.ndarray, groups: Groups
) -> str:
    """Return a partial correlation with its interval in words."""
    columns = np.stack([*groups.deviations([*given, a, b], rows)], axis=1)
    x, pair = columns[:, :-2], columns[:, -2:]
    before = np.linalg.norm(pair, axis=0)
    fitted, _, rank, _ = np.linalg.lstsq(x, pair, rcond=None)
    pair = pair - x @ fitted
    left = np.linalg.norm(pair, axis=0)
    free = len(pair) - int((groups.count(rows) > 0).sum()) - int(rank) - 2
    if free < 1 or not (left > 1e-8 * before).all():
        return "unknown"
    r = float(np.clip(pair[:, 0] @ pair[:, 1] / left.prod(), -1, 1))
    with np.errstate(divide="ignore"):
        low, high = np.tanh(np.arctanh(r) + NORMAL_975 / np.sqrt(free) * np.array([-1, 1]))
    return f"{r:.2f} ({low:.2f} to {high:.2f})"
