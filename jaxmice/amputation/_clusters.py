"""Which clusters lose a column altogether."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxmice.amputation._input import clusters_in, score_columns
from jaxmice.amputation._scores import (
    SHAPES,
    Numbers,
    inclusion,
    probabilities,
    sample_exactly,
    standardise,
    totals,
)
from jaxmice.amputation._streams import Streams
from jaxmice.amputation.layers import Level2, Systematic, columns_of
from jaxmice.errors import AmputeError
from jaxmice.frame import Frame
from jaxmice.wording import near

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ByCluster:
    """L layers of whole clusters, J clusters, c amputed columns.

    Attributes
    ----------
    columns
        (L, c) what a layer makes missing.
    prob
        (L, J) inclusion probabilities.
    count
        (L,) exact number of clusters, or None.
    chosen
        (L,) whether the clusters are given by name.
    flat
        (L,) whether there are weights but the scores are constant.
    streams
        (L,) purpose of the random numbers.
    """

    columns: Bools
    prob: Numbers
    count: tuple[int | None, ...]
    chosen: Bools
    flat: Bools
    streams: tuple[tuple[int, int], ...]


def cluster_layers(
    frame: Frame,
    layers: Sequence[Systematic | Level2],
    amputed: Sequence[str],
    exact: bool,
    least: int,
) -> ByCluster:
    """Compute the inclusion probabilities, which are the same in all replicates."""
    _, labels, J = clusters_in(frame)
    L = len(layers)
    prob, flat, count = np.zeros((L, J)), np.zeros(L, dtype=bool), list[int | None]()
    for i, layer in enumerate(layers):
        k = None if layer.n_clusters is None else int(layer.n_clusters)
        if layer.clusters is not None:
            prob[i, _places(layer.clusters, labels)] = 1.0
        else:
            score, constant = standardise(between(frame, layer.between), np.zeros(J, np.int64), 1)
            flat[i] = bool(layer.between) and constant[0]
            share = min(k / J, 1.0) if k is not None else float(layer.prop or 0)
            h = SHAPES[layer.type](layer.strength * score)
            prob[i], _ = probabilities(h, np.zeros(J, np.int64), np.array([share]))
            k = round(share * J) if k is None and exact else k
        count.append(k)
        if k is not None:
            prob[i] = inclusion(prob[i], min(k, J))
    kinds = [int(isinstance(layer, Level2)) for layer in layers]
    found = [[name in columns_of(layer) for name in amputed] for layer in layers]
    columns = np.array(found, dtype=bool).reshape(L, len(amputed))
    chosen = np.array([layer.clusters is not None for layer in layers], dtype=bool)
    for name, mine in zip(amputed, columns.T, strict=True):
        named = int(prob[chosen & mine].any(axis=0).sum())
        counted = [k or 0 for k, own in zip(count, mine, strict=True) if own]
        left = J - max([named, *counted])
        if left < least:
            raise AmputeError(
                "E40",
                f"column {name!r}: {max(left, 0)} clusters would keep data, "
                f"min_clusters_observed={least}; take fewer clusters",
            )
    return ByCluster(
        columns=columns,
        prob=prob,
        count=tuple(count),
        chosen=chosen,
        flat=flat,
        streams=tuple((kind, kinds[:i].count(kind)) for i, kind in enumerate(kinds)),
    )


def between(frame: Frame, weights: Mapping[str, float]) -> Numbers:
    """Return the (J,) weighted sum of standardised cluster means."""
    codes, _, J = clusters_in(frame)
    size = totals(codes, None, J)
    out = np.zeros(J)
    for name, column in score_columns(frame, weights).items():
        means = totals(codes, column, J) / size
        out += weights[name] * standardise(means, np.zeros(J, np.int64), 1)[0]
    return out


def draw_clusters(
    plan: ByCluster, streams: Streams, replicates: Sequence[int], least: int
) -> tuple[Bools, Bools]:
    """Draw the (R, L, J) clusters that a layer takes, before and after some are given back."""
    L, J = plan.prob.shape
    taken = np.zeros((len(replicates), L, J), dtype=bool)
    for i, (p, k) in enumerate(zip(plan.prob, plan.count, strict=True)):
        if plan.chosen[i]:
            taken[:, i] = p == 1
        elif k is None:
            taken[:, i] = streams.uniforms(replicates, *plan.streams[i], n=J) < p
        else:
            for row, replicate in zip(taken, replicates, strict=True):
                row[i] = sample_exactly(p, k, streams.generator(replicate, *plan.streams[i]))
    drawn = taken.copy()
    for mine in plan.columns.T:
        excess = taken[:, mine].any(axis=1).sum(axis=1) - (J - least)
        for r in np.flatnonzero(excess > 0):
            _give_back(plan, taken[r], mine, int(excess[r]))
    return drawn, taken


def _give_back(plan: ByCluster, taken: Bools, mine: Bools, excess: int) -> None:
    """Undo holes of whole clusters in a column, the least probable first."""
    free = taken[mine].any(axis=0) & ~taken[mine & plan.chosen].any(axis=0)
    order = np.flatnonzero(free)[np.argsort(plan.prob[mine].max(axis=0)[free], kind="stable")]
    taken[np.ix_(mine, order[:excess])] = False


def holes_in(plan: ByCluster, taken: Bools) -> Bools:
    """Return (R, J, c) whether a cluster misses a column altogether."""
    return np.any(taken[..., None] & plan.columns[:, None, :], axis=1)


def _places(clusters: Any, labels: Sequence[Any]) -> list[int]:
    known = {label: j for j, label in enumerate(labels)}
    names = [clusters] if isinstance(clusters, str) else list(clusters)
    for name in names:
        if name not in known:
            raise AmputeError("E12", f"cluster {name!r} not found; {near(name, map(str, known))}")
    return [known[name] for name in names]
